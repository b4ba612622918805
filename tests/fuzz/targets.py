"""What is fuzzed: one function a parser, which takes any bytes.

Each checks what its parser promises: what is no value in the grammar is refused with an error of ours, in
words that may be shown; what is accepted holds what it says. Any other error is a crash, and so are a second
of processor time, half a gigabyte of memory, and an input that never ends (``fuzz/one.py``).
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sampan.bundle.tape import open_tape
from sampan.bundle.tar import members
from sampan.config import Config
from sampan.config.document import decode
from sampan.errors import (
    BundleError,
    ConfigError,
    HostError,
    InvalidManifest,
    InvalidReference,
    NodeError,
    SampanError,
    UnsatisfiableRange,
)
from sampan.oci.digest import Digest
from sampan.oci.headers import (
    PAGE_SIZE_MAX,
    RETRY_AFTER_SECONDS_MAX,
    accepts,
    parse_content_range,
    parse_link_next,
    parse_page_size,
    parse_range,
    parse_retry_after,
)
from sampan.oci.manifest import DESCRIPTORS_MAX, parse_manifest
from sampan.oci.passage import PASSED_MAX, parse_passed
from sampan.oci.reference import Reference, familiar
from sampan.runtimes.hosts_check import check
from sampan.runtimes.hosts_toml import Dialect
from sampan.secret import Secret
from sampan.server.answer import problem
from sampan.server.v2 import V2, origin_form
from sampan.upstream.auth import (
    CHALLENGES_MAX,
    Credential,
    Fetch,
    TokenKey,
    TokenReply,
    authorize,
    fetch_token,
    parse_challenges,
    said_in,
)
from sampan.upstream.url import parse_url
from serving.mirror import FakeMirror

LOGIN = Credential("user", Secret("password"))
DIALECTS = (Dialect(), Dialect(override_path=False, is_2=False), Dialect(dial_timeout=True, referrers=True))


def _text(data: bytes) -> str:
    """As the command line and the server read bytes that are no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def _harmless(text: str) -> bool:
    """No control character, none that turns the direction of a line or is not seen, none that ends a line."""
    return not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _told(error: SampanError) -> None:
    lines = f"{error.message}\n{error.hint or ''}".split("\n")
    assert all(map(_harmless, lines)), lines
    assert len(error.message) < 10_000


def reference(data: bytes) -> None:
    """An image reference."""
    try:
        found = Reference.parse(_text(data))
    except InvalidReference as error:
        return _told(error)
    assert Reference.parse(str(found), default_tag=None) == found
    assert Reference.parse(familiar(found)) == found
    return None


def manifest(data: bytes) -> None:
    """A manifest or an index; what stands before a first NUL is its Content-Type."""
    content_type, nul, raw = data.partition(b"\0")
    raw = raw if nul else data
    try:
        found = parse_manifest(raw, media_type=_text(content_type) if nul else None)
    except InvalidManifest as error:
        return _told(error)
    assert (found.digest, found.size) == (Digest.of(raw), len(raw))
    assert len(found.references) <= DESCRIPTORS_MAX + 1
    assert all(each.size >= 0 for each in found.references)
    return None


def challenge(data: bytes) -> None:
    """WWW-Authenticate headers, a line each; and behind a NUL the answer of the realm."""
    lines, _, body = data.partition(b"\0")
    values = _text(lines).split("\n")
    assert len(parse_challenges(values)) <= CHALLENGES_MAX
    for login in (None, LOGIN):
        try:
            flow = authorize("a.io", parse_url("https://a.io"), "repository:x:pull", login, None)
            step = next(flow)
            for _ in range(8):
                step = flow.send("token") if isinstance(step, Fetch) else flow.send(values)
        except (HostError, StopIteration) as error:
            if isinstance(error, HostError):
                _told(error)
    words = said_in(body)
    assert _harmless(words)
    assert len(words) <= 201
    _realm_answers(body)


def _realm_answers(body: bytes) -> None:
    flow = fetch_token(TokenKey("h", parse_url("https://a.io/t"), "s", "repository:x:pull"), None)
    next(flow)
    token = ""
    try:
        flow.send(TokenReply(200, body))
    except HostError as error:
        _told(error)
    except StopIteration as ended:
        token = ended.value.text
    assert _harmless(token)


def header(data: bytes) -> None:
    """A Range and all other headers that are read, over content of the size that the first bytes say."""
    size, text = int.from_bytes(data[:3]), _text(data[3:])
    try:
        found = parse_range(text, size)
    except UnsatisfiableRange:
        found = None
    assert found is None or 0 <= found.start < found.stop <= size
    span = parse_content_range(text)
    assert span is None or 0 <= span[0] < span[1]
    wait = parse_retry_after(text, 1.7e9)
    assert wait is None or 0 <= wait <= RETRY_AFTER_SECONDS_MAX
    link = parse_link_next(text)
    assert link is None or (link.isascii() and link.isprintable())
    assert 0 <= (parse_page_size(text) or 0) <= PAGE_SIZE_MAX
    assert len(parse_passed(text)) <= PASSED_MAX + 1
    accepts(text, "application/json")


def configuration(data: bytes) -> None:
    """sampan.toml."""
    try:
        Config.parse(decode(data, "sampan.toml"), environ={"HOME": "/nowhere"})
    except ConfigError as error:
        _told(error)


@cache
def _front() -> V2:
    return V2(FakeMirror(), instance="instance-one")


def path(data: bytes) -> None:
    """The target of a request to the HTTP front, as aiohttp hands it on."""
    v2 = _front()
    target = origin_form(_text(data))
    try:
        asked = v2.parse(target)
    except SampanError as error:
        answer = problem(error)
        assert 400 <= answer.status < 500
        assert answer.head.isascii()
        return
    assert asked.target.registry in v2.mirror.registries.named
    if asked.target.repository:
        assert Reference(asked.target.registry, asked.target.repository).repository == asked.target.repository


def hosts(data: bytes) -> None:
    """A hosts.toml of containerd that somebody wrote."""
    for dialect in DIALECTS:
        try:
            found = check("hosts.toml", data, "docker.io", dialect, lambda _: False)
        except NodeError as error:
            _told(error)
        else:
            assert all(finding.file == "hosts.toml" for finding in found.findings)


def tar(data: bytes) -> None:
    """An archive with images, compressed or not."""
    file = os.memfd_create("archive")
    try:
        os.write(file, data)
        tape = open_tape(Path(f"/proc/self/fd/{file}"))
        try:
            for member in members(tape):
                assert member.name
                assert not member.name.startswith("/")
                assert ".." not in member.name.split("/")
                assert member.size >= 0
        finally:
            tape.close()
    except BundleError as error:
        _told(error)
    finally:
        os.close(file)


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (reference, manifest, challenge, header, configuration, path, hosts, tar)
}
