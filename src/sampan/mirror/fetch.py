"""A blob's bytes from an offset, from whichever host gives them first.

Joins the route, the race and the client for :mod:`sampan.mirror.download`, which need not know how a
host is chosen. It holds no bytes and retries nothing of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from sampan.clock import Clock
from sampan.errors import Attempt, HostError
from sampan.mirror.pace import HOPED_BYTES_PER_SECOND
from sampan.mirror.patience import Patience
from sampan.mirror.race import Hedged, Noted, Race, Won, unheard
from sampan.mirror.route import Question, eligible, plan_route
from sampan.oci import Digest
from sampan.upstream.client import BlobStream, RegistryClient
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A body that has begun, and what closes it."""

    stream: BlobStream
    stack: AsyncExitStack

    async def close(self) -> None:
        await self.stack.aclose()


class BlobSource:
    """Where one blob can come from."""

    def __init__(
        self,
        question: Question,
        digest: Digest,
        hosts: Sequence[Host],
        *,
        client: RegistryClient,
        health: Health,
        clock: Clock,
        noted: Noted,
        patience: Patience,
        hedged: Hedged = unheard,
    ) -> None:
        self._hedged = hedged
        self.question = question
        self.digest = digest
        self._hosts = hosts
        self._client = client
        self._health = health
        self._clock = clock
        self._noted = noted
        self._unanswered: set[Host] = set()  # asked for this blob, and gave nothing yet
        self.patience = patience

    async def open(
        self,
        offset: int,
        size: int | None,
        *,
        stop: int | None = None,
        avoid: Collection[Host],
        last: Collection[Host] = (),
        only: Host | None = None,
    ) -> Won[OpenStream]:
        """The first body that begins at ``offset`` or before it, and goes to ``stop`` or beyond. ``avoid``
        is not asked; ``last``, like those that were asked for it in vain, is when nobody else gives;
        ``only`` is the one that may be.

        Raises AllHostsFailed or NotFound.
        """
        asked = [h for h in self._hosts if h not in avoid and only in (None, h)]
        route = plan_route(asked, self.question, self._health).with_last(self._unanswered.union(last))

        async def ask(host: Host, connected: Callable[[], None]) -> OpenStream:
            self._unanswered.add(host)
            async with AsyncExitStack() as stack:
                body = self._client.blob(
                    host,
                    self.question.repository,
                    self.digest,
                    offset=offset,
                    stop=stop,
                    size=size,
                    on_connected=connected,
                )
                stream = await stack.enter_async_context(body)
                self._unanswered.discard(host)
                return OpenStream(stream, stack.pop_all())
            raise AssertionError  # pragma: no cover  # the stack swallows nothing

        race: Race[OpenStream] = Race(
            self.question,
            ask,
            health=self._health,
            clock=self._clock,
            noted=self._noted,
            drop=OpenStream.close,
            patience=self.patience,
            hedged=self._hedged,
            has_spare=self._client.has_spare,
        )
        return await race.run(route)

    def first(self) -> str:
        """Whom :meth:`open` would ask first; empty when nobody may be asked."""
        route = plan_route(self._hosts, self.question, self._health)
        return route.hosts[0].name if route.hosts else ""

    def another(
        self, busy: Collection[Host], *, avoid: Collection[Host], at_worst: Standing = Standing.READY
    ) -> Host | None:
        """The next host for pieces, beside ``busy`` ones and not of ``avoid``: one that is well (or stands
        ``at_worst`` so), on another machine than they, whose requests are not counted, and that has a
        connection to spare."""
        machines = {host.url for host in busy}
        q = self.question
        for host in plan_route(self._hosts, q, self._health).hosts:
            if (
                self._health.judge(host, q.repository, q.kind, str(q.object)).standing <= at_worst
                and host.url not in machines
                and host not in avoid
                and host.requests_per_minute is None
                and self._client.has_room(host)
            ):
                return host
        return None

    def failed(self, host: Host, error: HostError, *, seconds: float, count_bytes: int) -> Attempt:
        """The body of ``host`` ended badly."""
        attempt = Attempt(host.name, error.outcome, seconds, error.status, count_bytes, error.message)
        q = self.question
        self._health.fail(host, q.repository, q.kind, str(q.object), error, attempt)
        if count_bytes:
            self._health.measured(host, count_bytes, seconds)
        self._noted(attempt)
        return attempt

    def delivered(self, host: Host, *, seconds: float, count_bytes: int) -> Attempt:
        """``host`` gave these bytes of a blob that proved right."""
        self._health.succeed(host, self.question.repository, self.question.kind)
        self._health.verified(host, count_bytes, seconds)
        attempt = Attempt(host.name, "ok", seconds, 200, count_bytes)
        self._noted(attempt)
        return attempt

    def is_trusted(self, host: Host) -> bool:
        """Whether its bytes may leave before the whole is verified."""
        return self._health.trusted_to_stream(host)

    def alternative(self, host: Host, avoid: Collection[Host]) -> float | None:
        """The rate that the best other host promises, in bytes a second; None: there is no other."""
        others = [h for h in eligible(self._hosts, self.question) if h != host and h not in avoid]
        q = self.question
        rates = [
            self._health.bytes_per_second(other) or HOPED_BYTES_PER_SECOND
            for other in others
            if self._health.judge(other, q.repository, q.kind, str(q.object)).standing <= Standing.DEMOTED
        ]
        return max(rates, default=None)
