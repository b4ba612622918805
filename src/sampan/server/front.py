"""What happens to one request between its head and its answer: who asks, for which page, of which mirror.

Guarantees that every request that began also ends, once, in the metrics and in the log, and that a mirror
that was replaced is closed when its last request has ended. It neither reads nor writes a socket.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from sampan.clock import Clock
from sampan.errors import InvalidRequest, SampanError, Unauthorized
from sampan.oci.distribution import Kind
from sampan.server.access import Access
from sampan.server.answer import Answer, document, problem, refusal
from sampan.server.contract import MirrorApi
from sampan.server.log import Pull, PullLog
from sampan.server.metrics import CONTENT_TYPE, Metrics
from sampan.server.v2 import V2, Request, refuse_method

_log = logging.getLogger("sampan.server")


@dataclass(slots=True)
class _Serving:
    """A mirror and the requests that it still answers."""

    v2: V2
    in_flight: int = 0
    retired: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self) -> None:
        self.in_flight -= 1
        if self.retired and self.in_flight == 0:
            self.idle.set()


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``began``: when its head was there, on the monotonic clock."""

    request: Request
    client: str
    began: float
    serving: _Serving
    kind: str = "other"
    pull: Pull | None = None
    first_byte_seconds: float | None = None
    answer: Answer = field(default_factory=lambda: Answer(499, b""))  # nginx's number: the client left first


class Front:
    """All that the server knows, apart from HTTP itself."""

    def __init__(
        self, mirror: MirrorApi, *, instance: str, metrics: Metrics, clock: Clock, access: Access | None
    ) -> None:
        self.metrics = metrics
        self.log = PullLog(clock)
        self.access = access
        self.connections = 0
        self.stopping = False
        self.body_bytes_max = 0
        self._instance = instance
        self._clock = clock
        self._serving = self._serve(mirror)

    def _serve(self, mirror: MirrorApi) -> _Serving:
        self.metrics.serving(mirror)
        return _Serving(V2(mirror, instance=self._instance))

    async def replace_mirror(self, mirror: MirrorApi) -> None:
        """Requests from now on go to ``mirror``; returns when the old one has ended its own and is closed."""
        old, self._serving = self._serving, self._serve(mirror)
        old.retired = True
        if old.in_flight:
            await old.idle.wait()
        await old.v2.mirror.close()

    async def begin(self, request: Request, client: str) -> Exchange:
        """Answer ``request``; whoever called must :meth:`end` it. Raises nothing but CancelledError."""
        exchange = Exchange(request, client, self._clock.monotonic(), self._serving)
        exchange.serving.in_flight += 1
        try:
            exchange.answer = await self._answer(exchange)
        except SampanError as error:
            exchange.answer = problem(error, is_head=request.method == "HEAD")
        except asyncio.CancelledError:
            self.end(exchange, sent_bytes=0, left=True)
            raise
        except Exception:  # noqa: BLE001  (the last line of defence: a client is never shown a traceback)
            _log.exception("unexpected error, please report it")
            exchange.answer = refusal(
                500,
                "UNKNOWN",
                "unexpected error: the mirror's log has more",
                is_head=request.method == "HEAD",
            )
        return exchange

    def tick(self, stalled: int) -> None:
        """Each second: pulls that are over are written, ``stalled`` clients were dropped."""
        self.log.sweep()
        self.metrics.clients_stalled(stalled)

    def connection_refused(self) -> None:
        """One came beyond the limit."""
        self.metrics.connection_refused()

    def refuse(self, client: str, status: int, message: str) -> Exchange:
        """The answer to bytes that are no request."""
        exchange = Exchange(Request("", "", {}), client, self._clock.monotonic(), self._serving, "malformed")
        exchange.serving.in_flight += 1
        exchange.answer = refusal(status, "UNSUPPORTED", message)
        return exchange

    def began_to_send(self, exchange: Exchange) -> None:
        """The first byte of the answer's body may leave."""
        exchange.first_byte_seconds = self._clock.monotonic() - exchange.began

    def end(self, exchange: Exchange, *, sent_bytes: int, left: bool = False, error: str = "") -> None:
        """The answer was sent, or the client ``left``, or it was cut short because of ``error``."""
        exchange.serving.leave()
        answer = exchange.answer
        if left:
            self.metrics.client_left()
        if error:
            self.metrics.answer_cut()
        self.metrics.requests.add(
            exchange.kind,
            answer.status,
            seconds=self._clock.monotonic() - exchange.began,
            first_byte_seconds=exchange.first_byte_seconds,
            source=answer.source,
            sent_bytes=sent_bytes,
        )
        attempts = answer.attempts
        if answer.blob is not None:
            attempts = answer.blob.attempts  # by now it knows more than when it began
            answer.blob.close()
        if exchange.pull is not None:
            self.log.end(
                exchange.pull,
                502 if error else answer.status,
                answer.source,
                attempts,
                sent_bytes=sent_bytes,
                first_byte_seconds=exchange.first_byte_seconds,
                left=left,
            )
        if error or answer.error:
            request = exchange.request
            shown = f"cut short: {error}" if error else answer.error
            self.log.failed(exchange.client, request.method, request.raw_target, answer.status, shown)

    async def _answer(self, exchange: Exchange) -> Answer:
        request = exchange.request
        if request.method not in ("GET", "HEAD"):
            return refuse_method(request.method)
        if not request.raw_target.startswith("/v2"):
            return await self._page(exchange)
        user = await self._login(request)
        v2 = exchange.serving.v2
        asked = v2.parse(request.raw_target)
        exchange.kind = asked.target.kind.value
        if asked.target.kind is not Kind.BASE:
            agent = request.headers.get("User-Agent", "")
            exchange.pull = self.log.begin(exchange.client, user, agent, asked.target)
        return await v2.answer(request, asked)

    async def _login(self, request: Request) -> str:
        if self.access is None:
            return ""
        try:
            return await self.access.login(request.headers.get("Authorization"))
        except Unauthorized:
            self.metrics.login_refused()
            raise

    async def _page(self, exchange: Exchange) -> Answer:
        """The pages for machines that watch; all but the metrics without a login."""
        request = exchange.request
        is_head = request.method == "HEAD"
        path = request.raw_target.partition("?")[0]
        if path == "/healthz":
            return document(200, b"ok\n", media_type="text/plain", is_head=is_head)
        if path == "/readyz":
            return await self._readiness(exchange.serving.v2.mirror, is_head)
        if path == "/metrics":
            await self._login(request)
            text = await self.metrics.render(self.connections)
            return document(200, text, media_type=CONTENT_TYPE, is_head=is_head)
        if not path.startswith("/"):
            raise InvalidRequest("the request target is not a path")
        hint = {"hint": "the API is under /v2/; there are /healthz, /readyz and /metrics"}
        return refusal(404, "NAME_UNKNOWN", "there is nothing here", detail=hint, is_head=is_head)

    async def _readiness(self, mirror: MirrorApi, is_head: bool) -> Answer:
        """Ready: a configuration is loaded, the store takes writes, and nobody asked us to stop."""
        if self.stopping:
            return refusal(503, "UNAVAILABLE", "stopping", is_head=is_head)
        await asyncio.to_thread(mirror.store.check_writable)
        return document(200, b"ready\n", media_type="text/plain", is_head=is_head)

    async def close(self) -> None:
        """After the last request: what is remembered is written, the mirror is closed."""
        self.log.flush()
        if self.access is not None:
            await self.access.close()
        await self._serving.v2.mirror.close()
