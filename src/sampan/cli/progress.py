"""What a pull shows while it runs: moving bars on a terminal, plain lines elsewhere, events for scripts.

Guarantees that standard output carries data alone (digests, or JSON) and that all talk goes to standard
error; and that the library which draws bars is imported only when there is a terminal to draw on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import click

from sampan.cli.tally import giver_text, size_text
from sampan.errors import printable
from sampan.oci.digest import Digest
from sampan.pull.events import (
    BlobDone,
    BlobProgress,
    BlobStarted,
    Event,
    Failed,
    ImageDone,
    Resolved,
    Started,
    Waiting,
    as_json,
)


@dataclass(frozen=True, slots=True)
class Verbs:
    """What is being done, where it is said: ``begins`` before the name of the sink, ``fails`` of an image."""

    begins: str = "pulling into"
    fails: str = "could not be pulled"


PULLING = Verbs()
DIGITS = 12  # of a digest: enough to tell the blobs of an image apart
SILENCE_SECONDS = 15.0  # without a terminal: a word about a long blob so often, for logs and their time-outs


class Display(Protocol):
    """A listener that is shown for as long as the pull runs."""

    def __call__(self, event: Event) -> None: ...

    def shown(self) -> AbstractContextManager[object]:
        """What must be entered for it to be seen."""


def display(*, as_events: bool, quiet: bool, terminal: bool, verbs: Verbs = PULLING) -> Display:
    """The one that fits: ``terminal`` tells whether standard error is one that can move its cursor."""
    if as_events:
        return Events()
    if quiet:
        return Quiet()
    if not terminal:
        return Lines(verbs=verbs)
    from sampan.cli.bars import Bars  # it takes time to import what draws

    return Bars(verbs=verbs)


class Events:
    """One event a line on standard output, as docs/pull.md describes them."""

    def __call__(self, event: Event) -> None:
        click.echo(as_json(event))

    def shown(self) -> AbstractContextManager[object]:
        return nullcontext()


class Quiet:
    """The digest of each image that is done, on standard output; nothing else."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, ImageDone):
            click.echo(str(event.digest))

    def shown(self) -> AbstractContextManager[object]:
        return nullcontext()


class Lines:
    """A line for each thing that happened, as a log keeps it. ``now``: seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic, *, verbs: Verbs = PULLING) -> None:
        self._now = now
        self._verbs = verbs
        self._spoken: dict[Digest, float] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case BlobStarted():
                self._spoken[event.digest] = self._now()
            case BlobProgress() if self._now() - self._spoken.get(event.digest, 0.0) >= SILENCE_SECONDS:
                self._spoken[event.digest] = self._now()
                click.echo(f"  {short(event.digest)} {progress_text(event)}", err=True)
        for line in said_of(event, self._verbs):
            click.echo(line, err=True)
        if isinstance(event, ImageDone):
            click.echo(named_text(event))

    def shown(self) -> AbstractContextManager[object]:
        return nullcontext()


def said_of(event: Event, verbs: Verbs = PULLING) -> tuple[str, ...]:
    """The lines that are said of ``event``, wherever they are shown."""
    match event:
        case Started():
            return (f"{verbs.begins} {event.sink}",)
        case Resolved():
            return (resolved_text(event),)
        case BlobDone():
            return (f"  {short(event.digest)} {done_text(event)}",)
        case ImageDone():
            return (f"{event.reference} is in {event.sink}",)
        case Waiting():
            volumes = ", ".join(map(str, event.volumes))
            many = f"volumes {volumes}" if len(event.volumes) > 1 else f"volume {volumes}"
            return (f"{event.reference} waits for {many} of its bundle; what is here of it is kept",)
        case Failed():
            return (f"{event.reference} {verbs.fails}",)
    return ()


def short(digest: Digest) -> str:
    """Enough of it for people."""
    return digest.hex[:DIGITS]


def named_text(event: ImageDone) -> str:
    """The reference with its digest: what pins it."""
    name = event.reference.partition("@")[0]
    return f"{name}@{event.digest}"


def resolved_text(event: Resolved) -> str:
    """What a reference was found to mean, and by whom."""
    platforms = ", ".join(printable(str(platform)) for platform in event.platforms)
    stale = ", which nobody could confirm just now" if event.stale else ""
    blobs = f"{event.blobs} blob{'' if event.blobs == 1 else 's'}"
    made_for = f", {platforms}" if platforms else ""
    source = "the store" if event.source == "store" else giver_text(event.source, event.behind)
    said = f"{event.digest.algorithm}:{short(event.digest)}… by {source}{stale}"
    return f"{event.reference}: {said}: {blobs}, {size_text(event.size_bytes)}{made_for}"


def progress_text(event: BlobProgress) -> str:
    """How far a blob is."""
    hosts = f" from {', '.join(event.hosts)}" if event.hosts else ""
    return f"{size_text(event.arrived_bytes)} of {size_text(event.size)}{hosts}"


def done_text(event: BlobDone) -> str:
    """Where a blob came from."""
    size = size_text(event.size)
    if event.already:
        return f"{size} already in the {event.already}"
    parts = [_from(event)] if event.hosts else []
    if event.resumed_bytes:
        parts.append(f"resumed at {size_text(event.resumed_bytes)}")
    return f"{size} {', '.join([*parts, f'{event.seconds:.1f} s'])}"


def _from(event: BlobDone) -> str:
    givers = {giver_text(host, event.behind.get(host, "")): count for host, count in event.hosts.items()}
    if len(givers) == 1 and sum(givers.values()) == event.size:
        return f"from {next(iter(givers))}"
    return "from " + ", ".join(f"{giver} ({size_text(count)})" for giver, count in givers.items())
