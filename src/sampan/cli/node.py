"""``sampan node``: the container runtimes of this machine, looked at, changed and changed back.

It guarantees that diffs and data go to stdout and talk to stderr, that a plan is shown before it is applied,
and that whoever may not change anything is told what is needed and sees the plan all the same.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.cli.command import Command, CommandGroup, Invocation
from sampan.cli.node_scope import (
    NONE_FOUND,
    Planning,
    Scope,
    direct_option,
    json_option,
    no_steps_option,
    options,
    root_option,
    runtime_option,
    service_option,
    via_option,
)
from sampan.cli.node_words import (
    plan_json,
    revert_diff,
    snapshot_json,
    status_json,
    tell_plan,
    tell_snapshots,
    tell_status,
)
from sampan.config import Config
from sampan.errors import NodeError, PlanMismatch, UsageError
from sampan.oci import Reference
from sampan.runtimes.apply import apply as carry_out
from sampan.runtimes.revert import recover
from sampan.runtimes.revert import revert as go_back
from sampan.runtimes.service import Service
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.words import in_language, listed, sentence

PULLED = "docker.io/library/hello-world:latest"  # 13 KB, for every platform

_plan_options = options(root_option, runtime_option, via_option, direct_option, service_option, json_option)


@click.group(cls=CommandGroup, example="sampan node status\nsampan node plan\nsudo sampan node apply")
def command() -> None:
    """Tell the container runtimes of this machine about mirrors, and undo it byte for byte."""


@command.command(cls=Command, example="sampan node status\nsampan node status --runtime docker --json")
@options(root_option, runtime_option, json_option)
@click.pass_obj
def status(invocation: Invocation, root: str, runtimes: tuple[str, ...], as_json: bool) -> int:
    """Show what each runtime asks for images, and what is configured without effect."""
    config, tree = Config.load(invocation.config), Tree(Path(os.path.realpath(root)))
    scope = Scope.of(config, root, runtimes, service=not runtimes and Service().is_installed(tree))
    statuses = scope.statuses()
    if as_json:
        click.echo(json.dumps({"runtimes": [status_json(each) for each in statuses]}, indent=2))
    else:
        tell_status(statuses, config.language)
    unfinished = _unfinished(scope)
    if unfinished:
        _say(scope, unfinished)
    return 0 if statuses else _none_found(scope)


@command.command(
    cls=Command,
    example="sampan node plan\nsampan node plan --via http://sampan.lan:5050\n"
    "sampan node plan --root /mnt/image --runtime docker@28",
)
@_plan_options
@click.pass_obj
def plan(
    invocation: Invocation,
    root: str,
    runtimes: tuple[str, ...],
    via: str | None,
    direct: bool,
    service: bool,
    as_json: bool,
) -> int:
    """Show what apply would change, and what it would reload. Nothing is changed."""
    scope = Scope.of(Config.load(invocation.config), root, runtimes, service=service)
    return _show_plan(scope, scope.planning(via=via, direct=direct), as_json=as_json)


@command.command(
    cls=Command,
    example="sudo sampan node apply\nsudo sampan node apply --plan 4c1f0ad7be2d\n"
    "sampan node apply --root /mnt/image --runtime docker@28 --via http://sampan.lan:5050",
)
@_plan_options
@no_steps_option
@click.option("--dry-run", is_flag=True, help="The same as sampan node plan.")
@click.option("--plan", "expected", metavar="ID", help="Only if the plan is still the one that was shown so.")
@click.option(
    "--pull",
    "image",
    default=PULLED,
    show_default=True,
    metavar="REFERENCE",
    help="What each changed runtime must be able to pull afterwards.",
)
@click.option("--no-pull", is_flag=True, help="Check the configuration in force, and pull nothing.")
@click.pass_obj
def apply(
    invocation: Invocation,
    root: str,
    runtimes: tuple[str, ...],
    via: str | None,
    direct: bool,
    service: bool,
    as_json: bool,
    no_steps: bool,
    dry_run: bool,
    expected: str | None,
    image: str,
    no_pull: bool,
) -> int:
    """Change the runtimes' files, make them take notice, and check it; what fails is undone."""
    pulled = None if no_pull else Reference.parse(image)
    scope = Scope.of(Config.load(invocation.config), root, runtimes, service=service)
    steps = scope.steps(run=not no_steps)
    if dry_run:
        return _show_plan(scope, scope.planning(via=via, direct=direct), as_json=as_json)
    try:
        scope.journal.check_permitted()
    except NodeError:
        _show_plan(scope, scope.planning(via=via, direct=direct), as_json=as_json)
        raise
    with scope.journal.locked():
        _recover(scope, steps)
        planning = scope.planning(via=via, direct=direct)
        code = _show_plan(scope, planning, as_json=as_json)
        if code:
            return code
        _check_expected(planning, expected)
        snapshot = _carry_out(scope, planning, steps, pulled)
    if snapshot is not None:
        _say(
            scope,
            sentence("applied; sampan node revert undoes it (snapshot {number})", number=snapshot.number),
        )
    return 0


