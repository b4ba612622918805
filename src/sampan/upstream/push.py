"""Giving content to a registry: blobs and manifests, each request to one host, by the distribution spec.

Guarantees that a blob is read from its file piece by piece, that the registry is asked to verify what it got
under its digest, and that an upload which breaks off goes on where the registry says it stands. What failed
leaves as a :class:`~sampan.errors.HostError`. It does not decide what is pushed, nor in which order.

Large blobs go in chunks (PATCH), small ones whole (POST, then PUT); a registry that wants no chunks gets the
large ones whole as well. Rules: the distribution spec, "Pushing blobs" and "Pushing manifests".
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from sampan.errors import (
    Denied,
    HostError,
    Interrupted,
    Missing,
    NotARegistry,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    WrongContent,
)
from sampan.oci.distribution import DOCKER_CONTENT_DIGEST, OCI_SUBJECT, blob_path, manifest_path
from sampan.oci.headers import parse_retry_after
from sampan.oci.manifest import ACCEPT, MANIFEST_BYTES_MAX
from sampan.upstream.answers import declared_digest, error_of
from sampan.upstream.call import Call
from sampan.upstream.limits import Limits
from sampan.upstream.login import Login
from sampan.upstream.url import Url, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from io import FileIO

    from sampan.clock import Clock
    from sampan.oci.digest import Digest
    from sampan.upstream.host import Host
    from sampan.upstream.login import Credentials
    from sampan.upstream.response import Response
    from sampan.upstream.transport import Transport

    Pieces = Callable[[int, int], AsyncIterator[bytes]]  # the bytes of a blob, from here to there

T = TypeVar("T")

CHUNK_BYTES = 16 * 1024 * 1024  # what a cut costs at most; ECR takes none below 5 MiB
CHUNK_BYTES_MAX = 512 * 1024 * 1024  # that a registry may ask for (OCI-Chunk-Min-Length)
PIECE_BYTES = 256 * 1024  # read from the file at a time
ANSWER_SECONDS = 60.0  # between two pieces that the registry takes, and for its answer
COMMIT_SECONDS = 300.0  # over object storage a large blob is copied when it is committed
TRIES_MAX = 5  # in a row without progress
RETRY_SECONDS = 0.5  # before the second try; doubled with each
RETRY_SECONDS_MAX = 30.0  # also of what a registry asks for
ERROR_BYTES_MAX = 64 * 1024

_OCTETS = "application/octet-stream"
_PASSING = (Interrupted, RateLimited, ServerFault, TimedOut, Unreachable)
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Destination:
    """A registry to push to: who asks, and whom."""

    client: PushClient
    host: Host


@dataclass(slots=True)
class _Upload:
    """An upload session: where its next request goes, how much the registry has, its least chunk."""

    url: Url
    offset: int = 0
    chunk_bytes: int = 0


class _NoChunks(Exception):
    """The registry does not take a blob in chunks."""


class PushClient:
    """Lives on one event loop. ``repository`` is always the host's own name for it."""

    def __init__(
        self,
        transport: Transport,
        *,
        credentials: Credentials,
        clock: Clock,
        chunk_bytes: int = CHUNK_BYTES,
        answer_seconds: float = ANSWER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._transport = transport
        self._login = Login(transport, credentials, clock, actions="pull,push")
        self._limits = Limits(clock)
        self._clock = clock
        self._chunk_bytes = chunk_bytes
        self._answer_seconds = answer_seconds
        self._retry_seconds = retry_seconds
        self._whole_only: set[str] = set()  # names of hosts that take no chunks

    async def close(self) -> None:
        """Closes every connection."""
        await self._login.close()
        await self._transport.close()

    async def check(self, host: Host, repository: str) -> None:
        """Whether this user may push there: an upload is begun and taken back."""
        upload = await self._patiently(lambda: self._begin(host, repository))
        await self._take_back(host, repository, upload.url)

    async def has_blob(self, host: Host, repository: str, digest: Digest) -> bool:
        """Whether the repository has the blob."""

        async def ask() -> bool:
            url = host.base.at(blob_path(repository, digest))
            async with self._open(host, repository, "HEAD", url, {}) as response:
                if response.status in (404, 405):
                    return False
                await self._expect(response, host, 200)
                return True

        return await self._patiently(ask)

    async def mount(self, host: Host, repository: str, digest: Digest, source: str) -> bool:
        """Have the blob taken over from ``source``, another repository there; whether that was done. A
        registry that does not do it, or not for this user, begins an upload, which is taken back."""

        async def ask() -> Url | None:
            query = urlencode({"mount": str(digest), "from": source})
            url = host.base.at(f"/v2/{repository}/blobs/uploads/?{query}")
            async with self._open(host, repository, "POST", url, {"Content-Length": "0"}) as response:
                if response.status == 201:
                    _check_digest(response, host, digest)
                    return None
                await self._expect(response, host, 202)
                return _next(response)

        upload = await self._patiently(ask)
        if upload is not None:
            await self._take_back(host, repository, upload)
        return upload is None

    async def blob(
        self, host: Host, repository: str, digest: Digest, file: FileIO, size: int, *, offset: int = 0
    ) -> None:
        """Upload ``size`` bytes of ``file``, from ``offset`` on, as ``digest``."""
        pieces = partial(_pieces, file, offset)
        if size > self._chunk_bytes and host.name not in self._whole_only:
            try:
                await self._in_chunks(host, repository, digest, pieces, size)
            except _NoChunks:
                self._whole_only.add(host.name)
            else:
                return
        await self._patiently(lambda: self._whole(host, repository, digest, pieces, size))

    async def manifest(
        self, host: Host, repository: str, name: str | Digest, raw: bytes, digest: Digest, media_type: str
    ) -> bool:
        """Put a manifest under ``name``, a tag or its digest; all that it names must be there. Whether the
        registry says that it lists it for its subject."""

        async def put() -> bool:
            url = host.base.at(manifest_path(repository, name))
            headers = {"Content-Type": media_type}
            async with self._open(host, repository, "PUT", url, headers, body=raw) as response:
                await self._expect(response, host, 201)
                _check_digest(response, host, digest)
                return response.header(OCI_SUBJECT) is not None

        return await self._patiently(put)

    async def index_at(self, host: Host, repository: str, tag: str) -> bytes | None:
        """What stands under ``tag``, as it is; None: nothing. It is for lists that are to be added to."""

        async def ask() -> bytes | None:
            url = host.base.at(manifest_path(repository, tag))
            async with self._open(host, repository, "GET", url, {"Accept": ACCEPT}) as response:
                if response.status == 404:
                    return None
                await self._expect(response, host, 200)
                return await response.read(MANIFEST_BYTES_MAX + 1)

        return await self._patiently(ask)

    # -- one upload --------------------------------------------------------------------------------

    async def _begin(self, host: Host, repository: str) -> _Upload:
        url = host.base.at(f"/v2/{repository}/blobs/uploads/")
        async with self._open(host, repository, "POST", url, {"Content-Length": "0"}) as response:
            await self._expect(response, host, 202)
            least = response.header("OCI-Chunk-Min-Length") or ""
            asked = int(least) if least.isascii() and least.isdigit() and len(least) < 12 else 0
            return _Upload(_next(response), 0, max(self._chunk_bytes, min(asked, CHUNK_BYTES_MAX)))

    async def _take_back(self, host: Host, repository: str, upload: Url) -> None:
        """Best effort: it ends by itself, and not every registry lets uploads be taken back."""
        try:
            async with self._open(host, repository, "DELETE", upload, {}):
                pass
        except HostError:
            return

    async def _whole(self, host: Host, repository: str, digest: Digest, pieces: Pieces, size: int) -> None:
        upload = await self._begin(host, repository)
        await self._put(host, repository, digest, upload, lambda: pieces(0, size), size)

    async def _in_chunks(
        self, host: Host, repository: str, digest: Digest, pieces: Pieces, size: int
    ) -> None:
        upload = await self._patiently(lambda: self._begin(host, repository))
        failures = 0
        while upload.offset < size:
            before = upload.offset
            try:
                await self._patch(host, repository, upload, pieces, min(before + upload.chunk_bytes, size))
            except HostError as error:
                passing = isinstance(error, _PASSING) or error.status == 416
                if before == 0 and failures == 0 and not passing and not isinstance(error, Denied):
                    raise _NoChunks from error
                failures += 1
                if not passing or failures == TRIES_MAX:
                    raise
                await self._wait(failures, error)
                upload = await self._resumed(host, repository, upload, size)
            failures = 0 if upload.offset > before else failures
        await self._finish(host, repository, digest, upload)

    async def _patch(self, host: Host, repository: str, upload: _Upload, pieces: Pieces, stop: int) -> None:
        start = upload.offset
        headers = {
            "Content-Type": _OCTETS,
            "Content-Length": str(stop - start),
            "Content-Range": f"{start}-{stop - 1}",
        }
        content = partial(pieces, start, stop)
        async with self._open(host, repository, "PATCH", upload.url, headers, content=content) as response:
            await self._expect(response, host, 202)
            upload.url = _next(response)
            taken = _offset(response)
            upload.offset = stop if taken is None or not start <= taken <= stop else taken

    async def _resumed(self, host: Host, repository: str, upload: _Upload, size: int) -> _Upload:
        """Where the registry says that the upload stands; a new one when it has forgotten it."""

        async def ask() -> _Upload:
            async with self._open(host, repository, "GET", upload.url, {}) as response:
                await self._expect(response, host, 204)
                taken = _offset(response)
                if taken is None or taken > size:
                    raise Missing(f"{host.name}: an upload that is nowhere", outcome="missing")
                return _Upload(_next(response), taken, upload.chunk_bytes)

        try:
            return await self._patiently(ask)
        except (Missing, NotARegistry):
            return await self._patiently(lambda: self._begin(host, repository))

    async def _finish(self, host: Host, repository: str, digest: Digest, upload: _Upload) -> None:
        """All is there. When the answer is lost, the blob itself tells whether it was taken."""
        try:
            await self._put(host, repository, digest, upload, None, 0)
        except _PASSING as error:
            await self._wait(1, error)
            if not await self.has_blob(host, repository, digest):
                await self._patiently(lambda: self._put(host, repository, digest, upload, None, 0))

    async def _put(
        self,
        host: Host,
        repository: str,
        digest: Digest,
        upload: _Upload,
        content: Callable[[], AsyncIterator[bytes]] | None,
        size: int,
    ) -> None:
        joint = "&" if "?" in upload.url.target else "?"
        url = upload.url.at(f"{upload.url.target}{joint}{urlencode({'digest': str(digest)})}")
        headers = {"Content-Type": _OCTETS, "Content-Length": str(size)}
        async with self._open(
            host, repository, "PUT", url, headers, content=content, seconds=COMMIT_SECONDS
        ) as response:
            await self._expect(response, host, 201)
            _check_digest(response, host, digest)

    # -- one request -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open(
        self,
        host: Host,
        repository: str,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        content: Callable[[], AsyncIterator[bytes]] | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[Response]:
        async def send(authorization: str | None) -> Response:
            self._limits.count(host)
            # An upload may be led to another machine, by a link that is signed: no login for that one.
            shown = authorization if url.origin == host.base.origin else None
            answer_seconds = seconds or self._answer_seconds
            call = Call(method, headers, shown, body, answer_seconds, self._answer_seconds, content=content)
            return await self._transport.request(host, url, call)

        async with self._limits.turn(host):
            response = await self._login.send(host, repository, send)
            try:
                yield response
                await response.discard()
            finally:
                response.close()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What can be asked for again is, while the failure is one that passes."""
        for failures in range(1, TRIES_MAX):
            try:
                return await ask()
            except _PASSING as error:
                await self._wait(failures, error)
        return await ask()

    async def _wait(self, failures: int, error: HostError) -> None:
        own = self._retry_seconds * 2 ** (failures - 1)
        asked = error.retry_after_seconds or 0.0
        await asyncio.sleep(min(max(own, asked), RETRY_SECONDS_MAX))

    async def _expect(self, response: Response, host: Host, status: int) -> None:
        if response.status == status:
            return
        try:
            said = await response.read(ERROR_BYTES_MAX)
        except HostError:
            said = b""  # the status says enough
        wait = parse_retry_after(response.header("Retry-After"), self._clock.time())
        raise error_of(response.status, said, who=host.name, retry_after_seconds=wait)


def _next(response: Response) -> Url:
    """Where the upload goes on. Raises NotARegistry."""
    location = response.header("Location")
    try:
        if not location:
            raise ValueError("no Location")
        return follow(response.url, location)
    except ValueError as error:
        raise NotARegistry(
            f"{response.served_by}: an upload cannot go on: {error}", outcome="protocol"
        ) from error


def _offset(response: Response) -> int | None:
    """How many bytes the registry has. ``0-0`` is how docker-registry says: none."""
    found = _RANGE.fullmatch(response.header("Range") or "")
    if found is None:
        return None
    last = int(found[1])
    return last + 1 if last else 0


def _check_digest(response: Response, host: Host, digest: Digest) -> None:
    declared = declared_digest(response.header(DOCKER_CONTENT_DIGEST))
    if declared is not None and declared.algorithm == digest.algorithm and declared != digest:
        raise WrongContent(f"{host.name}: took {digest} for {declared}", outcome="wrong-content")


async def _pieces(file: FileIO, offset: int, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from ``start`` to ``stop`` of what begins at ``offset``; where ``file`` stands is nothing."""
    while start < stop:
        piece = await asyncio.to_thread(
            os.pread, file.fileno(), min(PIECE_BYTES, stop - start), offset + start
        )
        if not piece:
            raise OSError(f"the file ended {stop - start} bytes early")
        start += len(piece)
        yield piece
