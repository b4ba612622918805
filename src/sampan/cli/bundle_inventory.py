"""``sampan bundle inventory``: what is here already, in a small file to be carried to where bundles are made.

It guarantees that an inventory is written whole or not at all. How one is taken is in
:mod:`sampan.bundle.taking`, its format in :mod:`sampan.bundle.inventory`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

import click

from sampan.bundle.inventory import inventory_of, render_inventory
from sampan.bundle.taking import Taken, of_containerd, of_docker, of_podman, of_registry, of_store
from sampan.cli.bundle_words import say
from sampan.cli.command import Command, Invocation
from sampan.cli.machine import Machine
from sampan.cli.tally import size_text
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.build import Lasting, build_client, destination_host
from sampan.errors import HostError, SinkError, SinkUnavailable, StoreError, UsageError
from sampan.pull.detect import CONTAINERD_SOCKETS, detect_sink
from sampan.pull.sink import DEFAULT_NAMESPACE, SinkSpec, parse_sink
from sampan.pull.sinks.containerd import find_ctr
from sampan.words import sentence

PLACES = ("store", "containerd", "docker", "podman", "registry")
FORMS = "store, containerd[:NAMESPACE], docker, podman, registry:HOST/REPOSITORY[:TAG]"
STDOUT = "-"


@click.command(
    cls=Command,
    example="sampan bundle inventory -o far-side.json\n"
    "sampan bundle inventory --of store -o far-side.json\n"
    "sampan bundle inventory --of registry:registry.lan:5000/team/app -o far-side.json",
)
@click.option("-o", "--output", required=True, metavar="FILE", help="The inventory; - is standard output.")
@click.option("--of", "place", metavar="PLACE", help=f"Of what: {FORMS}. Else of this machine's runtime.")
@click.option("--containerd-address", "containerd", metavar="SOCKET", help="Where containerd listens.")
@click.option("--store", metavar="DIR", help="Of this store; stands above store.path.")
@click.pass_obj
def command(
    invocation: Invocation, output: str, place: str | None, containerd: str | None, store: str | None
) -> None:
    """Write down the digests that are here: sampan bundle create --missing-from leaves them out."""
    address = Path(containerd) if containerd else None
    spec = _spec(place, address, store)
    config = Config.load(invocation.config, store=store, locked=False)
    taken = asyncio.run(_take(spec, config, address))
    made = inventory_of(
        taken.blobs,
        of=taken.of,
        by=f"sampan {version('sampan')}",
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    raw = render_inventory(made)
    _write(output, raw)
    size = size_text(len(raw))
    told = sentence("{of}: {count} digests, in {size}", of=taken.of, count=len(made.blobs), size=size)
    say(told, config.language)


def _spec(place: str | None, containerd: Path | None, store: str | None) -> SinkSpec:
    if place is None:
        if store is not None:
            return SinkSpec("store")
        return detect_sink(Machine(), PLACES, containerd_address=containerd)
    spec = parse_sink(place)
    if spec.kind not in PLACES:
        raise UsageError(f"an inventory cannot be taken of {spec.kind}", hint=f"there are: {FORMS}")
    return spec


async def _take(spec: SinkSpec, config: Config, containerd: Path | None) -> Taken:
    environ = config.environ
    if spec.kind == "store":
        return await asyncio.to_thread(_of_store, config)
    if spec.kind == "containerd":
        address = containerd or _containerd(config)
        namespace = spec.namespace or DEFAULT_NAMESPACE
        command = (*find_ctr(environ), "--address", str(address), "--namespace", namespace)
        return await of_containerd(command, environ, namespace)
    if spec.kind == "docker":
        return await of_docker(environ, _ctr(config))
    if spec.kind == "podman":
        return await of_podman(environ)
    return await _of_registry(spec, config)


def _of_store(config: Config) -> Taken:
    if not config.store.path.is_dir():  # opening one would make it
        raise StoreError(f"there is no store at {config.store.path}", hint="name it: --store DIR")
    lasting = Lasting.of(config)
    try:
        return of_store(lasting.store, lasting.path)
    finally:
        lasting.close()


def _containerd(config: Config) -> Path:
    told = config.environ.get("CONTAINERD_ADDRESS")
    there = next(filter(Path.exists, CONTAINERD_SOCKETS), CONTAINERD_SOCKETS[-1])
    return Path(told.removeprefix("unix://")) if told else there


def _ctr(config: Config) -> tuple[str, ...]:
    try:
        return find_ctr(config.environ)
    except SinkUnavailable:
        return ()


async def _of_registry(spec: SinkSpec, config: Config) -> Taken:
    assert spec.target is not None
    host = destination_host(config, spec.target.registry)
    client = build_client(config, SystemClock())
    try:
        return await of_registry(client, host, spec.target)
    except* HostError as errors:
        error = errors.exceptions[0]
        raise SinkUnavailable(
            f"cannot take an inventory of {spec.target}: {error}", hint="is it there, and may this user pull?"
        ) from error
    finally:
        await client.close()


def _write(output: str, raw: bytes) -> None:
    """Whole or not at all; an older inventory of that name is replaced. Raises SinkError."""
    if output == STDOUT:
        sys.stdout.buffer.write(raw)
        return
    path = Path(output)
    growing = path.with_name(f".{path.name}.{token_hex(4)}.sampan-part")
    try:
        growing.write_bytes(raw)
        os.replace(growing, path)
    except OSError as error:
        growing.unlink(missing_ok=True)
        raise SinkError(
            f"cannot write {path}: {error.strerror or error}", hint="choose another place"
        ) from error
