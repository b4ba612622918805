"""``sampan pull``: whole images onto this machine, from whichever hosts have them.

It guarantees that every word of the command line is understood before anything is fetched, that standard
output carries data alone, and that whatever ends it says what is kept and how to go on. The work is done by
:mod:`sampan.pull`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sampan.cli.advice import advice
from sampan.cli.command import Command, Invocation
from sampan.cli.machine import Machine
from sampan.cli.progress import Display, Events, Quiet, display
from sampan.cli.report import INTERRUPTED, report
from sampan.cli.tally import Tally
from sampan.config import Config
from sampan.config.build import Lasting, build, build_destination
from sampan.errors import AllHostsFailed, InvalidReference, StoreError, UsageError, printable
from sampan.oci import Platform, Reference
from sampan.pull.detect import detect_sink, platform_of_machine
from sampan.pull.events import Event, Failed
from sampan.pull.service import Report, pull
from sampan.pull.sink import SinkSpec, parse_sink
from sampan.pull.sinks import MODULES, SinkSetting, forms, open_sink
from sampan.upstream.behind import Behind

STDIN = "-"
REFERENCES_MAX = 10_000  # of one call: a list of everything, not a device that never ends
LIST_BYTES_MAX = 16 * 1024 * 1024
TERMINATED = 143  # what shells give for SIGTERM
ARCHIVES = ("oci-archive", "docker-archive")
HOLD_REFERRERS = ("store", "oci", "oci-archive", "registry")  # runtimes keep images alone

_log = logging.getLogger("sampan")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line, understood. ``sink`` None: this machine's; ``platforms`` None: all;
    ``containerd`` None: its usual socket."""

    references: tuple[Reference, ...]
    sink: SinkSpec | None
    platforms: tuple[Platform, ...] | None
    containerd: Path | None = None
    with_referrers: bool = False


@click.command(
    cls=Command,
    example="sampan pull alpine:3\n"
    "sampan pull --to oci-archive:images.tar --platform linux/arm64 nginx:1.27 ghcr.io/owner/app:v1\n"
    "sampan pull --to store --from-file images.txt",
)
@click.argument("references", nargs=-1, metavar="[REFERENCE|-]...")
@click.option(
    "--from-file",
    "lists",
    multiple=True,
    metavar="LIST",
    help="Pull what this file lists, one reference a line; - is standard input. # begins a comment.",
)
@click.option("--to", "sink", metavar="SINK", help=f"Where the images go: {forms()}.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]|all",
    help="For this platform, and not for this machine's; may be given again.",
)
@click.option("--containerd-address", "containerd", metavar="SOCKET", help="Where containerd listens.")
@click.option(
    "--with",
    "extras",
    type=click.Choice(["referrers"]),
    multiple=True,
    help="And what is attached to the images: signatures, attestations, bills of materials.",
)
@click.option("--lock", metavar="FILE", help="Take tags from this lock alone; stands above tags.lock.")
@click.option("--via", metavar="URL", help="Pull through this running mirror; stands above pull.via.")
@click.option("--direct", is_flag=True, help="Ask the hosts themselves, whatever pull.via says.")
@click.option("--store", metavar="DIR", help="Keep content here; stands above store.path and pull.store.")
@click.option("--json", "as_events", is_flag=True, help="Events on standard output, one a line.")
@click.option("-q", "--quiet", is_flag=True, help="Only the digests on standard output.")
@click.pass_obj
def command(
    invocation: Invocation,
    references: tuple[str, ...],
    lists: tuple[str, ...],
    sink: str | None,
    platforms: tuple[str, ...],
    containerd: str | None,
    extras: tuple[str, ...],
    lock: str | None,
    via: str | None,
    direct: bool,
    store: str | None,
    as_events: bool,
    quiet: bool,
) -> int:
    """Pull whole images, resuming what an earlier pull left, and say which host gave what."""
    address = Path(containerd) if containerd else None
    wanted = _named(references, lists)
    asked = _Asked(wanted, _sink(sink), parse_platforms(platforms), address, bool(extras))
    _check_referrers(asked)
    if via is not None and direct:
        raise UsageError("--via and --direct contradict each other", hint="leave one of them out")
    config = Config.load(invocation.config, store=store, locked=lock is None, pulls=not direct, via=via)
    if lock is not None:
        config = config.with_lock(lock)
    warn_on_stderr()
    shown = display(as_events=as_events, quiet=quiet, terminal=is_terminal(config))
    kept = f"what has arrived is kept in {config.store.path}: the same command goes on from there"
    try:
        reports, tally = asyncio.run(_pull(asked, config, shown))
    except KeyboardInterrupt:
        click.echo(f"interrupted: {kept}", err=True)
        return INTERRUPTED
    except asyncio.CancelledError:
        click.echo(f"terminated: {kept}", err=True)
        return TERMINATED
    if not quiet and not as_events:
        for line in tally.lines():
            click.echo(line, err=True)
    return _outcome(asked, reports, invocation, kept)


