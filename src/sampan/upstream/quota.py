"""What is left of the pulls that a host gives to an address or a login, as its answers say.

Docker Hub counts each GET of a manifest; a HEAD and a blob are free there. It says on every such answer how
many are left in a window of hours, and when none is, answers 429. The one guarantee: nothing that a host says
of itself is believed beyond the window that it names, and a 429 of this kind keeps nobody from its blobs.

Pure: no I/O, the clock is passed in. Who is asked instead is decided in ``mirror/route.py``. Whose quota it
is (``docker-ratelimit-source``: an address or an account) is not even read: it must stand in no log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from sampan.errors import Attempt, PullLimited
from sampan.oci.distribution import RATE_LIMIT, RATE_REMAINING
from sampan.oci.headers import parse_allowance

if TYPE_CHECKING:
    from sampan.clock import Clock
    from sampan.upstream.host import Host

LITTLE_SHARE = 10  # a tenth of the limit: of Docker Hub's 100 enough for ten images that nobody has yet
LITTLE_MIN = 2  # and the index and the platform's manifest of one image, where the limit is small
# The window slides: pulls come back one by one, so one who waits for its end waits for hours too long.
REST_SECONDS, REST_SECONDS_MAX = 300.0, 3600.0  # doubled with each 429 that names no time
REST_SECONDS_MIN = 1.0
PROBE_SECONDS = 5.0  # while one request finds out whether there are pulls again
ACCOUNTS_MAX = 10_000  # strangers may choose the hosts


class Supply(IntEnum):
    """How many pulls a host has for us. ``ENOUGH``, too, where it says nothing."""

    ENOUGH = 0
    LITTLE = 1
    NONE = 2


@dataclass(frozen=True, slots=True)
class Pulls:
    """``left`` of ``limit`` pulls at ``place``, a URL, until ``ends_at``, in seconds since the epoch.
    ``username``: whose they are; None: the address's, or the one's whose login stands elsewhere."""

    place: str
    username: str | None
    limit: int
    left: int
    ends_at: float


@dataclass(slots=True)
class _Account:
    limit: int = 0
    left: int = 0
    ends_at: float = 0.0
    refused: int = 0  # 429s in a row
    rest_until: float = 0.0
    firm: bool = False  # the host named the time
    heads: bool = False  # its HEADs count as well
    again: bool = False  # since then it has said that there are some
    said: str = ""

    def supply(self, now: float) -> Supply:
        if self.is_refused or (now < self.ends_at and self.left == 0):
            return Supply.NONE
        if now < self.ends_at and self.left <= max(self.limit // LITTLE_SHARE, LITTLE_MIN):
            return Supply.LITTLE
        return Supply.ENOUGH

    @property
    def is_refused(self) -> bool:
        return self.refused > 0 and not self.again


class Quota:
    """The accounts of all hosts. Not thread-safe: it lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self.changes = 0  # since the start, for whoever writes it down
        self._clock = clock
        self._accounts: OrderedDict[tuple[str, str | None], _Account] = OrderedDict()

    # -- what is known ---------------------------------------------------------------------------

    def supply(self, host: Host) -> Supply:
        """How many pulls ``host`` has for us."""
        account = self._accounts.get(_key(host))
        return Supply.ENOUGH if account is None else account.supply(self._clock.monotonic())

    def rest_seconds(self, host: Host, *, head: bool = False) -> float:
        """Until ``host`` may be asked for a manifest again after a 429, by HEAD or by GET; 0: now."""
        account = self._accounts.get(_key(host))
        if account is None or (head and not account.heads):
            return 0.0
        return max(account.rest_until - self._clock.monotonic(), 0.0)

    def check(self, host: Host) -> None:
        """Raises PullLimited while ``host`` may not be asked for a manifest by GET."""
        if (rest := self.rest_seconds(host)) > 0:
            said = self.attempt(host).detail
            raise PullLimited(said, outcome="pull-limit", status=429, retry_after_seconds=rest)

    def window_seconds(self, host: Host) -> float:
        """Until more may be left than the host said last; 0: nothing is known."""
        account = self._accounts.get(_key(host))
        return 0.0 if account is None else max(account.ends_at - self._clock.monotonic(), 0.0)

    def attempt(self, host: Host) -> Attempt:
        """What stands in the place of a pull that is not asked for."""
        account = self._accounts.get(_key(host), _Account())
        if account.is_refused:
            return Attempt(host.name, "pull-limit", 0.0, 429, detail=account.said)
        kept = "" if account.left == 0 else ", kept for what is not stored"
        said = f"{host.name}: {account.left} of {account.limit} pulls are left{kept}"
        return Attempt(host.name, "pull-limit", 0.0, detail=said)

    def known(self) -> list[Pulls]:
        """What hosts said, as far as their windows last; of the accounts at one place all."""
        now, since = self._clock.monotonic(), self._clock.time() - self._clock.monotonic()
        return [
            Pulls(place, username, account.limit, account.left, account.ends_at + since)
            for (place, username), account in self._accounts.items()
            if now < account.ends_at
        ]

    # -- what happened ---------------------------------------------------------------------------

    def begin(self, host: Host) -> None:
        """A pull goes out. After a 429 it finds out whether there are any again; the others wait for it."""
        account = self._accounts.get(_key(host))
        if account is not None and account.is_refused:
            account.rest_until = max(account.rest_until, self._clock.monotonic() + PROBE_SECONDS)

    def note(self, host: Host, header: Callable[[str], str | None], status: int, *, head: bool) -> None:
        """The status and the headers of an answer about a manifest, to a HEAD or to a GET, which counts."""
        known = self._accounts.get(_key(host))
        if known is not None and status == 200:
            known.heads = known.heads and not head
            if not head:
                known.refused, known.rest_until, known.firm = 0, 0.0, False
        limit, left = parse_allowance(header(RATE_LIMIT)), parse_allowance(header(RATE_REMAINING))
        if limit is None or left is None or limit.count == 0 or left.count > limit.count:
            return
        window_seconds = limit.window_seconds or left.window_seconds
        if window_seconds is not None:  # nothing says otherwise for how long it is true
            account, now = self._account(host), self._clock.monotonic()
            account.limit, account.left, account.ends_at = limit.count, left.count, now + window_seconds
            if left.count and status == 200 and not (account.firm and now < account.rest_until):
                account.again, account.rest_until = True, 0.0

    def limited(self, host: Host, error: PullLimited, *, head: bool) -> float:
        """A HEAD or a GET was answered with 429, for the pulls are used up: the seconds until the next."""
        account, asked = self._account(host), error.retry_after_seconds
        account.heads = account.heads or head
        left_seconds = account.rest_until - self._clock.monotonic()
        if asked is None and account.is_refused and left_seconds > PROBE_SECONDS:
            return left_seconds  # this one had been on its way when the rest began
        backoff = min(REST_SECONDS * 2 ** min(account.refused, 10), REST_SECONDS_MAX)
        rest = backoff if asked is None else min(max(asked, REST_SECONDS_MIN), REST_SECONDS_MAX)
        account.refused, account.again = account.refused + 1, False
        account.rest_until, account.firm = self._clock.monotonic() + rest, asked is not None
        account.said, account.left = error.message, 0
        return rest

    # -- over a restart --------------------------------------------------------------------------

    def recall(self, written: Iterable[Pulls]) -> None:
        """What :meth:`known` told an earlier process, before anything is asked."""
        since = self._clock.time() - self._clock.monotonic()
        for pulls in written:
            account = self._accounts.setdefault((pulls.place, pulls.username), _Account())
            account.limit, account.left = pulls.limit, pulls.left
            account.ends_at = pulls.ends_at - since

    def _account(self, host: Host) -> _Account:
        """To be changed."""
        self.changes += 1
        account = self._accounts.setdefault(_key(host), _Account())
        self._accounts.move_to_end(_key(host))
        while len(self._accounts) > ACCOUNTS_MAX:
            self._accounts.popitem(last=False)
        return account


def place_of(host: Host) -> str:
    """Where pulls are counted: a mirror of several registries counts, or is counted, for each on its own."""
    return "/".join(part for part in (host.url, host.prefix, host.namespace) if part)


def _key(host: Host) -> tuple[str, str | None]:
    """Whose pulls they are: whoever logs in has others than the address."""
    return place_of(host), host.username
