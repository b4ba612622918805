"""One blob in pieces, by one writer after another: each is killed or leaves; the next knows what is there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from disks import wrong_blobs
from sampan.oci import Digest
from sampan.store import DiskStore
from sampan.testing import random_bytes

CONTENT = random_bytes(9, 300)
DIGEST = Digest.of(CONTENT)
places = st.integers(0, len(CONTENT) - 1)
counts = st.integers(1, len(CONTENT))


class PiecesMachine(RuleBasedStateMachine):
    """``written``: the bytes by position that the partial must have."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sampan-pieces-", dir="/dev/shm"))
        self.store = DiskStore(self.root)
        self.written: dict[int, int] = {}
        self._take_up(told=True)

    def _take_up(self, *, told: bool) -> None:
        self.ingest = self.store.ingest(DIGEST, len(CONTENT) if told else None)
        assert self.ingest.resumable
        assert self.ingest.resumed_bytes == len(self.written)

    def _die(self) -> None:
        self.ingest._file.close()
        if self.ingest._note is not None:
            self.ingest._note.close()

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self._die()
            self.store.close()
            shutil.rmtree(self.root)

    @rule(place=places, count=counts, honest=st.integers(0, 4))
    def place(self, place: int, count: int, honest: int) -> None:
        start = max(place, self.ingest.offset)
        data = CONTENT[start : start + count]
        data = data if honest else bytes(byte ^ 1 for byte in data)
        self.ingest.place(start, data)
        self.written |= dict(enumerate(data, start))

    @rule(start=places, count=counts)
    def forget(self, start: int, count: int) -> None:
        self.ingest.forget(start, start + count)
        self.written = {p: b for p, b in self.written.items() if not start <= p < start + count}

    @rule(stop=places)
    def rewind(self, stop: int) -> None:
        stop = min(stop, self.ingest.offset)
        self.ingest.rewind(stop)
        self.written = {p: b for p, b in self.written.items() if p < stop}

    @rule(end=st.sampled_from(["killed", "suspend", "discard"]), told=st.booleans())
    def come_back(self, end: str, told: bool) -> None:
        if end == "killed":
            self._die()
        elif end == "suspend":
            self.ingest.suspend()
        else:
            self.ingest.discard()
            self.written = {}
        self._take_up(told=told)

    @rule()
    def finish(self) -> None:
        """What is wrong is fetched again, and so is what is missing, the last first."""
        for position, byte in self.written.items():
            if byte != CONTENT[position]:
                self.ingest.forget(position, position + 1)
        for start, stop in reversed(self.ingest.spans.gaps(len(CONTENT))):
            self.ingest.place(start, CONTENT[start:stop])
        assert self.ingest.commit() == len(CONTENT)
        assert self.store.remove(DIGEST)
        self.written = {}
        self._take_up(told=True)

    @invariant()
    def what_is_said_to_be_there_is_there(self) -> None:
        if not hasattr(self, "ingest"):
            return
        data = self.ingest.path.read_bytes()
        there = [position for start, stop in self.ingest.spans for position in range(start, stop)]
        assert {position: data[position] for position in there} == self.written
        assert self.ingest.offset == next(n for n in range(len(CONTENT) + 1) if n not in self.written)
        assert self.ingest.matches() == (self.written == dict(enumerate(CONTENT)))

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if hasattr(self, "root"):
            assert wrong_blobs(self.root) == []
            notes = {path.name for path in (self.root / "pieces").iterdir()}
            assert notes <= {path.name for path in (self.root / "ingest").iterdir()}


PiecesMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestPiecesState = PiecesMachine.TestCase
