"""``sampan bundle repair``: lost and damaged volumes made anew from the recovery volumes.

It guarantees that a file is replaced in one step by one that was checked, or left as it was.
"""

from __future__ import annotations

from pathlib import Path

import click

from sampan.bundle.repair import repair
from sampan.bundle.verify import verify
from sampan.bundle.volume_set import read_set
from sampan.cli.bundle_reading import read_through
from sampan.cli.bundle_words import say
from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.errors import UsageError
from sampan.words import sentence


@click.command(
    cls=Command,
    example="sampan bundle repair images.*.tar\nsampan bundle repair -o /tmp /media/cdrom/images.*.tar",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", metavar="DIR", help="Where to put them; else beside the first file.")
@click.pass_obj
def command(invocation: Invocation, files: tuple[str, ...], output: str | None) -> None:
    """Make volumes anew: those that are lost, and those with bad spots. The names go to stdout."""
    language = Config.load(invocation.config, locked=False).language
    paths = [Path(file) for file in files]
    directory = Path(output) if output is not None else paths[0].parent
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}", hint="make it first")
    volumes = read_set(paths)
    found = read_through(volumes, lambda told, stop: verify(volumes, told=told, stop=stop))
    made = read_through(volumes, lambda told, stop: repair(found, directory, told=told, stop=stop))
    for path in made:
        click.echo(path)
    if not made:
        say(sentence("nothing needs repair"), language)
