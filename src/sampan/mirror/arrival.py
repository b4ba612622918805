"""What has arrived of a blob, as its readers see it: how much of it may leave, and when.

The one guarantee: no reader is given the last piece of a blob before the whole was found to hash to its
digest, nor a byte of a host that has not earned it while the client can wait. It fetches and writes
nothing: :mod:`sampan.mirror.download` does, and tells it here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from sampan.clock import Clock
from sampan.errors import ContentMismatch, SampanError
from sampan.mirror.ledger import Ledger
from sampan.mirror.opening import opened
from sampan.mirror.patience import Patience
from sampan.mirror.pulse import Pulse
from sampan.oci import Digest
from sampan.store.spans import Spans
from sampan.upstream.host import Host

MIB = 1024 * 1024
VERIFIED_FIRST_BYTES = 8 * MIB  # up to this size nothing leaves before the digest is right
HELD_BACK_BYTES = 64 * 1024  # of a larger blob, until then
EVERYTHING = 2**63
WINDOW_BYTES_MAX = 4 * MIB  # handed to one send, so that a reader notices a failure in between


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes that may be sent now: ``count`` of them at ``offset`` of ``file``."""

    file: BinaryIO
    offset: int
    count: int


class Written(Protocol):
    """Where the bytes are: an ingest, or what became of one."""

    @property
    def spans(self) -> Spans: ...

    def open_reader(self) -> BinaryIO: ...


