"""One request to one host: manifests, blobs, tags and referrers as values, or errors that say why not.

Guarantees: a manifest asked for by digest hashes to it; an answer that no registry would give is an
error here, whatever its status; every request ends in time, except that a blob takes as long as its
bytes keep coming. It asks the host that it is told to ask: which one is next, and when again, is
not its business, nor is where the bytes go. ``repository`` is always the canonical one of the
registry; the host's own name for it is found here.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sampan.errors import HostError, Missing, NotARegistry, PullLimited, TimedOut, WrongContent
from sampan.oci.digest import Digest
from sampan.oci.distribution import (
    DOCKER_CONTENT_DIGEST,
    RATE_REMAINING,
    blob_path,
    manifest_path,
)
from sampan.oci.headers import parse_allowance, parse_retry_after
from sampan.oci.manifest import ACCEPT, MANIFEST_BYTES_MAX, Descriptor, Index, Manifest
from sampan.upstream import lists
from sampan.upstream.answers import (
    declared_digest,
    described,
    error_of,
    is_page,
    manifest_of,
    whole_size,
)
from sampan.upstream.behind import Behind
from sampan.upstream.budget import Budget
from sampan.upstream.call import FIRST_BYTE_SECONDS, READ_SECONDS, Call
from sampan.upstream.heads import Heads
from sampan.upstream.limits import Limits
from sampan.upstream.login import Login
from sampan.upstream.naming import asked_of, check_namespace, name_at
from sampan.upstream.quota import Quota
from sampan.upstream.stream import BlobStream, open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sampan.clock import Clock
    from sampan.upstream.host import Host
    from sampan.upstream.login import Credentials
    from sampan.upstream.response import Response
    from sampan.upstream.transport import Transport
    from sampan.upstream.url import Url

__all__ = ["BlobStream", "Ping", "RegistryClient"]

BASE_PATH = "/v2/"
ERROR_BYTES_MAX = 64 * 1024  # of an error's body; what is shown of it is far less
# Mirrors that limit their rate sleep before the first byte of a blob, a second for each MiB at one of them.
# Others are asked beside such a host; where nobody else has it, it is waited for as long as a question may
# take (mirror/patience.py).
BLOB_FIRST_BYTE_SECONDS = 35.0
SMALL_SECONDS = 15.0  # a manifest, a list or a size, with login, redirects and all


@dataclass(frozen=True, slots=True)
class Ping:
    """An answer to ``/v2/``. ``realm``: the machine that gives tokens; None: none is asked for."""

    status: int
    realm: str | None = None


class RegistryClient:
    """Asks hosts. Raises the kinds of :class:`~sampan.errors.HostError`; lives on one event loop.
    ``behind`` keeps what hosts say of their own sources, ``quota`` what they say of our pulls, and
    ``budget`` how often they refused us.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        credentials: Credentials,
        clock: Clock,
        first_byte_seconds: float = FIRST_BYTE_SECONDS,
        blob_first_byte_seconds: float = BLOB_FIRST_BYTE_SECONDS,
        read_seconds: float = READ_SECONDS,
        small_seconds: float = SMALL_SECONDS,
        behind: Behind | None = None,
        quota: Quota | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.behind = behind or Behind()
        self._quota = quota or Quota(clock)
        self._budget = budget or Budget(clock)
        self._transport = transport
        self._login = Login(transport, credentials, clock, budget=self._budget)
        self._limits = Limits(clock)
        self._clock = clock
        self._first_byte_seconds = first_byte_seconds
        self._blob_first_byte_seconds = blob_first_byte_seconds
        self._read_seconds = read_seconds
        self._small_seconds = small_seconds
        self._heads = Heads()

    async def close(self) -> None:
        """Ends what is in flight and closes every connection."""
        await self._login.close()
        await self._transport.close()

    async def ping(self, host: Host, repository: str) -> Ping:
        """What ``host`` says of itself (``/v2/``). The login that it asks for is used when it is asked for
        something of ``repository`` next. Raises NotARegistry for a web page, and what other statuses mean.
        """
        name, path = name_at(host, repository), asked_of(host, BASE_PATH)
        call = Call("GET", {}, first_byte_seconds=self._first_byte_seconds, read_seconds=self._read_seconds)
        async with self._budget.asking(host), self._limits.turn(host):
            self._limits.count(host)
            async with await self._sent(host, path, call) as response:
                await self._expect(response, host, 200, 401)
                if response.status == 200 and is_page(response.header("Content-Type")):
                    raise NotARegistry(
                        f"{response.served_by}: a web page at {BASE_PATH}",
                        outcome="not-a-registry",
                        status=response.status,
                    )
                realm = None
                if response.status == 401 and response.url.origin == host.base.origin:
                    realm = await self._login.expect(host, name, response.headers("WWW-Authenticate"))
                return Ping(response.status, realm)

    # -- manifests ---------------------------------------------------------------------------------

    async def manifest(
        self,
        host: Host,
        repository: str,
        object: str | Digest,  # noqa: A002 - the glossary's word for a tag or a digest
        *,
        on_connected: Callable[[], None] | None = None,
        on_led: Callable[[Url], None] | None = None,
    ) -> Manifest | Index:
        """The manifest that ``object``, a tag or a digest, means at ``host``. ``on_led`` hears where it came
        from when ``host`` led to another machine.

        By digest it is verified: WrongContent when the bytes are others. By tag it must agree with
        the digest that the host itself declares.
        """
        name = name_at(host, repository)
        path = manifest_path(name, object)
        self._quota.begin(host)
        wanted = object if isinstance(object, Digest) else None
        async with self._small(host, name, "GET", path, {"Accept": ACCEPT}, on_connected) as response:
            await self._expect(response, host, 200, pulls="GET")
            manifest = manifest_of(
                await response.read(MANIFEST_BYTES_MAX + 1),
                who=response.served_by,
                wanted=wanted,
                declared=declared_digest(response.header(DOCKER_CONTENT_DIGEST)),
                content_type=response.header("Content-Type"),
                content_encoding=response.header("Content-Encoding"),
            )
            self.behind.note(host, manifest.digest, response)
            self._heads.given(host.name, path)
            if on_led is not None and response.behind is not None:
                on_led(response.url)
            return manifest

    async def head_manifest(
        self,
        host: Host,
        repository: str,
        object: str | Digest,  # noqa: A002 - as above
        *,
        on_connected: Callable[[], None] | None = None,
        on_led: Callable[[Url], None] | None = None,
    ) -> Descriptor | None:
        """What ``object`` means at ``host``, without its bytes; nothing is verified. ``on_led`` as there.

        None: this host does not answer HEAD usefully, ask :meth:`manifest`. Not every host that has a
        manifest says so to HEAD, so a 404 counts as Missing only where HEAD has worked before.
        """
        if self._heads.answers(host.name) is False:
            return None
        name = name_at(host, repository)
        path = manifest_path(name, object)
        async with self._small(host, name, "HEAD", path, {"Accept": ACCEPT}, on_connected) as response:
            if response.status in (405, 501):
                self._heads.note(host.name, useful=False)
                return None
            if response.status == 404 and not self._heads.answers(host.name):
                self._heads.doubt(host.name, path)
                return None
            await self._expect(response, host, 200, pulls="HEAD")
            found = described(response)
            if found is not None:
                self.behind.note(host, found.digest, response)
                if on_led is not None and response.behind is not None:
                    on_led(response.url)
        self._heads.note(host.name, useful=found is not None or bool(self._heads.answers(host.name)))
        if found is not None and isinstance(object, Digest) and found.digest != object:
            raise WrongContent(
                f"{response.served_by}: says that {object} is another", outcome="wrong-content"
            )
        return found

    def has_room(self, host: Host) -> bool:
        """Whether a request to ``host`` would not have to wait for one of our own connections to it."""
        return not self._limits.slots(host).locked()

    def has_spare(self, host: Host) -> bool:
        """Whether a request to ``host`` that may prove needless takes nothing from those that are needed."""
        return self.has_room(host) and self._limits.has_plenty(host)

    # -- blobs -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def blob(
        self,
        host: Host,
        repository: str,
        digest: Digest,
        *,
        offset: int = 0,
        stop: int | None = None,
        size: int | None,
        on_connected: Callable[[], None] | None = None,
    ) -> AsyncIterator[BlobStream]:
        """The bytes of a blob from ``offset`` on, as they come, to ``stop`` or to its end; ``size`` is
        that of the whole, if known. A host that ignores Range gives the whole: see the stream.

        The bytes are not verified. Leaving early closes the connection.
        """
        name = name_at(host, repository)
        last = "" if stop is None else stop - 1
        headers = {"Range": f"bytes={offset}-{last}"} if offset or stop is not None else {}
        async with self._open(host, name, "GET", blob_path(name, digest), headers, on_connected) as response:
            await self._expect(response, host, 200, 206)
            self.behind.note(host, digest, response)
            yield open_stream(response, asked_offset=offset, asked_stop=stop, size=size)

    async def stat_blob(self, host: Host, repository: str, digest: Digest) -> int:
        """The size of a blob in bytes, as ``host`` says. Asks for one byte where HEAD is no use."""
        name = name_at(host, repository)
        path = blob_path(name, digest)
        async with self._small(host, name, "HEAD", path, {}, None) as response:
            if response.status not in (405, 501):
                await self._expect(response, host, 200)
                if response.content_length is not None and not is_page(response.header("Content-Type")):
                    return response.content_length
        async with self._small(host, name, "GET", path, {"Range": "bytes=0-0"}, None) as response:
            await self._expect(response, host, 200, 206)
            size = whole_size(response)
            if size is None or is_page(response.header("Content-Type")):
                raise NotARegistry(f"{response.served_by}: a blob without a size", outcome="protocol")
            return size

    # -- lists: see lists.py -----------------------------------------------------------------------

    async def tags(self, host: Host, repository: str) -> list[str]:
        """The tags of ``repository`` at ``host``, in its order, all pages together."""
        name = name_at(host, repository)
        return await lists.tags(self._pages(host, name), name)

    async def referrers(
        self, host: Host, repository: str, digest: Digest, *, artifact_type: str | None = None
    ) -> Index:
        """What refers to ``digest`` at ``host``; where it has no such list, its fallback tag,
        which is a pull: PullLimited, and not asked, while there are none."""
        name = name_at(host, repository)
        try:
            return await lists.referrers(self._pages(host, name), name, digest, artifact_type)
        except Missing:
            self._quota.check(host)
            found = await self.manifest(host, repository, lists.fallback_tag(digest))
            return lists.as_referrers(found, host.name, artifact_type)

    def _pages(self, host: Host, name: str) -> lists.FetchPage:
        async def fetch(path: str) -> lists.Page:
            async with self._small(host, name, "GET", path, {"Accept": lists.ACCEPT}, None) as response:
                await self._expect(response, host, 200)
                body = await response.read(MANIFEST_BYTES_MAX + 1)
                return lists.Page(host.base.at(path), body, response.served_by, response.headers("Link"))

        return fetch

    # -- one request -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _small(
        self,
        host: Host,
        name: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        on_connected: Callable[[], None] | None,
    ) -> AsyncIterator[Response]:
        """What is small must be there soon, also from a host that sends a byte a second."""
        limit = asyncio.timeout(None)  # runs from when it is this request's turn
        try:
            async with limit, self._open(host, name, method, path, headers, on_connected, limit) as response:
                check_namespace(response, host)
                yield response
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"{host.name}: {path} not there within {self._small_seconds:g} s"
            raise TimedOut(message, outcome="slow") from error

    @asynccontextmanager
    async def _open(
        self,
        host: Host,
        name: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        on_connected: Callable[[], None] | None,
        limit: asyncio.Timeout | None = None,
    ) -> AsyncIterator[Response]:
        first_byte_seconds = self._blob_first_byte_seconds if limit is None else self._first_byte_seconds

        async def send(authorization: str | None) -> Response:
            self._limits.count(host)
            call = Call(
                method,
                headers,
                authorization,
                first_byte_seconds=first_byte_seconds,
                read_seconds=self._read_seconds,
                connected=on_connected,
            )
            return await self._sent(host, asked_of(host, path), call)

        async with AsyncExitStack() as asking:
            await asking.enter_async_context(self._budget.asking(host))
            async with self._limits.turn(host):
                if limit is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + self._small_seconds)
                response = await self._login.send(host, name, send)
                await asking.aclose()
                try:
                    yield response
                except HostError as error:
                    error.behind = error.behind or response.behind
                    raise
                finally:
                    response.close()

    async def _sent(self, host: Host, path: str, call: Call) -> Response:
        """The answer to one request, within what ``host`` may refuse. Raises OverBudget."""
        self._budget.check(host)  # others may have been refused while it was waited for a turn, or a token
        response = await self._transport.request(host, host.base.at(path), call)
        self._budget.answered(host, response.status, response.behind)
        return response

    async def _expect(
        self, response: Response, host: Host, *statuses: int, pulls: Literal["GET", "HEAD"] | None = None
    ) -> None:
        """Raises what ``response`` is when its status is none of ``statuses``. ``pulls``: how a manifest
        was asked for, of which hosts count the one and not the other."""
        is_own = pulls is not None and response.behind is None
        if is_own:
            self._quota.note(host, response.header, response.status, head=pulls == "HEAD")
        if response.status in statuses:
            return
        try:
            body = await response.read(ERROR_BYTES_MAX)
        except HostError:
            body = b""  # the status says enough
        who = f"{host.name} by way of {response.behind}" if response.behind else host.name
        wait = parse_retry_after(response.header("Retry-After"), self._clock.time())
        left = parse_allowance(response.header(RATE_REMAINING)) if is_own else None
        error = error_of(
            response.status, body, who=who, retry_after_seconds=wait, counted=is_own, pulls_left=left
        )
        if isinstance(error, PullLimited):
            error.retry_after_seconds = self._quota.limited(host, error, head=pulls == "HEAD")
        raise error
