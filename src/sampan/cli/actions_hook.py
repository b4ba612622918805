"""``sampan actions-hook``: stands between a GitHub Actions runner and its container hook.

It guarantees that the hook is started in our place with what the runner said, images redirected: its signals,
its output and its exit code are the runner's and its own business. Whatever is wrong with the rules or with
what the runner said, the hook still runs, with every byte as it came, and the job's log says why.
"""

from __future__ import annotations

import json
import os
import sys

import click

from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.errors import SampanError, UsageError
from sampan.rewrite.actions import rewrite_hook


@click.command(
    cls=Command,
    example="sampan actions-hook /home/runner/externals/node20/bin/node /home/runner/k8s/index.js",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("program")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(invocation: Invocation, program: str, words: tuple[str, ...]) -> None:
    """Redirect the images that a GitHub Actions runner names, then become its own hook, PROGRAM WORDS.

    For a script that ACTIONS_RUNNER_CONTAINER_HOOKS names.
    """
    said = sys.stdin.buffer.read()
    _become(program, words, _rewritten(said, invocation.config))


def _rewritten(said: bytes, config: str | None) -> bytes:
    try:
        rules = rewriter(Config.load(config, locked=False))
        document = json.loads(said)
    except (SampanError, ValueError, RecursionError) as error:
        click.echo(f"sampan: images are left as they are: {error}", err=True)
        return said
    changes = rewrite_hook(document, rules)
    for change in changes:
        click.echo(f"sampan: {change.before} is pulled as {change.after}", err=True)
    return json.dumps(document).encode() if changes else said


def _become(program: str, words: tuple[str, ...], said: bytes) -> None:
    """Replace this process; ``said`` is in memory only, for there are passwords in it."""
    memory = os.memfd_create("sampan-hook")
    with open(memory, "wb", closefd=False) as file:
        file.write(said)
    os.lseek(memory, 0, os.SEEK_SET)
    os.dup2(memory, 0)
    sys.stderr.flush()
    try:
        os.execvp(program, [program, *words])  # noqa: S606  (the runner's own hook, as its owner wrote it)
    except OSError as error:
        raise UsageError(
            f"cannot start the hook {program}: {error.strerror}",
            hint="name the program and the script: .../externals/node20/bin/node .../k8s/index.js",
        ) from error
