"""Whatever stands in sampan.toml: a configuration, or mistakes that are told with their places."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from sampan.config import Config
from sampan.config.document import decode
from sampan.errors import ConfigError

TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "5m",
        "50GiB",
        "127.0.0.1:5050",
        "https://a.example",
        "first",
        "pull",
        "library/*",
        "http://[",
        "never",
        "0x1",
    ]
)
VALUES = st.recursive(
    st.one_of(
        TEXTS.map(json.dumps), st.integers().map(str), st.booleans().map(lambda value: str(value).lower()),
        st.floats().map(repr), st.sampled_from(["1979-05-27", "[]", "{}", "''", "inf", '"\\u0000"']),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.tuples(st.sampled_from(["url", "username", "allow", "private", "when"]), inner).map(
            lambda pair: f"{{ {pair[0]} = {pair[1]} }}"
        ),
    ),
    max_leaves=6,
)  # fmt: skip
TABLES = st.sampled_from(
    [
        "server", "store", "tags", "pull", "rewrite", "node", 'registry."docker.io"', 'registry."*"',
        "registry.a", "profile.cn", 'profile.cn.registry."ghcr.io"', "webhook", "registry", "profile",
        '"\\u001b"', "x",
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "listen", "path", "max_size", "fresh_for", "stale_for", "agree", "lock", "mirrors", "origin",
        "origin_url", "via", "except", "when", "htpasswd", "tls_cert", "anonymous", "default_registry",
        "store", "mirors", '"\\u202e"', "a.b",
    ]
)  # fmt: skip
LINES = st.one_of(
    TABLES.map(lambda name: f"[{name}]"),
    TABLES.map(lambda name: f"[[{name}]]"),
    st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
)
DOCUMENTS = st.lists(LINES, max_size=12).map("\n".join)


def read(text: str) -> Config | None:
    """The configuration; None: it was refused, in words that may be shown."""
    try:
        return Config.parse(text, environ={"HOME": "/nowhere"})
    except ConfigError as error:
        refused = error
    assert refused.exit_code == 2
    for line in refused.message.split("\n"):
        assert line.startswith("sampan.toml"), line
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Zl", "Zp"}, line
    return None


@given(DOCUMENTS)
def test_any_document_is_a_configuration_or_mistakes_with_their_places(text: str) -> None:
    config = read(text)
    if config is not None:
        for registry in config.registry.values():
            assert registry.hosts or registry.origin == "never" or registry.wildcard


@given(st.text(max_size=300))
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    read(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        text = decode(data, "sampan.toml")
    except ConfigError as error:
        text = error.message
        data = b"sampan.toml"
    assert text.encode().startswith(data)
