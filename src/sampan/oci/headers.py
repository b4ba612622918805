"""Header values of the wire: ranges, waits, links and what a client accepts.

Guarantees that any text is answered in time bounded by a limit on its length, and that nonsense is never
taken for an instruction: it reads as if the header were absent. Digits are ASCII digits. It neither sends
nor chooses headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from sampan.errors import UnsatisfiableRange

RANGE_CHARACTERS_MAX = 128  # one range of absurd numbers; ten thousand ranges are longer
LINK_CHARACTERS_MAX = 8192
ACCEPT_CHARACTERS_MAX = 8192
RETRY_AFTER_SECONDS_MAX = 3600.0  # nobody is believed to be away for longer than an hour
PAGE_SIZE_MAX = 10_000  # tags in one answer, whatever a client asks for
WINDOW_SECONDS_MAX = 31 * 86_400  # of a rate limit: nobody counts requests by more than the month

_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(
    r"bytes[ \t]+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE
)
_SECONDS = re.compile(r"[0-9]{1,64}(?:\.[0-9]{1,64})?")
_ALLOWANCE = re.compile(r"([0-9]{1,9})(?:[ \t]*;[ \t]*w=([0-9]{1,9}))?", re.ASCII)
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # a token in RFC 9110
_PARAMETER = rf"""[ \t]*+;[ \t]*+({_WORD})(?:[ \t]*+=[ \t]*+(?:"([^"]*+)"|([^\s",;]*+)))?+"""
_PARAMETERS = re.compile(_PARAMETER)
_LINK = re.compile(rf"""<([\x21\x23-\x3b\x3d\x3f-\x7e]{{1,2048}}+)>((?:{_PARAMETER})*+)""")
_ZERO_WEIGHT = re.compile(r";[ \t]*q[ \t]*=[ \t]*0(?:\.0{0,3})?[ \t]*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A count of requests, and the seconds in which they are counted; None: it does not say."""

    count: int
    window_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from ``start`` up to, not including, ``stop``; never empty."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes that is."""
        return self.stop - self.start

    def content_range(self, total: int) -> str:
        """The Content-Range of a 206 with these bytes of ``total``."""
        return f"bytes {self.start}-{self.stop - 1}/{total}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Which bytes of ``size`` a Range header wants; None: send it all.

    None for no header, another unit, several ranges or nonsense, all of which RFC 9110 lets a server
    ignore. Raises :class:`UnsatisfiableRange` for a range beyond the end, one of no bytes, and one whose
    end lies before its start (RFC 9110 allows either there; the conformance suite wants the refusal).
    """
    if header is None or len(header) > RANGE_CHARACTERS_MAX:
        return None
    match = _RANGE.fullmatch(header.strip(" \t"))
    if match is None or match[1] == match[2] == "":
        return None
    if match[1]:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, stop = max(size - int(match[2]), 0), size
        if size == 0 and int(match[2]):  # satisfiable, says RFC 9110, but a 206 cannot say "no bytes"
            return None
    if start >= stop:
        raise UnsatisfiableRange(f"the range lies outside the {size} bytes that there are", size_bytes=size)
    return ByteRange(start, stop)


def parse_content_range(header: str | None) -> tuple[int, int, int | None] | None:
    """``start``, ``stop`` (not included) and total (None: ``*``) of a Content-Range; None for nonsense."""
    match = (
        _CONTENT_RANGE.fullmatch(header.strip(" \t"))
        if header and len(header) <= RANGE_CHARACTERS_MAX
        else None
    )
    if match is None:
        return None
    start, stop = int(match[1]), int(match[2]) + 1
    total = None if match[3] == "*" else int(match[3])
    if start >= stop or (total is not None and stop > total):
        return None
    return start, stop, total


def parse_retry_after(header: str | None, now: float) -> float | None:
    """How many seconds after ``now`` (since the epoch) a Retry-After allows the next try.

    From 0 to ``RETRY_AFTER_SECONDS_MAX``, whatever was asked for; None for nonsense.
    """
    if header is None or len(header) > RANGE_CHARACTERS_MAX:
        return None
    text = header.strip(" \t")
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    seconds = _seconds_of_date(text)
    return None if seconds is None else min(max(seconds - now, 0.0), RETRY_AFTER_SECONDS_MAX)


def parse_allowance(header: str | None) -> Allowance | None:
    """A ``ratelimit-limit`` or ``ratelimit-remaining`` as Docker Hub sends it, ``100;w=21600``; None for
    nonsense: more than one count, a window of no time or of more than ``WINDOW_SECONDS_MAX``."""
    if header is None or len(header) > RANGE_CHARACTERS_MAX:
        return None
    match = _ALLOWANCE.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    window_seconds = int(match[2]) if match[2] else None
    if window_seconds is not None and not 0 < window_seconds <= WINDOW_SECONDS_MAX:
        return None
    return Allowance(int(match[1]), window_seconds)


def parse_link_next(header: str | None) -> str | None:
    """The URL, maybe relative, of the first link with ``rel="next"``; the caller checks where it leads."""
    if header is None or len(header) > LINK_CHARACTERS_MAX:
        return None
    for link in _LINK.finditer(header):
        for name, quoted, plain in _PARAMETERS.findall(link[2]):
            if name.lower() == "rel" and "next" in (quoted or plain).lower().split():
                return link[1]
    return None


def accepts(header: str | None, media_type: str) -> bool:
    """Does an Accept header (several joined by commas) allow ``media_type``? None or empty allows all.

    What is not understood is passed over; beyond ``ACCEPT_CHARACTERS_MAX`` it is not read.
    """
    if header is None or not header.strip():
        return True
    wanted = (media_type.lower(), f"{media_type.lower().partition('/')[0]}/*", "*/*")
    for part in header[:ACCEPT_CHARACTERS_MAX].split(","):
        name = part.partition(";")[0].strip().lower()
        if name in wanted and _ZERO_WEIGHT.search(part) is None:
            return True
    return False


def parse_page_size(text: str | None) -> int | None:
    """The ``n`` of a paged list, clamped to ``PAGE_SIZE_MAX``; None where it is absent or nonsense."""
    if not text or not text.isascii() or not text.isdigit():
        return None
    return min(int(text), PAGE_SIZE_MAX) if len(text) <= RANGE_CHARACTERS_MAX else PAGE_SIZE_MAX


def _seconds_of_date(text: str) -> float | None:
    """Seconds since the epoch of any of HTTP's three forms of date."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None
