"""What must stay: one empty file in ``pins/`` for each digest that somebody pinned.

Guarantees that a pin is on disk before :meth:`Pins.add` returns, and seen by this process from then on.
It does not know what a manifest names: a sweep does.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sampan.store.manifests import note_name, noted_digest

if TYPE_CHECKING:
    from sampan.oci.digest import Digest
    from sampan.store.directory import Directory


class Pins:
    """The pins in ``directory``. Thread-safe; ``in`` answers from memory, at once."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._changing = threading.Lock()  # ``in`` does without: the set is replaced, never changed
        self._known: frozenset[Digest] = frozenset()
        self.read()

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._known

    def read(self) -> frozenset[Digest]:
        """All of them, from the disk: another process may have pinned."""
        with self._changing:
            found = (noted_digest(name) for name in self.directory.names())
            self._known = frozenset(digest for digest in found if digest is not None)
            return self._known

    def holds(self, digest: Digest) -> bool:
        """As ``in``, and if not, what the disk says: another process may have pinned this moment."""
        return digest in self or self.directory.stat(note_name(digest)) is not None

    def add(self, digest: Digest) -> None:
        """Pin it; twice does no harm."""
        with self._changing:
            self.directory.write(note_name(digest), b"")
            self._known |= {digest}

    def remove(self, digest: Digest) -> None:
        """Undo :meth:`add`."""
        with self._changing:
            self.directory.unlink(note_name(digest))
            self._known -= {digest}
