"""``sampan bundle load``: images from bundles, and from what other programs pack, onto this machine.

It guarantees that every file is looked at, and its signature checked where one is required, before anything
is written; that nothing but a registry to push to is asked over a network; and that whatever ends it says
what is kept. The work is done by :mod:`sampan.bundle.load`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.bundle.carried import Carried
from sampan.bundle.fan import FanSink, is_template
from sampan.bundle.load import Report, Target, load
from sampan.bundle.trust import check_trust
from sampan.cli.bundle_words import say
from sampan.cli.command import Command, Invocation
from sampan.cli.machine import Machine
from sampan.cli.progress import Display, Events, Quiet, Verbs, display
from sampan.cli.pull import TERMINATED, is_terminal, parse_platforms, warn_on_stderr
from sampan.cli.report import INTERRUPTED, report
from sampan.cli.tally import Tally, size_text
from sampan.config import Config
from sampan.config.build import Lasting, build_destination
from sampan.errors import UsageError
from sampan.oci import Platform, Reference
from sampan.pull.detect import detect_sink, platform_of_machine
from sampan.pull.events import Event
from sampan.pull.sink import Sink, SinkSpec, parse_sink
from sampan.pull.sinks import MODULES, SinkSetting, forms, open_sink
from sampan.pull.sinks.files import in_thread
from sampan.words import Language, sentence

LOADING = Verbs("loading into", "could not be loaded")
RUNTIMES = ("containerd", "docker", "podman")  # they keep images alone, and want one platform of them


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line, understood. ``to``: as it was written, None for this machine's runtime."""

    files: tuple[Path, ...]
    to: str | None
    platforms: tuple[Platform, ...] | None
    containerd: Path | None
    name: Reference | None
    keys: tuple[Path, ...]


@click.command(
    cls=Command,
    example="sampan bundle load images.tar\n"
    "sampan bundle load --to store --key maker.pub /media/usb/images.*.tar\n"
    "sampan bundle load --to registry:registry.lan:5000/{repository} images.tar",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--to", metavar="SINK", help=f"Where the images go: {forms()}.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]|all",
    help="This platform of the images; may be given again. Else a runtime gets this machine's, "
    "others get all that there are.",
)
@click.option("--containerd-address", "containerd", metavar="SOCKET", help="Where containerd listens.")
@click.option("--as", "name", metavar="REFERENCE", help="The name of the one image that has none.")
@click.option("--require-signature", is_flag=True, help="Refuse what is not signed by one of --key.")
@click.option(
    "--key", "keys", multiple=True, metavar="FILE", help="A public key that is trusted; requires a signature."
)
@click.option("--store", metavar="DIR", help="Keep content here; stands above store.path and pull.store.")
@click.option("--json", "as_events", is_flag=True, help="Events on standard output, one a line.")
@click.option("-q", "--quiet", is_flag=True, help="Only the digests on standard output.")
@click.pass_obj
def command(
    invocation: Invocation,
    files: tuple[str, ...],
    to: str | None,
    platforms: tuple[str, ...],
    containerd: str | None,
    name: str | None,
    require_signature: bool,
    keys: tuple[str, ...],
    store: str | None,
    as_events: bool,
    quiet: bool,
) -> int:
    """Load images from bundles, OCI layouts and docker-archives; volumes in any order, on any day."""
    if require_signature and not keys:
        raise UsageError("--require-signature needs a key to trust", hint="name the maker's: --key FILE.pub")
    asked = _Asked(
        tuple(map(Path, files)),
        to,
        parse_platforms(platforms) if platforms else None,
        Path(containerd) if containerd else None,
        Reference.parse(name, default_tag=None) if name else None,
        tuple(map(Path, keys)),
    )
    spec = _spec(asked)
    config = Config.load(invocation.config, store=store, pulls=spec.kind != "store")
    warn_on_stderr()
    shown = display(as_events=as_events, quiet=quiet, terminal=is_terminal(config), verbs=LOADING)
    kept = sentence(
        "what has arrived is kept in {store}: the same command goes on from there", store=config.store.path
    )
    try:
        reports, tally = asyncio.run(_load(asked, spec, config, shown))
    except KeyboardInterrupt:
        say(sentence("interrupted: {kept}", kept=kept), config.language)
        return INTERRUPTED
    except asyncio.CancelledError:
        say(sentence("terminated: {kept}", kept=kept), config.language)
        return TERMINATED
    if not quiet and not as_events:
        for line in tally.lines():
            click.echo(line, err=True)
    return _outcome(reports, invocation, config.language)


