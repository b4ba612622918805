"""What ``sampan node`` says, to people and to programs.

It guarantees that a diff and JSON hold no secret, and that people and programs are told the same, people in
their language.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

import click

from sampan.cli.node_scope import Planning
from sampan.errors import NodeError, printable
from sampan.runtimes.contract import Finding, Plan, Source, Status, Step
from sampan.runtimes.plan import NodePlan, show, unified_diff
from sampan.runtimes.snapshot import Snapshot, State
from sampan.runtimes.steps import Steps
from sampan.words import Language, in_language, listed, sentence

# -- for people -----------------------------------------------------------------------------------


def tell_status(statuses: Iterable[Status], language: Language) -> None:
    """On stdout: it is what was asked for."""
    for status in statuses:
        click.echo(f"{status.runtime}: {in_language(listed(_words(status)), language)}")
        for source in status.sources:
            click.echo(f"  {in_language(_source_words(source), language)}")
        for asked in status.in_force:
            name = in_language(sentence("all others"), language) if asked.registry == "*" else asked.registry
            hosts = printable(", ".join(asked.hosts), characters_max=1000)
            click.echo(f"  {name}: {hosts or in_language(sentence('nobody'), language)}")
        for finding in status.findings:
            click.echo(f"  {finding.level}: {finding.place}{in_language(finding.message, language)}")
            if finding.hint:
                click.echo(f"    hint: {in_language(finding.hint, language)}")


def tell_plan(planning: Planning, steps: Steps, language: Language) -> None:
    """The diffs on stdout, and the rest of the plan as comments that no patch minds."""
    plan = planning.plan
    click.echo(show(plan), nl=False)
    for note in planning.notes:
        click.echo(f"note: {in_language(note, language)}", err=True)
    for each in plan.plans:
        for step in each.steps:
            words = in_language(_step_words(each, step, steps), language)
            click.echo(f"step: {each.runtime}: {words}", err=True)
        for advice in each.advice:
            click.echo(f"advice: {each.runtime}: {in_language(advice.title, language)}", err=True)
            for command in advice.commands:
                click.echo(f"  {command}", err=True)
            if advice.document is not None:
                click.echo(advice.document, nl=False)
    for runtime, error in planning.refused.items():
        click.echo(f"refused: {runtime}: {in_language(error.message, language)}", err=True)
        if error.hint:
            click.echo(f"hint: {in_language(error.hint, language)}", err=True)
    if plan.changes:
        click.echo(in_language(_plan_words(plan), language), err=True)
    elif not planning.refused:
        click.echo(in_language(sentence("nothing to change"), language), err=True)


def tell_snapshots(snapshots: Sequence[tuple[Snapshot, State]]) -> None:
    """A table on stdout, the newest last."""
    for snapshot, state in snapshots:
        files = ", ".join(printable(kept.path) for kept in snapshot.files)
        made = snapshot.made_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        click.echo(f"{snapshot.number:4}  {state:9}  {made}  {','.join(snapshot.runtimes)}  {files}")


def revert_diff(snapshot: Snapshot) -> str:
    """What going back to before ``snapshot`` changes."""
    return "".join(unified_diff(k.path, k.after, k.before, secret=k.secret) for k in snapshot.files)


def _words(status: Status) -> list[str]:
    version = sentence("version unknown") if status.version is None else str(status.version)
    running = sentence("running") if status.running else sentence("not running")
    if status.running is None:
        running = sentence("not asked whether it runs")
    return [version, *([status.mode] if status.mode else []), running]


def _source_words(source: Source) -> str:
    words = [sentence("file {path}", path=printable(source.path))]
    words += [sentence("written by {writer}", writer=source.written_by)] if source.written_by else []
    return listed([*words, *([] if source.read else [sentence("read by nobody")])])


def _step_words(plan: Plan, step: Step, steps: Steps) -> str:
    if step.kind == "none":
        return sentence("nothing to reload: {effect}", effect=step.effect)
    facts = {
        "kind": step.kind,
        "command": shlex.join(steps.command(plan.runtime, step)),
        "effect": step.effect,
    }
    if steps.machine is None:
        return sentence("{kind} by {command} (not run now): {effect}", **facts)
    return sentence("{kind} by {command}: {effect}", **facts)


def _plan_words(plan: NodePlan) -> str:
    if len(plan.changes) == 1:
        return sentence("plan {name}: 1 file to change", name=plan.fingerprint)
    return sentence("plan {name}: {number} files to change", name=plan.fingerprint, number=len(plan.changes))


# -- for programs ---------------------------------------------------------------------------------


def status_json(status: Status) -> dict[str, object]:
    """One runtime."""
    return {
        "runtime": status.runtime,
        "version": None if status.version is None else str(status.version),
        "mode": status.mode,
        "running": status.running,
        "files": [{"path": s.path, "read": s.read, "written_by": s.written_by} for s in status.sources],
        "in_force": [
            {"registry": f.registry, "hosts": list(f.hosts), "file": f.file} for f in status.in_force
        ],
        "findings": [finding_json(finding) for finding in status.findings],
    }


def finding_json(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "level": finding.level,
        "message": finding.message,
        "file": finding.file,
        "line": finding.line,
        "hint": finding.hint,
    }


def plan_json(planning: Planning, steps: Steps) -> dict[str, object]:
    """The whole plan: what changes in each file as a diff, since contents may hold secrets."""
    return {
        "plan": planning.plan.fingerprint,
        "changes": [
            {
                "path": change.path,
                "kind": "add" if change.before is None else "remove" if change.after is None else "edit",
                "diff": unified_diff(change.path, change.before, change.after, secret=change.secret),
            }
            for change in planning.plan.changes
        ],
        "steps": [
            {
                "runtime": plan.runtime,
                "kind": step.kind,
                "command": list(steps.command(plan.runtime, step)),
                "effect": step.effect,
            }
            for plan in planning.plan.plans
            for step in plan.steps
        ],
        "advice": [
            {
                "runtime": plan.runtime,
                "title": advice.title,
                "commands": list(advice.commands),
                "document": advice.document,
            }
            for plan in planning.plan.plans
            for advice in plan.advice
        ],
        "notes": planning.notes,
        "refused": [_refusal_json(name, error) for name, error in planning.refused.items()],
    }


def snapshot_json(snapshot: Snapshot, state: State) -> dict[str, object]:
    return {
        "number": snapshot.number,
        "state": state,
        "made_at": snapshot.made_at.isoformat(),
        "runtimes": list(snapshot.runtimes),
        "files": [kept.path for kept in snapshot.files],
    }


def _refusal_json(name: str, error: NodeError) -> dict[str, object]:
    return {"runtime": name, "message": error.message, "hint": error.hint}
