"""``sampan bundle verify``: all of a bundle read again, and its signature checked.

It guarantees that 0 means that every byte of the files that were named is right, and by a trusted hand where
a key was named. What is missing is told, and is an error where the whole was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.bundle.keys import PublicKey, read_public_key
from sampan.bundle.recovered import is_recoverable
from sampan.bundle.signature import check_signatures
from sampan.bundle.verify import Verification, verify
from sampan.bundle.volume_set import VolumeSet, read_set
from sampan.cli.bundle_reading import read_through
from sampan.cli.bundle_words import tell_verification, verification_json
from sampan.cli.command import Command, Invocation
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.errors import BundleIncomplete


@click.command(
    cls=Command,
    example="sampan bundle verify images.tar\nsampan bundle verify --whole --key maker.pub images.*.tar",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--key", "keys", multiple=True, metavar="FILE", help="Refuse what is not signed by one of these."
)
@click.option("--whole", is_flag=True, help="Refuse when a volume is missing that none here makes up for.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def command(
    invocation: Invocation, files: tuple[str, ...], keys: tuple[str, ...], whole: bool, as_json: bool
) -> int:
    """Read every byte of a bundle, or of some of its volumes, and name what is damaged."""
    language = Config.load(invocation.config, locked=False).language
    trusted = [read_public_key(Path(key)) for key in keys]
    volumes = read_set([Path(file) for file in files])
    key, document = _trusted(volumes, trusted)
    found = read_through(
        volumes, lambda told, stop: verify(volumes, signature=document, told=told, stop=stop)
    )
    if as_json:
        click.echo(json.dumps(verification_json(found, key), indent=2))
    else:
        tell_verification(found, key, language)
    found.check()
    if whole:
        _check_whole(found)
    return 0


def _trusted(volumes: VolumeSet, keys: Sequence[PublicKey]) -> tuple[PublicKey | None, bytes | None]:
    if not keys:
        return None, None
    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    return check_signatures(volumes.signatures.values(), volumes.bundle, keys, now)


def _check_whole(found: Verification) -> None:
    volumes = found.volumes
    if volumes.missing and not is_recoverable(volumes):
        missing = ", ".join(map(str, volumes.missing))
        raise BundleIncomplete(
            f"volumes {missing} of {len(volumes.contents.volumes)} are missing",
            hint="name all files of the bundle; a recovery volume makes up for one that is lost",
        )
