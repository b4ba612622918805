"""The distribution API: what a client asked, put to the mirror, as an :class:`Answer`.

Guarantees that the registry asked for is one of those configured before anything is asked of the mirror,
and that every failure of ours becomes the spec's JSON. It knows nothing of sockets, and never parses a
client's ``Accept``: content has one type, the one it was stored with, and is given with it to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qs, quote

from sampan.errors import InvalidRequest, NotFound, SampanError, Unsupported, printable
from sampan.oci.digest import Digest
from sampan.oci.distribution import (
    DOCKER_CONTENT_DIGEST,
    MIRROR_SOURCE,
    OCI_FILTERS_APPLIED,
    OCI_NAMESPACE,
    ByteRange,
    Kind,
    Target,
    parse_range,
    parse_target,
)
from sampan.oci.manifest import OCI_INDEX
from sampan.oci.passage import LOOP_HEADER, PASSED, is_circle, parse_passed
from sampan.server.answer import API_VERSION_FIELD, Answer, document, problem, refusal, render_head
from sampan.server.contract import BlobReply, ManifestReply, MirrorApi
from sampan.server.listing import filter_referrers, page_of_tags, tags_document

IMMUTABLE = ("Cache-Control", "max-age=31536000, immutable")  # a digest's content; a year is HTTP's forever
REVALIDATE = ("Cache-Control", "no-cache")
QUERY_FIELDS_MAX = 16  # the API has five
REMEMBERED_MAX = 4096  # parsed requests and rendered heads, each; about a KiB apiece
REMEMBERED_CHARACTERS_MAX = 512  # of a request target worth remembering: real ones are shorter

_K = TypeVar("_K")
_V = TypeVar("_V")
_EMPTY_INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


@dataclass(frozen=True, slots=True)
class Request:
    """``raw_target``: path and query as they were sent. ``headers`` ignore case."""

    method: str
    raw_target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request target, understood."""

    target: Target
    query: Mapping[str, list[str]]

    def first(self, name: str) -> str | None:
        """The first value of ``name`` in the query."""
        values = self.query.get(name)
        return values[0] if values else None


class V2:
    """The API over one mirror. ``instance`` is what this process puts into its own requests' loop header."""

    def __init__(self, mirror: MirrorApi, *, instance: str) -> None:
        self.mirror = mirror
        self._instance = instance
        self._asked: dict[str, Asked] = {}
        self._heads: dict[tuple[str, str, str, bool], bytes] = {}

    def parse(self, raw_target: str) -> Asked:
        """What ``raw_target`` asks for. Raises :class:`SampanError`; remembers what clients repeat."""
        asked = self._asked.get(raw_target)
        if asked is None:
            path, _, query_text = raw_target.partition("?")
            query = _parse_query(query_text)
            target = parse_target(path, ns=query.get("ns", []), registries=self.mirror.registries)
            asked = Asked(target, query)
            if len(raw_target) <= REMEMBERED_CHARACTERS_MAX:
                _remember(self._asked, raw_target, asked)
        return asked

    async def answer(self, request: Request, asked: Asked) -> Answer:
        """The answer to a request that :meth:`parse` understood. Never raises :class:`SampanError`."""
        target = asked.target
        is_head = request.method == "HEAD"
        try:
            passed = parse_passed(request.headers.get(LOOP_HEADER))
            if is_circle(passed, self._instance):
                return _loop(is_head=is_head)
            PASSED.set(passed)
            if target.kind is Kind.MANIFEST:
                return await self._manifest(request, target, is_head)
            if target.kind is Kind.BLOB:
                return await self._blob(request, target, is_head)
            if target.kind is Kind.TAGS:
                return await self._tags(request, asked, is_head)
            if target.kind is Kind.REFERRERS:
                return await self._referrers(asked, is_head)
            return document(200, b"{}", fields=[(OCI_NAMESPACE, target.registry)], is_head=is_head)
        except SampanError as error:
            return problem(error, kind=target.kind, is_head=is_head)

    async def _manifest(self, request: Request, target: Target, is_head: bool) -> Answer:
        reply = await self.mirror.manifest(target.registry, target.repository, _object(target))
        manifest = reply.manifest
        if _has_already(request, manifest.digest):
            return _not_modified(manifest.digest, target, reply.source)
        return Answer(
            200,
            self._manifest_head(reply, target),
            b"" if is_head else manifest.raw,
            source=reply.source,
            attempts=reply.attempts,
        )

    def _manifest_head(self, reply: ManifestReply, target: Target) -> bytes:
        """Rendered once for what the store gives again and again; Age changes, so not what is stale."""
        by_digest = isinstance(target.object, Digest)
        key = (reply.manifest.digest.hex, target.registry, reply.source, by_digest)
        head = None if reply.stale else self._heads.get(key)
        if head is None:
            head = render_head(200, _manifest_fields(reply, target))
            if not reply.stale:
                _remember(self._heads, key, head)
        return head

    async def _blob(self, request: Request, target: Target, is_head: bool) -> Answer:
        digest = _digest(target)
        if is_head or "If-None-Match" in request.headers:
            size, source = await self.mirror.stat_blob(target.registry, target.repository, digest)
            if _has_already(request, digest):
                return _not_modified(digest, target, source)
            if is_head:
                fields = _blob_fields(target, source, digest, None, size)
                return Answer(200, render_head(200, fields), source=source)
        reply = await self.mirror.blob(target.registry, target.repository, digest)
        try:
            wanted = parse_range(_range_header(request, digest), reply.size)
        except SampanError:
            reply.close()
            raise
        return _blob_answer(reply, target, digest, wanted)

    async def _tags(self, request: Request, asked: Asked, is_head: bool) -> Answer:
        target = asked.target
        known = await self.mirror.tags(target.registry, target.repository)
        page, more = page_of_tags(known, n=asked.first("n"), last=asked.first("last"))
        fields = [(OCI_NAMESPACE, target.registry), REVALIDATE]
        if more:
            fields.append(("Link", _next_page(request.raw_target, len(page), page[-1], asked.first("ns"))))
        return document(200, tags_document(target.repository, page), fields=fields, is_head=is_head)

    async def _referrers(self, asked: Asked, is_head: bool) -> Answer:
        target = asked.target
        try:
            found = await self.mirror.referrers(target.registry, target.repository, _digest(target))
            raw = found.raw
        except NotFound:  # of a subject nobody has, nothing refers to it either; the spec wants no 404
            raw = _EMPTY_INDEX
        fields = [(OCI_NAMESPACE, target.registry), REVALIDATE]
        artifact_type = asked.first("artifactType")
        if artifact_type:
            raw = filter_referrers(raw, artifact_type)
            fields.append((OCI_FILTERS_APPLIED, "artifactType"))
        return document(200, raw, media_type=OCI_INDEX, fields=fields, is_head=is_head)


