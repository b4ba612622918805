"""What hosts say beside their answers: what is left of a rate limit, and what time they think it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from sampan.doctor.contract import RateLimit
from sampan.upstream.trail import Hop

_COUNT = re.compile(r"\s*([0-9]{1,9})\s*(?:;\s*w=([0-9]{1,9}))?\s*")
_AGE = re.compile(r"[0-9]{1,9}")


def rate_limit_in(hops: Iterable[Hop]) -> RateLimit | None:
    """The last that was said, as Docker Hub says it: ``ratelimit-limit: 100;w=21600``."""
    said = [limit for hop in hops if (limit := _rate_limit(hop)) is not None]
    return said[-1] if said else None


def _rate_limit(hop: Hop) -> RateLimit | None:
    limit = _COUNT.fullmatch(hop.headers.get("ratelimit-limit", ""))
    left = _COUNT.fullmatch(hop.headers.get("ratelimit-remaining", ""))
    if limit is None or left is None:
        return None
    window = limit[2] or left[2]
    return RateLimit(int(limit[1]), int(left[1]), int(window) if window else None)


def date_in(hop: Hop) -> float | None:
    """The host's clock when it answered, seconds since 1970; None: it does not say, or not in a way that can
    be read. An answer from somebody's store has the age that it says."""
    try:
        date = parsedate_to_datetime(hop.headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return None
    age = _AGE.fullmatch(hop.headers.get("Age", "").strip())
    return date + (int(age[0]) if age else 0)
