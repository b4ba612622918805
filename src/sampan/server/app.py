"""The HTTP server: the only module that knows aiohttp's. :class:`Listener` is all but what is answered.

Guarantees that an answer whose blob fails half-way is cut short of its Content-Length, never completed; that
one client's leaving touches only its own request; and that what is not HTTP as the RFCs have it is refused
and the connection closed. One low-level handler instead of a router and middlewares: a hit costs so little
that they would cost more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from dataclasses import replace
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Any, Generic
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from sampan.clock import Clock, SystemClock
from sampan.errors import ConfigError, SampanError, StoreError
from sampan.server.access import load_htpasswd
from sampan.server.answer import problem
from sampan.server.answering import ExchangeT, FrontApi
from sampan.server.certificate import load_chain, tls_of
from sampan.server.contract import MirrorApi
from sampan.server.front import Exchange, Front
from sampan.server.metrics import Metrics
from sampan.server.sending import Wire
from sampan.server.settings import ServerSettings
from sampan.server.stall import StallWatch
from sampan.server.v2 import Request, origin_form

REQUEST_LINE_BYTES_MAX = 8190  # what clients and proxies take for granted; a digest and a name need 600
HEADER_BYTES_MAX = 16 * 1024  # one field: some registries' bearer tokens have 8 KiB
HEADERS_MAX = 100
BACKLOG = 1024  # a cluster that starts all at once
BODY_BYTES_MAX = 1024 * 1024  # of a request that should have none, read so that its sender sees the answer
BODY_SECONDS = 1.0
WANTED_BODY_SECONDS = 5.0  # of one that is read for its answer: longer than our webhook is waited for
SMALL_BODY_BYTES = 128 * 1024  # read for each connection at once, when bodies are read; a pod has 10 KiB
LARGE_BODIES_MAX = 8  # so many of the larger ones are in memory at a time
TLS_HANDSHAKE_SECONDS = 10.0
TLS_SHUTDOWN_SECONDS = 1.0  # for a client's last word; one that keeps a connection and does not read has none
TICK_SECONDS = 1.0
ABORT_SECONDS = 5.0  # for handlers to notice that their connection is gone
GRACE_SECONDS = 30.0  # as long as Kubernetes waits, after SIGTERM, by default

HTTP_1_1 = (1, 1)

_http_log = logging.getLogger("sampan.http")
_no_access_log = logging.getLogger("sampan.http.access")  # switched off: ours is written by Front
_no_access_log.disabled = True


class Listener(Generic[ExchangeT]):
    """What a front answers, on a port. One event loop, the standard one: it has the kernel's sendfile."""

    def __init__(
        self,
        front: FrontApi[ExchangeT],
        settings: ServerSettings,
        *,
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._tls = tls
        self._answering = front
        self.stalls = StallWatch(clock, limit_seconds=settings.stall_seconds)
        self.connections_max = settings.connections_max
        self.arriving = WeakKeyDictionary[_Connection, float]()  # just accepted, or shaking hands: since when
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_MAX)
        self.is_closed = False  # to new connections

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port. Only while it does."""
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the server is not listening")
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    @property
    def url(self) -> str:
        """What a client writes to reach it."""
        host, port = self.address
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self) -> None:
        """Listen. Raises :class:`ConfigError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._web = web.Server(self._handle, handler_cancellation=True)
        try:
            self._listener = await loop.create_server(
                partial(self._connect, self._web),
                settings.host.strip("[]"),
                settings.port,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_SECONDS if self._tls else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if self._tls else None,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
                hint="is another sampan running? server.listen says where this one is",
            ) from error
        self._ticking = loop.call_later(TICK_SECONDS, self._tick)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take no more connections, let answers under way end within ``grace_seconds``, close the front."""
        self._answering.stopping = self.is_closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._web is not None:
            # Not aiohttp's pre_shutdown: it would drop the rest of a body that has begun to arrive.
            for connection in self._web.connections:
                if isinstance(connection, _Connection) and not connection.is_answering:
                    connection.force_close()
            await self._gone(self._web, grace_seconds)
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._gone(self._web, ABORT_SECONDS)
        await self._answering.close()

    async def _gone(self, server: web.Server, seconds: float) -> None:
        """Wait until no connection is left, ``seconds`` at most."""
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        # aiohttp has no event for it, and this is no hot path.
        while server.connections and now() < deadline:  # noqa: ASYNC110  (see above)
            await asyncio.sleep(0.01)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._answering.tick(self.stalls.sweep())
        for connection, since in list(self.arriving.items()):
            if loop.time() - since > TLS_HANDSHAKE_SECONDS:  # asyncio does not tell us that it has gone
                del self.arriving[connection]
        self._ticking = loop.call_later(TICK_SECONDS, self._tick)

    def _connect(self, server: web.Server) -> asyncio.Protocol:
        self._answering.connections = len(server.connections) + len(self.arriving)
        if self._answering.connections >= self.connections_max:
            self._answering.connection_refused()
            return _Busy()
        connection = _Connection(
            self,
            server,
            loop=asyncio.get_running_loop(),
            logger=_http_log,
            access_log=_no_access_log,
            keepalive_timeout=self._settings.request_head_seconds,
            max_line_size=REQUEST_LINE_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            lingering_time=0.0,  # _Reply has its own, with a cap on bytes
            auto_decompress=False,
        )
        self.arriving[connection] = asyncio.get_running_loop().time()
        return connection

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        front, client = self._answering, request.remote or ""
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1 and (hosts or request.version >= HTTP_1_1):
            return self.refuse(client, 400, "expected one Host header")
        if isinstance(request.protocol, _Connection):
            request.protocol.is_answering = True
        body, may_stay = b"", not request.body_exists and request.method in ("GET", "HEAD")
        if front.body_bytes_max and request.method == "POST":
            read = await self._read_body(request, front.body_bytes_max)
            if isinstance(read, int):
                return self.refuse(client, read, "the request's body is too large, too slow or broken")
            body, may_stay = read, True
        asked = Request(request.method, origin_form(request.raw_path), request.headers, body)
        exchange = await front.begin(asked, client)
        return self.reply(exchange, stay=may_stay and request.keep_alive and not front.stopping)

    async def _read_body(self, request: web.BaseRequest, bytes_max: int) -> bytes | int:
        if (request.content_length or bytes_max) <= SMALL_BODY_BYTES:
            return await _read_body(request, bytes_max)
        async with self._large_bodies:
            return await _read_body(request, bytes_max)

    def reply(self, exchange: ExchangeT, *, stay: bool) -> web.StreamResponse:
        """How aiohttp is told; ``stay``: the connection is kept for the next request."""
        return _Reply(self._answering, self.stalls, exchange, stay)

    def refuse(self, client: str, status: int, message: str) -> web.StreamResponse:
        """The answer to what is no request."""
        return self.reply(self._answering.refuse(client, status, message), stay=False)


class Server(Listener[Exchange]):
    """A mirror on a port."""

    def __init__(
        self,
        mirror: MirrorApi,
        settings: ServerSettings,
        *,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises :class:`ConfigError` for a bad htpasswd file or certificate."""
        clock = clock or SystemClock()
        self.metrics = metrics or Metrics(clock)
        self.front = Front(
            mirror,
            instance=settings.instance,
            metrics=self.metrics,
            clock=clock,
            access=load_htpasswd(settings.htpasswd, clock) if settings.htpasswd else None,
        )
        super().__init__(self.front, settings, tls=tls_of(settings), clock=clock)
        self._retiring: set[asyncio.Task[None]] = set()

    def replace_mirror(self, mirror: MirrorApi, settings: ServerSettings | None = None) -> None:
        """Answer with ``mirror`` from now on; requests under way end with the old one, which is then closed.

        From ``settings`` the htpasswd file and the certificate are read again; where it listens stays as it
        is. Raises :class:`ConfigError`, and then nothing has changed.
        """
        if settings is not None:
            # Checked with the address that is really open, not with the one that the new file names.
            settings = replace(settings, host=self._settings.host)
            access = load_htpasswd(settings.htpasswd, self._clock) if settings.htpasswd else None
            if self._tls and settings.tls_cert and settings.tls_key:
                load_chain(self._tls, settings.tls_cert, settings.tls_key)
            self.front.access = access
        task = asyncio.get_running_loop().create_task(self.front.replace_mirror(mirror))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """As :meth:`Listener.stop`, when the mirrors that were replaced have ended their requests too."""
        await super().stop(grace_seconds)
        if self._retiring:
            await asyncio.wait(self._retiring)


class _Reply(web.StreamResponse, Generic[ExchangeT]):
    """Sends an answer itself: its head is ready, its body is a few bytes or a file."""

    def __init__(
        self, front: FrontApi[ExchangeT], stalls: StallWatch, exchange: ExchangeT, stay: bool
    ) -> None:
        super().__init__(status=exchange.answer.status)
        self._front = front
        self._stalls = stalls
        self._exchange = exchange
        self._stay = stay

    @property
    def keep_alive(self) -> bool:
        return self._stay and not self._front.stopping

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it all. Raises ConnectionError when the client has gone or the answer had to be cut."""
        exchange, transport = self._exchange, request.transport
        sent_bytes, left, error = 0, True, ""
        try:
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left")
            wire = Wire(transport, request.writer.drain, self._stalls)
            try:
                await self._send(request, wire)
                left = False
            finally:
                sent_bytes = wire.sent_bytes
        except ConnectionError:
            raise
        except (SampanError, OSError) as failure:
            left, error = False, str(failure)
            if transport is not None:
                transport.abort()
            raise ConnectionAbortedError("cut short") from failure
        finally:
            self._front.end(exchange, sent_bytes=sent_bytes, left=left, error=error)
            if isinstance(request.protocol, _Connection):
                request.protocol.is_answering = False

    async def _send(self, request: web.BaseRequest, wire: Wire) -> None:
        exchange = self._exchange
        answer = exchange.answer
        wire.transport.write(answer.head + self._last_fields(request) + answer.body)
        if answer.blob is not None:
            began = partial(self._front.began_to_send, exchange)
            await wire.send_blob(answer.blob, answer.start, answer.stop, began)
        else:
            self._front.began_to_send(exchange)
            wire.sent_bytes = len(answer.body)
            if request.protocol.writing_paused:
                with self._stalls.sending(wire.transport):
                    await wire.drain()
        if request.body_exists and not self._stay:
            await _discard_body(request, wire.transport)

    def _last_fields(self, request: web.BaseRequest) -> bytes:
        if not self._stay:
            connection = b"Connection: close\r\n"
        else:
            connection = b"" if request.version >= HTTP_1_1 else b"Connection: keep-alive\r\n"
        return b"Date: %b\r\n%b\r\n" % (_date(int(time.time())), connection)

    async def write_eof(self, data: bytes = b"") -> None:
        """All was sent by :meth:`prepare`."""


async def _read_body(request: web.BaseRequest, bytes_max: int) -> bytes | int:
    """The body, or the status that refuses it."""
    if (request.content_length or 0) > bytes_max:
        return 413
    pieces, taken = [], 0
    try:
        async with asyncio.timeout(WANTED_BODY_SECONDS):
            while piece := await request.content.readany():
                taken += len(piece)
                if taken > bytes_max:
                    return 413
                pieces.append(piece)
    except TimeoutError:
        return 408
    except web.RequestPayloadError:
        return 400
    return b"".join(pieces)


async def _discard_body(request: web.BaseRequest, transport: asyncio.Transport) -> None:
    """Take in some of a body that nobody asked for: to close on unread bytes would reset the connection,
    and its sender might never see our answer."""
    if transport.can_write_eof():
        transport.write_eof()
    taken = 0
    with contextlib.suppress(TimeoutError, web.RequestPayloadError):
        async with asyncio.timeout(BODY_SECONDS):
            while taken < BODY_BYTES_MAX and not request.content.at_eof():
                taken += len(await request.content.readany())


class _Connection(web.RequestHandler):
    """aiohttp's protocol, with our words for what is not HTTP."""

    def __init__(self, owner: Listener[Any], server: web.Server, **options: Any) -> None:  # noqa: ANN401  (aiohttp's own)
        super().__init__(server, **options)
        self._owner = owner
        self.is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.arriving.pop(self, None)
        if self._owner.is_closed:  # its handshake was under way
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Malformed requests end here. What the parser said quotes the bytes: it is not passed on."""
        if isinstance(exc, LineTooLong):
            status, message = 431, "the request line or a header is too long"
        elif status == 400:
            message = "the request is not well-formed HTTP"
        else:
            _http_log.error("cannot answer a request", exc_info=exc)
            message = "unexpected error: the mirror's log has more"
        return self._owner.refuse(request.remote or "", status, message)


class _Busy(asyncio.Protocol):
    """For connections beyond the limit: an answer without reading, and the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        answer = problem(StoreError("too many connections", hint="try again in a few seconds"))
        if isinstance(transport, asyncio.Transport):
            transport.write(answer.head + b"Connection: close\r\n\r\n" + answer.body)
            transport.close()


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode("ascii")