def _spec(asked: _Asked) -> SinkSpec:
    """Of the sink. Raises UsageError. A template of a registry is one for its first part."""
    if asked.to is None:
        return detect_sink(Machine(), MODULES, containerd_address=asked.containerd)
    if is_template(asked.to):
        return SinkSpec("registry")
    return parse_sink(asked.to)


async def _load(asked: _Asked, spec: SinkSpec, config: Config, shown: Display) -> tuple[list[Report], Tally]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    carried = await in_thread(lambda stop: Carried.opened(asked.files, name=asked.name, stop=stop))
    try:
        check_trust(carried, asked.keys, datetime.now(UTC))
        lasting = Lasting.of(config)
        try:
            return await _load_into(carried, lasting, asked, spec, config, shown)
        finally:
            lasting.close()
    finally:
        carried.close()


async def _load_into(
    carried: Carried, lasting: Lasting, asked: _Asked, spec: SinkSpec, config: Config, shown: Display
) -> tuple[list[Report], Tally]:
    tally, sink = Tally(), _sink(asked, spec, lasting, config)
    is_runtime = spec.kind in RUNTIMES
    target = Target(
        sink,
        lasting.store,
        lasting.clock,
        lasting.tag_store if spec.kind == "store" else None,
        takes_attached=not is_runtime and spec.kind != "docker-archive",
        platforms=asked.platforms,
        own_platform=platform_of_machine(os.uname().machine) if is_runtime else None,
    )
    if asked.to is None and isinstance(shown, Quiet | Events):  # the others say it anyway
        click.echo(f"{LOADING.begins} {sink.name}", err=True)

    def listen(event: Event) -> None:
        tally(event)
        shown(event)

    with shown.shown():
        reports = await load(carried, target, listen)
    _tell_left(carried, config.language)
    if target.tags is not None:
        _warn_of_room(lasting, config.language)
    return reports, tally


def _sink(asked: _Asked, spec: SinkSpec, lasting: Lasting, config: Config) -> Sink:
    setting = SinkSetting(
        lasting.store,
        asked.containerd,
        config.environ,
        lasting.path,
        lambda registry: build_destination(config, registry, lasting.clock),
    )
    if asked.to is not None and is_template(asked.to):
        return FanSink(asked.to, lambda one: open_sink(one, setting))
    return open_sink(spec, setting)


def _tell_left(carried: Carried, language: Language) -> None:
    """What is in the files and was not loaded."""
    for image in carried.unnamed:
        say(
            sentence(
                "left out, for it has no name: {digest} {tag}; --as names one",
                digest=image.root.digest,
                tag=f"({image.tag})" if image.tag else "",
            ),
            language,
        )
    if carried.unused:
        say(sentence("warning: left out: {count} blobs that no image needs", count=carried.unused), language)


def _warn_of_room(lasting: Lasting, language: Language) -> None:
    """On a node without hosts nobody brings back what a sweep drops."""
    limit, used = lasting.room.max_size_bytes, lasting.store.usage()
    if limit is not None and used > limit:
        say(
            sentence(
                "warning: the store has {used}, and store.max_size is {limit}: what was used least will be "
                "dropped; raise store.max_size",
                used=size_text(used),
                limit=size_text(limit),
            ),
            language,
        )


def _outcome(reports: Sequence[Report], invocation: Invocation, language: Language) -> int:
    """Tell each error; the exit code is the first one's. To wait for volumes is no error."""
    codes = [report(one.error, debug=invocation.debug) for one in reports if one.error is not None]
    if codes and len(reports) > 1:
        say(sentence("{failed} of {all} could not be loaded", failed=len(codes), all=len(reports)), language)
    waiting = [one for one in reports if one.volumes]
    if waiting:
        volumes = sorted({volume for one in waiting for volume in one.volumes})
        say(
            sentence(
                "{waiting} of {all} are not complete yet: load volume {volumes}, in any order, any time",
                waiting=len(waiting),
                all=len(reports),
                volumes=", ".join(map(str, volumes)),
            ),
            language,
        )
    return codes[0] if codes else 0
