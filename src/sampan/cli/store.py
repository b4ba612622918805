"""``sampan store``: what is in the local store, what must stay, what goes, and whether it is still right.

It guarantees that data goes to stdout and talk to stderr, that nothing is made where there is no store, and
that all of it may be used beside a running mirror. What is done is in :mod:`sampan.store`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import click

from sampan.cli import store_words as words
from sampan.cli.command import Command, CommandGroup, Invocation
from sampan.config import Config
from sampan.config.build import Lasting
from sampan.config.quantity import parse_size
from sampan.errors import ConfigError, ContentMismatch, StoreError, UsageError, printable
from sampan.oci import Digest
from sampan.store import DiskStore, Stock, SweepReport, TagStore, Throttle, evict, free, remove, scrub, tidy
from sampan.store.layout import is_store
from sampan.store.stock import not_stored
from sampan.words import in_language, sentence

RATE = "50MiB"  # a second: half of what a slow disk gives, so that clients notice little
_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class _Opened:
    """A store that is there, and how its user is spoken to."""

    store: DiskStore
    tags: TagStore
    config: Config

    def tell(self, text: str) -> None:
        """On stderr, in the user's language."""
        click.echo(in_language(text, self.config.language), err=True)

    def show(self, lines: Iterator[str]) -> None:
        """On stdout: it is what was asked for."""
        for line in lines:
            click.echo(line)


def _options(function: _F) -> _F:
    store = click.option("--store", "path", metavar="DIR", help="This store; stands above store.path.")
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    return store(as_json(function))


_names = click.argument("names", nargs=-1, required=True, metavar="REFERENCE|DIGEST...")
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")


@contextmanager
def _opened(invocation: Invocation, path: str | None, *, read_only: bool = False) -> Iterator[_Opened]:
    """Raises StoreError where there is no store, or none that this user may change."""
    config = Config.load(invocation.config, store=path, locked=False)
    _warn_on_stderr()
    root = config.store.path
    if not is_store(root):
        raise StoreError(
            sentence("there is no store at {path}", path=printable(str(root), characters_max=1000)),
            hint=sentence("--store DIR or store.path in sampan.toml says where it is"),
        )
    lasting = Lasting.of(config, read_only=read_only)
    try:
        yield _Opened(lasting.store, lasting.tag_store, config)
    finally:
        lasting.close()


def _warn_on_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger("sampan").handlers = [handler]


@click.group(
    cls=CommandGroup,
    example="sampan store list\nsampan store sweep --to 20GiB --dry-run\nsampan store scrub",
)
def command() -> None:
    """Look into the local store, keep it to a size, and check that it is still right."""


@command.command("list", cls=Command, example="sampan store list\nsampan store list --blobs --json")
@_options
@click.option("--blobs", is_flag=True, help="Each blob, and not each image.")
@click.pass_obj
def list_(invocation: Invocation, path: str | None, as_json: bool, blobs: bool) -> None:
    """Show what is stored: how large, who gave the tag, when it was last used, what is pinned."""
    with _opened(invocation, path, read_only=True) as opened:
        stock = Stock(opened.store, opened.tags)
        store = opened.config.store
        if as_json:
            document = words.stock_json(stock, store.path, store.max_size_bytes, blobs=blobs)
            click.echo(json.dumps(document, indent=2))
            return
        table = words.blob_table if blobs else words.image_table
        opened.show(table(stock, opened.config.language))
        opened.tell(words.stock_sum(stock, store.path, store.max_size_bytes))


