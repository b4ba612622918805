"""The wrapping of an error: what is said around it, and the errors that hold others.

Every program puts what it was doing before what went wrong: ``rpc error: code = Unknown desc = failed to pull
and unpack image "…": failed to copy: …``. Guarantees that what is left is the end of the text, and empty only
when the text is. Also takes apart the two kinds of error that are made of several: podman's of its mirrors,
and sampan's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sampan.doctor.explain.text import Piece

NESTED_MAX = 20  # mirrors of one message; more than anybody configures

_NAME = r"[^\s\"]{1,400}"
_WRAPPING = re.compile(
    "|".join(
        (
            r"\b[a-z][\w.-]{0,40}\[\d{1,9}\]: ",  # of the journal
            r"rpc error: code = \w{1,30} desc = ",
            r"\"PullImage from image service failed\" err=\"",
            r"(?:Error response from daemon|Error while pulling image|pulling image|ErrImagePull): ",
            r"(?:Failed to create pod sandbox|failed to solve|failed to authorize|failed to do request): ",
            r"(?:failed to copy|httpRead(?:er)?Seeker|failed open|unable to calculate manifest): ",
            r"copying system image from manifest list: ",
            r"download failed after attempts=\d{1,3}: ",
            rf"failed to (?:pull and unpack|pull|get sandbox) image \"{_NAME}\": ",
            rf"Failed to pull image \"{_NAME}\": ",
            rf"failed to resolve (?:image|reference \"{_NAME}\"|source metadata for {_NAME}): ",
            rf"(?:initializing source docker://|pinging container registry |saving tarball ){_NAME}: ",
        )
    )
)
_FIELDS_BEHIND = re.compile(r'"? (?:image|host|id|type|key|plugin|pod|component|stream)="?[^"]{0,400}"?\s*\Z')
_ERROR_FIELD = re.compile(r'\b(?:error|err)="')
_MESSAGE_FIELD = re.compile(r'\bmsg="')

_OUTCOMES = (
    "dns|refused|unroutable|reset|connect-timeout|tls|proxy|blocked-address|first-byte-timeout|stalled|slow"
    "|truncated|denied|login|missing|rate-limited|pull-limit|over-budget|server-error|not-a-registry|protocol"
    "|redirect|wrong-content"
)
_ATTEMPT = re.compile(
    rf"^\s{{0,8}}(?P<host>[^\s\"]{{1,260}}): (?P<outcome>{_OUTCOMES})(?: \((?P<status>\d{{3}})\))?"
    r"(?:: (?P<detail>.{0,500}))?$",
    re.MULTILINE,
)
_ATTEMPT_IN_JSON = re.compile(
    rf'"host":\s{{0,4}}"(?P<host>[^"]{{1,260}})",\s{{0,9}}"outcome":\s{{0,4}}"(?P<outcome>{_OUTCOMES})"'
    r'(?:,\s{0,9}"status":\s{0,4}(?P<status>\d{3}|null))?'
)
_MIRRORS = "(Mirrors also failed: "
_NEXT_ENDPOINT = "next endpoint for pull"  # what dockerd writes of a mirror, often without its name
_GONE_ON = ("trying next host", _NEXT_ENDPOINT, "retrying ")


@dataclass(frozen=True, slots=True)
class Said:
    """One error out of a text. ``host``: who it is about where the text itself does not say, as with one of
    several mirrors (``is_mirror``); ``around``: the text that it was taken out of, which names the image.
    ``is_aside``: the program went on after it, and its last word is another."""

    piece: Piece
    host: str | None = None
    is_mirror: bool = False
    around: str | None = None
    is_aside: bool = False


def errors_in(piece: Piece) -> Iterator[Said]:
    """``piece`` itself, or the errors that it is made of."""
    text = piece.text
    if "cannot serve " in text or '"outcome"' in text:
        attempts = list(_attempts(text))
        yield Said(Piece((text.partition("\n")[0],)) if attempts else piece)
        yield from attempts
    elif _ATTEMPT.fullmatch(text):
        yield from _attempts(text)
    elif _MIRRORS in text:
        yield from _mirrors(text)
    elif _NEXT_ENDPOINT in text and "://" not in text:
        yield Said(piece, is_mirror=True)
    else:
        yield Said(piece, is_aside=any(word in text for word in _GONE_ON))


def core(text: str) -> str:
    """The words of an error without what is wrapped around them, as they came."""
    fields = [match.end() for match in _ERROR_FIELD.finditer(text)]
    fields = fields or [match.end() for match in _MESSAGE_FIELD.finditer(text)]
    inner = text[fields[-1] :] if fields else text
    ends = [match.end() for match in _WRAPPING.finditer(inner)]
    inner = inner[ends[-1] :] if ends else inner
    return _unquoted(_FIELDS_BEHIND.sub("", inner.strip()).strip()) or text.strip()


def _unquoted(text: str) -> str:
    """Without the quotes round it, or one that lost its other in what was taken away."""
    if text.count('"') % 2:
        return text[1:] if text.startswith('"') else text.removesuffix('"')
    bare = text[1:-1]
    return bare if text == f'"{bare}"' and '"' not in bare else text


def _attempts(text: str) -> Iterator[Said]:
    """Whom sampan asked, and what came of it, from its words or its JSON."""
    found = list(_ATTEMPT.finditer(text)) or list(_ATTEMPT_IN_JSON.finditer(text))
    for match in found[:NESTED_MAX]:
        values = match.groupdict()
        status = values.get("status")
        number = f" status: {status}" if status and status != "null" else ""
        words = f"outcome={values['outcome']}{number} {values.get('detail') or ''}"
        yield Said(Piece((words.strip(),)), values["host"])


def _mirrors(text: str) -> Iterator[Said]:
    """What podman and its kin say of each mirror, and then of the registry."""
    start = text.index(_MIRRORS) + len(_MIRRORS)
    end = start
    for begin, end in _brackets(text, start):
        said = text[begin:end]
        yield Said(Piece((said,)), _host_of_source(said), is_mirror=True, around=text)
    yield Said(Piece((text[:start] + text[end:],)))


def _brackets(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where the texts in brackets begin and end, from ``start`` to the parenthesis that closes their list.
    Brackets in brackets are theirs, as of an IPv6 address."""
    begin, depth, count = start, 0, 0
    for at in range(start, len(text)):
        character = text[at]
        if character == "[":
            begin = begin if depth else at + 1
            depth += 1
        elif character == "]" and depth:
            depth -= 1
            if depth == 0:
                count += 1
                yield begin, at
        elif (character == ")" and depth == 0) or count == NESTED_MAX:
            return


def _host_of_source(text: str) -> str | None:
    """``127.0.0.1:5000/library/alpine:3: reading manifest …`` begins with the host."""
    host, slash, _ = text.strip().partition("/")
    return host.lower() if slash and host and " " not in host else None
