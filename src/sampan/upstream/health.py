"""Again, and when? What is remembered of each host, and what follows for the next request.

Pure: no I/O, the clock is passed in. The one guarantee: a host that cannot serve costs one failure
a period, not one a blob. It does not order hosts (``mirror/route.py`` does) nor retry anything.

Memory is kept at the levels at which hosts fail:

- the *machine* (its URL): connections that fail, rate limits, wrong content, measured speed;
- the *branch* (machine, manifest or blob): silence, whatever the repository. The storage that a host
  redirects to has branches of its own, which count for every host that was seen to lead there;
- the *room* (host, repository, manifest or blob): 403 on blobs says nothing of manifests;
- the *object*: a 404 is about one digest or tag, and so is a refusal of the storage.

Two more have modules of their own: pulls that are counted (``quota``), by login, and refusals that could
mean a ban (``budget``), by operator.

Rooms and objects belong to the host as it is configured: a corrected login begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from sampan.clock import Clock
from sampan.errors import (
    Attempt,
    Denied,
    HostError,
    Interrupted,
    Missing,
    OtherSize,
    OverBudget,
    PullLimited,
    RateLimited,
    Unreachable,
)
from sampan.upstream.breaker import BREAKER_FAILURES, Breaker, Standing
from sampan.upstream.budget import Budget
from sampan.upstream.host import Host
from sampan.upstream.quota import Quota
from sampan.upstream.recent import Recent
from sampan.upstream.tempo import Tempo

__all__ = ["Health", "HostState", "Standing", "Verdict"]

NEVER = 1_000_000  # a manifest that lies about sizes must not take honest hosts away from others' images
UNAVAILABLE_SECONDS = 3.0  # nothing else can serve: even an open breaker is tried again after this
DENIED_SECONDS = 3600.0  # an allow-list changes slowly, and each refusal counts towards a ban
LOGIN_SECONDS = 300.0  # Docker Hub's outages look like failed logins: shorter
MISSING_SECONDS = 60.0
MISSING_SECONDS_MAX = 3600.0  # doubled up to here where refusals are counted
RATE_LIMIT_SECONDS_MIN, RATE_LIMIT_SECONDS_MAX = 1.0, 3600.0
NOT_A_REGISTRY_SECONDS = 600.0  # a parked domain or a challenge is one for longer than a hiccup lasts
STRIKE_SECONDS = 600.0
EARNED_BLOBS = 3
EARNED_BYTES = 16 * 1024 * 1024
SPEED_WEIGHT = 0.3  # of the newest sample in the moving average


@dataclass(frozen=True, slots=True)
class Verdict:
    """``rest_seconds``: until an ``OPEN`` or ``DENIED`` host may be asked again; ``last``: the failure
    that is remembered, for an answer that needs no request; ``anyway_seconds``: until it may be asked when
    nothing better is left."""

    standing: Standing
    rest_seconds: float = 0.0
    last: Attempt | None = None
    anyway_seconds: float = inf


@dataclass(frozen=True, slots=True)
class HostState:
    """For metrics: ``state`` is ``ready``, ``demoted`` or ``open``."""

    host: str
    kind: str
    state: str
    strikes: int


@dataclass(slots=True)
class Machine:
    """What is known of a host as a whole. A strike ends trust in its streams until earned anew."""

    breaker: Breaker = field(default_factory=Breaker)
    strikes: int = 0
    struck_until: float = 0.0
    verified_blobs: int = 0
    verified_bytes: int = 0
    bytes_per_second: float | None = None


Branch = tuple[str, str]  # the URL of a machine or the netloc of a storage; kind
Room = tuple[Host, str, str]  # host, repository, kind
Thing = tuple[Host, str, str, str]  # host, repository, kind, digest or tag
Denial = tuple[float, Attempt]  # until when


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is known, the very dictionaries, for whoever writes it down (:mod:`sampan.upstream.kept`)."""

    machines: Recent[str, Machine]
    branches: Recent[Branch, Breaker]
    storages: Recent[Branch, str]
    rooms: Recent[Room, Breaker]
    denied: Recent[Room | Thing, Denial]