@command.command(cls=Command, example="sampan store pin alpine:3\nsampan store pin sha256:7390b777e230")
@_names
@_options
@click.pass_obj
def pin(invocation: Invocation, names: tuple[str, ...], path: str | None, as_json: bool) -> None:
    """Keep images, or single blobs, whatever a sweep has to make room for.

    A pin is of content: when the tag moves, what it named when it was pinned stays.
    """
    with _opened(invocation, path) as opened:
        stock = Stock(opened.store, opened.tags)
        found = [(name, *stock.find(name)) for name in names]
        for name, digest, _ in found:
            if not stock.has(digest):
                raise not_stored(printable(name))
        for name, digest, _ in found:
            opened.store.pin(digest)
            if opened.store.stat(digest) is None:  # a sweep was quicker
                opened.store.unpin(digest)
                raise not_stored(printable(name))
        _show_pins(opened, [(tag.name if tag else str(d), str(d)) for _, d, tag in found], "pinned", as_json)


@command.command(cls=Command, example="sampan store unpin alpine:3")
@_names
@_options
@click.pass_obj
def unpin(invocation: Invocation, names: tuple[str, ...], path: str | None, as_json: bool) -> None:
    """Let sweeps remove again what was pinned."""
    with _opened(invocation, path) as opened:
        stock = Stock(opened.store, opened.tags)
        found = [(name, *stock.find(name)) for name in names]
        for name, digest, tag in found:
            if digest in stock.pins:
                opened.store.unpin(digest)
                continue
            opened.tell(sentence("{name} was not pinned", name=printable(name)))
            if tag is not None and tag.previous in stock.pins:
                opened.tell(sentence("pinned is what it named before: {digest}", digest=tag.previous))
        gone = [(t.name if t else str(d), str(d)) for _, d, t in found if d in stock.pins]
        _show_pins(opened, gone, "unpinned", as_json)


def _show_pins(opened: _Opened, pins: list[tuple[str, str]], word: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({word: [{"name": n, "digest": d} for n, d in pins]}, indent=2))
    else:
        opened.show(printable(name if name == digest else f"{name} {digest}") for name, digest in pins)


@command.command("remove", cls=Command, example="sampan store remove alpine:3 --dry-run")
@_names
@_dry_run
@_options
@click.pass_obj
def remove_(
    invocation: Invocation, names: tuple[str, ...], path: str | None, as_json: bool, dry_run: bool
) -> int:
    """Remove images with all that no other image needs; shared layers stay.

    An image that has another tag, too, loses only the one that was named.
    """
    with _opened(invocation, path) as opened:
        stock = Stock(opened.store, opened.tags)
        wanted = [stock.find(name) for name in names]
        for (digest, tag), name in zip(wanted, names, strict=True):
            if tag is None and not stock.has(digest):
                raise not_stored(printable(name))
        report, outcomes = remove(opened.store, opened.tags, wanted, dry_run=dry_run)
        if as_json:
            document = words.sweep_json(report, dry_run=dry_run)
            document["outcomes"] = [words.outcome_json(outcome) for outcome in outcomes]
            click.echo(json.dumps(document, indent=2))
        else:
            opened.show(words.removal_lines(report, opened.config.language))
        for outcome in outcomes:
            opened.tell(outcome.told)
        _tell_freed(opened, report, dry_run=dry_run)
        if all(outcome.is_unnamed for outcome in outcomes):
            return 0
        if any(outcome.digest in stock.pins for outcome in outcomes if not outcome.is_unnamed):
            opened.tell(sentence("hint: sampan store unpin lets go of what is pinned"))
        return StoreError.exit_code


