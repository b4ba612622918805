"""Walks walked in truth: each request asked through our own transport, as the runtime would be connected.

Guarantees few requests, however many chains are replayed: what was answered is not asked again, a host that
cannot be reached is tried once, and of a layer a part is read. No login of a runtime's files is shown to a
realm of another operator, though the runtime would (:class:`Withheld`), and nothing is written anywhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from sampan.clock import Clock
from sampan.doctor.chain.containerd_walk import END
from sampan.doctor.chain.contract import Answer, Ask, Chain, Outcome, Walk
from sampan.doctor.chain.entry_hosts import Hosts
from sampan.doctor.chain.failures import PLAIN_HTTP, Met, in_go
from sampan.errors import ConfigError, HostError
from sampan.runtimes.tree import Tree
from sampan.upstream.auth import may_see_credentials
from sampan.upstream.call import Call
from sampan.upstream.host import Host
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.response import Response
from sampan.upstream.trail import TRAIL, Hop, Trail
from sampan.upstream.transport import Transport
from sampan.upstream.url import Url, parse_url

KIB = 1024
BLOB_BYTES_MAX = 64 * KIB  # of a blob that is read; a smaller one is read whole, and checked
MANIFEST_BYTES_MAX = 4 * KIB * KIB
ERROR_BYTES_MAX = 64 * KIB
HOPS_MAX = 100  # of one request: redirects are few
FIRST_BYTE_SECONDS = 6.0
READ_SECONDS = 4.0  # between two pieces: what is silent for so long is cut
_KEPT = ("content-type", "content-length", "docker-content-digest", "www-authenticate", "location")
_UNCONNECTED = frozenset(
    {"dns", "refused", "unroutable", "connect-timeout", "tls", "proxy", "blocked-address"}
)


class Withheld(Exception):
    """A request that is not made: how the pull ends is not known. ``args``: why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a walk and its answer; ``times``: so often the runtime asks it in a row."""

    ask: Ask
    answer: Answer
    times: int = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """``outcome`` None: not known, for ``withheld``."""

    chain: Chain
    steps: tuple[Step, ...]
    outcome: Outcome | None
    withheld: str | None = None


@dataclass(eq=False)
class Replay:
    """Asks on behalf of runtimes whose files are in ``tree``. Lives on one event loop."""

    tree: Tree
    clock: Clock
    user_agent: str = "sampan"
    _transports: dict[ProxySettings, Transport] = field(default_factory=dict)
    _answers: dict[object, asyncio.Task[Answer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._hosts = Hosts(self.tree)

    async def run(self, chain: Chain, walk: Walk) -> Replayed:
        """Walk ``walk`` to its end."""
        steps: list[Step] = []
        try:
            ask = next(walk)
            while True:
                if ask.again and steps:
                    steps[-1] = replace(steps[-1], times=steps[-1].times + 1)
                else:
                    steps.append(Step(ask, await self._answer(chain, ask)))
                ask = walk.send(steps[-1].answer)
        except StopIteration as done:
            return Replayed(chain, tuple(steps), done.value)
        except Withheld as reason:
            return Replayed(chain, tuple(steps), None, str(reason))
        finally:
            walk.close()

    async def close(self) -> None:
        """Nothing is asked any more."""
        for task in self._answers.values():
            task.cancel()
        await asyncio.gather(*self._answers.values(), return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()
        self._hosts.close()

    # -- one request -----------------------------------------------------------------------------

    async def _answer(self, chain: Chain, ask: Ask) -> Answer:
        """Asked, or remembered: two who ask the same at one time wait for one answer."""
        entry = replace(ask.entry, place=None, resolves=True, pulls=True, namespace=None)
        url = parse_url(ask.url)
        unreachable = self._answers.get((entry, url.origin))
        if unreachable is not None:
            return await asyncio.shield(unreachable)
        key = (entry, ask.method, ask.url, ask.offset, ask.authorization is not None, ask.form is not None)
        task = self._answers.get(key)
        if task is None:
            task = self._answers[key] = asyncio.create_task(self._ask(chain, ask, url))
        answer = await asyncio.shield(task)
        if answer.outcome in _UNCONNECTED and answer.behind is None:
            self._answers[entry, url.origin] = task
        return answer

    async def _ask(self, chain: Chain, ask: Ask, url: Url) -> Answer:
        began = self.clock.monotonic()
        self._check_login(ask, url)
        trail = Trail(url, HOPS_MAX)
        TRAIL.set(trail)  # of this request's own task
        try:
            host = self._hosts.of(ask.entry)
            answer = await self._exchange(chain, host, ask, url)
        except ConfigError as error:
            raise Withheld(error.message) from error
        except HostError as error:
            words = in_go(error, _met(url, trail.hops, chain.nameserver))
            if words == PLAIN_HTTP and ask.entry.may_be_http:
                plain = replace(ask, entry=replace(ask.entry, scheme="http", may_be_http=False))
                return await self._ask(chain, plain, Url("http", url.host, url.port, url.target))
            answer = Answer(failure=words, behind=error.behind, outcome=error.outcome)
        return replace(answer, seconds=self.clock.monotonic() - began)

    async def _exchange(self, chain: Chain, host: Host, ask: Ask, url: Url) -> Answer:
        headers = {"Accept": ask.accept}
        if ask.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if ask.part == "blob" and (ask.size_bytes or 0) - ask.offset > BLOB_BYTES_MAX:
            headers["Range"] = f"bytes={ask.offset}-{ask.offset + BLOB_BYTES_MAX - 1}"
        elif ask.offset:
            headers["Range"] = f"bytes={ask.offset}-"
        call = Call(
            ask.method,
            headers,
            ask.authorization,
            ask.form,
            first_byte_seconds=FIRST_BYTE_SECONDS,
            read_seconds=READ_SECONDS,
            login=ask.part == "token",
        )
        async with await self._transport(chain).request(host, url, call) as response:
            return await _read(ask, response)

    def _check_login(self, ask: Ask, url: Url) -> None:
        """Raises Withheld where a login of a file would be shown to somebody else."""
        if ask.part != "token" or (ask.authorization is None and ask.form is None):
            return
        if not may_see_credentials(parse_url(ask.entry.base), url):
            raise Withheld(f"the login for {ask.entry.netloc} is not shown to {url.netloc}")

    def _transport(self, chain: Chain) -> Transport:
        proxies = chain.proxies
        if proxies not in self._transports:
            self._transports[proxies] = Transport(proxies=proxies, user_agent=self.user_agent)
        return self._transports[proxies]


async def _read(ask: Ask, response: Response) -> Answer:
    """The answer with as much of its body as is worth reading."""
    headers = {name: value for name in _KEPT if (value := response.header(name)) is not None}
    limit = 0 if ask.method == "HEAD" else _limit(ask, response.status)
    body, broken = b"", None
    try:
        while len(body) <= limit and limit and (piece := await response.read_some()):
            body += piece
    except HostError as error:
        broken = END if error.outcome == "truncated" else in_go(error, Met(response.url))
    asked_for_all = ask.part != "blob" or (ask.size_bytes or 0) - ask.offset <= BLOB_BYTES_MAX
    whole = len(body) <= limit and asked_for_all
    return Answer(response.status, headers, body[: limit or None], whole, None, broken, response.behind)


def _limit(ask: Ask, status: int) -> int:
    if status > 299 or ask.part == "token":
        return ERROR_BYTES_MAX
    return BLOB_BYTES_MAX if ask.part == "blob" else MANIFEST_BYTES_MAX


def _met(url: Url, hops: list[Hop], nameserver: str) -> Met:
    """What the last hop came to."""
    last = hops[-1] if hops else None
    if last is None:
        return Met(url, nameserver=nameserver)
    address = last.dialled[-1] if last.dialled else None
    return Met(last.url, address, last.certificate, nameserver, next(reversed(last.phases), None))
