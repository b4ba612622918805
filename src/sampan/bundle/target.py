"""Where a bundle goes, and what its files are called. Pure, but for looking whether something is there.

``images.tar`` is one file; with volumes it is ``images.1-of-5.tar`` and so on, and recovery volumes are
``images.recovery-1-of-2.tar``. Guarantees that nothing that exists is taken for a place to write.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.bundle.contents import Contents
from sampan.errors import BundleExists, UsageError, printable

PARTIAL = ".partial"  # what is being made; nothing of that name is ever whole


@dataclass(frozen=True, slots=True)
class Target:
    """``path`` as it was named; ``is_directory``: a layout in a directory instead of a tar."""

    path: Path
    is_directory: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """``text`` as ``-o`` has it: a directory when it ends with a slash or is one. Raises UsageError."""
        path = Path(text)
        if not path.name or path.name.endswith(PARTIAL):
            raise UsageError(
                f"not a name for a bundle: {printable(text, characters_max=100)!r}",
                hint="write -o images.tar",
            )
        return cls(path, text.endswith("/") or path.is_dir())

    @property
    def partial(self) -> Path:
        """The directory in which it is made."""
        return self.path.with_name(f"{self.path.name}{PARTIAL}")

    def __str__(self) -> str:
        return f"{self.path}/" if self.is_directory else str(self.path)

    def volumes(self, contents: Contents) -> list[Path]:
        """The names of the data volumes, in their order."""
        if not contents.asked.volume_bytes:
            return [self.path]
        return list(self._numbered("", len(contents.volumes)))

    def recoveries(self, contents: Contents) -> list[Path]:
        """The names of the recovery volumes."""
        return list(self._numbered("recovery-", contents.asked.parity))

    def _numbered(self, word: str, count: int) -> Iterator[Path]:
        stem, suffix = self.path.stem, self.path.suffix or ".tar"
        for number in range(1, count + 1):
            yield self.path.with_name(f"{stem}.{word}{number:0{len(str(count))}}-of-{count}{suffix}")

    def check_free(self) -> None:
        """Raises BundleExists when a bundle of one file or a directory could not be put there."""
        if self.is_directory and self.path.is_dir() and not any(self.path.iterdir()):
            return
        if os.path.lexists(self.path):
            refuse_existing(self.path)


def refuse_existing(path: Path) -> None:
    """Raises BundleExists for ``path``."""
    raise BundleExists(
        f"{path} exists, and is not overwritten",
        hint="remove it first, or choose another name: no option overwrites it",
    )
