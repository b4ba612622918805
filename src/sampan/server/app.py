"""The HTTP server: the only module that knows aiohttp's.

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
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from sampan.clock import Clock, SystemClock
from sampan.errors import ConfigError, SampanError, StoreError
from sampan.server.access import load_htpasswd
from sampan.server.answer import problem
from sampan.server.contract import MirrorApi
from sampan.server.front import Exchange, Front
from sampan.server.metrics import Metrics
from sampan.server.sending import Wire
from sampan.server.settings import ServerSettings
from sampan.server.stall import StallWatch
from sampan.server.v2 import Request

REQUEST_LINE_BYTES_MAX = 8190  # what clients and proxies take for granted; a digest and a name need 600
HEADER_BYTES_MAX = 16 * 1024  # one field: some registries' bearer tokens have 8 KiB
HEADERS_MAX = 100
BACKLOG = 1024  # a cluster that starts all at once
BODY_BYTES_MAX = 1024 * 1024  # of a request that should have none, read so that its sender sees the answer
BODY_SECONDS = 1.0
TLS_HANDSHAKE_SECONDS = 10.0
TICK_SECONDS = 1.0
ABORT_SECONDS = 5.0  # for handlers to notice that their connection is gone
GRACE_SECONDS = 30.0  # as long as Kubernetes waits, after SIGTERM, by default

HTTP_1_1 = (1, 1)

_http_log = logging.getLogger("sampan.http")
_no_access_log = logging.getLogger("sampan.http.access")  # switched off: ours is written by Front
_no_access_log.disabled = True


class Server:
    """A mirror on a port. One event loop, the standard one: it has the kernel's sendfile."""

    def __init__(
        self,
        mirror: MirrorApi,
        settings: ServerSettings,
        *,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises :class:`ConfigError` for a bad htpasswd file or certificate."""
        self._clock = clock or SystemClock()
        self._settings = settings
        self._tls = _load_tls(settings)
        self.metrics = metrics or Metrics(self._clock)
        self.stalls = StallWatch(self._clock, limit_seconds=settings.stall_seconds)
        self.front = Front(
            mirror,
            instance=settings.instance,
            metrics=self.metrics,
            clock=self._clock,
            access=load_htpasswd(settings.htpasswd, self._clock) if settings.htpasswd else None,
        )
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._retiring: set[asyncio.Task[None]] = set()

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
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
                hint="is another sampan running? server.listen says where this one is",
            ) from error
        self._ticking = loop.call_later(TICK_SECONDS, self._tick)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take no more connections, let answers under way end within ``grace_seconds``, close the mirror."""
        self.front.stopping = True
        if self._ticking is not None:
            self._ticking.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._web is not None:
            self._web.pre_shutdown()
            for connection in self._web.connections:
                if isinstance(connection, _Connection) and not connection.is_answering:
                    connection.force_close()
            await self._gone(self._web, grace_seconds)
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._gone(self._web, ABORT_SECONDS)
        if self._retiring:
            await asyncio.wait(self._retiring)
        await self.front.close()

    async def _gone(self, server: web.Server, seconds: float) -> None:
        """Wait until no connection is left, ``seconds`` at most."""
        deadline = time.monotonic() + seconds
        # aiohttp has no event for it, and this is no hot path.
        while server.connections and time.monotonic() < deadline:  # noqa: ASYNC110  (see above)
            await asyncio.sleep(0.01)

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
                _load_chain(self._tls, settings.tls_cert, settings.tls_key)
            self.front.access = access
        task = asyncio.get_running_loop().create_task(self.front.replace_mirror(mirror))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _tick(self) -> None:
        self.front.log.sweep()
        self.metrics.clients_stalled(self.stalls.sweep())
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _connect(self, server: web.Server) -> asyncio.Protocol:
        self.front.connections = len(server.connections)
        if self.front.connections >= self._settings.connections_max:
            self.metrics.connection_refused()
            return _Busy()
        return _Connection(
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

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        client = request.remote or ""
        hosts = request.headers.getall("Host", ())
        if len(hosts) != 1 and (hosts or request.version >= HTTP_1_1):
            return self.reply(self.front.refuse(client, 400, "expected one Host header"), stay=False)
        asked = Request(request.method, _origin_form(request.raw_path), request.headers)
        if isinstance(request.protocol, _Connection):
            request.protocol.is_answering = True
        exchange = await self.front.begin(asked, client)
        stay = request.keep_alive and not request.body_exists and request.method in ("GET", "HEAD")
        return self.reply(exchange, stay=stay and not self.front.stopping)

    def reply(self, exchange: Exchange, *, stay: bool) -> web.StreamResponse:
        """How aiohttp is told; ``stay``: the connection is kept for the next request."""
        return _Reply(self.front, self.stalls, exchange, stay)


class _Reply(web.StreamResponse):
    """Sends an answer itself: its head is ready, its body is a few bytes or a file."""

    def __init__(self, front: Front, stalls: StallWatch, exchange: Exchange, stay: bool) -> None:
        super().__init__(status=exchange.answer.status)
        self._front = front
        self._stalls = stalls
        self._exchange = exchange
        self._stay = stay

    @property
    def keep_alive(self) -> bool:
        return self._stay

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
        if request.body_exists:
            await _discard_body(request, wire.transport)

    def _last_fields(self, request: web.BaseRequest) -> bytes:
        if not self._stay:
            connection = b"Connection: close\r\n"
        else:
            connection = b"" if request.version >= HTTP_1_1 else b"Connection: keep-alive\r\n"
        return b"Date: %b\r\n%b\r\n" % (_date(int(time.time())), connection)

    async def write_eof(self, data: bytes = b"") -> None:
        """All was sent by :meth:`prepare`."""


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

    def __init__(self, owner: Server, server: web.Server, **options: Any) -> None:  # noqa: ANN401  (aiohttp's own)
        super().__init__(server, **options)
        self._owner = owner
        self.is_answering = False

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
        exchange = self._owner.front.refuse(request.remote or "", status, message)
        return self._owner.reply(exchange, stay=False)


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


def _origin_form(raw_target: str) -> str:
    """The path and query of a request target. Proxies' clients send a whole URL, whose host is not ours to
    believe (RFC 9112 section 3.2.2)."""
    if raw_target.startswith("/") or "://" not in raw_target[:8]:
        return raw_target
    slash = raw_target.find("/", raw_target.index("://") + 3)
    return raw_target[slash:] if slash >= 0 else "/"


def _load_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    if not (settings.tls_cert and settings.tls_key):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, settings.tls_cert, settings.tls_key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot load the certificate {certificate} with the key {key}: {error}",
            hint="server.tls_cert and server.tls_key are PEM files that belong together",
        ) from error
