"""The rows of the progress display, as text of a given width; and the rate of what arrives. Pure.

Guarantees that a row is never wider than it may be, for a row that wraps cannot be taken back: what matters
least is left out first, percents, then the bar. It draws nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sampan.cli.tally import UNIT_BYTES, size_text

NAME_CHARACTERS = 12  # of a digest, or a word in its place
BAR_CHARACTERS_MAX = 30
BAR_CHARACTERS_MIN = 8
HOSTS_CHARACTERS = 20  # with the two blanks before: a name of the usual length, or enough to know it by
RATE_WINDOW_SECONDS = 10.0
RATE_SECONDS_MIN = 0.5  # below that it is not a rate but a packet
LEFT_SECONDS_MAX = 99 * 3600.0  # beyond it nobody waits
_NAME = f"  {{:<{NAME_CHARACTERS}}}"
# What a row has room for, the most wanted first, with the blanks before it.
_PARTS = (
    ("left", 8),
    ("rate", 12),
    ("sizes", 16),
    ("hosts", HOSTS_CHARACTERS),
    ("bar", 1 + BAR_CHARACTERS_MIN),
    ("percent", 5),
)
DONE, MISSING = "━", "╌"


class Rate:
    """Bytes a second over the last seconds, of a count that grows; it does not begin at zero when something
    was there before."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> None:
        """``count`` bytes are there at ``now``, seconds that only grow."""
        if self._samples and count < self._samples[-1][1]:
            self._samples.clear()  # it was begun anew
        self._samples.append((now, count))
        while self._samples[0][0] < now - RATE_WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        """None: it cannot be told yet."""
        if not self._samples:
            return None
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        span = ended - began
        return (after - before) / span if span >= RATE_SECONDS_MIN else None


@dataclass(frozen=True, slots=True)
class Moving:
    """Something under way. ``name``: twelve characters at the most; ``hosts``: who gives it."""

    name: str
    done_bytes: int
    size_bytes: int
    bytes_per_second: float | None = None
    hosts: tuple[str, ...] = ()

    @property
    def left_seconds(self) -> float | None:
        """Until it is there; None: it cannot be told."""
        if not self.bytes_per_second:
            return None
        return max(self.size_bytes - self.done_bytes, 0) / self.bytes_per_second

    @property
    def part(self) -> float:
        """How much of it is there, from 0 to 1."""
        return min(self.done_bytes / self.size_bytes, 1.0) if self.size_bytes else 1.0


def row(moving: Moving, width: int) -> str:
    """One line of at most ``width`` characters. All rows of a display have their parts in the same places,
    for which of them there is room depends on ``width`` alone."""
    room = width - len(_NAME.format(""))
    parts: dict[str, str] = {}
    for key, characters in _PARTS:
        if characters <= room:
            parts[key], room = "", room - characters
    longer = min(room, BAR_CHARACTERS_MAX - BAR_CHARACTERS_MIN) if "bar" in parts else 0
    texts = {
        "bar": f" {_bar(moving.part, BAR_CHARACTERS_MIN + longer)}",
        "percent": f" {int(moving.part * 100):3d}%",
        "sizes": f" {_sizes(moving):>15}",
        "rate": f" {_rate(moving.bytes_per_second):>11}",
        "left": f" {_clock(moving.left_seconds):>7}",
        "hosts": _hosts(moving.hosts, HOSTS_CHARACTERS + room - longer),
    }
    return (_NAME.format(moving.name) + "".join(texts[key] for key in texts if key in parts))[:width]


def waiting(text: str, seconds: float, width: int) -> str:
    """What takes its time without telling how much of it is done."""
    since = f" {_clock(seconds)}"
    return _cut(f"  {text}", width - len(since)) + since


def _bar(part: float, characters: int) -> str:
    done = int(part * characters)
    return DONE * done + MISSING * (characters - done)


def _hosts(hosts: tuple[str, ...], width: int) -> str:
    """Their names, or how many they are where there is no room for all of them."""
    text = f"  {', '.join(hosts)}" if hosts else ""
    return f"  {len(hosts)} hosts" if len(text) > width and len(hosts) > 1 else _cut(text, width)


def _sizes(moving: Moving) -> str:
    """``22.2/30.0 MiB``: both in the unit of the larger one."""
    whole, _, unit = size_text(moving.size_bytes).partition(" ")
    if unit == "B":
        return f"{moving.done_bytes}/{whole} B"
    return f"{moving.done_bytes / UNIT_BYTES[unit]:.1f}/{whole} {unit}"


def _rate(bytes_per_second: float | None) -> str:
    return "" if bytes_per_second is None else f"{size_text(int(bytes_per_second))}/s"


def _clock(seconds: float | None) -> str:
    """``3:07``, ``1:02:03``; empty for what cannot be told."""
    if seconds is None or seconds > LEFT_SECONDS_MAX:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
