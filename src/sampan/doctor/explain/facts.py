"""What a message names: whom it asked, for what, at which address, and which status came back.

It guarantees work in proportion to the message, and to believe nothing: a text may come from anybody. What
it cannot find is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from sampan.errors import SampanError
from sampan.oci.reference import Reference

Step = Literal["ping", "resolve", "manifest", "blob", "token"]
"""What was asked for: whether it is a registry, what a tag means, a manifest, a blob, a token."""

URLS_MAX = 20  # of one message
REDACTED = "[REDACTED]"  # what containerd 2.1 writes in the place of a query's values

_URL = re.compile(r"https?://[^\s\"'<>|\\^`]{1,4000}", re.IGNORECASE)
_OBJECT = re.compile(r"/v2/(?P<name>[^?#]{1,600}?)/(?P<kind>manifests|blobs)/(?P<object>[^/?#]{1,300})")
_TOKEN_PATH = re.compile(r"/(?:token|auth|oauth2/token|service/token|v2/token|jwt/auth|proxy_auth)\Z")
_REASONS = "|".join(re.escape(status.phrase) for status in HTTPStatus if status >= 400)
_STATUS = re.compile(
    rf"\b([45]\d\d)[ :]{{0,3}}\(?(?:{_REASONS})\b"
    r"|\b(?:status|status code|statuscode|code|http)[:= ]{1,3}([45]\d\d)\b",
    re.IGNORECASE,
)
_NAMED_STATUS = re.compile(r"http\.Status(NotFound|Forbidden|Unauthorized|TooManyRequests)")
_NAMED = {"NotFound": 404, "Forbidden": 403, "Unauthorized": 401, "TooManyRequests": 429}
_HOST = r"(\[[0-9a-fA-F:]{2,45}\](?::\d{1,5})?|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?(?::\d{1,5})?)"
_HOSTS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"pulling from host {_HOST} failed",
        rf"pinging container registry {_HOST}:",
        rf"\bhost=\"?{_HOST}\b",
        rf"\blookup {_HOST}(?: on|:)",
        rf"\bnot {_HOST}\s*\Z",
        rf"in {_HOST}/[a-z0-9]",
    )
)
_ADDRESS = re.compile(
    r"(?:dial (?:tcp|udp) |->)(\[[0-9a-fA-F:.]{2,45}\]|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):(\d{1,5})"
)
_WRITTEN = r"([^\s\"\]),]{1,400})"  # of a name, as it stands
_REFERENCES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:unpack|[Pp]ull(?:ing|Image)?|sandbox|resolve|Container)(?: image| reference)? \"{_WRITTEN}\"",
        rf"docker://{_WRITTEN}",
        rf"(?:(?:metadata|denied|manifest) for|cannot serve|pulling image) {_WRITTEN}",
        rf"failed to resolve image: {_WRITTEN}: not found",
        rf"reading manifest \S{{1,200}} in {_WRITTEN}: ",
        r"(?:docker|crictl|podman|nerdctl) pull ([a-z0-9][^\s\"]{0,300})",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Request:
    """One URL of a message. ``host`` with its port, as people write it; ``registry``: what the client meant,
    as the path or ``ns`` say; ``ns``: whether there is one, which only mirrors are sent."""

    url: str
    host: str
    step: Step | None
    registry: str | None = None
    repository: str | None = None
    object: str | None = None
    ns: bool = False

    @property
    def is_of_a_registry(self) -> bool:
        """Whether anybody but a registry or its token server has such a URL."""
        return self.step is not None


@dataclass(frozen=True, slots=True)
class Facts:
    """What one message names. ``reference``: the image, normalised where it is one, else as it stands."""

    requests: tuple[Request, ...] = ()
    host: str | None = None
    reference: str | None = None
    status: int | None = None
    address: str | None = None
    digest: str | None = None

    @property
    def request(self) -> Request | None:
        """The one that failed: it stands last of those that are a registry's, or first of all."""
        ours = [request for request in self.requests if request.is_of_a_registry]
        return ours[-1] if ours else next(iter(self.requests), None)

    def told(self, host: str | None, reference: str | None) -> Facts:
        """With what is known from elsewhere in the place of what the message says: its requests are then of
        another host."""
        requests = self.requests if host in (None, self.host) else ()
        return replace(self, requests=requests, host=host or self.host, reference=reference or self.reference)


def facts_of(text: str) -> Facts:
    """All that ``text``, one message, names."""
    requests = tuple(_requests(text))
    address = _ADDRESS.search(text)
    digest = _DIGEST.search(text)
    facts = Facts(
        requests=requests,
        reference=_reference(text),
        status=_status(text),
        address=address[1].strip("[]") if address else None,
        digest=digest[0] if digest else None,
    )
    request = facts.request
    return replace(facts, host=request.host if request is not None else _host(text))


def _requests(text: str) -> Iterator[Request]:
    seen: set[str] = set()
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,:;)]}")
        if url not in seen and len(seen) < URLS_MAX and (request := _request(url)) is not None:
            seen.add(url)
            yield request


def _request(url: str) -> Request | None:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2].lower()
        query = parse_qs(parts.query, max_num_fields=20)
    except ValueError:
        return None
    if not host or not re.fullmatch(_HOST, host):
        return None
    namespace = query.get("ns", [""])[0]
    registry = None if namespace in ("", REDACTED) else namespace
    if found := _OBJECT.search(parts.path):
        name, what = unquote(found["name"]), unquote(found["object"])
        first, slash, rest = name.partition("/")
        if registry is None and slash and "." in first:
            registry, name = first, rest
        step: Step = "blob" if found["kind"] == "blobs" else "manifest" if ":" in what else "resolve"
        return Request(url, host, step, registry, name, what, ns=bool(namespace))
    if _TOKEN_PATH.search(parts.path) and ("scope" in query or "service" in query or not query):
        return Request(url, host, "token")
    is_ping = parts.path in ("/v2", "/v2/", "/v1/", "/v1/_ping") or parts.path.startswith("/v1/repositories")
    return Request(url, host, "ping" if is_ping else None, registry, ns=bool(namespace))


def _host(text: str) -> str | None:
    found = next((match[1] for pattern in _HOSTS if (match := pattern.search(text))), None)
    return found.lower() if found and ("." in found or ":" in found or found == "localhost") else None


def _status(text: str) -> int | None:
    if named := _NAMED_STATUS.search(text):
        return _NAMED[named[1]]
    found = _STATUS.search(text)
    return int(found[1] or found[2]) if found else None


def _reference(text: str) -> str | None:
    for pattern in _REFERENCES:
        if match := pattern.search(text):
            written = match[1].rstrip(":,.;)…")
            if written.startswith(("sha256:", "http")):
                continue
            try:
                return str(Reference.parse(written, default_tag=None))
            except SampanError:
                return written
    return None
