"""Files that say which images a mirror has: what their lines mean, and which bytes are none of them."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.config import Config
from sampan.config.allow_list import FILE_BYTES_MAX, LINES_MAX, parse_allow_list
from sampan.config.rewrite import rewriter
from sampan.config.rules_document import render_rules
from sampan.errors import ConfigError
from sampan.oci.pattern import Patterns, matches

LIST = b"""\xef\xbb\xbf# images that may be pulled\r
docker.io/library/nginx\r
\r
index.docker.io/bitnami/*   # one level\r
docker.io/redis
ghcr.io/mycorp/**
GHCR.IO/other/tool
registry.k8s.io/**
registry.k8s.io/**
localhost:5000/a/b
"""
NAMES = st.lists(st.sampled_from(["a", "b", "ab", "c-d"]), min_size=1, max_size=4).map("/".join)
PATTERNS = st.one_of(
    NAMES, NAMES.map("{}/*".format), NAMES.map("{}/**".format), st.sampled_from(["*", "**", "a*", "*/b"])
)


def test_each_registry_has_its_own_lines() -> None:
    assert parse_allow_list(LIST, "allows.txt") == {
        "docker.io": ("library/nginx", "bitnami/*", "library/redis"),
        "ghcr.io": ("mycorp/**", "other/tool"),
        "registry.k8s.io": ("**",),
        "localhost:5000": ("a/b",),
    }


@pytest.mark.parametrize(
    ("registry", "repository", "allowed"),
    [
        ("docker.io", "library/nginx", True),
        ("docker.io", "library/nginx-unprivileged", False),
        ("docker.io", "bitnami/redis", True),
        ("docker.io", "bitnami/charts/redis", False),
        ("docker.io", "library/redis", True),
        ("ghcr.io", "mycorp/a/b/c", True),
        ("ghcr.io", "mycorp", False),
        ("ghcr.io", "mycorporation/a", False),
        ("registry.k8s.io", "pause", True),
        ("registry.k8s.io", "coredns/coredns", True),
    ],
)
def test_a_star_is_one_level_and_two_are_any_depth(registry: str, repository: str, allowed: bool) -> None:
    assert parse_allow_list(LIST, "allows.txt")[registry].match(repository) is allowed


@given(st.lists(PATTERNS, max_size=8), NAMES)
def test_many_patterns_mean_what_each_of_them_means(patterns: list[str], name: str) -> None:
    assert Patterns(patterns).match(name) is any(matches(pattern, name) for pattern in patterns)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nginx", 'expected the name of an image without a tag, got "nginx"'),
        (b"docker.io/library/nginx:1.27", "without a tag"),
        (b"docker.io/library/nginx@sha256:00", "without a tag"),
        (b"docker.io/Library/nginx", "without a tag"),
        (b"docker.io/", "without a tag"),
        (b"docker.io//nginx", "without a tag"),
        (b"docker.io/../../etc/passwd", "without a tag"),
        (b"docker.io/a/*/b", "without a tag"),
        (b"docker.io/a*", "without a tag"),
        (b"docker.io/***", "without a tag"),
        (b"*/library/nginx", ""),
        (b"user:pw@docker.io/library/nginx", ""),
        (b"https://docker.io/library/nginx", "without a tag"),
        (b"docker.io/" + b"a/" * 300 + b"a", "without a tag"),
        (b"docker.io/\x1b[31mred", "without a tag"),
        (b"docker.io/\xff\xfe", "expected UTF-8 text"),
        ("docker.io/library／nginx".encode(), "without a tag"),
    ],
)
def test_a_line_that_is_none_is_named(line: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_allow_list(b"# a list\ndocker.io/library/nginx\n" + line + b"\n", "allows.txt")
    assert caught.value.message.startswith("allows.txt:3: ")
    assert says in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected at least one name, got none"),
        (b"# nothing\n\n", "expected at least one name, got none"),
        (b"docker.io/a/b\n" * (FILE_BYTES_MAX // 14 + 1), f"expected at most {FILE_BYTES_MAX} bytes"),
        (b"a.b/c\n" * (LINES_MAX + 1), f"expected at most {LINES_MAX} lines"),
        (b"".join(b"r%d.io/a/b\n" % number for number in range(501)), "expected at most 500 registries"),
        (b"\0" * 1000, "without a tag"),
        (os.urandom(1) + random.Random(1).randbytes(100_000), "expected"),
    ],
)
def test_a_file_that_is_none_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_allow_list(data, "allows.txt")


def test_as_many_lines_as_may_be_are_read() -> None:
    (patterns,) = parse_allow_list(b"a.b/c\n" * LINES_MAX, "allows.txt").values()
    assert patterns == ("c",)


# -- in a configuration -----------------------------------------------------------------------------

MIRROR = 'url = "https://m.daocloud.io/{registry}"'


def config_of(tmp_path: Path, text: str, *, allows: bytes | None = LIST) -> Config:
    if allows is not None:
        (tmp_path / "allows.txt").write_bytes(allows)
    return Config.parse(text, name=str(tmp_path / "sampan.toml"), environ={})


def table(registry: str, allow: str = '"file:allows.txt"', more: str = "") -> str:
    return f'[registry."{registry}"]\nmirrors = [{{ {MIRROR}, allow = [{allow}] }}]\n{more}'


def may_ask(config: Config, registry: str, repository: str) -> list[str]:
    hosts = config.hosts_for(registry) or ()
    return [host.name for host in hosts if host.role == "mirror" and host.repository_for(repository)]


def test_a_mirror_is_asked_for_what_its_file_names_alone(tmp_path: Path) -> None:
    config = config_of(tmp_path, table("docker.io"))
    assert may_ask(config, "docker.io", "library/nginx") == ["m.daocloud.io/docker.io"]
    assert may_ask(config, "docker.io", "library/alpine") == []


def test_patterns_and_files_add_up(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_bytes(b"docker.io/more/tool\n")
    config = config_of(tmp_path, table("docker.io", '"own/*", "file:allows.txt", "file:more.txt"'))
    for repository in ("own/x", "library/nginx", "more/tool"):
        assert may_ask(config, "docker.io", repository)
    assert not may_ask(config, "docker.io", "other/x")


def test_under_a_star_each_registry_has_its_own_lines_and_others_none(tmp_path: Path) -> None:
    config = config_of(tmp_path, table("*"))
    assert may_ask(config, "ghcr.io", "mycorp/a/b") == ["m.daocloud.io/ghcr.io"]
    assert may_ask(config, "registry.k8s.io", "pause") == ["m.daocloud.io/registry.k8s.io"]
    assert may_ask(config, "ghcr.io", "library/nginx") == []
    assert config.hosts_for("quay.io") == ()


def test_a_file_without_the_registry_of_its_table_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, table("quay.io"))
    assert (
        ':2: registry."quay.io".mirrors[0]: expected names of quay.io in the files of allow'
        in caught.value.message
    )
    assert caught.value.hint == "they name docker.io, ghcr.io, localhost:5000, registry.k8s.io"


def _absent(path: Path) -> None:
    path.unlink(missing_ok=True)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_absent, "no such file"),
        (Path.mkdir, "not a regular file"),
        (_pipe, "not a regular file"),
        (_socket, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "cannot read the list"),
        (lambda path: path.write_text("docker.io/a/b\nnonsense\n"), "allows.txt:2: expected the name"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_mistake_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], says: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path("allows.txt"))
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, table("docker.io"), allows=None)
    assert says in caught.value.message
    assert 'sampan.toml:2: registry."docker.io".mirrors[0].allow' in caught.value.message
    assert caught.value.hint is not None