class Arrival:
    """One blob arriving. ``declared_size``: in bytes, by a manifest; what a host says of the size may be
    a lie like everything else it says. ``is_trusted`` tells whose bytes may leave unverified.

    ``written``: bytes on disk from the beginning on; ``arrived``: all bytes on disk; ``ledger``: who gave
    them; ``host``: who began to give last."""

    def __init__(
        self,
        digest: Digest,
        declared_size: int | None,
        *,
        is_trusted: Callable[[Host], bool],
        patience: Patience,
        clock: Clock,
    ) -> None:
        self.digest = digest
        self.declared_size = declared_size
        self.size = declared_size
        self.written = self.arrived = 0
        self.ledger = Ledger()
        self.host: Host | None = None
        self.verified = False
        self.readers = 0
        self.left_at = clock.monotonic()
        self.is_trusted = is_trusted
        self._patience = patience
        self._clock = clock
        self._pulse = Pulse()
        self._ingest: Written | None = None
        self._is_disputed = False
        self._changes: list[Spans] = []  # each time that bytes were replaced: which
        self._error: SampanError | None = None

    # -- what the download tells -------------------------------------------------------------------

    def begins(self, ingest: Written, written: int) -> None:
        """The file, and what an earlier run left in it."""
        self._ingest = ingest
        spans = ingest.spans
        self.written, self.arrived = written, spans.total
        for span in spans:
            self.ledger.gave(None, *span)

    def comes_from(self, host: Host) -> None:
        """Bytes of ``host`` come next."""
        self.host = host
        self._pulse.beat()

    def wrote(self, written: int, arrived: int) -> None:
        """More is on disk."""
        self.written, self.arrived = written, arrived
        self._pulse.beat()

    def is_verified(self) -> None:
        """The whole hashes to its digest."""
        assert self.size is not None
        self.verified, self._is_disputed = True, False
        self.written = self.arrived = self.size
        self._pulse.beat()

    def is_dropped(self) -> None:
        """What arrived is not the blob. To be told before the file is begun anew, and after: whoever
        has the old one open, or opened it in between, must open it again."""
        self.ledger, self.host, self.size = Ledger(), None, self.declared_size
        self.written = self.arrived = 0
        self._is_disputed = False
        self._changes.append(Spans([(0, EVERYTHING)]))
        self._pulse.beat()

    def is_disputed(self, start: int, count: int) -> None:
        """The whole is wrong, and who lied is not known. ``count`` bytes, the first of them at ``start``, are
        about to be replaced, on suspicion: until all is verified no reader is given more."""
        self._is_disputed = True
        self.written = min(self.written, start)
        self.arrived -= count

    def is_settled(self, changed: Spans) -> None:
        """The dispute has an end: these bytes are others now. Who has some of them is told."""
        self._changes.append(changed)
        self._pulse.beat()

    def failed(self, error: SampanError) -> None:
        """Nothing more will come."""
        self._error = error
        self._pulse.beat()

    # -- readers -----------------------------------------------------------------------------------

    async def ready(self) -> int:
        """The size, once the first byte may leave; or, with a declared size, once a client would give
        up waiting for headers. Raises what ended the download before that."""
        began = self._clock.monotonic()
        while True:
            self._raise_error()
            waited = self._clock.monotonic() - began
            if self.size is not None and (self.verified or self._released(waited) > 0):
                return self.size
            headers_seconds = self._patience.headers_seconds
            if self.declared_size is not None and waited >= headers_seconds:
                return self.declared_size
            await self._pulse.next(_until(headers_seconds, waited))

    async def windows(self, start: int, stop: int, *, size: int) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop``, as they are released; ``size`` is what the client was
        told. Raises the download's error, or ContentMismatch when that or bytes that already left turned
        out to be wrong."""
        self.readers += 1
        file: BinaryIO | None = None
        seen, position, served_at = 0, start, self._clock.monotonic()
        try:
            while position < stop:
                limit = await self._released_beyond(position, served_at)
                self._check_told(size)
                if file is None or seen != len(self._changes):
                    self._check_sent(start, position, seen)
                    if file is not None:
                        file.close()
                    seen, file = len(self._changes), await self._open_partial()
                    continue  # what was released before the file was open may have been dropped since
                count = min(limit, stop, position + WINDOW_BYTES_MAX) - position
                yield Window(file, position, count)
                position += count
                served_at = self._clock.monotonic()
        finally:
            self.readers -= 1
            self.left_at = self._clock.monotonic()
            if file is not None:
                file.close()

    def _check_told(self, size: int) -> None:
        if self.size != size:
            raise ContentMismatch(
                f"{self.digest} has not the {size} bytes that a host told", hint="ask again"
            )

    def _check_sent(self, start: int, stop: int, seen: int) -> None:
        """Whether the bytes from ``start`` to ``stop``, which were sent, are still those of the blob, for
        one who has ``seen`` so many changes."""
        if any(changed.overlap(start, stop) for changed in self._changes[seen:]):
            raise ContentMismatch(
                f"bytes of {self.digest} that were already sent turned out to be wrong",
                hint="ask again: it is being fetched from another host",
            )

    async def _open_partial(self) -> BinaryIO:
        assert self._ingest is not None
        return await opened(self._ingest.open_reader, lambda file: file.close())

    async def _released_beyond(self, position: int, served_at: float) -> int:
        while True:
            self._raise_error()
            waited = self._clock.monotonic() - served_at
            if (limit := self._released(waited)) > position:
                return limit
            await self._pulse.next(_until(self._patience.first_byte_seconds, waited))

    def _released(self, waited_seconds: float) -> int:
        """How many bytes, from the start, a reader that has waited so long may have."""
        if self.verified:
            return self.written
        if waited_seconds >= self._patience.first_byte_seconds:
            limit = self.written  # it would leave with nothing: better bytes that are held to account
        elif self.size is None or self.size <= VERIFIED_FIRST_BYTES or self._is_disputed:
            return 0
        else:
            limit = min(self.written, self.ledger.prefix_of(self.is_trusted))
        return max(min(limit, (self.size or 0) - HELD_BACK_BYTES), 0)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _until(threshold_seconds: float, waited_seconds: float) -> float | None:
    """How long to wait for a beat: until the threshold, then for as long as it takes."""
    return threshold_seconds - waited_seconds if waited_seconds < threshold_seconds else None
