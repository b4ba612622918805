"""Again, and when? What is remembered of each host, and what follows for the next request.

Pure: no I/O, the clock is passed in. The one guarantee: a host that cannot serve costs one failure
a period, not one a blob. It does not order hosts (``mirror/route.py`` does) nor retry anything.

Memory is kept at the levels at which hosts fail:

- the *machine* (its URL): connections that fail, rate limits, wrong content, measured speed;
- the *branch* (machine, manifest or blob): silence, whatever the repository. The storage that a host
  redirects to has branches of its own, which count for every host that was seen to lead there;
- the *room* (host, repository, manifest or blob): 403 on blobs says nothing of manifests;
- the *object*: a 404 is about one digest or tag, and so is a refusal of the storage.

Rooms and objects belong to the host as it is configured: a corrected login begins anew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from sampan.clock import Clock
from sampan.errors import Attempt, Denied, HostError, Interrupted, Missing, RateLimited, TimedOut, Unreachable
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
REMEMBERED_MAX = 50_000  # of each kind: a stranger's names must not fill the memory
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
    """Failures in a row and what they cost. ``firm``: the host named the time, so it is kept to.
    ``probing``: the rest is over, and one request finds out."""

    failures: int = 0
    rest_until: float = 0.0
    failed_at: float = 0.0
    opened: bool = False
    firm: bool = False
    probing: bool = False
    last: Attempt | None = None

    def fail(
        self,
        now: float,
        attempt: Attempt,
        *,
        open_at: int,
        rest_seconds: float | None = None,
        firm: bool = False,
    ) -> None:
        self.failures += 1
        self.failed_at = now
        if self.holds(now) and rest_seconds is None:
            return  # whatever else fails does not shorten the time that the host named
        backoff = min(REST_SECONDS * 2 ** min(self.failures - 1, 10), REST_SECONDS_MAX)
        self.rest_until = now + (rest_seconds if rest_seconds is not None else backoff)
        self.firm, self.probing = firm, False
        self.opened = firm or self.failures >= open_at
        self.last = attempt

    def fail_once(self, now: float, attempt: Attempt) -> None:
        """A failure that many requests meet at the same time: those in flight are told nothing new."""
        if self.probing or now >= self.rest_until:
            self.fail(now, attempt, open_at=BREAKER_FAILURES)

    def holds(self, now: float) -> bool:
        """Whether a time that the host named is not over yet: no success ends it either."""
        return self.firm and not self.probing and now < self.rest_until

    def succeed(self, now: float) -> None:
        if not self.holds(now):
            self.failures, self.rest_until, self.last = 0, 0.0, None
            self.opened = self.firm = self.probing = False

    def probe(self, now: float) -> None:
        if self.failures and now >= self.rest_until:
            self.rest_until, self.probing = now + PROBE_SECONDS, True

    def excuse(self, now: float) -> None:
        if self.probing:
            self.rest_until, self.probing = now, False

    def standing(self, now: float) -> Standing:
        if self.failures == 0 or now >= self.rest_until:
            return Standing.READY  # rested: the next request is the probe (see Health.begin)
        return Standing.OPEN if self.opened else Standing.DEMOTED


@dataclass(slots=True)
class _Machine:
    """What is known of a host as a whole. A strike ends trust in its streams until earned anew."""

    breaker: _Breaker = field(default_factory=_Breaker)
    strikes: int = 0
    struck_until: float = 0.0
    verified_blobs: int = 0
    verified_bytes: int = 0
    bytes_per_second: float | None = None
    refusals: deque[float] | None = None  # most machines refuse nothing, and need no room for it

    def refuse(self, now: float) -> None:
        self.refusals = self.refusals or deque(maxlen=REFUSALS_MAX)
        self.refusals.append(now)

    def is_overdrawn(self, now: float) -> bool:
        """Whether it has refused so often that more requests could mean a ban."""
        if self.refusals is None or len(self.refusals) < REFUSALS_MAX:
            return False
        return now - self.refusals[0] < REFUSALS_SECONDS


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """A dictionary that forgets what was used the longest time ago."""

    def remember(self, key: Key, value: Value) -> Value:
        self[key] = value
        self.move_to_end(key)
        while len(self) > REMEMBERED_MAX:
            self.popitem(last=False)
        return value

    def of(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made if there is none."""
        known = self.get(key)
        return self.remember(key, make() if known is None else known)


