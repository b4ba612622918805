"""The wrapping of an error: who printed it, around whose words, and the words themselves.

Every program puts what it was doing before what went wrong: ``rpc error: code = Unknown desc = failed to pull and
unpack image "…": failed to copy: …``. Guarantees that what is left is the end of the text and never empty unless
the text is. Also takes apart the two kinds of error that hold others: podman's of its mirrors, and sampan's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sampan.doctor.explain.text import Piece

Tool = Literal[
    "sampan", "kubelet", "crictl", "ctr", "nerdctl", "containerd", "docker", "dockerd", "buildkit",
    "podman", "skopeo", "crio", "crane",
]  # fmt: skip
Family = Literal["containerd", "docker", "podman", "crane", "sampan"]
"""Whose way it is to ask hosts, and to choose which of their errors is shown."""

CORE_CHARACTERS_MAX = 400
NESTED_MAX = 20  # mirrors of one message; more than anybody configures

_WRAPPING = re.compile(
    r"""(?:
      rpc\ error:\ code\ =\ \w{1,30}\ desc\ =\ | "PullImage\ from\ image\ service\ failed"\ err="
    | Error\ response\ from\ daemon:\ | Error\ while\ pulling\ image:\ | download\ failed\ after\ attempts=\d{1,3}:\ 
    | failed\ to\ pull\ and\ unpack\ image\ "[^"\s]{1,400}":\ | failed\ to\ resolve\ reference\ "[^"\s]{1,400}":\ 
    | failed\ to\ (?:pull|get\ sandbox)\ image\ "[^"\s]{1,400}":\ | Failed\ to\ pull\ image\ "[^"\s]{1,400}":\ 
    | failed\ to\ resolve\ (?:image|source\ metadata\ for\ [^\s"]{1,400}):\ | failed\ to\ solve:\ 
    | failed\ to\ copy:\ | httpReade?r?Seeker:\ | failed\ open:\ | failed\ to\ do\ request:\ | failed\ to\ authorize:\ 
    | initializing\ source\ docker://[^\s"]{1,400}:\ | pinging\ container\ registry\ [^\s"]{1,300}:\ 
    | copying\ system\ image\ from\ manifest\ list:\ | Failed\ to\ create\ pod\ sandbox:\ 
    | saving\ tarball\ [^\s"]{1,400}:\ | unable\ to\ calculate\ manifest:\ | pulling\ image:\ | ErrImagePull:\ 
    )""",
    re.VERBOSE,
)
_FIELD_BEHIND = re.compile(r'"? (?:image|host|id|type|key|plugin|pod|podUID|component|stream)="?[^"]{0,400}"?\s*\Z')
_ERROR_FIELD = re.compile(r'\b(?:error|err)="')
_LOG_HEAD = re.compile(r'\A.{0,200}?\bmsg="', re.DOTALL)

# By whom: the first whose words stand in the text. Who stands outside comes before whose words it repeats.
_PRINTERS: tuple[tuple[Tool, tuple[str, ...]], ...] = (
    ("sampan", ("cannot serve ", "outcome=", " is not configured here", "sampan")),
    ("buildkit", ("failed to solve", "[internal] load metadata", "source metadata for", "httpReaderSeeker")),
    ("crictl", ("remote_image.go", "pulling image: rpc error", "pulling image: failed to pull", "crictl")),
    ("kubelet", ("kubelet", "Failed to pull image", "ErrImage", "ImagePullBackOff", "kuberuntime_", "pod sandbox")),
    ("crio", ("crio[", "crio: ")),
    ("dockerd", ("dockerd[", "next endpoint for pull", "Handler for POST", "configure the Docker daemon", "invalid mirror")),
    ("docker", ("Error response from daemon", "docker: ", "download failed after attempts", "docker pull", "Error while pulling image", ": Pulling from ")),
    ("skopeo", ("level=fatal msg=", "skopeo")),
    ("podman", ("initializing source docker://", "Trying to pull ", "pinging container registry", "copying system image", "podman", "short-name", "Error writing blob")),
    ("nerdctl", ("nerdctl",)),
    ("ctr", ("ctr: ", "ctr image")),
    ("crane", ("saving tarball", "retrying GET", "retrying EOF", "Error: GET http", "Error: Get \"http", "crane")),
    ("containerd", ("failed to pull and unpack image", "httpReadSeeker", "trying next host", "PullImage", "containerd", "failed to load plugin", "failed to resolve ", "unexpected status", "failed commit on ref", "unexpected media type")),
)  # fmt: skip
_FAMILIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    ("sampan", ("cannot serve ", "outcome=")),
    ("containerd", ("failed to pull and unpack image", "httpReade", "httpReadSeeker", "failed to resolve reference", "failed to resolve image", "failed to resolve source metadata", "trying next host", "unexpected status from", "unexpected status code http", "failed commit on ref", "pulling from host", "failed to do request", "fetch anonymous token", "fetch oauth token")),
    ("podman", ("docker://", "pinging container registry", "Mirrors also failed", "copying system image", "status code from registry", "Error writing blob")),
    ("docker", ("Error response from daemon", "download failed after attempts", "next endpoint for pull", "getting v2 registry", "Error while pulling image", "received unexpected HTTP status")),
    ("crane", ("saving tarball", "retrying GET", "Error: GET http", "Error: Get \"http")),
)  # fmt: skip

_OUTCOMES = (
    "dns|refused|unroutable|reset|connect-timeout|tls|proxy|blocked-address|first-byte-timeout|stalled|slow|truncated"
    "|denied|login|missing|rate-limited|server-error|not-a-registry|protocol|redirect|wrong-content"
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
_GONE_ON = ("trying next host", "next endpoint for pull", "retrying ", "Failed, retrying", "failed, retrying")


@dataclass(frozen=True, slots=True)
class Said:
    """One error out of a text. ``host``: who it is about where another than the text's own, as with one of several
    mirrors, which is then said by ``is_mirror``; ``around``: the text that it was taken out of, which names the
    image. ``is_aside``: it was gone on after it, and something else is the program's last word."""

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
    else:
        yield Said(piece, is_aside=any(word in text for word in _GONE_ON))


def core(text: str) -> str:
    """The words of an error without what is wrapped around them, printable or not as they came."""
    fields = [match.end() for match in _ERROR_FIELD.finditer(text)]
    rest = text[fields[-1] :] if fields else _LOG_HEAD.sub("", text, count=1)
    ends = [match.end() for match in _WRAPPING.finditer(rest)]
    inner = rest[ends[-1] :] if ends else rest
    inner = _FIELD_BEHIND.sub("", inner.strip()).strip().strip('"')
    return inner or text.strip()


def printed_by(text: str) -> Tool | None:
    """The program whose manner it is to print such a text."""
    return next((tool for tool, words in _PRINTERS if any(word in text for word in words)), None)


def family(text: str) -> Family | None:
    """Whose words they are, whoever passed them on."""
    return next((name for name, words in _FAMILIES if any(word in text for word in words)), None)


def _attempts(text: str) -> Iterator[Said]:
    """sampan's list of whom it asked, from its words or its JSON."""
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
    begun = at = start
    depth = 0
    nested = 0
    while at < len(text) and nested < NESTED_MAX:
        character = text[at]
        if character == "[":
            begun = at + 1 if depth == 0 else begun
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                nested += 1
                host = _host_of_source(text[begun:at])
                yield Said(Piece((text[begun:at],)), host, is_mirror=True, around=text)
        elif character == ")" and depth == 0:
            break
        at += 1
    yield Said(Piece((text[:start] + text[at:],)))


def _host_of_source(text: str) -> str | None:
    """``127.0.0.1:5000/library/alpine:3: reading manifest …`` begins with the host."""
    host, slash, _ = text.strip().partition("/")
    return host.lower() if slash and host and " " not in host else None
