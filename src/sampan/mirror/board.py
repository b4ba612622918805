"""Which bytes of a blob are wanted of whom: the pieces that are being fetched, and which one is next. Pure.

Guarantees that no byte is claimed twice at the same time. The earliest missing bytes come first, for
readers follow from the start; when all is claimed, whoever has nothing to do takes over a part of the
claim that would be finished last, so that a crawling host never holds the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.clock import Clock
from sampan.mirror.pace import HOPED_BYTES_PER_SECOND
from sampan.mirror.rate import Rate
from sampan.mirror.spread import Spread
from sampan.store.spans import Spans

REQUEST_SECONDS = 0.5  # what a request costs before its first byte, where nobody has measured it: rather much
REQUEST_FACTOR = 2.0  # times what the last one cost is hoped to be enough for the next
LATE_FACTOR = 3.0  # the front is taken over when another host would be done in this part of its time
NEW_SECONDS = 1.5  # a claim that began less than this ago has had no chance to be measured
BEYOND = 2**63  # the end of a blob whose size nobody told


@dataclass(eq=False, slots=True)
class Claim:
    """The bytes from ``start`` to ``stop`` are wanted of one host, at ``rate``; those before ``position``
    have come. ``stop`` moves down when somebody takes over the rest; ``reach``: where it was at first."""

    start: int
    stop: int
    rate: Rate
    began_at: float
    position: int = field(init=False)
    reach: int = field(init=False)

    def __post_init__(self) -> None:
        self.position, self.reach = self.start, self.stop

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self.stop - self.position

    def take(self, data: bytes) -> bytes:
        """What of ``data``, which begins at ``position``, is still wanted; it counts as come."""
        wanted = data[: self.missing]
        self.position += len(wanted)
        return wanted

    def left_seconds(self) -> float:
        """Until it is done, as things go."""
        return self.missing / max(_hoped(self.rate), 1.0)


class Board:
    """``spans``: what is on disk; ``size``: of the blob, None while nobody knows."""

    def __init__(self, clock: Clock, size: int | None, spans: Spans, spread: Spread) -> None:
        self.size = size
        self.spans = spans
        self.claims: list[Claim] = []
        self._clock = clock
        self._spread = spread

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.spans.is_prefix and self.spans.prefix == self.size

    @property
    def missing(self) -> int:
        """Bytes that are not on disk, 0 when nobody knows the size."""
        return 0 if self.size is None else self.size - self.spans.total

    def is_told(self, size: int) -> bool:
        """Somebody told the size; False: more than that is there already."""
        if self.spans.end > size:
            return False
        for claim in self.claims:
            if claim.stop in (BEYOND, self.size):
                claim.stop = claim.reach = size
        self.size = size
        return True

    def gap(self, rate: Rate) -> Claim | None:
        """All of the first gap that nobody fetches: for one who works alone."""
        gaps = self._gaps()
        return self._claim(*gaps[0], rate) if gaps else None

    def next(self, rate: Rate) -> Claim | None:
        """A piece for a host that is one of several; None when there is nothing worth a request now."""
        return self._late_front(rate) or self._piece(rate) or self._share_of_the_last(rate)

    def narrow(self, claim: Claim) -> None:
        """Leave others a part of a claim that was made alone."""
        claim.stop = self._piece_end(claim.position, claim.stop, claim.rate)

    def take_back(self, claim: Claim) -> None:
        """What was left to others and nobody fetches: its body, which was asked for to ``reach``, goes on."""
        if claim.missing:  # otherwise some of the body may have been thrown away already
            claim.stop = next(
                (min(gap[1], claim.reach) for gap in self._gaps() if gap[0] == claim.stop), claim.stop
            )

    def end(self, claim: Claim) -> None:
        """Nobody fetches it any more; what did not come is missing again."""
        self.claims.remove(claim)

    def _claim(self, start: int, stop: int, rate: Rate) -> Claim:
        rate.ask()
        claim = Claim(start, stop, rate, self._clock.monotonic())
        self.claims.append(claim)
        return claim

    def _gaps(self) -> list[tuple[int, int]]:
        taken = Spans(self.spans)
        for claim in self.claims:
            taken.add(claim.start, claim.stop)
        return taken.gaps(BEYOND if self.size is None else self.size)

    def _late_front(self, rate: Rate) -> Claim | None:
        """Readers wait for it, whatever comes behind."""
        prefix = self.spans.prefix
        front = next((c for c in self.claims if c.start <= prefix < c.stop), None)
        mine = rate.per_second()
        if front is None or not mine:
            return None
        in_my_seconds = _request_seconds(rate) + front.missing / mine
        is_late = front.left_seconds() > LATE_FACTOR * in_my_seconds
        return self._share(front, rate, mine) if is_late else None

    def _piece(self, rate: Rate) -> Claim | None:
        gaps = self._gaps()
        if not gaps:
            return None
        start, stop = gaps[0]
        return self._claim(start, self._piece_end(start, stop, rate), rate)

    def _piece_end(self, start: int, stop: int, rate: Rate) -> int:
        """Where a piece ends that begins at ``start``; at ``stop`` when little would be left."""
        spread = self._spread
        hoped = int(_hoped(rate) * spread.piece_seconds)
        end = start + min(max(hoped, spread.piece_bytes_min), spread.piece_bytes_max)
        return stop if stop - end < spread.split_bytes else end

    def _share_of_the_last(self, rate: Rate) -> Claim | None:
        last = max(self.claims, key=Claim.left_seconds, default=None)
        mine = _hoped(rate)
        return None if last is None or not mine else self._share(last, rate, mine)

    def _share(self, claim: Claim, rate: Rate, mine: float) -> Claim | None:
        """The end of ``claim``, so much of it that both are done at the same time; all of it when little
        would be left. None when it would not be done sooner."""
        if self._clock.monotonic() - claim.began_at < NEW_SECONDS:
            return None
        little = self._spread.split_bytes
        count = int(claim.missing * mine / (mine + (claim.rate.per_second() or 0.0)))
        if claim.missing - count < little:
            count = claim.missing
        is_little = count < min(little, claim.missing)
        if not count or is_little or _request_seconds(rate) + count / mine > claim.left_seconds():
            return None
        claim.stop -= count
        return self._claim(claim.stop, claim.stop + count, rate)


def _hoped(rate: Rate) -> float:
    """Bytes a second, of one not yet measured what public mirrors give."""
    measured = rate.per_second()
    return HOPED_BYTES_PER_SECOND if measured is None else measured


def _request_seconds(rate: Rate) -> float:
    return REQUEST_SECONDS if rate.request_seconds is None else rate.request_seconds * REQUEST_FACTOR
