"""``sampan doctor``: why an image does not arrive, and what to do about it.

It guarantees that nothing is changed, that it is over within its time whatever a host or a daemon does, and
that the exit code says whether anything was found.
"""

from __future__ import annotations

import asyncio
import json
import os

import click

from sampan.cli.command import Command, Invocation
from sampan.cli.doctor_json import examination_json
from sampan.cli.doctor_words import tell_examination
from sampan.cli.explain import explain
from sampan.clock import SystemClock
from sampan.config import Config, environment
from sampan.config.doctor import EXAMINATION_SECONDS, PULL_SECONDS, scene_of
from sampan.doctor.checks import CHECKS, PULL_CHECKS
from sampan.doctor.examine import Examination, examine
from sampan.doctor.verdict import judge

ILL = 5


@click.command(
    cls=Command,
    example="sampan doctor\nsudo sampan doctor alpine:3\nsampan doctor ghcr.io/owner/app:1.2 --json\n"
    "journalctl -u containerd | sampan doctor --explain -",
)
@click.argument("references", nargs=-1, metavar="[REFERENCE]...")
@click.option(
    "--root",
    default="/",
    metavar="DIR",
    help="The tree to look at: an image, a chroot. Nothing is run there.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME[@VERSION]",
    help="This runtime, and not all that are found; may be given again.",
)
@click.option(
    "--explain", "text", metavar="TEXT|-", help="Say what an error or a log means; - is standard input."
)
@click.option(
    "--pull", is_flag=True, help="Pull each REFERENCE with each runtime that runs, and compare; takes longer."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def command(
    invocation: Invocation,
    references: tuple[str, ...],
    root: str,
    runtimes: tuple[str, ...],
    text: str | None,
    pull: bool,
    as_json: bool,
) -> int:
    """Find out why an image does not arrive, and say what to do.

    Looks at the name, this machine, its container runtimes and every host on the way. Changes nothing; needs
    no root, but says what it could not see without. The exit code is 0 when nothing is wrong, else 5.
    """
    if text is not None:
        return explain(text, environment.language(os.environ), as_json, invocation.config)
    config = Config.load(invocation.config)
    examination = asyncio.run(_examined(config, references, root, runtimes, pull=pull))
    verdict = judge(examination.findings, examination.origins)
    if as_json:
        click.echo(json.dumps(examination_json(examination, verdict), indent=2, ensure_ascii=False))
    else:
        tell_examination(examination, verdict, config.language)
    return 0 if verdict.is_healthy else ILL


async def _examined(
    config: Config, references: tuple[str, ...], root: str, runtimes: tuple[str, ...], *, pull: bool
) -> Examination:
    seconds = EXAMINATION_SECONDS + (PULL_SECONDS if pull else 0.0)
    checks = (*CHECKS, *PULL_CHECKS) if pull else CHECKS
    clock = SystemClock()
    opened = scene_of(config, references, root=root, runtimes=runtimes, clock=clock, seconds=seconds)
    async with opened as scene:
        return await examine(scene, checks)
