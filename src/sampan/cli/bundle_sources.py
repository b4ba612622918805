"""Which images a bundle is to hold: named, listed, found in files, in a log, or on this machine.

It guarantees that all sources are read before anything is fetched, that what is left out is told, and that a
source which holds nothing is an error: an empty bundle would be noticed too late.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.bundle.from_files import Left, images_in_files, images_in_text
from sampan.bundle.from_log import pulled_since
from sampan.bundle.from_node import Node, images_of_node
from sampan.bundle.inventory import INVENTORY_BYTES_MAX, parse_inventory
from sampan.bundle.order import Subtracted
from sampan.cli.machine import Machine
from sampan.cli.pull import REFERENCES_MAX, STDIN, parse_references
from sampan.config import Config
from sampan.errors import InvalidBundle, InvalidDocument, UsageError, printable
from sampan.oci import Digest, Reference
from sampan.oci.pattern import matches
from sampan.rewrite.tree import FILE_BYTES_MAX, decode, sources
from sampan.store.content import Store

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = Node((), ())


@dataclass(frozen=True, slots=True)
class Asked:
    """Where references come from, as the command line names it. ``except_``: patterns of names."""

    words: tuple[str, ...]
    lists: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    log: str | None = None
    since: str | None = None
    node: bool = False
    containerd: Path | None = None
    except_: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """``references``, each once; ``left``: what was found and is not one of them; ``node``: the runtimes."""

    references: tuple[Reference, ...]
    left: tuple[Left, ...]
    node: Node = NOTHING


def find_references(asked: Asked, config: Config, store: Store) -> Found:
    """All that is asked for. ``store``: the mirror's, which can tell a manifest from a blob.

    Raises UsageError, also when there is nothing at all; SinkError when a runtime does not answer.
    """
    if [*asked.words, *asked.lists, *asked.files, asked.log].count(STDIN) > 1:
        raise UsageError("standard input can be read once", hint="write - in one place alone")
    if asked.since is not None and asked.log is None:
        raise UsageError("--since goes with --from-log", hint="name the log of sampan serve")
    found: list[Reference | Left] = [*parse_references(asked.words, asked.lists)]
    found += _in_files(asked.files, config)
    if asked.log is not None:
        found += _in_log(asked.log, _moment(asked.since), store)
    node = NOTHING
    if asked.node:
        node = asyncio.run(images_of_node(Machine(), config.environ, asked.containerd))
        found += [*node.images, *node.left]
    references = dict.fromkeys(one for one in found if isinstance(one, Reference))
    wanted = [one for one in references if not any(matches(pattern, one.name) for pattern in asked.except_)]
    if not wanted:
        raise UsageError(
            "nothing to pack", hint="sampan bundle create -o images.tar alpine:3, or --from, --from-node"
        )
    if len(wanted) > REFERENCES_MAX:
        raise UsageError(f"more than {REFERENCES_MAX} references", hint="pack them in parts")
    return Found(tuple(wanted), tuple(one for one in found if isinstance(one, Left)), node)


def _in_files(names: Sequence[str], config: Config) -> Iterator[Reference | Left]:
    fields = config.rewrite.fields
    if STDIN in names:
        data = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        try:
            text = decode(data, None)
        except InvalidDocument as error:
            raise UsageError(f"standard input: {error.message}", hint=error.hint) from error
        yield from images_in_text(text, None, fields, "standard input")
    yield from images_in_files(sources(Path(name) for name in names if name != STDIN), fields)


def _in_log(name: str, since: datetime, store: Store) -> Iterator[Reference | Left]:
    """What a pull by digest alone asked for, only the store can tell."""
    for reference in pulled_since(_lines(name), since):
        if reference.digest is None or store.get_manifest(reference.digest) is not None:
            yield reference
        else:
            yield Left(str(reference), "pulled by digest, and no manifest that the store knows")


def _lines(name: str) -> Iterable[str]:
    where = "standard input" if name == STDIN else printable(name)
    try:
        with click.open_file(name, encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise UsageError(f"cannot read {where}: {error.strerror or error}", hint="name the log") from error


def _moment(text: str | None) -> datetime:
    """A day or a time; without a zone, this machine's. Raises UsageError."""
    if text is None:
        return LONG_AGO
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"not a day or a time: {printable(text, characters_max=40)!r}",
            hint="write --since 2026-01-31, or --since 2026-01-31T08:00:00Z",
        ) from None


def read_subtracted(names: Sequence[str]) -> tuple[Subtracted, ...]:
    """The inventories at ``names``. Raises UsageError, InvalidBundle."""
    read = []
    for name in names:
        try:
            with open(name, "rb") as file:
                raw = file.read(INVENTORY_BYTES_MAX + 1)
            read.append(Subtracted(parse_inventory(raw), Digest.of(raw)))
        except OSError as error:
            raise UsageError(
                f"cannot read {printable(name)}: {error.strerror or error}",
                hint="sampan bundle inventory -o FILE writes one, on the far side",
            ) from error
        except InvalidBundle as error:
            raise InvalidBundle(f"{printable(name)}: {error.message}", hint=error.hint) from error
    return tuple(read)
