"""A platform: operating system, architecture and variant (``linux/arm64/v8``).

Guarantees that two spellings of one machine (``aarch64``, ``arm64``, ``arm64/v8``) match each other and that
different machines do not. It does not find out which machine it runs on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sampan.errors import UsageError, printable

# What `uname -m` and people say, and what Go (and so every image index) says.
_ARCHITECTURES = {
    "aarch64": ("arm64", ""),
    "armel": ("arm", "v6"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86-64": ("amd64", ""),
    "x86_64": ("amd64", ""),
}
# The variant that is meant where none is written.
_DEFAULT_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
# Which variants such a machine also runs, the best first.
_RUNS = {
    ("amd64", "v4"): ("v3", "v2", "v1"),
    ("amd64", "v3"): ("v2", "v1"),
    ("amd64", "v2"): ("v1",),
    ("arm", "v8"): ("v7", "v6", "v5"),
    ("arm", "v7"): ("v6", "v5"),
    ("arm", "v6"): ("v5",),
}
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_PLATFORM_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Platform:
    """As in an index; ``variant``, ``os_version`` and ``os_features`` may be empty."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``os/architecture[/variant]``, with Go's names or ``uname``'s. Raises :class:`UsageError`."""
        parts = text.split("/") if len(text) <= _PLATFORM_CHARACTERS_MAX else []
        if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise UsageError(
                f"not a platform: {printable(text, characters_max=60)!r}",
                hint="write os/architecture or os/architecture/variant, as in linux/amd64 or linux/arm/v7",
            )
        system, architecture, *variants = (part.lower() for part in parts)
        architecture, variant = _ARCHITECTURES.get(architecture, (architecture, ""))
        return cls(system, architecture, variants[0] if variants else variant)

    def matches(self, other: Platform) -> bool:
        """Are these the same machine? A version of the system counts only when both name one."""
        return self.preference(other) == 0

    def preference(self, other: Platform) -> int | None:
        """How well an image for ``other`` suits this machine: 0 is made for it, None does not run.

        Anything between is an older variant of the same architecture, the lower the better.
        """
        if self.os != other.os or not _same_version(self.os_version, other.os_version):
            return None
        (architecture, variant), (offered, older) = _machine(self), _machine(other)
        if architecture != offered:
            return None
        order = (variant, *_RUNS.get((architecture, variant), ()))
        return order.index(older) if older in order else None


def _machine(platform: Platform) -> tuple[str, str]:
    architecture, variant = _ARCHITECTURES.get(platform.architecture, (platform.architecture, ""))
    variant = platform.variant or variant or _DEFAULT_VARIANTS.get(architecture, "")
    return architecture, f"v{variant}" if variant.isdigit() else variant


def _same_version(wanted: str, offered: str) -> bool:
    """Windows runs images of its own build (``10.0.17763``), whatever the revision after it."""
    return not wanted or not offered or wanted.split(".")[:3] == offered.split(".")[:3]
