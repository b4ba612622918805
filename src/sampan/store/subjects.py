"""Which stored manifests refer to which: signatures and the like, found though no host can be asked.

Guarantees that a manifest which is stored and names a subject is found under it, whoever stored it and
whenever, each time that it is asked for. Each manifest is read once for that; its own bytes are the source,
so there is nothing on disk that could disagree with them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sampan.oci.digest import Digest
    from sampan.oci.manifest import Index, Manifest


class Subjects:
    """``listed``: all that may be manifests; ``read``: one of them, None when it is gone or damaged."""

    def __init__(
        self, listed: Callable[[], Iterable[Digest]], read: Callable[[Digest], Manifest | Index | None]
    ) -> None:
        self._listed = listed
        self._read = read
        self._subjects: dict[Digest, Digest | None] = {}  # by manifest
        self._looking = threading.Lock()

    def referrers(self, subject: Digest) -> list[Manifest | Index]:
        """The manifests whose subject it is, by digest. Blocks: the first call reads all manifests."""
        with self._looking:
            self._look()
            found = sorted(digest for digest, named in self._subjects.items() if named == subject)
        return [manifest for digest in found if (manifest := self._read(digest)) is not None]

    def _look(self) -> None:
        """At those that came since the last time; those that went are forgotten."""
        listed = set(self._listed())
        self._subjects = {digest: named for digest, named in self._subjects.items() if digest in listed}
        for digest in listed - self._subjects.keys():
            if (manifest := self._read(digest)) is not None:
                self._subjects[digest] = None if manifest.subject is None else manifest.subject.digest
