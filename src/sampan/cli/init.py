"""``sampan init``: tries origins and known mirrors, and writes a sampan.toml of what works from here.

It guarantees that nothing is written that sampan would not read, nothing without a yes (on a terminal it
asks, elsewhere it is ``--yes``), and that a file that is there stays unless ``--force`` is given.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.cli.command import Command, Invocation
from sampan.cli.init_text import render
from sampan.cli.mirrors_json import trial_json
from sampan.clock import SystemClock
from sampan.config import Config, environment
from sampan.config.candidates import listed
from sampan.config.catalogue import load_catalogue
from sampan.config.trying import try_all_registries
from sampan.config.writing import write_file
from sampan.doctor.catalogue import Catalogue
from sampan.doctor.hosts.proposal import Proposal, polite, propose
from sampan.doctor.hosts.trial import Candidate
from sampan.errors import UsageError
from sampan.words import Language, in_language, sentence

NOBODY = 5


@click.command(
    cls=Command,
    example="sampan init\nsudo sampan init --yes\nsampan init --catalogue ours.toml -o ./sampan.toml",
)
@click.option("-o", "--output", metavar="FILE", help="Write this file; else the one that sampan reads here.")
@click.option("--catalogue", metavar="FILE|URL", help="Take this catalogue in place of the built-in one.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def command(
    invocation: Invocation, output: str | None, catalogue: str | None, yes: bool, force: bool, as_json: bool
) -> int:
    """Try origins and known mirrors, propose a sampan.toml of what works from here, and write it.

    Every host gets eight requests at the most for an image, and no machine more than two such looks. Mirrors
    that need a login or an account are left out, and so are those that are known to be dead. When nothing
    works nothing is written, and the exit code is 5.
    """
    path = Path(output or invocation.config or usual_place(os.environ))
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already", hint="--force writes over it, -o names another file")
    config = Config.parse("", environ=os.environ)
    proposals = asyncio.run(_proposals(config, catalogue))
    today = datetime.fromtimestamp(SystemClock().time(), UTC).date()
    text = render(proposals, today, config.language)
    if not any(proposal.is_any for proposal in proposals):
        return _tell_nothing(text, proposals, config.language, as_json=as_json)
    Config.parse(text, name=os.fspath(path), environ={})
    if not as_json:
        click.echo(text, nl=False)
    if not yes and not _agrees(path, config.language):
        return 0
    write_file(path, text.encode(), "configuration", make_directory=True)
    if as_json:
        click.echo(json.dumps(_json(path, text, proposals), indent=2))
    _tell_next(path, config.language)
    return 0


def usual_place(environ: os._Environ[str]) -> Path:
    """Where sampan looks for it: the system's file for root, else the user's own."""
    if os.geteuid() == 0:
        return environment.SYSTEM_FILE
    return environment.user_file(environ)


async def _proposals(config: Config, where: str | None) -> Sequence[Proposal]:
    catalogue = await load_catalogue(where, config)
    everybody = {registry: _alive(catalogue, registry) for registry in catalogue.samples}
    chosen = polite(everybody)
    count = sum(map(len, chosen.values()))
    words = sentence("asking {count} hosts of {registries}", count=count, registries=", ".join(chosen))
    click.echo(in_language(words, config.language), err=True)
    references = {registry: sample.reference for registry, sample in catalogue.samples.items()}
    trials = await try_all_registries(config, [(references[name], chosen[name]) for name in chosen])
    proven = [tried for trial in trials for tried in trial.working]
    return [
        propose(trial, [each for each in everybody[name] if each not in chosen[name]], proven)
        for name, trial in zip(chosen, trials, strict=True)
    ]


def _alive(catalogue: Catalogue, registry: str) -> tuple[Candidate, ...]:
    found = listed(catalogue, registry)
    return tuple(each for each in found if each.entry is None or each.entry.state != "dead")


def _agrees(path: Path, language: Language) -> bool:
    """Whether a person at the terminal wants it written. Raises UsageError where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{path} is not written: nobody can be asked", hint="--yes writes it")
    question = in_language(sentence("Write this to {path}?", path=path), language)
    return click.confirm(question, default=True, err=True)


def _tell_next(path: Path, language: Language) -> None:
    click.echo(in_language(sentence("{path} is written. Next:", path=path), language), err=True)
    for command, words in (
        ("sampan serve", sentence("runs the mirror")),
        ("sampan node plan", sentence("shows what this machine's runtimes would be told of it")),
    ):
        click.echo(f"  {command:18}{in_language(words, language)}", err=True)


def _tell_nothing(text: str, proposals: Sequence[Proposal], language: Language, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(_json(None, text, proposals), indent=2))
    else:
        click.echo(text, nl=False)
    words = sentence("no host works from here, nothing is written: sampan doctor says why")
    click.echo(in_language(words, language), err=True)
    return NOBODY


def _json(path: Path | None, text: str, proposals: Sequence[Proposal]) -> dict[str, object]:
    return {
        "written": None if path is None else str(path),
        "text": text,
        "registries": {
            each.registry: {
                "origin": each.origin,
                "mirrors": [chosen.candidate.host.name for chosen in each.mirrors],
                "trial": trial_json(each.trial),
            }
            for each in proposals
        },
    }
