"""What hosts say beside their answers: what is left of a rate limit, and what time they think it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from sampan.doctor.contract import RateLimit
from sampan.oci.distribution import RATE_LIMIT, RATE_REMAINING
from sampan.oci.headers import parse_allowance
from sampan.upstream.trail import Hop

_AGE = re.compile(r"[0-9]{1,9}")


def rate_limit_in(hops: Iterable[Hop]) -> RateLimit | None:
    """The last that was said, as Docker Hub says it: ``ratelimit-limit: 100;w=21600``."""
    said = [limit for hop in hops if (limit := _rate_limit(hop)) is not None]
    return said[-1] if said else None


def _rate_limit(hop: Hop) -> RateLimit | None:
    limit = parse_allowance(hop.headers.get(RATE_LIMIT))
    left = parse_allowance(hop.headers.get(RATE_REMAINING))
    if limit is None or left is None:
        return None
    return RateLimit(limit.count, left.count, limit.window_seconds or left.window_seconds)


def date_in(hop: Hop) -> float | None:
    """The host's clock when it answered, seconds since 1970; None: it does not say, or not in a way that can
    be read. An answer from somebody's store has the age that it says."""
    try:
        date = parsedate_to_datetime(hop.headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return None
    age = _AGE.fullmatch(hop.headers.get("Age", "").strip())
    return date + (int(age[0]) if age else 0)