@command.command(
    cls=Command,
    example="sampan store sweep --dry-run\nsampan store sweep --to 20GiB\nsampan store sweep --free 5GiB",
)
@click.option("--to", "to", metavar="SIZE", help="Down to this size; else store.max_size.")
@click.option("--free", "wanted", metavar="SIZE", help="Free so much, however much is left.")
@_dry_run
@_options
@click.pass_obj
def sweep(
    invocation: Invocation,
    path: str | None,
    as_json: bool,
    to: str | None,
    wanted: str | None,
    dry_run: bool,
) -> int:
    """Bring the store to its size: what is of no use first, then the images used longest ago.

    With --dry-run, what would go, why, and how much that frees.
    """
    if to is not None and wanted is not None:
        raise UsageError("--to and --free contradict each other", hint="leave one of them out")
    with _opened(invocation, path) as opened:
        limit = opened.config.store.max_size_bytes if to is None else _size("--to", to)
        if wanted is not None:
            size_bytes = _size("--free", wanted)
            report = free(opened.store, opened.tags, size_bytes, dry_run=dry_run)
            is_short = report.freed_bytes < size_bytes and report.used_bytes > 0
        elif limit is None:
            report, is_short = tidy(opened.store, opened.tags, dry_run=dry_run), False
        else:
            report = evict(opened.store, opened.tags, limit, dry_run=dry_run)
            is_short = report.used_bytes > limit
        if as_json:
            click.echo(json.dumps(words.sweep_json(report, dry_run=dry_run), indent=2))
        else:
            opened.show(words.removal_lines(report, opened.config.language))
        _tell_freed(opened, report, dry_run=dry_run)
        opened.tell(report.reason)
        return StoreError.exit_code if is_short else 0


def _tell_freed(opened: _Opened, report: SweepReport, *, dry_run: bool) -> None:
    opened.tell(words.freed(report, dry_run=dry_run))
    if dry_run and report.removals:
        opened.tell(sentence("nothing was removed: the same without --dry-run does it"))


def _size(option: str, text: str) -> int:
    """In bytes. Raises ConfigError."""
    if text == "0":
        return 0
    try:
        size_bytes = parse_size(text)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error.message}", hint=error.hint) from error
    if size_bytes is None:
        raise UsageError(f'{option}: expected a size, got "{text}"', hint='write it as in "20GiB"')
    return size_bytes


@command.command(
    "scrub",
    cls=Command,
    example="sampan store scrub\nsampan store scrub --rate 10MiB\nsampan store scrub alpine:3 --json",
)
@click.argument("names", nargs=-1, metavar="[REFERENCE|DIGEST]...")
@click.option(
    "--rate", default=RATE, show_default=True, metavar="SIZE", help="Read no more a second; or unlimited."
)
@_options
@click.pass_obj
def scrub_(invocation: Invocation, path: str | None, as_json: bool, names: tuple[str, ...], rate: str) -> int:
    """Read everything again and hash it. What is damaged is set aside, and fetched anew when asked for."""
    throttle = Throttle(_rate(rate))
    with _opened(invocation, path) as opened:
        only, found = _only(opened, names) if names else (None, [])
        shown = words.Progress() if sys.stderr.isatty() and not as_json else None
        report = scrub(
            opened.store, only=only, throttle=throttle, told=shown or (lambda _blobs, _bytes: None)
        )
        if shown is not None:
            shown.end()
        stock = Stock(opened.store, opened.tags)
        report = replace(report, damaged=(*found, *report.damaged))
        damaged = {digest: stock.wanting(digest) for digest in report.damaged}
        if as_json:
            click.echo(json.dumps(words.scrub_json(report, damaged), indent=2))
        else:
            opened.show(words.damaged_lines(damaged, opened.config.language))
        opened.tell(words.scrubbed(report))
        if damaged:
            opened.tell(sentence("the next request for it fetches it anew, from any host that has it"))
        return ContentMismatch.exit_code if damaged else 0


def _only(opened: _Opened, names: Sequence[str]) -> tuple[set[Digest], list[Digest]]:
    """What belongs to those that are named; and what was found damaged on the way."""
    stock = Stock(opened.store, opened.tags)
    roots = [stock.find(name)[0] for name in names]
    needed = {blob for image in stock.images if image.root in roots for blob in image.blobs}
    return needed.union(roots), stock.damaged


def _rate(text: str) -> int | None:
    try:
        return parse_size(text)
    except ConfigError as error:
        raise ConfigError(f"--rate: {error.message}", hint=error.hint) from error