def refuse_method(method: str) -> Answer:
    """405 for all that would change something."""
    return problem(
        Unsupported(
            f"{printable(method, characters_max=20)} is not supported: a mirror only answers GET and HEAD"
        )
    )


def _parse_query(text: str) -> dict[str, list[str]]:
    if not text:
        return {}
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise InvalidRequest(f"the query has more than {QUERY_FIELDS_MAX} fields") from error


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    """Forgets all when full: what is asked for often is soon back, and there is no bookkeeping on a hit."""
    if len(memory) >= REMEMBERED_MAX:
        memory.clear()
    memory[key] = value


def _loop(*, is_head: bool) -> Answer:
    return refusal(
        508,
        "UNAVAILABLE",
        "this request came from this very mirror: one of its mirrors leads back to it",
        detail={"hint": "look for this mirror's own address among the mirrors in sampan.toml"},
        is_head=is_head,
    )


def _object(target: Target) -> str | Digest:
    if target.object is None:
        raise InvalidRequest("expected a tag or a digest")
    return target.object


def _digest(target: Target) -> Digest:
    if not isinstance(target.object, Digest):
        raise InvalidRequest("expected a digest")
    return target.object


def _has_already(request: Request, digest: Digest) -> bool:
    """Does If-None-Match name ``digest``? Weak comparison, as RFC 9110 has it for this header."""
    header = request.headers.get("If-None-Match")
    if header is None:
        return False
    wanted = f'"{digest}"'
    return any(part.strip().removeprefix("W/") in (wanted, "*") for part in header.split(","))


def _range_header(request: Request, digest: Digest) -> str | None:
    """The Range, unless If-Range names other content: then it is all to be sent."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != f'"{digest}"':
        return None
    return request.headers.get("Range")


def _content_fields(target: Target, source: str, digest: Digest) -> list[tuple[str, str]]:
    return [
        (DOCKER_CONTENT_DIGEST, str(digest)),
        ("ETag", f'"{digest}"'),
        (OCI_NAMESPACE, target.registry),
        (MIRROR_SOURCE, source),
        API_VERSION_FIELD,
        IMMUTABLE if isinstance(target.object, Digest) else REVALIDATE,
    ]


def _manifest_fields(reply: ManifestReply, target: Target) -> list[tuple[str, str]]:
    manifest = reply.manifest
    fields = [
        ("Content-Type", manifest.media_type),
        ("Content-Length", str(manifest.size)),
        *_content_fields(target, reply.source, manifest.digest),
    ]
    if reply.stale:
        fields.append(("Warning", '110 sampan "Response is Stale"'))
        fields.append(("Age", str(max(int(reply.age_seconds or 0), 0))))
    return fields


def _blob_fields(
    target: Target, source: str, digest: Digest, wanted: ByteRange | None, size: int
) -> list[tuple[str, str]]:
    fields = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(wanted.size if wanted else size)),
        ("Accept-Ranges", "bytes"),
        *_content_fields(target, source, digest),
    ]
    if wanted:
        fields.append(("Content-Range", wanted.content_range(size)))
    return fields


def _blob_answer(reply: BlobReply, target: Target, digest: Digest, wanted: ByteRange | None) -> Answer:
    status = 206 if wanted else 200
    return Answer(
        status,
        render_head(status, _blob_fields(target, reply.source, digest, wanted, reply.size)),
        blob=reply,
        start=wanted.start if wanted else 0,
        stop=wanted.stop if wanted else reply.size,
        source=reply.source,
        attempts=reply.attempts,
    )


def _not_modified(digest: Digest, target: Target, source: str) -> Answer:
    return Answer(304, render_head(304, _content_fields(target, source, digest)), source=source)


def _next_page(raw_target: str, size: int, last: str, ns: str | None) -> str:
    """The Link to the page after ``last``: the path as this client wrote it, so that it works from there."""
    query = f"n={size}&last={quote(last, safe='')}" + (f"&ns={quote(ns, safe='')}" if ns else "")
    return f'<{raw_target.partition("?")[0]}?{query}>; rel="next"'


def origin_form(raw_target: str) -> str:
    """The path and query of a request target. Proxies' clients send a whole URL, whose host is not ours to
    believe (RFC 9112 section 3.2.2)."""
    if raw_target.startswith("/") or "://" not in raw_target[:8]:
        return raw_target
    slash = raw_target.find("/", raw_target.index("://") + 3)
    return raw_target[slash:] if slash >= 0 else "/"