@command.command(
    cls=Command, example="sudo sampan node revert\nsampan node revert --list\nsudo sampan node revert 2"
)
@click.argument("number", type=int, required=False)
@click.option("--list", "listing", is_flag=True, help="Show the snapshots, and change nothing.")
@click.option("--force", is_flag=True, help="Also over what was edited since; that is kept by the snapshot.")
@click.option("--dry-run", is_flag=True, help="Show what would change.")
@options(root_option, json_option, no_steps_option)
@click.pass_obj
def revert(
    invocation: Invocation,
    number: int | None,
    listing: bool,
    force: bool,
    dry_run: bool,
    root: str,
    as_json: bool,
    no_steps: bool,
) -> int:
    """Undo the last apply, or all down to and with snapshot NUMBER, byte for byte."""
    scope = Scope.of(Config.load(invocation.config), root, ())
    if listing:
        return _list(scope, as_json=as_json)
    if dry_run:
        for snapshot in _to_revert(scope, number):
            click.echo(revert_diff(snapshot), nl=False)
        return 0
    with scope.journal.locked():
        snapshots = _to_revert(scope, number)
        for snapshot in snapshots:
            _revert_one(scope, snapshot, scope.steps(run=not no_steps), force=force)
    if as_json:
        click.echo(json.dumps({"reverted": [snapshot.number for snapshot in snapshots]}, indent=2))
    if not snapshots:
        _say(scope, sentence("nothing to revert"))
    return 0


def _show_plan(scope: Scope, planning: Planning, *, as_json: bool) -> int:
    steps = scope.steps(run=True)
    if as_json:
        click.echo(json.dumps(plan_json(planning, steps), indent=2))
    else:
        tell_plan(planning, steps, scope.config.language)
    if planning.refused:
        _say(scope, listed(["hint", sentence("--runtime NAME plans for the others alone")], ": "))
        return PlanMismatch.exit_code
    return 0 if scope.runtimes else _none_found(scope)


def _carry_out(scope: Scope, planning: Planning, steps: Steps, image: Reference | None) -> Snapshot | None:
    try:
        return carry_out(
            scope.journal,
            planning.plan,
            steps,
            now=datetime.now(UTC),
            verify=lambda: () if steps.machine is None else scope.verify(planning, image),
        )
    except PlanMismatch as error:
        click.echo(error.diff, nl=False)
        raise


def _revert_one(scope: Scope, snapshot: Snapshot, steps: Steps, *, force: bool) -> None:
    try:
        go_back(scope.journal, snapshot, steps, edited="replace" if force else "refuse")
    except PlanMismatch as error:
        click.echo(error.diff, nl=False)
        raise
    _say(scope, sentence("snapshot {number} is reverted", number=snapshot.number))


def _recover(scope: Scope, steps: Steps) -> None:
    try:
        snapshot = recover(scope.journal, steps)
    except PlanMismatch as error:
        click.echo(error.diff, nl=False)
        raise
    if snapshot is not None:
        _say(
            scope, sentence("snapshot {number} was interrupted, and is undone first", number=snapshot.number)
        )


def _check_expected(planning: Planning, expected: str | None) -> None:
    if expected is not None and expected != planning.plan.fingerprint:
        raise PlanMismatch(
            sentence(
                "the plan is {now} now, not {expected}", now=planning.plan.fingerprint, expected=expected
            ),
            hint=sentence("files or sampan.toml have changed since: look at the plan above"),
        )


def _to_revert(scope: Scope, number: int | None) -> list[Snapshot]:
    """The newest first. Raises UsageError for a number that is none."""
    snapshots = [snapshot for snapshot, state in scope.journal.snapshots() if state != "reverted"]
    if number is None:
        return snapshots[-1:]
    if number not in [snapshot.number for snapshot in snapshots]:
        raise UsageError(
            sentence("no snapshot {number} that can be reverted", number=number),
            hint=sentence("sampan node revert --list shows them"),
        )
    return [snapshot for snapshot in reversed(snapshots) if snapshot.number >= number]


def _list(scope: Scope, *, as_json: bool) -> int:
    snapshots = scope.journal.snapshots()
    if as_json:
        click.echo(json.dumps({"snapshots": [snapshot_json(*each) for each in snapshots]}, indent=2))
    else:
        tell_snapshots(snapshots)
    return 0


def _unfinished(scope: Scope) -> str | None:
    try:
        snapshot = scope.journal.unfinished()
    except NodeError:
        return None
    if snapshot is None:
        return None
    return sentence("snapshot {number} was interrupted: sampan node revert undoes it", number=snapshot.number)


def _none_found(scope: Scope) -> int:
    _say(scope, sentence("no container runtime is found here"))
    _say(scope, listed(["hint", sentence("--runtime NAME plans for one all the same")], ": "))
    return NONE_FOUND


def _say(scope: Scope, text: str) -> None:
    click.echo(in_language(text, scope.config.language), err=True)
