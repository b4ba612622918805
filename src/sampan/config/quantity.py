"""Sizes and durations as people write them: ``50GiB``, ``5m``, ``1h30m``, ``forever``.

It guarantees a finite amount of work and a value within limits, or a :class:`ConfigError` that says
what was expected. It knows no defaults.
"""

from __future__ import annotations

import math
import re

from sampan.errors import ConfigError, printable

SIZE_BYTES_MIN = 1024 * 1024  # below this not one layer fits: surely a slip of the unit
SIZE_BYTES_MAX = 1024**6  # an exbibyte: more than file systems hold
DURATION_SECONDS_MAX = 10 * 365 * 24 * 3600  # who means longer, means "forever"
TEXT_CHARACTERS_MAX = 40

_SIZE_UNITS = {"b": 1} | {
    f"{prefix}{suffix}": base**power
    for suffix, base in (("b", 1000), ("ib", 1024))
    for power, prefix in enumerate("kmgtp", start=1)
}
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{1,3})", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9.]+)(ms|[smhdw])", re.ASCII)


def parse_size(text: str) -> int | None:
    """``text`` in bytes; None for ``unlimited``. Units: B, KB … PB (1000), KiB … PiB (1024), any case."""
    if text == "unlimited":
        return None
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _SIZE_UNITS:
        raise _unreadable("a size", text, 'write a number and a unit, as in "50GiB", or "unlimited"')
    size_bytes = int(float(match[1]) * _SIZE_UNITS[match[2].lower()])
    if not SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX:
        raise _unreadable("a size from 1MiB to 1024PiB", text, 'no limit at all is "unlimited"')
    return size_bytes


def parse_duration(text: str) -> float:
    """``text`` in seconds; infinity for ``forever``. Units: ms, s, m, h, d, w, also several in a row."""
    if text == "forever":
        return math.inf
    if len(text) > TEXT_CHARACTERS_MAX or not _DURATION.fullmatch(text):
        raise _unreadable(
            "a duration", text, 'write a number and a unit, as in "5m" or "1h30m", or "forever"'
        )
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > DURATION_SECONDS_MAX:
        raise _unreadable("a duration of at most ten years", text, 'without end is "forever"')
    return seconds


def _unreadable(expected: str, text: str, hint: str) -> ConfigError:
    return ConfigError(
        f'expected {expected}, got "{printable(text, characters_max=TEXT_CHARACTERS_MAX)}"', hint=hint
    )
