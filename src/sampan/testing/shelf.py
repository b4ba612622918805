"""The content of a fake registry and the right answers about it: the pull half of the distribution spec.

It is a function of what was added: no sockets, no credentials, no faults.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from sampan.testing.images import OCI_INDEX, Content, Image
from sampan.testing.wire import Headers, Reply, Request, error_reply, reply

API_VERSION = ("Docker-Distribution-API-Version", "registry/2.0")
PAGE_SIZE_MAX = 1000  # tags in one answer, whatever the client asks for

_OBJECT = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers)/(?P<object>[^/]+)")
_TAGS = re.compile(r"/v2/(?P<name>.+)/tags/list")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
_KINDS = {"manifests": "manifest", "blobs": "blob", "referrers": "referrers"}


@dataclass(slots=True)
class Repository:
    """Manifests and blobs by digest, tags by name."""

    manifests: dict[str, Content] = field(default_factory=dict)
    blobs: dict[str, Content] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Shelf:
    """Repositories by name."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def add(self, image: Image, repository: str, tags: tuple[str, ...]) -> None:
        """Everything that ``image`` is made of, under ``repository``."""
        place = self.repositories.setdefault(repository, Repository())
        place.manifests.update({content.digest: content for content in image.manifests})
        place.blobs.update({content.digest: content for content in image.blobs})
        place.tags.update(dict.fromkeys(tags, image.digest))

    def forget(self, digest: str) -> None:
        """Lose one manifest or blob everywhere; tags that named it dangle."""
        for place in self.repositories.values():
            place.manifests.pop(digest, None)
            place.blobs.pop(digest, None)

    def answer(self, request: Request) -> Reply:
        """The right answer to a request that :func:`classify` has seen."""
        if request.method not in ("GET", "HEAD"):
            return error_reply(405, "UNSUPPORTED", "pull only", (("Allow", "GET, HEAD"),))
        if request.kind == "base":
            return reply(200, b"{}", "application/json", (API_VERSION,))
        if request.kind == "other":
            return reply(404, b"404 page not found\n", "text/plain; charset=utf-8")
        place = self.repositories.get(request.repository)
        if place is None:
            return error_reply(404, "NAME_UNKNOWN", "repository name not known to registry")
        if request.kind == "tags":
            return _tags(place, request)
        return _object(place, request)


def classify(request: Request, prefix: str = "") -> None:
    """Fill in what the path names. ``prefix`` (``docker.io``) must stand before every repository."""
    if request.path in ("/v2", "/v2/"):
        request.kind = "base"
    elif found := _OBJECT.fullmatch(request.path) or _TAGS.fullmatch(request.path):
        request.name = found["name"]
        lead = f"{prefix}/" if prefix else ""
        if request.name.startswith(lead):
            request.repository = request.name.removeprefix(lead)
        _name_object(request, found.groupdict())


def _name_object(request: Request, found: dict[str, str]) -> None:
    request.kind = _KINDS.get(found.get("kind", ""), "tags")
    wanted = found.get("object")
    if request.kind == "manifest" and wanted and ":" not in wanted:
        request.tag = wanted
    else:
        request.digest = wanted


def content_reply(content: Content, request: Request, content_type: str) -> Reply:
    """``content``, whole or the part that a single Range asks for, with all that a registry says of it."""
    headers: Headers = (
        API_VERSION,
        ("Docker-Content-Digest", content.digest),
        ("ETag", f'"{content.digest}"'),
        ("Accept-Ranges", "bytes"),
    )
    if request.headers.get("if-none-match") == f'"{content.digest}"':
        return reply(304, headers=headers).without_header("Content-Length")
    whole = reply(200, content.body, content_type, headers)
    span = _range(request.headers.get("range"), content.size)
    if span is None:
        return whole
    return replace(_part(whole, span), whole=whole)


def _part(whole: Reply, span: tuple[int, int]) -> Reply:
    start, stop = span
    size = whole.body.size
    if start >= min(stop, size):
        return error_reply(416, "SIZE_INVALID", "no such range", (("Content-Range", f"bytes */{size}"),))
    part = whole.with_body(whole.body.slice(start, stop))
    return replace(part, status=206).with_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")


def _range(text: str | None, size: int) -> tuple[int, int] | None:
    """The half-open span asked for, perhaps empty; None for no Range or one that is to be ignored
    (RFC 9110, section 14.2: also one of several parts).
    """
    found = _RANGE.fullmatch(text or "")
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    if not found[2]:
        return int(found[1]), size
    start, last = int(found[1]), int(found[2])
    return None if last < start else (start, min(last + 1, size))


def _object(place: Repository, request: Request) -> Reply:
    digest = place.tags.get(request.tag, "") if request.tag else request.digest or ""
    if not request.tag and not _DIGEST.fullmatch(digest):
        return error_reply(400, "DIGEST_INVALID", "provided digest is not one")
    if request.kind == "referrers":
        return _referrers(place, digest, request)
    held = place.manifests if request.kind == "manifest" else place.blobs
    if digest not in held:
        return error_reply(404, f"{request.kind.upper()}_UNKNOWN", f"{request.kind} unknown to registry")
    content = held[digest]
    blob = request.kind == "blob"
    return content_reply(content, request, "application/octet-stream" if blob else content.media_type)


def _tags(place: Repository, request: Request) -> Reply:
    names = sorted(place.tags)
    asked = request.query.get("n", str(PAGE_SIZE_MAX))
    if not asked.isascii() or not asked.isdecimal():
        return error_reply(400, "PAGINATION_NUMBER_INVALID", "n is no number")
    later = [name for name in names if name > request.query.get("last", "")]
    page = later[: min(int(asked), PAGE_SIZE_MAX)]
    answer = reply(200, json.dumps({"name": request.name, "tags": page}).encode(), "application/json")
    if page and len(page) < len(later):
        more = f"/v2/{request.name}/tags/list?n={len(page)}&last={quote(page[-1])}"
        answer = answer.with_header("Link", f'<{more}>; rel="next"')
    return answer


def _referrers(place: Repository, digest: str, request: Request) -> Reply:
    """An index of the manifests whose subject is ``digest``: an empty one when there are none."""
    wanted = request.query.get("artifactType")
    found = [
        descriptor
        for content in place.manifests.values()
        if (descriptor := _referrer(content, digest)) and wanted in (None, descriptor["artifactType"])
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
    answer = reply(200, json.dumps(document).encode(), OCI_INDEX)
    return answer.with_header("OCI-Filters-Applied", "artifactType") if wanted else answer


def _referrer(content: Content, subject: str) -> dict[str, object] | None:
    document = json.loads(content.read())
    if document.get("subject", {}).get("digest") != subject:
        return None
    kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
    more = {"annotations": document["annotations"]} if "annotations" in document else {}
    return content.descriptor(artifactType=kind, **more)