def test_the_file_of_another_profile_is_not_opened(tmp_path: Path) -> None:
    text = (
        '[profile.away.registry."docker.io"]\nmirrors = [{ url = "https://a.test", allow = ["file:none"] }]\n'
    )
    config_of(tmp_path, text, allows=None)


def test_it_is_read_again_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "sampan.toml").write_text(table("docker.io"))
    for data, allowed in ((b"docker.io/library/nginx\n", True), (b"docker.io/library/alpine\n", False)):
        (tmp_path / "allows.txt").write_bytes(data)
        config = Config.load(tmp_path / "sampan.toml", environ={})
        assert bool(may_ask(config, "docker.io", "library/nginx")) is allowed


@pytest.mark.parametrize("registry", ["docker.io", "*"])
def test_references_are_redirected_by_it_as_well(tmp_path: Path, registry: str) -> None:
    config = config_of(tmp_path, table(registry))
    (tmp_path / "rules.toml").write_text(render_rules(config))
    for rules in (rewriter(config), rewriter(Config.load(tmp_path / "rules.toml", environ={}))):
        assert rules.rewrite("nginx:1.27") == "m.daocloud.io/docker.io/library/nginx:1.27"
        assert rules.rewrite("alpine:3") == "alpine:3"
        assert rules.rewrite("quay.io/a/b:1") == "quay.io/a/b:1"
        elsewhere = "m.daocloud.io/ghcr.io/mycorp/x/y:1" if registry == "*" else "ghcr.io/mycorp/x/y:1"
        assert rules.rewrite("ghcr.io/mycorp/x/y:1") == elsewhere


def test_under_a_star_a_mirror_that_lists_nothing_still_has_the_other_registries(tmp_path: Path) -> None:
    text = f'[registry."*"]\nmirrors = [{{ {MIRROR}, allow = ["file:allows.txt"] }}, "https://other.test/{{registry}}"]\n'
    config = config_of(tmp_path, text)
    (tmp_path / "rules.toml").write_text(render_rules(config))
    for rules in (rewriter(config), rewriter(Config.load(tmp_path / "rules.toml", environ={}))):
        assert rules.rewrite("nginx:1") == "m.daocloud.io/docker.io/library/nginx:1"
        assert rules.rewrite("alpine:3") == "other.test/docker.io/library/alpine:3"
        assert rules.rewrite("quay.io/a/b:1") == "other.test/quay.io/a/b:1"
