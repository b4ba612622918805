"""``sampan bundle key``: a pair of keys, one to sign bundles with and one to check them by."""

from __future__ import annotations

from pathlib import Path

import click

from sampan.bundle.keys import make_keys
from sampan.cli.bundle_words import say
from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.words import sentence


@click.command(cls=Command, example="sampan bundle key -o release.key")
@click.option("-o", "--output", required=True, metavar="FILE", help="The private key; FILE.pub is the other.")
@click.pass_obj
def command(invocation: Invocation, output: str) -> None:
    """Make a pair of keys of Ed25519: FILE signs and stays here, FILE.pub checks and goes to the far side.

    The fingerprint goes to standard output: read it to whoever gets FILE.pub.
    """
    language = Config.load(invocation.config, locked=False).language
    key = make_keys(Path(output))
    click.echo(key.fingerprint)
    say(sentence("{file} signs, and only its owner may read it; it is not encrypted", file=output), language)
    say(sentence("{file}.pub checks: carry it to the far side by another way", file=output), language)
