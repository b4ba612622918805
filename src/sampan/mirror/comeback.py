"""Nobody can be asked for what is missing of a blob: is it worth waiting until somebody can, and how long?

It neither waits nor asks. The one guarantee: the answer is not "wait" for ever.
"""

from __future__ import annotations

from sampan.errors import AllHostsFailed, NotFound
from sampan.mirror.arrival import Arrival
from sampan.mirror.fetch import BlobSource
from sampan.mirror.intake import BeginAnew
from sampan.mirror.tries import Tries
from sampan.upstream.host import Host

COME_BACKS_MAX = 3  # all hosts rest in mid-blob: how often they are waited for, in a row


class ComeBack:
    """For one row of waits, which ends when somebody gives."""

    def __init__(self, source: BlobSource, arrival: Arrival, tries: Tries) -> None:
        self._source = source
        self._arrival = arrival
        self._tries = tries
        self._waits = COME_BACKS_MAX

    def pause_seconds(self, error: AllHostsFailed, *, only: Host | None) -> float:
        """How long to wait before asking again. Raises what is to be done instead of waiting: AllHostsFailed,
        NotFound, BeginAnew. ``only``: who alone was asked."""
        has_some = self._arrival.arrived > 0
        if isinstance(error, NotFound) and not has_some and not self._tries.attempts:
            raise error
        self._tries.add(error.attempts)
        if only is not None:
            self._tries.exhaust(only)
            raise BeginAnew  # the next one gives the whole alone
        if has_some and any(attempt.status == 416 for attempt in error.attempts):
            raise BeginAnew  # nobody told the size, and what an earlier run left is longer than the blob
        pause = self._come_back_seconds(error, has_some=has_some)
        if pause is None or not self._waits or self._tries.are_many:
            raise AllHostsFailed(
                str(self._source.question),
                self._tries.attempts or error.attempts,
                retry_after_seconds=error.retry_after_seconds,
                hint=error.hint,
            ) from error
        self._waits = 0 if error.status == 429 else self._waits - 1
        return pause

    def _come_back_seconds(self, error: AllHostsFailed, *, has_some: bool) -> float | None:
        """None: give up now."""
        if not error.attempts or not (self._arrival.readers or has_some):
            return None
        limit, patience = error.retry_after_seconds, self._source.patience
        if error.status == 429 and limit is not None and limit <= patience.rate_limit_seconds:
            return limit
        return patience.come_back_seconds if has_some else None
