"""Again, and when? What is remembered of each host, and what follows for the next request.

Pure: no I/O, the clock is passed in. The one guarantee: a host that cannot serve costs one failure
a period, not one a blob. It does not order hosts (``mirror/route.py`` does) nor retry anything.

Memory is kept at three levels, because hosts fail at three:

- the *machine* (its URL): connections that fail, rate limits, wrong content, measured speed;
- the *room* (host, repository, manifest or blob): 403 on blobs says nothing of manifests;
- the *object*: a 404 is about one digest or tag.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from sampan.clock import Clock
from sampan.errors import Attempt, Denied, HostError, Missing, RateLimited, TimedOut, Unreachable
from sampan.upstream.host import Host

REST_SECONDS = 10.0  # after the first failure; doubled with each further one
REST_SECONDS_MAX = 600.0
BREAKER_FAILURES = 3  # cheap failures in a row before a host is not asked at all
PROBE_SECONDS = 5.0  # while one request tries a rested host, the others leave it alone
UNAVAILABLE_SECONDS = 3.0  # nothing else can serve: even an open breaker is tried again after this
DENIED_SECONDS = 3600.0  # an allow-list changes slowly, and each refusal counts towards a ban
LOGIN_SECONDS = 300.0  # Docker Hub's outages look like failed logins: shorter
MISSING_SECONDS = 60.0
RATE_LIMIT_SECONDS_MIN, RATE_LIMIT_SECONDS_MAX = 1.0, 3600.0
STRIKE_SECONDS = 600.0
EARNED_BLOBS = 3
EARNED_BYTES = 16 * 1024 * 1024
REMEMBERED_MAX = 50_000  # rooms and objects each: a stranger's names must not fill the memory
REFUSALS_MAX = 50  # by a public host within a day; one well-known mirror bans whoever collects 100 in two
REFUSALS_SECONDS = 86_400.0
SPEED_WEIGHT = 0.3  # of the newest sample in the moving average


class Standing(IntEnum):
    """How good a candidate is, best first; ``OPEN`` and ``DENIED`` are not asked."""

    READY = 0
    DEMOTED = 1
    STRUCK = 2
    OPEN = 3
    DENIED = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """``rest_seconds``: until an ``OPEN`` or ``DENIED`` host may be asked again; ``last``: the failure
    that is remembered, for an answer that needs no request."""

    standing: Standing
    rest_seconds: float = 0.0
    last: Attempt | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """For metrics: ``state`` is ``ready``, ``demoted`` or ``open``."""

    host: str
    kind: str
    state: str
    strikes: int


@dataclass(slots=True)
class _Breaker:
    """Failures in a row and what they cost. ``firm``: the host named the time, so it is kept to."""

    failures: int = 0
    rest_until: float = 0.0
    failed_at: float = 0.0
    opened: bool = False
    firm: bool = False
    last: Attempt | None = None

    def fail(self, now: float, attempt: Attempt, *, open_at: int, rest_seconds: float | None = None) -> None:
        self.failures += 1
        backoff = min(REST_SECONDS * 2 ** min(self.failures - 1, 10), REST_SECONDS_MAX)
        self.rest_until = now + (rest_seconds if rest_seconds is not None else backoff)
        self.failed_at = now
        self.firm = rest_seconds is not None
        self.opened = self.firm or self.failures >= open_at
        self.last = attempt

    def succeed(self) -> None:
        self.failures, self.rest_until, self.opened, self.firm, self.last = 0, 0.0, False, False, None

    def standing(self, now: float) -> Standing:
        if self.failures == 0 or now >= self.rest_until:
            return Standing.READY  # rested: the next request is the probe (see Health.begin)
        return Standing.OPEN if self.opened else Standing.DEMOTED


@dataclass(slots=True)
class _Machine:
    """What is known of a host as a whole. A strike ends trust in its streams until earned anew."""

    breaker: _Breaker
    strikes: int = 0
    struck_until: float = 0.0
    verified_blobs: int = 0
    verified_bytes: int = 0
    bytes_per_second: float | None = None
    refusals: deque[float] = field(default_factory=lambda: deque(maxlen=REFUSALS_MAX))

    def is_overdrawn(self, now: float) -> bool:
        """Whether it has refused so often that more requests could mean a ban."""
        return len(self.refusals) == REFUSALS_MAX and now - self.refusals[0] < REFUSALS_SECONDS


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """A dictionary that forgets its oldest entries."""

    def remember(self, key: Key, value: Value) -> Value:
        self[key] = value
        self.move_to_end(key)
        if len(self) > REMEMBERED_MAX:
            self.popitem(last=False)
        return value


Room = tuple[str, str, str]  # host name, repository, kind


class Health:
    """Everything remembered of all hosts. Not thread-safe: it lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._machines: dict[str, _Machine] = {}
        self._rooms: _Recent[Room, _Breaker] = _Recent()
        self._denied: _Recent[Hashable, tuple[float, Attempt]] = _Recent()

    # -- what is known ---------------------------------------------------------------------------

    def judge(self, host: Host, repository: str, kind: str, object_name: str) -> Verdict:
        """How ``host`` stands for this request now."""
        now = self._clock.monotonic()
        for key in ((host.name, repository, kind), (host.name, repository, kind, object_name)):
            denied = self._denied.get(key)
            if denied is not None and now < denied[0]:
                return Verdict(Standing.DENIED, denied[0] - now, denied[1])
        machine = self._machine(host)
        room = self._rooms.get((host.name, repository, kind))
        worst = max(
            (b for b in (machine.breaker, room) if b is not None),
            key=lambda b: (b.standing(now), b.rest_until),
        )
        standing = worst.standing(now)
        if machine.is_overdrawn(now):
            standing = max(standing, Standing.DEMOTED)
        if now < machine.struck_until:
            standing = max(standing, Standing.STRUCK)
        return Verdict(standing, max(worst.rest_until - now, 0.0), worst.last)

    def may_ask_anyway(self, host: Host, repository: str, kind: str) -> bool:
        """Nothing better is left: whether an ``OPEN`` host may be asked, its last failure being a
        few seconds old. Never before a time that the host named itself."""
        now = self._clock.monotonic()
        breakers = [self._machine(host).breaker, self._rooms.get((host.name, repository, kind))]
        return not any(
            b is not None
            and b.standing(now) is Standing.OPEN
            and (b.firm or now - b.failed_at < UNAVAILABLE_SECONDS)
            for b in breakers
        )

    def trusted_to_stream(self, host: Host) -> bool:
        """Whether large blobs of ``host`` may reach a client before they are verified whole."""
        if host.verify is not None:
            return host.verify == "stream"
        machine = self._machine(host)
        return machine.verified_blobs >= EARNED_BLOBS or machine.verified_bytes >= EARNED_BYTES

    def bytes_per_second(self, host: Host) -> float | None:
        """The measured speed of bodies from ``host``, None before the first measure."""
        return self._machine(host).bytes_per_second

    def states(self) -> list[HostState]:
        """The machines' and the rooms' states, the rooms' worst by kind, for metrics."""
        now = self._clock.monotonic()
        worst: dict[tuple[str, str], Standing] = {}
        for (name, _, kind), breaker in self._rooms.items():
            worst[name, kind] = max(worst.get((name, kind), Standing.READY), breaker.standing(now))
        rooms = [HostState(n, k, s.name.lower(), 0) for (n, k), s in worst.items()]
        machines = [
            HostState(url, "host", m.breaker.standing(now).name.lower(), m.strikes)
            for url, m in self._machines.items()
        ]
        return machines + rooms

    # -- what happened ---------------------------------------------------------------------------

    def begin(self, host: Host, repository: str, kind: str) -> None:
        """A request goes out. If it is the first after a rest it is a probe: until it is known how
        it ended, the others see the host as it was."""
        now = self._clock.monotonic()
        for breaker in (self._machine(host).breaker, self._rooms.get((host.name, repository, kind))):
            if breaker is not None and breaker.failures and now >= breaker.rest_until:
                breaker.rest_until = now + PROBE_SECONDS

    def reached(self, host: Host) -> None:
        """``host`` answered with what was asked for; whether the body arrives whole is open."""
        self._machine(host).breaker.succeed()

    def succeed(self, host: Host, repository: str, kind: str) -> None:
        """An object was delivered whole."""
        self._machine(host).breaker.succeed()
        self._rooms.pop((host.name, repository, kind), None)

    def verified(self, host: Host, count_bytes: int, seconds: float) -> None:
        """A blob proved right that ``host`` gave ``count_bytes`` of, in ``seconds``."""
        machine = self._machine(host)
        machine.verified_blobs += 1
        machine.verified_bytes += count_bytes
        self.measured(host, count_bytes, seconds)

    def measured(self, host: Host, count_bytes: int, seconds: float) -> None:
        """The pace of a body, or of the part that came before it was left."""
        machine = self._machine(host)
        sample = count_bytes / max(seconds, 1e-6)
        old = machine.bytes_per_second
        machine.bytes_per_second = sample if old is None else old + SPEED_WEIGHT * (sample - old)

    def fail(
        self, host: Host, repository: str, kind: str, object_name: str, error: HostError, attempt: Attempt
    ) -> None:
        """``error`` came back; what it says decides what is remembered, and how long."""
        now = self._clock.monotonic()
        machine = self._machine(host)
        if error.status is not None and error.status >= 400 and not host.private:
            machine.refusals.append(now)
        if isinstance(error, Missing):
            self._denied.remember(
                (host.name, repository, kind, object_name), (now + MISSING_SECONDS, attempt)
            )
        elif isinstance(error, Denied):
            seconds = LOGIN_SECONDS if error.status == 401 or error.outcome == "login" else DENIED_SECONDS
            self._denied.remember((host.name, repository, kind), (now + seconds, attempt))
        elif isinstance(error, RateLimited):
            asked = error.retry_after_seconds
            rest = None if asked is None else min(max(asked, RATE_LIMIT_SECONDS_MIN), RATE_LIMIT_SECONDS_MAX)
            machine.breaker.fail(now, attempt, open_at=1, rest_seconds=rest)
            machine.breaker.firm = True
        else:
            # A time-out is dear: one is enough. A refusal costs nothing and may be a restart.
            dear = isinstance(error, TimedOut) or error.outcome in {"connect-timeout", "unroutable"}
            breaker = (
                machine.breaker if isinstance(error, Unreachable) else self._room(host, repository, kind)
            )
            breaker.fail(now, attempt, open_at=1 if dear else BREAKER_FAILURES)
        if error.strike:
            self.strike(host)

    def beaten(self, host: Host, repository: str, kind: str, attempt: Attempt) -> None:
        """A host asked later delivered first: not a failure, but this one goes behind for a while."""
        self._room(host, repository, kind).fail(self._clock.monotonic(), attempt, open_at=BREAKER_FAILURES)

    def strike(self, host: Host) -> None:
        """``host`` gave bytes that do not hash to their digest."""
        machine = self._machine(host)
        machine.strikes += 1
        machine.struck_until = self._clock.monotonic() + STRIKE_SECONDS * machine.strikes
        machine.verified_blobs = machine.verified_bytes = 0

    def _machine(self, host: Host) -> _Machine:
        machine = self._machines.get(host.url)
        if machine is None:
            machine = self._machines[host.url] = _Machine(_Breaker())
        return machine

    def _room(self, host: Host, repository: str, kind: str) -> _Breaker:
        key = (host.name, repository, kind)
        return self._rooms.get(key) or self._rooms.remember(key, _Breaker())
