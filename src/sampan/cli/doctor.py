"""``sampan doctor``: why an image does not arrive.

It guarantees that data goes to stdout and talk to stderr. What an error's text means is in
:mod:`sampan.doctor.explain`.
"""

from __future__ import annotations

import os

import click

from sampan.cli.command import Command
from sampan.config import environment
from sampan.errors import UsageError


@click.command(
    cls=Command,
    example="sampan doctor --explain 'failed to resolve reference \"docker.io/library/alpine:3\": …'\n"
    "journalctl -u containerd | sampan doctor --explain -",
)
@click.option(
    "--explain", "text", metavar="TEXT|-", help="Say what an error or a log means; - is standard input."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(text: str | None, as_json: bool) -> int:
    """Say why an image does not arrive, and what to do."""
    language = environment.language(os.environ)
    if text is not None:
        from sampan.cli.explain import explain

        return explain(text, language, as_json)
    raise UsageError("nothing to explain", hint="sampan doctor --explain TEXT, or - for standard input")
