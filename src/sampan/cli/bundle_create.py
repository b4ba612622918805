"""``sampan bundle create``: images into one file, a directory or volumes.

It guarantees that every word of the command line is understood before anything is fetched, that standard
output carries data alone, and that whatever ends it says what is kept and how to go on. The work is done by
:mod:`sampan.bundle.create`.
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from sampan.bundle.create import Outcome, create
from sampan.bundle.from_node import Node, keep_manifests
from sampan.bundle.keys import PrivateKey, read_private_key
from sampan.bundle.order import Order
from sampan.bundle.packing import Stamp
from sampan.bundle.signature import UNSIGNED, sign
from sampan.bundle.target import Target
from sampan.bundle.transfer import Supply
from sampan.cli.advice import advice
from sampan.cli.bundle_sources import Asked, find_references, read_subtracted
from sampan.cli.bundle_words import say, tell_left, tell_outcome
from sampan.cli.command import Command, Invocation
from sampan.cli.progress import Display, Verbs, display
from sampan.cli.pull import TERMINATED, is_terminal, open_lasting, parse_platforms, warn_on_stderr
from sampan.cli.report import INTERRUPTED, report
from sampan.cli.tally import Tally
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.config.quantity import parse_duration, parse_size
from sampan.errors import AllHostsFailed, ConfigError, UsageError
from sampan.oci import Digest
from sampan.pull.events import Event, Failed
from sampan.upstream.behind import Behind
from sampan.words import Text, sentence

PACKING = Verbs("packing into", "could not be packed")
PARITY_MAX = 32  # nobody has so many spare disks


@click.command(
    cls=Command,
    example="sampan bundle create -o images.tar alpine:3 nginx:1.27\n"
    "sampan bundle create -o images.tar --from deploy/ compose.yaml --missing-from far-side.json\n"
    "sampan bundle create -o images.tar --volume-size 4.3GB --parity 1 --sign release.key --from-node",
)
@click.argument("references", nargs=-1, metavar="[REFERENCE|-]...")
@click.option("-o", "--output", required=True, metavar="FILE|DIR/", help="The bundle; a directory with DIR/.")
@click.option(
    "--from-file",
    "lists",
    multiple=True,
    metavar="LIST",
    help="Pack what this file lists, one reference a line; - is standard input.",
)
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="PATH",
    help="And what this file or directory names: Kubernetes YAML, compose files, Dockerfiles; - is "
    "standard input, of helm template for instance.",
)
@click.option("--from-node", "node", is_flag=True, help="And what the runtimes of this machine have.")
@click.option("--from-log", "log", metavar="FILE", help="And what this log of sampan serve says was pulled.")
@click.option("--since", metavar="DATE", help="With --from-log: on this day or later.")
@click.option("--except", "except_", multiple=True, metavar="PATTERN", help="But not docker.io/mycorp/*.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]|all",
    help="For this platform, and not for this machine's; may be given again.",
)
@click.option(
    "--with",
    "extras",
    type=click.Choice(["referrers"]),
    multiple=True,
    help="And what is attached to the images: signatures, attestations, bills of materials.",
)
@click.option(
    "--missing-from",
    "inventories",
    multiple=True,
    metavar="INVENTORY",
    help="Without the blobs that are there; of several places, in all of them.",
)
@click.option("--volume-size", metavar="SIZE", help="Volumes of at most this size: 4.3GB, 700MiB.")
@click.option("--parity", type=click.IntRange(0, PARITY_MAX), default=0, help="Volumes that may be lost.")
@click.option("--sign", "key", metavar="KEY", help="Sign it with this private key (sampan bundle key).")
@click.option("--expires", metavar="DURATION", help="With --sign: how long the signature is good, as 90d.")
@click.option("--keep", is_flag=True, help="Leave what is fetched in the store, too.")
@click.option("--containerd-address", "containerd", metavar="SOCKET", help="Where containerd listens.")
@click.option("--lock", metavar="FILE", help="Take tags from this lock alone; stands above tags.lock.")
@click.option("--via", metavar="URL", help="Pull through this running mirror; stands above pull.via.")
@click.option("--direct", is_flag=True, help="Ask the hosts themselves, whatever pull.via says.")
@click.option("--store", metavar="DIR", help="Look for content here; stands above store.path and pull.store.")
@click.option("--json", "as_events", is_flag=True, help="Events on standard output, one a line.")
@click.option("-q", "--quiet", is_flag=True, help="Only the digests on standard output.")
@click.pass_obj
def command(invocation: Invocation, /, **options: Any) -> int:  # noqa: ANN401 - click's own, one an option
    """Pack whole images for carrying; the same command goes on after any interruption."""
    wish = _wish(options)
    config = Config.load(
        invocation.config,
        store=options["store"],
        locked=options["lock"] is None,
        pulls=not options["direct"],
        via=options["via"],
    )
    if options["lock"] is not None:
        config = config.with_lock(options["lock"])
    warn_on_stderr()
    as_events, quiet = options["as_events"], options["quiet"]
    shown = display(as_events=as_events, quiet=quiet, terminal=is_terminal(config), verbs=PACKING)
    try:
        outcome, tally = _made(wish, config, shown)
    except KeyboardInterrupt:
        _say_kept(sentence("interrupted"), wish.target, config)
        return INTERRUPTED
    except asyncio.CancelledError:
        _say_kept(sentence("terminated"), wish.target, config)
        return TERMINATED
    if not quiet and not as_events:
        for line in tally.lines():
            click.echo(line, err=True)
        tell_outcome(outcome, config.language)
    return _exit_code(outcome, wish.target, invocation, config)


@dataclass(frozen=True, slots=True)
class _Wish:
    """The command line, understood. ``expires_seconds``: infinite when the signature never ends."""

    target: Target
    asked: Asked
    order: Order
    key: PrivateKey | None
    expires_seconds: float
    keep: bool


def _wish(options: dict[str, Any]) -> _Wish:
    """Raises UsageError, InvalidBundle."""
    if options["via"] is not None and options["direct"]:
        raise UsageError("--via and --direct contradict each other", hint="leave one of them out")
    if options["parity"] and options["volume_size"] is None:
        raise UsageError(
            "--parity is about volumes that are lost", hint="say how large they may be: --volume-size 4.3GB"
        )
    if options["expires"] is not None and options["key"] is None:
        raise UsageError("--expires is about a signature", hint="name the key: --sign KEY")
    target = Target.parse(options["output"])
    if target.is_directory and options["volume_size"] is not None:
        raise UsageError("a directory has no volumes", hint="write -o images.tar with --volume-size")
    try:
        volume_bytes = 0 if options["volume_size"] is None else parse_size(options["volume_size"]) or 0
        expires_seconds = math.inf if options["expires"] is None else parse_duration(options["expires"])
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from error
    asked = Asked(
        options["references"],
        options["lists"],
        options["files"],
        options["log"],
        options["since"],
        options["node"],
        Path(options["containerd"]) if options["containerd"] else None,
        options["except_"],
    )
    order = Order(
        (),
        parse_platforms(options["platforms"]),
        bool(options["extras"]),
        read_subtracted(options["inventories"]),
        volume_bytes,
        options["parity"],
    )
    key = None if options["key"] is None else read_private_key(Path(options["key"]))
    return _Wish(target, asked, order, key, expires_seconds, options["keep"])


def _made(wish: _Wish, config: Config, shown: Display) -> tuple[Outcome, Tally]:
    lasting = open_lasting(config)
    try:
        found = find_references(wish.asked, config, lasting.store)
        tell_left(found.left, config.language)
        order = replace(wish.order, references=found.references)
        return asyncio.run(_create(replace(wish, order=order), found.node, lasting, config, shown))
    finally:
        lasting.close()


async def _create(
    wish: _Wish, node: Node, lasting: Lasting, config: Config, shown: Display
) -> tuple[Outcome, Tally]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    tally, behind = Tally(), Behind()

    def listen(event: Event) -> None:
        if isinstance(event, Failed) and isinstance(event.error, AllHostsFailed):
            event.error.hint = advice(event.error, config.via)
        tally(event)
        shown(event)

    mirror = build(config, lasting=lasting, behind=behind)
    try:
        await keep_manifests(node, lasting.store)
        supply = Supply(mirror, listen, behind, wish.keep, node.contents)
        with shown.shown():
            sign_ = _signer(wish, lasting)
            outcome = await create(supply, wish.target, wish.order, stamp=_stamp(lasting), sign=sign_)
        await mirror.tidy()
    finally:
        await mirror.close()
    return outcome, tally


def _stamp(lasting: Lasting) -> Stamp:
    now = datetime.fromtimestamp(lasting.clock.time(), UTC)
    return Stamp(f"sampan {version('sampan')}", now.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _signer(wish: _Wish, lasting: Lasting) -> Callable[[Digest], bytes]:
    def signed(bundle: Digest) -> bytes:
        if wish.key is None:
            return UNSIGNED
        now = datetime.fromtimestamp(lasting.clock.time(), UTC)
        until = None if math.isinf(wish.expires_seconds) else now + timedelta(seconds=wish.expires_seconds)
        return sign(bundle, wish.key, now, until)

    return signed


def _exit_code(outcome: Outcome, target: Target, invocation: Invocation, config: Config) -> int:
    """Tell each error; the exit code is the first one's."""
    errors = [one.error for one in outcome.reports if one.error is not None]
    codes = [report(error, debug=invocation.debug) for error in errors]
    if not codes:
        return 0
    count, all_ = len(codes), len(outcome.reports)
    _say_kept(sentence("{count} of {all} could not be packed", count=count, all=all_), target, config)
    return codes[0]


def _say_kept(what: Text, target: Target, config: Config) -> None:
    kept = target.partial
    if not kept.exists():
        text = sentence("{what}: {target} was not made", what=what, target=target)
    else:
        text = sentence(
            "{what}: what has come is kept in {kept}, and the same command goes on from there",
            what=what,
            kept=kept,
        )
    say(text, config.language)
