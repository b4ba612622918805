"""The HTTP side that all fakes share: records of requests, scripted faults, expectations.

A subclass answers correctly (:meth:`FakeServer.answer`); a script then spoils the answers that it is
meant for. Every request is recorded before it is answered, also one that is never answered.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sampan.clock import Clock, SystemClock
from sampan.testing.delivery import deliver
from sampan.testing.listener import Listener
from sampan.testing.match import Counter, Match
from sampan.testing.wire import MalformedRequest, Reply, Request, error_reply, read_request

if TYPE_CHECKING:
    import ssl

    from sampan.testing.fault import Fault


@dataclass(frozen=True, slots=True)
class _Script:
    fault: Fault
    counter: Counter


class FakeServer(Listener):
    """An HTTP/1.1 server on loopback that can be told to misbehave.

    ``strict``: a request that neither :meth:`expect` nor :meth:`script` names fails the test when the
    server is closed; without a call of either, no request at all may come.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        hostname: str | None = None,
        clock: Clock | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(name, host=host, port=port, tls=tls, hostname=hostname)
        self.clock = clock or SystemClock()
        self.requests: list[Request] = []
        self.unexpected: list[Request] = []
        self._strict = strict
        self._scripts: list[_Script] = []
        self._expected: list[Counter] = []
        self._changed = asyncio.Event()

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """The right answer; fills in what the request names (``kind`` and so on) on the way."""

    def script(self, fault: Fault, *, on: Match | None = None, times: int | None = None) -> None:
        """Answer the requests that ``on`` means with ``fault``, at most ``times`` times.

        What ``on`` leaves open is filled in by the fault's own match. Of several scripts that mean a
        request, the one that was given first has it.
        """
        self._scripts.append(_Script(fault, Counter((on or Match()).or_else(fault.on), times)))

    def behave(self) -> None:
        """Forget all scripts: answer correctly from now on."""
        self._scripts.clear()

    def expect(self, on: Match | None = None, *, times: int | None = None) -> None:
        """Say that such requests may come, at most ``times`` of them (see ``strict``)."""
        self._expected.append(Counter(on or Match(), times))

    @property
    def faulted(self) -> list[Request]:
        """The requests that met a fault."""
        return [request for request in self.requests if request.fault is not None]

    def count(
        self,
        kind: str | None = None,
        *,
        method: str | None = None,
        repository: str | None = None,
        tag: str | None = None,
        digest: str | None = None,
        ranged: bool | None = None,
        fault_met: bool | None = None,
    ) -> int:
        """How many requests of that sort have arrived."""
        on = Match(kind, method, repository, tag, digest, ranged=ranged)
        return sum(on.meets(one) and fault_met in (None, one.fault is not None) for one in self.requests)

    async def wait_for(self, on: Match | None = None, *, times: int = 1) -> Request:
        """Wait until ``times`` such requests have arrived (since the start); the last of them."""
        wanted = on or Match()
        while len(found := [one for one in self.requests if wanted.meets(one)]) < times:
            self._changed.clear()
            await self._changed.wait()
        return found[times - 1]

    def complaints(self) -> list[str]:
        asked = [f"unexpected request {one.method} {one.target}" for one in self.unexpected]
        return super().complaints() + asked

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        going_on = True
        while going_on:
            try:
                request = await read_request(reader)
            except MalformedRequest as error:
                writer.write(error_reply(400, "UNSUPPORTED", str(error)).encoded())
                return
            if request is None:
                return
            request.connection = number
            going_on = await deliver(self.take(request), request, reader, writer) and request.keeps_alive
            request.finished = True

    def take(self, request: Request) -> Reply:
        """Record the request and decide what it gets: the right answer, or what a script makes of it."""
        request.at = self.clock.monotonic()
        reply = self.answer(request)
        script = next((one for one in self._scripts if one.counter.takes(request)), None)
        if script is not None:
            request.fault = script.fault.name
            reply = script.fault.change(request, reply)
        elif self._strict and not any(one.takes(request) for one in self._expected):
            self.unexpected.append(request)
        if not request.keeps_alive:
            reply = replace(reply, headers=(*reply.headers, ("Connection", "close")))
        request.status = reply.status
        self.requests.append(request)
        self._changed.set()
        return reply
