"""``sampan demo``: the origin story on loopback; see :mod:`sampan.demo`."""

from __future__ import annotations

import asyncio
import logging
import os

import click

from sampan.cli.command import Command
from sampan.config import environment
from sampan.demo import run


@click.command(cls=Command, example="sampan demo")
def command() -> int:
    """Show what the mirror does: no network, no root, nothing on this machine is touched."""
    logging.getLogger("sampan").setLevel(logging.CRITICAL)  # the story says itself what happens
    return 0 if asyncio.run(run(click.echo, environment.language(os.environ))) else 1
