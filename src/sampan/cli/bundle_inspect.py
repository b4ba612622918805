"""``sampan bundle inspect``: what is inside, from the first page of a file.

It guarantees that nothing but the head of a file is read, whatever its size. Nothing is checked but that the
list agrees with itself; ``sampan bundle verify`` reads all of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from sampan.bundle.head import Head, read_head
from sampan.cli.bundle_words import contents_json, contents_lines
from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.errors import UsageError
from sampan.words import in_language


@click.command(
    cls=Command, example="sampan bundle inspect images.tar\nsampan bundle inspect --json images.1-of-5.tar"
)
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def command(invocation: Invocation, file: str, as_json: bool) -> None:
    """Show what is inside, without reading it all; each volume of a bundle tells the same."""
    head = _head(Path(file))
    if as_json:
        click.echo(json.dumps(contents_json(head), indent=2))
        return
    language = Config.load(invocation.config, locked=False).language
    for line in contents_lines(head):
        click.echo(in_language(line, language))


def _head(path: Path) -> Head:
    if not path.exists():
        raise UsageError(f"no such file or directory: {path}", hint="name a bundle, or one of its volumes")
    return read_head(path)
