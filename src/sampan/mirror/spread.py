"""When a blob comes from several hosts at once, and in what pieces: in one value, so that a test can have
small ones."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Spread:
    """Bytes and seconds. The defaults are for public mirrors, which give a blob some MB a second."""

    hosts_max: int = 4
    """Of one blob at a time: who needs more has other trouble."""
    wide_bytes: int = 8 * MIB
    """Less than this is missing: not worth a second connection."""
    look_seconds: float = 0.25
    """Between two looks at how things go."""
    piece_seconds: float = 3.0
    """Of its host's rate is a piece: a request's own cost is little beside it."""
    piece_bytes_min: int = 1 * MIB
    piece_bytes_max: int = 64 * MIB
    split_bytes: int = 64 * KIB
    """Less is not worth a request, neither to whom it is given nor to whom it is left."""