async def _pull(asked: _Asked, config: Config, shown: Display) -> tuple[list[Report], Tally]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    lasting, tally, behind = open_lasting(config), Tally(), Behind()
    try:
        mirror = build(config, lasting=lasting, behind=behind)
        try:
            spec = asked.sink or detect_sink(Machine(), MODULES, containerd_address=asked.containerd)
            setting = SinkSetting(
                lasting.store,
                asked.containerd,
                config.environ,
                lasting.path,
                lambda registry: build_destination(config, registry, lasting.clock),
            )
            sink = open_sink(spec, setting)
            if asked.sink is None and isinstance(shown, Quiet | Events):  # the others say it anyway
                click.echo(f"pulling into {sink.name}", err=True)

            def listen(event: Event) -> None:
                if isinstance(event, Failed) and isinstance(event.error, AllHostsFailed):
                    event.error.hint = advice(event.error, config.via)
                tally(event)
                shown(event)

            with shown.shown():
                reports = await pull(
                    mirror,
                    asked.references,
                    sink=sink,
                    platforms=asked.platforms,
                    listener=listen,
                    with_referrers=asked.with_referrers,
                    behind=behind,
                )
            await mirror.tidy()
        finally:
            await mirror.close()
    finally:
        lasting.close()
    return reports, tally


def open_lasting(config: Config) -> Lasting:
    """The store. Raises StoreError: where it is that of a mirror that runs, one can go through it."""
    try:
        return Lasting.of(config)
    except StoreError as error:
        if config.path is None or config.via is not None or not config.server.listen.port:
            raise
        through = f"--via {config.server.url} pulls through the sampan serve of this configuration instead"
        raise type(error)(error.message, hint=f"{error.hint}\n{through}") from error


def _outcome(asked: _Asked, reports: Sequence[Report], invocation: Invocation, kept: str) -> int:
    """Tell each error; the exit code is the first one's."""
    failed = [one for one in reports if one.error is not None]
    codes = [report(one.error, debug=invocation.debug) for one in failed if one.error is not None]
    if not codes:
        return 0
    if len(reports) > 1:
        click.echo(f"{len(failed)} of {len(reports)} could not be pulled; {kept}", err=True)
    if asked.sink is not None and asked.sink.kind in ARCHIVES:
        click.echo(f"{asked.sink.path} was not written: it would not have been whole", err=True)
    return codes[0]


def _check_referrers(asked: _Asked) -> None:
    if asked.with_referrers and (asked.sink is None or asked.sink.kind not in HOLD_REFERRERS):
        where = asked.sink.kind if asked.sink else "a runtime"
        raise UsageError(
            f"{where} cannot hold what is attached to an image",
            hint=f"--with referrers goes with --to {', '.join(HOLD_REFERRERS)}",
        )


def _named(words: Sequence[str], lists: Sequence[str]) -> tuple[Reference, ...]:
    found = parse_references(words, lists)
    if not found:
        raise UsageError("nothing to pull", hint="sampan pull alpine:3, or --from-file LIST")
    return found


def parse_references(words: Sequence[str], lists: Sequence[str]) -> tuple[Reference, ...]:
    """All that were named, each once. Raises UsageError, InvalidReference."""
    named = [Reference.parse(word) for word in words if word != STDIN]
    for name in [*lists, *(word for word in words if word == STDIN)]:
        named += _listed(name)
        if len(named) > REFERENCES_MAX:
            raise UsageError(f"more than {REFERENCES_MAX} references", hint="pull them in parts")
    return tuple(dict.fromkeys(named))


def _listed(name: str) -> list[Reference]:
    """The references of a list. Raises UsageError with the line that is wrong."""
    where = "standard input" if name == STDIN else name
    try:
        with click.open_file(name, encoding="utf-8") as file:
            text = file.read(LIST_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(
            f"cannot read {printable(where)}: {words}", hint="name a file of references"
        ) from error
    if len(text) > LIST_BYTES_MAX:
        raise UsageError(f"{printable(where)} is too long to be a list of references")
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if word:
            found.append(_reference(word, f"{printable(where)}:{number}"))
    return found


def _reference(word: str, place: str) -> Reference:
    try:
        return Reference.parse(word)
    except InvalidReference as error:
        raise UsageError(f"{place}: {error.message}", hint=error.hint) from error


def _sink(text: str | None) -> SinkSpec | None:
    if text is None:
        return None
    spec = parse_sink(text)
    if spec.kind not in MODULES:
        raise UsageError(f"no such sink: {spec.kind}", hint=f"there are: {forms()}")
    return spec


def parse_platforms(words: Sequence[str]) -> tuple[Platform, ...] | None:
    """``--platform``, as often as it was given; None for all. Without any: this machine's."""
    if not words:
        return (platform_of_machine(os.uname().machine),)
    if "all" in words:
        if len(words) > 1:
            raise UsageError("--platform all stands alone", hint="leave the other platforms out")
        return None
    return tuple(dict.fromkeys(Platform.parse(word) for word in words))


def is_terminal(config: Config) -> bool:
    """Whether bars can be drawn on standard error."""
    return sys.stderr.isatty() and config.environ.get("TERM", "") not in ("", "dumb")


class _Talk(logging.Handler):
    """Standard error as it is at the moment: while bars are drawn, lines go above them."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")  # click would write past what draws


def warn_on_stderr() -> None:
    """What the parts below warn of (a damaged blob, a full store) is talk as well."""
    handler = _Talk(logging.WARNING)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    _log.handlers[:] = [handler]
