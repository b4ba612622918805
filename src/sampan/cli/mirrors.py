"""``sampan mirrors``: the hosts that are configured, the mirrors that are known, and what each can really do.

It guarantees that data goes to stdout and talk to stderr, and that no host is asked more than a look takes:
eight requests. ``list`` asks none of them at all.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.cli.command import Command, CommandGroup, Invocation
from sampan.cli.mirrors_html import page
from sampan.cli.mirrors_json import catalogue_json, configured_json, trial_json
from sampan.cli.mirrors_list import tell_catalogue, tell_configured
from sampan.cli.mirrors_words import tell_trial
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.candidates import candidates
from sampan.config.catalogue import load_catalogue
from sampan.config.running import health_of_running
from sampan.config.trying import parse_nameserver, try_candidates
from sampan.config.writing import write_file
from sampan.doctor.hosts.trial import Trial
from sampan.oci import Reference
from sampan.words import in_language, sentence

REFERENCE = "docker.io/library/alpine:latest"  # some megabytes, and every mirror of Docker Hub has it
ABSENT, NOBODY = 3, 5

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
_catalogue = click.option(
    "--catalogue", metavar="FILE|URL", help="Take this catalogue in place of the built-in one."
)


@click.group(cls=CommandGroup, example="sampan mirrors test\nsampan mirrors list")
def command() -> None:
    """Hosts: those that are configured, those that are known, and what each can really do."""


@command.command("list", cls=Command, example="sampan mirrors list\nsampan mirrors list --json")
@_catalogue
@_json
@click.pass_obj
def list_(invocation: Invocation, catalogue: str | None, as_json: bool) -> None:
    """Show the configured hosts, with their health as a running `sampan serve` has it, and the catalogue.

    Nobody else is asked. Facts of the catalogue are dated; those older than 90 days are marked with !.
    """
    config = Config.load(invocation.config)

    async def ask() -> None:
        known = await load_catalogue(catalogue, config)
        health = await health_of_running(config)
        today = datetime.fromtimestamp(SystemClock().time(), UTC).date()
        if as_json:
            document = {
                "configured": configured_json(config, health),
                "catalogue": catalogue_json(known, today),
            }
            click.echo(json.dumps(document, indent=2))
        else:
            tell_configured(config, health, known)
            tell_catalogue(known, today, config.language)

    asyncio.run(ask())


@command.command(
    cls=Command,
    example="sampan mirrors test\nsampan mirrors test ghcr.io/owner/app:1.2 --all\n"
    "sampan mirrors test --html report.html",
)
@click.argument("reference", default=REFERENCE, metavar="[REFERENCE]")
@click.option("--all", "everything", is_flag=True, help="Try the mirrors of the catalogue too.")
@_catalogue
@click.option(
    "--nameserver",
    "nameservers",
    multiple=True,
    metavar="ADDRESS[:PORT]",
    help="Ask this one too for the names of hosts that cannot be reached; may be given again.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every step of every host.")
@_json
@click.option("--html", metavar="FILE", help="Write a report with bars, complete in one file.")
@click.pass_obj
def test(
    invocation: Invocation,
    reference: str,
    everything: bool,
    catalogue: str | None,
    nameservers: Sequence[str],
    verbose: bool,
    as_json: bool,
    html: str | None,
) -> int:
    """Go the whole way to an image at every host, all at once, and rank them.

    Each host gets eight requests at the most, and gives a manifest, a config and up to 1 MiB of a layer.
    Without REFERENCE it is docker.io/library/alpine:latest. The exit code is 0 when a host gives the image,
    3 when all that answer deny that it exists, else 5.
    """
    config = Config.load(invocation.config)
    wanted = Reference.parse(reference)
    servers = [parse_nameserver(text) for text in nameservers]

    async def run() -> Trial:
        known = await load_catalogue(catalogue, config)
        chosen = candidates(config, known, wanted, everything=everything)
        telling = sentence("asking {count} hosts for {reference}", count=len(chosen), reference=wanted)
        click.echo(in_language(telling, config.language), err=True)
        return await try_candidates(config, wanted, chosen, nameservers=servers)

    trial = asyncio.run(run())
    if html is not None:
        at = datetime.fromtimestamp(SystemClock().time(), UTC)
        write_file(Path(html), page(trial, at, config.language).encode(), "report")
        click.echo(os.fspath(html), err=True)
    if as_json:
        click.echo(json.dumps(trial_json(trial), indent=2))
    else:
        tell_trial(trial, config.language, verbose=verbose)
    return _exit_code(trial)


def _exit_code(trial: Trial) -> int:
    if trial.working:
        return 0
    return ABSENT if any(finding.code == "IMAGE_NOWHERE" for finding in trial.findings) else NOBODY