class Health:
    """Everything remembered of all hosts; ``tempo``: how long they take; ``quota``: the pulls that
    they count; ``budget``: the refusals that they may give. Not thread-safe: it lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self.tempo = Tempo(clock)
        self.quota = Quota(clock)
        self.budget = Budget(clock)
        self._changes = 0
        self._clock = clock
        self._machines: Recent[str, Machine] = Recent()
        self._branches: Recent[Branch, Breaker] = Recent()
        self._storages: Recent[Branch, str] = Recent()  # the one behind a machine that failed last
        self._rooms: Recent[Room, Breaker] = Recent()
        self._things: Recent[Thing, Breaker] = Recent()
        self._denied: Recent[Room | Thing, Denial] = Recent()
        self._missed: Recent[Thing, float] = Recent()  # for how many seconds it was believed

    @property
    def memory(self) -> Memory:
        """To be written down, or to be filled before the first request."""
        return Memory(self._machines, self._branches, self._storages, self._rooms, self._denied)

    @property
    def changes(self) -> int:
        """How often something was added."""
        return self._changes + self.quota.changes + self.budget.changes

    # -- what is known ---------------------------------------------------------------------------

    def judge(self, host: Host, repository: str, kind: str, object_name: str) -> Verdict:
        """How ``host`` stands for this request now."""
        now = self._clock.monotonic()
        keys: tuple[Room | Thing, ...] = (host, repository, kind), (host, repository, kind, object_name)
        for key in keys:
            denied = self._denied.get(key)
            if denied is not None and now < denied[0]:
                return Verdict(Standing.DENIED, denied[0] - now, denied[1])
        if rest_seconds := self.budget.rest_seconds(host):
            return Verdict(Standing.OPEN, rest_seconds, self.budget.attempt(host))
        machine = self._known(host)
        breakers = self._breakers(host, repository, kind, object_name)
        worst = max(breakers, key=lambda b: (b.standing(now), b.rest_until))
        standing = worst.standing(now)
        if self.budget.is_low(host):
            standing = max(standing, Standing.DEMOTED)
        if now < machine.struck_until:
            standing = max(standing, Standing.STRUCK)
        rest_seconds = max(worst.rest_until - now, 0.0)
        return Verdict(standing, rest_seconds, worst.last, _anyway_seconds(breakers, now))

    def may_ask_anyway(self, host: Host, repository: str, kind: str, object_name: str = "") -> bool:
        """Nothing better is left: whether an ``OPEN`` host may be asked, its last failure being a
        few seconds old. Never before a time that the host named itself."""
        breakers = self._breakers(host, repository, kind, object_name)
        return self.budget.rest_seconds(host) == 0 == _anyway_seconds(breakers, self._clock.monotonic())

    def trusted_to_stream(self, host: Host) -> bool:
        """Whether large blobs of ``host`` may reach a client before they are verified whole."""
        if host.verify is not None:
            return host.verify == "stream"
        machine = self._known(host)
        return machine.verified_blobs >= EARNED_BLOBS or machine.verified_bytes >= EARNED_BYTES

    def bytes_per_second(self, host: Host) -> float | None:
        """The measured speed of bodies from ``host``, None before the first measure."""
        return self._known(host).bytes_per_second

    def usual_seconds(self) -> Iterable[tuple[str, str, float]]:
        """For metrics: how long each machine usually takes: its URL, the step, the median in seconds."""
        return self.tempo.usual_seconds()

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
        spent = self.budget.spent()
        machines = [
            HostState(
                url, "host", "open" if url in spent else m.breaker.standing(now).name.lower(), m.strikes
            )
            for url, m in self._machines.items()
        ]
        return machines + rooms

    # -- what happened ---------------------------------------------------------------------------

    def begin(self, host: Host, repository: str, kind: str) -> None:
        """A request goes out. If it is the first after a rest it is a probe: until it is known how
        it ended, the others see the host as it was. Not so after a time that the host named: whoever
        waited for it was told the same, and nothing is to be found out."""
        now = self._clock.monotonic()
        for breaker in self._breakers(host, repository, kind):
            if not breaker.firm:
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
        if isinstance(error, PullLimited | OverBudget):
            self.excuse(host, repository, kind)  # ``quota`` and ``budget`` know
            return
        if error.behind is not None:
            self._storages.remember((host.url, kind), error.behind)
        if isinstance(error, Missing):
            self.excuse(host, repository, kind)  # it answered: nobody has to wait for a probe's end
            self._miss(host, (host, repository, kind, object_name), attempt)
        elif isinstance(error, Denied) and error.behind is None:
            seconds = LOGIN_SECONDS if error.status == 401 or error.outcome == "login" else DENIED_SECONDS
            self._denied.remember((host, repository, kind), (now + seconds, attempt))
            self._changes += 1
        else:
            self._broke(host, (host, repository, kind, object_name), error, attempt, answered=answered)
        if error.strike:
            self.strike(host)

    def _miss(self, host: Host, thing: Thing, attempt: Attempt) -> None:
        """What is still not there is asked for half as often each time, where that counts against us."""
        last = self._missed.get(thing, 0.0) if host.refusals_max is not None else 0.0
        seconds = min(max(last * 2, MISSING_SECONDS), MISSING_SECONDS_MAX)
        self._missed.remember(thing, seconds)
        self._denied.remember(thing, (self._clock.monotonic() + seconds, attempt))

    def _broke(self, host: Host, thing: Thing, error: HostError, attempt: Attempt, *, answered: bool) -> None:
        now = self._clock.monotonic()
        kind = thing[2]
        # Where the machine failed to serve, or the storage that it led to: that one's manifests are well.
        place = self._machine(host).breaker if error.behind is None else self._branch(error.behind, kind)
        open_at = 1 if error.is_dear else NEVER if isinstance(error, OtherSize) else BREAKER_FAILURES
        if isinstance(error, RateLimited):
            asked = error.retry_after_seconds
            rest = None if asked is None else min(max(asked, RATE_LIMIT_SECONDS_MIN), RATE_LIMIT_SECONDS_MAX)
            until = 0.0 if rest is None else now + rest
            # What was in flight is told of the same limit a moment later: who waits for it need not know.
            if not place.holds(now) or until >= place.rest_until + RATE_LIMIT_SECONDS_MIN:
                place.fail(now, attempt, open_at=1, rest_seconds=rest, firm=True)
        elif isinstance(error, Unreachable):
            place.fail(now, attempt, open_at=open_at)
        elif isinstance(error, Denied):  # by the storage: it may be about this one, or about us
            one = self._things.of(thing, Breaker)
            one.fail(now, attempt, open_at=1, rest_seconds=MISSING_SECONDS)
            place.fail_once(now, attempt)
        elif isinstance(error, Interrupted) and not answered:  # many at a time where a line flaps
            self._branch(error.behind or host.url, kind).fail_once(now, attempt)
        else:
            # Another size is no such word: it may be the manifest that is wrong.
            rest = NOT_A_REGISTRY_SECONDS if error.outcome == "not-a-registry" else None
            self._rooms.of(thing[:3], Breaker).fail(now, attempt, open_at=open_at, rest_seconds=rest)
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

    def _known(self, host: Host) -> Machine:
        """To look at: a host that was never asked takes no memory."""
        return self._machines.get(host.url) or Machine()

    def _machine(self, host: Host) -> Machine:
        """To note something of it, as nearly all that happens does."""
        self._changes += 1
        return self._machines.of(host.url, Machine)

    def _branch(self, machine: str, kind: str) -> Breaker:
        self._changes += 1
        return self._branches.of((machine, kind), Breaker)

    def _branches_of(self, host: Host, kind: str) -> list[Breaker]:
        """Those of the machine, and of the storage behind it."""
        storage = self._storages.get((host.url, kind))
        keys = [(host.url, kind)] if storage is None else [(host.url, kind), (storage, kind)]
        return [breaker for key in keys if (breaker := self._branches.get(key)) is not None]

    def _breakers(self, host: Host, repository: str, kind: str, object_name: str = "") -> list[Breaker]:
        """All that could keep ``host`` from being asked."""
        others = (
            self._known(host).breaker,
            self._rooms.get((host, repository, kind)),
            self._things.get((host, repository, kind, object_name)),
        )
        return [*(b for b in others if b is not None), *self._branches_of(host, kind)]


def _anyway_seconds(breakers: Iterable[Breaker], now: float) -> float:
    """Until none of them keeps a host from being asked when nothing better is left."""
    open_ones = [b for b in breakers if b.standing(now) is Standing.OPEN]
    until = (b.rest_until if b.firm else b.failed_at + UNAVAILABLE_SECONDS for b in open_ones)
    return max(max(until, default=now) - now, 0.0)
