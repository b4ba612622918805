"""Files that are read again when they have changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Watch:
    """Says once of each change of ``files`` that there was one. It looks at them, and does not read them."""

    def __init__(self, files: Iterable[str | Path]) -> None:
        self._files = [Path(file) for file in files]
        self._seen: tuple[object, ...] | None = self._stamps()

    def has_changed(self) -> bool:
        """Whether a file is another than when this was asked last."""
        stamps = self._stamps()
        changed, self._seen = stamps != self._seen, stamps
        return changed

    def forget(self) -> None:
        """Say of what is there now that it has changed: it could not be taken up yet."""
        self._seen = None

    def _stamps(self) -> tuple[object, ...]:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What is another when a file is: Kubernetes changes where a link leads, others the file itself."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