Branch = tuple[str, str]  # the URL of a machine or the netloc of a storage; kind
Room = tuple[Host, str, str]  # host, repository, kind
Thing = tuple[Host, str, str, str]  # host, repository, kind, digest or tag


class Health:
    """Everything remembered of all hosts. Not thread-safe: it lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._machines: _Recent[str, _Machine] = _Recent()
        self._branches: _Recent[Branch, _Breaker] = _Recent()
        self._storages: _Recent[Branch, str] = _Recent()  # the one behind a machine that failed last
        self._rooms: _Recent[Room, _Breaker] = _Recent()
        self._things: _Recent[Thing, _Breaker] = _Recent()
        self._denied: _Recent[Room | Thing, tuple[float, Attempt]] = _Recent()

    # -- what is known ---------------------------------------------------------------------------

    def judge(self, host: Host, repository: str, kind: str, object_name: str) -> Verdict:
        """How ``host`` stands for this request now."""
        now = self._clock.monotonic()
        keys: tuple[Room | Thing, ...] = (host, repository, kind), (host, repository, kind, object_name)
        for key in keys:
            denied = self._denied.get(key)
            if denied is not None and now < denied[0]:
                return Verdict(Standing.DENIED, denied[0] - now, denied[1])
        machine = self._known(host)
        worst = max(
            self._breakers(host, repository, kind, object_name),
            key=lambda b: (b.standing(now), b.rest_until),
        )
        standing = worst.standing(now)
        if machine.is_overdrawn(now):
            standing = max(standing, Standing.DEMOTED)
        if now < machine.struck_until:
            standing = max(standing, Standing.STRUCK)
        return Verdict(standing, max(worst.rest_until - now, 0.0), worst.last)

    def may_ask_anyway(self, host: Host, repository: str, kind: str, object_name: str = "") -> bool:
        """Nothing better is left: whether an ``OPEN`` host may be asked, its last failure being a
        few seconds old. Never before a time that the host named itself."""
        now = self._clock.monotonic()
        return not any(
            b.standing(now) is Standing.OPEN and (b.firm or now - b.failed_at < UNAVAILABLE_SECONDS)
            for b in self._breakers(host, repository, kind, object_name)
        )

    def trusted_to_stream(self, host: Host) -> bool:
        """Whether large blobs of ``host`` may reach a client before they are verified whole."""
        if host.verify is not None:
            return host.verify == "stream"
        machine = self._known(host)
        return machine.verified_blobs >= EARNED_BLOBS or machine.verified_bytes >= EARNED_BYTES

    def bytes_per_second(self, host: Host) -> float | None:
        """The measured speed of bodies from ``host``, None before the first measure."""
        return self._known(host).bytes_per_second

    def states(self) -> list[HostState]:
        """The machines' states, and those of what they give, the rooms' worst by kind, for metrics."""
        now = self._clock.monotonic()
        worst: dict[tuple[str, str], Standing] = {
            branch: breaker.standing(now) for branch, breaker in self._branches.items()
        }
        for (host, _, kind), breaker in self._rooms.items():
            of_kind = host.name, kind
            worst[of_kind] = max(worst.get(of_kind, Standing.READY), breaker.standing(now))
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
        for breaker in self._breakers(host, repository, kind):
            breaker.probe(now)

    def excuse(self, host: Host, repository: str, kind: str) -> None:
        """What :meth:`begin` announced ended without a word of the host: nobody knows more than before,
        and the next request may be the probe."""
        now = self._clock.monotonic()
        for breaker in self._breakers(host, repository, kind):
            breaker.excuse(now)

    def reached(self, host: Host, kind: str = "") -> None:
        """``host`` answered with what was asked for; whether the body arrives whole is open."""
        now = self._clock.monotonic()
        self._machine(host).breaker.succeed(now)
        for breaker in self._branches_of(host, kind):
            breaker.succeed(now)

    def succeed(self, host: Host, repository: str, kind: str) -> None:
        """An object was delivered whole."""
        self.reached(host, kind)
        self._rooms.pop((host, repository, kind), None)

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
        self,
        host: Host,
        repository: str,
        kind: str,
        object_name: str,
        error: HostError,
        attempt: Attempt,
        *,
        answered: bool = True,
    ) -> None:
        """``error`` came back; what it says decides what is remembered, and how long. ``answered``: whether
        an answer had begun."""
        now = self._clock.monotonic()
        if error.behind is not None:
            self._storages.remember((host.url, kind), error.behind)
        elif error.status is not None and error.status >= 400 and not host.private:
            self._machine(host).refuse(now)
        if isinstance(error, Missing):
            until = now + MISSING_SECONDS
            self._denied.remember((host, repository, kind, object_name), (until, attempt))
        elif isinstance(error, Denied) and error.behind is None:
            seconds = LOGIN_SECONDS if error.status == 401 or error.outcome == "login" else DENIED_SECONDS
            self._denied.remember((host, repository, kind), (now + seconds, attempt))
        else:
            self._broke(host, (host, repository, kind, object_name), error, attempt, answered=answered)
        if error.strike:
            self.strike(host)

    def _broke(self, host: Host, thing: Thing, error: HostError, attempt: Attempt, *, answered: bool) -> None:
        now = self._clock.monotonic()
        kind = thing[2]
        # Where the machine failed to serve, or the storage that it led to: that one's manifests are well.
        place = self._machine(host).breaker if error.behind is None else self._branch(error.behind, kind)
        # A time-out is dear: one is enough. A refusal costs nothing and may be a restart.
        dear = isinstance(error, TimedOut) or error.outcome in {"connect-timeout", "unroutable"}
        open_at = 1 if dear else BREAKER_FAILURES
        if isinstance(error, RateLimited):
            asked = error.retry_after_seconds
            rest = None if asked is None else min(max(asked, RATE_LIMIT_SECONDS_MIN), RATE_LIMIT_SECONDS_MAX)
            place.fail(now, attempt, open_at=1, rest_seconds=rest, firm=True)
        elif isinstance(error, Unreachable):
            place.fail(now, attempt, open_at=open_at)
        elif isinstance(error, Denied):  # by the storage: it may be about this one, or about us
            one = self._things.of(thing, _Breaker)
            one.fail(now, attempt, open_at=1, rest_seconds=MISSING_SECONDS)
            place.fail_once(now, attempt)
        elif isinstance(error, Interrupted) and not answered:  # many at a time where a line flaps
            self._branch(error.behind or host.url, kind).fail_once(now, attempt)
        else:
            self._rooms.of(thing[:3], _Breaker).fail(now, attempt, open_at=open_at)
            if error.outcome == "first-byte-timeout":
                self._branch(error.behind or host.url, kind).fail_once(now, attempt)

    def beaten(self, host: Host, kind: str, attempt: Attempt, *, connected: bool) -> None:
        """A host asked later delivered first: not a failure, but this one goes behind for a while; for
        whatever it could be asked, if it was not even ``connected``."""
        place = self._branch(host.url, kind) if connected else self._machine(host).breaker
        place.fail_once(self._clock.monotonic(), attempt)

    def strike(self, host: Host) -> None:
        """``host`` gave bytes that do not hash to their digest."""
        machine = self._machine(host)
        machine.strikes += 1
        machine.struck_until = self._clock.monotonic() + STRIKE_SECONDS * machine.strikes
        machine.verified_blobs = machine.verified_bytes = 0

    # -- where it is kept --------------------------------------------------------------------------

    def _known(self, host: Host) -> _Machine:
        """To look at: a host that was never asked takes no memory."""
        return self._machines.get(host.url) or _Machine()

    def _machine(self, host: Host) -> _Machine:
        return self._machines.of(host.url, _Machine)

    def _branch(self, machine: str, kind: str) -> _Breaker:
        return self._branches.of((machine, kind), _Breaker)

    def _branches_of(self, host: Host, kind: str) -> list[_Breaker]:
        """Those of the machine, and of the storage behind it."""
        storage = self._storages.get((host.url, kind))
        keys = [(host.url, kind)] if storage is None else [(host.url, kind), (storage, kind)]
        return [breaker for key in keys if (breaker := self._branches.get(key)) is not None]

    def _breakers(self, host: Host, repository: str, kind: str, object_name: str = "") -> list[_Breaker]:
        """All that could keep ``host`` from being asked."""
        others = (
            self._known(host).breaker,
            self._rooms.get((host, repository, kind)),
            self._things.get((host, repository, kind, object_name)),
        )
        return [*(b for b in others if b is not None), *self._branches_of(host, kind)]
