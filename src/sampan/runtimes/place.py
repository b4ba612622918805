"""Where a path truly is below a root, every symbolic link read as the machine of that root reads it.

Guarantees that no path leads out of the root: a link to ``/mnt/x`` means ``ROOT/mnt/x``, and one that climbs
above the root, or whose target is not there, leads nowhere. It opens nothing.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import printable
from sampan.words import sentence

LINKS_MAX = 40  # as in the kernel


class LeadsNowhereError(OSError):
    """A symbolic link on the way has no target within the root."""


@dataclass(frozen=True, slots=True)
class Place:
    """``real`` is the path without links; ``link``: the path itself, and not a directory of it, is one."""

    real: str
    present: bool
    link: bool


def below(root: Path, real: str) -> str:
    """The path on this machine of one that has been resolved."""
    return os.path.join(root, real.lstrip("/"))


def resolve(root: Path, path: str) -> Place:
    """Where ``path``, absolute in the tree, is. What is absent need not be there, but for a link's target.

    Raises LeadsNowhereError, and OSError when a directory may not be entered or is none.
    """
    pending = path.split("/")[::-1]
    originals = len(pending)  # of what is pending, the first so many belong to the path, not to a link
    done: list[str] = []
    links, link = 0, False
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            _climb(done, path)
            continue
        mode = _mode(below(root, "/".join([*done, part])))
        if mode is None:
            if len(pending) >= originals:
                raise LeadsNowhereError(sentence("{path}: a link to what is not there", path=printable(path)))
            return Place(
                "/" + "/".join([*done, part, *filter(None, pending[::-1])]), present=False, link=link
            )
        if stat.S_ISLNK(mode):
            links += 1
            if links > LINKS_MAX:
                raise LeadsNowhereError(
                    sentence(
                        "{path}: more than {number} symbolic links",
                        path=printable(path),
                        number=LINKS_MAX,
                    )
                )
            link = link or not pending
            originals = min(originals, len(pending))
            target = os.readlink(below(root, "/".join([*done, part])))  # noqa: PTH115 - as it is written
            done = [] if target.startswith("/") else done
            pending += target.split("/")[::-1]
            continue
        done.append(part)
    return Place("/" + "/".join(done), present=True, link=link)


def _climb(done: list[str], path: str) -> None:
    if not done:
        raise LeadsNowhereError(sentence("{path}: a link that climbs above the root", path=printable(path)))
    done.pop()


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None
