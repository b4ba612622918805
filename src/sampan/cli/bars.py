"""Moving bars on a terminal: one for each blob under way, and one for all; what is done moves up as a line.

Guarantees that what is drawn is taken back when it is over, also after an interruption, and that lines of
data are not written across it. It is imported only when there is a terminal to draw on: rich takes time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sampan.cli.progress import PULLING, Verbs, named_text, said_of, short
from sampan.cli.rows import DONE, MISSING, Moving, Rate, row, waiting
from sampan.errors import printable
from sampan.oci.digest import Digest
from sampan.pull.events import (
    BlobDone,
    BlobProgress,
    BlobStarted,
    Event,
    Failed,
    Giving,
    ImageDone,
    Resolved,
    Waiting,
)

ASCII = str.maketrans({DONE: "=", MISSING: "-", "…": "~"})  # for terminals that know no other characters
REFRESHES_PER_SECOND = 5.0  # news of a blob comes as often


@dataclass(slots=True)
class _Blob:
    """A blob under way."""

    size: int
    arrived_bytes: int = 0
    hosts: tuple[str, ...] = ()
    rate: Rate = field(default_factory=Rate)


class Bars:
    """``now``: seconds that only grow. ``console``: of standard error unless a test has another."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        console: Console | None = None,
        *,
        verbs: Verbs = PULLING,
    ) -> None:
        self._now = now
        self._verbs = verbs
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._blobs: dict[Digest, _Blob] = {}
        self._all_bytes = self._done_bytes = 0  # of what has to be fetched
        self._giving: tuple[str, float] | None = None
        self._live = Live(
            console=self._console,
            get_renderable=self._drawn,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def shown(self) -> AbstractContextManager[object]:
        return self._live

    def __call__(self, event: Event) -> None:
        match event:
            case Resolved():
                self._all_bytes += event.size_bytes
            case BlobStarted():
                self._blobs[event.digest] = _Blob(event.size)
            case BlobProgress() if event.digest in self._blobs:
                self._move(self._blobs[event.digest], event)
            case BlobDone():
                self._drop(event)
            case Giving():
                self._giving = (f"{event.reference} into {event.sink}".lstrip(), self._now())
            case ImageDone():
                self._giving = None
            case Failed() | Waiting():
                self._blobs.clear()
                self._giving = None
        for line in said_of(event, self._verbs):
            self._say(line)
        if isinstance(event, ImageDone):
            self._give(named_text(event))

    def _move(self, blob: _Blob, event: BlobProgress) -> None:
        blob.arrived_bytes, blob.hosts = event.arrived_bytes, tuple(map(printable, event.hosts))
        blob.rate.note(self._now(), event.arrived_bytes)

    def _drop(self, event: BlobDone) -> None:
        self._blobs.pop(event.digest, None)
        if event.already:
            self._all_bytes -= event.size
        else:
            self._done_bytes += event.size

    def _drawn(self) -> Text:
        """Called by the thread that draws: it copies what it reads."""
        width, blobs, giving = self._console.width - 1, list(self._blobs.items()), self._giving
        lines = [row(_moving(short(digest), [blob], blob.size), width) for digest, blob in blobs]
        if len(blobs) > 1:
            total = _moving("all", [blob for _, blob in blobs], self._all_bytes, self._done_bytes)
            lines.append(row(total, width))
        if giving is not None:
            lines.append(waiting(giving[0], self._now() - giving[1], width))
        return Text(self._spelt("\n".join(lines)), no_wrap=True, overflow="crop")

    def _say(self, line: str) -> None:
        self._console.print(self._spelt(line), markup=False, soft_wrap=True)

    def _spelt(self, text: str) -> str:
        """In characters that this terminal knows."""
        return text if self._console.encoding.startswith("utf") else text.translate(ASCII)

    def _give(self, line: str) -> None:
        """Data. Where it goes to a terminal too, that is this one: it must not run into what is drawn."""
        if sys.stdout.isatty():
            self._say(line)
        else:
            click.echo(line)


def _moving(name: str, blobs: list[_Blob], size_bytes: int, done_bytes: int = 0) -> Moving:
    """``blobs`` together, of ``size_bytes``, with ``done_bytes`` that are there beside them."""
    rates = [blob.rate.bytes_per_second for blob in blobs]
    known = [rate for rate in rates if rate is not None]
    arrived = done_bytes + sum(blob.arrived_bytes for blob in blobs)
    hosts = blobs[0].hosts if len(blobs) == 1 else ()
    return Moving(name, arrived, size_bytes, sum(known) if known else None, hosts)
