"""A disk that loses power: what a process did to a directory, in order, and what may be left of it.

:func:`recorded` runs work in a process of its own and keeps each system call by which the store changes files
and directories. :class:`Disk` then says, for a power cut after any of them, which states a file system may
come back with: what was confirmed by fsync is there; of the rest each write and each change of a name may be
there or not, in any order, large writes in part, a file longer than what was written into it. That is more
than the worst file systems do: what survives it survives them.
"""

from __future__ import annotations

import itertools
import os
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

from dying import ended, in_child
from sampan.store import directory as store_directory

BLOCK_BYTES = 4096  # what a disk writes or does not
BASE = 0  # the number of the directory that is watched
Entry = tuple[int, str]  # the directory's number, a name in it


@dataclass(frozen=True, slots=True)
class Named:
    """From now on ``entry`` is that file or directory; None: nothing."""

    entry: Entry
    number: int | None
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Wrote:
    number: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A file, or the names in a directory."""

    number: int


@dataclass(frozen=True, slots=True)
class Told:
    """No call: what the store was about to do, or said that it has done."""

    word: str
    what: Any


Call = tuple[Named, ...] | Wrote | Cut | Synced | Told
"""One system call. A rename changes two names, and the disk may have one of them."""


# -- recording -------------------------------------------------------------------------------------


class Recorder:
    """Stands between the store and the system calls, in a process of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.calls: list[Call] = []
        self._names: dict[Entry, int] = {}
        self._open: dict[int, int] = {}
        self._count = BASE

    def tell(self, word: str, what: Any = None) -> None:
        """Keep that, too, in its place."""
        self.calls.append(Told(word, what))

    def rot(self, path: Path) -> None:
        """One bit in the middle of the file becomes another, by no call of the store."""
        entry = self._entry(path, None)
        assert entry is not None
        with FileIO(path, "r+") as file:
            data = file.readall()
            file.seek(len(data) // 2)
            file.write(wrong := bytes([data[len(data) // 2] ^ 1]))
        number = self._names[entry]
        self.calls += [Wrote(number, len(data) // 2, wrong), Synced(number)]

    def start(self) -> None:
        """From now on everything is kept."""
        notes: dict[str, Callable[..., None]] = {
            "open": self._opened,
            "pwrite": lambda count, fd, data, offset: self._wrote(fd, offset, bytes(data)[:count]),
            "fsync": lambda _, fd: self._keep(fd, lambda number: Synced(number)),
            "ftruncate": lambda _, fd, size: self._keep(fd, lambda number: Cut(number, size)),
            "rename": self._renamed,
            "unlink": lambda _, path, dir_fd=None: self._unnamed(self._entry(path, dir_fd)),
            "mkdir": self._made,
        }
        for name, note in notes.items():
            setattr(os, name, self._watched(getattr(os, name), note))
        wrote = self._wrote

        class Watched(FileIO):
            def write(self, data: Any) -> int:
                at, count = self.tell(), super().write(data)
                wrote(self.fileno(), at, bytes(data)[:count])
                return count

        setattr(store_directory, "FileIO", Watched)  # noqa: B010  # it is theirs

    def _watched(self, call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            note(result, *args, **options)
            return result

        return watched

    def _entry(self, path: Any, dir_fd: int | None) -> Entry | None:
        """The name that is meant, if it is in the directory that is watched."""
        text = os.fspath(path)
        if dir_fd is not None:
            return (self._open[dir_fd], text) if dir_fd in self._open else None
        if not text.startswith(f"{self.base}/"):
            return None
        *way, name = Path(text).relative_to(self.base).parts
        number = BASE
        for part in way:
            number = self._names[number, part]
        return number, name

    def _opened(self, fd: int, path: Any, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> None:
        self._open.pop(fd, None)  # of one that was closed
        if dir_fd is None and os.fspath(path) == str(self.base):
            self._open[fd] = BASE
        elif (entry := self._entry(path, dir_fd)) is not None:
            if entry not in self._names:
                assert flags & os.O_CREAT, f"{entry} is not known"
                self._new(entry, is_directory=False)
            self._open[fd] = self._names[entry]

    def _made(self, _: None, path: Any, *_mode: int, dir_fd: int | None = None) -> None:
        if (entry := self._entry(path, dir_fd)) is not None:
            self._new(entry, is_directory=True)

    def _new(self, entry: Entry, *, is_directory: bool) -> None:
        self._count += 1
        self._names[entry] = self._count
        self.calls.append((Named(entry, self._count, is_directory),))

    def _renamed(self, _: None, old: Any, new: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        before, after = self._entry(old, src_dir_fd), self._entry(new, dst_dir_fd)
        assert before is not None
        assert after is not None
        self._names[after] = number = self._names.pop(before)
        self.calls.append((Named(after, number), Named(before, None)))

    def _unnamed(self, entry: Entry | None) -> None:
        if entry is not None:
            del self._names[entry]
            self.calls.append((Named(entry, None),))

    def _wrote(self, fd: int, offset: int, data: bytes) -> None:
        self._keep(fd, lambda number: Wrote(number, offset, data))

    def _keep(self, fd: int, call: Callable[[int], Call]) -> None:
        if fd in self._open:
            self.calls.append(call(self._open[fd]))


def recorded(base: Path, work: Callable[[Recorder], None]) -> list[Call]:
    """What ``work`` does in ``base``, made for it; in a child, for there ``os`` is another."""
    log = base.with_name(f"{base.name}.calls")
    base.mkdir()

    def run() -> None:
        recorder = Recorder(base)
        recorder.start()
        work(recorder)
        log.write_bytes(pickle.dumps(recorder.calls))

    assert ended(in_child(run)) == 0, "the work itself failed"
    calls: list[Call] = pickle.loads(log.read_bytes())
    log.unlink()
    return calls


# -- what may be left --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State:
    """What the disk comes back with: ``names`` that are something, and the bytes of files by number."""

    names: dict[Entry, int]
    directories: frozenset[int]
    files: dict[int, bytes]

    def lay_out(self, path: Path) -> None:
        """As files and directories under ``path``, which is made. A file with two names is one file."""
        places, made = {BASE: path}, dict[int, Path]()
        path.mkdir()
        waiting = [BASE]
        while waiting:
            parent = waiting.pop()
            for (number, name), inner in self.names.items():
                if number != parent:
                    continue
                place = places[parent] / name
                if inner in self.directories:
                    place.mkdir()
                    places[inner] = place
                    waiting.append(inner)
                elif inner in made:
                    os.link(made[inner], place)
                else:
                    place.write_bytes(self.files[inner])
                    made[inner] = place


class Disk:
    """The states after the first ``count`` of ``calls``."""

    def __init__(self, calls: list[Call], count: int) -> None:
        self._versions: dict[Entry, list[tuple[int, int | None]]] = {}
        self._changes: dict[int, list[tuple[int, Wrote | Cut]]] = {}
        self._synced: dict[int, int] = {}
        self._directories = {BASE}
        self._count = count
        for at, call in enumerate(calls[:count]):
            if isinstance(call, Synced):
                self._synced[call.number] = at
            elif isinstance(call, Wrote | Cut):
                self._changes.setdefault(call.number, []).append((at, call))
            elif not isinstance(call, Told):
                self._name(at, call)

    def _name(self, at: int, changes: tuple[Named, ...]) -> None:
        for change in changes:
            self._versions.setdefault(change.entry, [(-1, None)]).append((at, change.number))
            if change.is_directory and change.number is not None:
                self._directories.add(change.number)

    def _candidates(self, entry: Entry) -> list[tuple[int, int | None]]:
        """What the name may be: what was confirmed, and all that came after."""
        versions, synced = self._versions[entry], self._synced.get(entry[0], -1)
        first = max(i for i, (at, _) in enumerate(versions) if at <= synced)
        return versions[first:]

    def states(self, chance: random.Random, *, count_max: int) -> Iterator[State]:
        """``count_max`` and two: the first has all, the second nothing that was not confirmed. Then every
        combination of names, when they are so few, and others by chance; of what is in files and was not
        confirmed, more or less by chance."""
        choices = {entry: self._candidates(entry) for entry in self._versions}
        yield self._state({entry: found[-1][1] for entry, found in choices.items()}, lambda _: True)
        yield self._state({entry: found[0][1] for entry, found in choices.items()}, lambda _: False)
        open_names = [entry for entry, found in choices.items() if len(found) > 1]
        if prod(len(choices[entry]) for entry in open_names) <= count_max:
            picked = list(itertools.product(*(choices[entry] for entry in open_names)))
        else:
            picked = []
        more = count_max - len(picked)
        picked += [tuple(self._pick(choices, open_names, chance)) for _ in range(more)]
        for combination in picked:
            names = {entry: found[0][1] for entry, found in choices.items()}
            names |= {entry: number for entry, (_, number) in zip(open_names, combination, strict=True)}
            yield self._state(names, self._luck(chance), chance)

    def _pick(
        self, choices: dict[Entry, list[tuple[int, int | None]]], names: list[Entry], chance: random.Random
    ) -> Iterator[tuple[int, int | None]]:
        """In half of the cases the disk kept the order, up to some call; else each name is for itself."""
        until = chance.randrange(self._count + 1) if chance.random() < 0.5 else None
        for entry in names:
            if until is None:
                yield chance.choice(choices[entry])
            else:
                found = choices[entry]
                yield next((each for each in reversed(found) if each[0] <= until), found[0])

    @staticmethod
    def _luck(chance: random.Random) -> Callable[[int], bool]:
        share = chance.choice((0.0, 0.5, 0.9, 1.0))
        return lambda _: chance.random() < share

    def _state(
        self,
        names: dict[Entry, int | None],
        is_kept: Callable[[int], bool],
        chance: random.Random | None = None,
    ) -> State:
        there = {entry: number for entry, number in names.items() if number is not None}
        files = {n: self._content(n, is_kept, chance) for n in there.values() if n not in self._directories}
        return State(there, frozenset(self._directories), files)

    def _content(self, number: int, is_kept: Callable[[int], bool], chance: random.Random | None) -> bytes:
        """All that was confirmed, and blocks of what was not as ``is_kept`` says."""
        data, size, synced = bytearray(), 0, self._synced.get(number, -1)
        for at, change in self._changes.get(number, ()):
            if isinstance(change, Cut):
                size = change.size
                if at < synced or is_kept(at):
                    _resize(data, change.size)
                continue
            size = max(size, change.offset + len(change.data))
            for start, stop in _blocks(change.offset, len(change.data)):
                if at < synced or is_kept(at):
                    _resize(data, max(len(data), stop))
                    data[start:stop] = change.data[start - change.offset : stop - change.offset]
        if chance is not None and len(data) < size and chance.random() < 0.3:
            _resize(data, size)  # the size was written, and what should be there was not
        return bytes(data)


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def _blocks(start: int, count: int) -> Iterator[tuple[int, int]]:
    """The parts of a write that a disk writes or does not, one by one."""
    stop = start + count
    while start < stop:
        end = min(stop, (start // BLOCK_BYTES + 1) * BLOCK_BYTES)
        yield start, end
        start = end
