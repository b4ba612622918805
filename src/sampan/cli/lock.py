"""``sampan lock``: what tags mean, resolved on every host, written down, and checked later.

It guarantees that data goes to stdout and talk to stderr, and that the exit code tells the worst of what
was found. What hosts are asked, and how they are weighed, is in :mod:`sampan.lock`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from sampan.cli.command import Command, CommandGroup, Invocation
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.build import build_client
from sampan.config.lockfile import FILE_NAME, read_lock, write_lock
from sampan.errors import UsageError
from sampan.lock import Lock, Locked
from sampan.lock.findings import Check, Finding, check, find
from sampan.lock.survey import Survey
from sampan.lock.verdict import Verdict
from sampan.oci import Digest, Platform, Reference
from sampan.upstream.health import Health

Answer = TypeVar("Answer")

DRIFT = 4  # as content that does not verify
NOBODY = 5
DIGEST_CHARACTERS = len("sha256:") + 12  # of a digest, for people; --json has all of it

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group(cls=CommandGroup, example="sampan lock create alpine:3 nginx:1.27\nsampan lock verify")
def command() -> None:
    """Write down what tags mean, as several hosts agree, and check that it still holds."""


@command.command(
    cls=Command,
    example="sampan lock create alpine:3 ghcr.io/org/app:1.2\nsampan lock create -o images.lock",
)
@click.argument("references", nargs=-1, metavar="[REFERENCE]...")
@click.option(
    "-o", "--output", metavar="FILE", help=f"The lock to write; else tags.lock, else ./{FILE_NAME}."
)
@click.option(
    "--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Write down these alone; else all."
)
@_json
@click.pass_obj
def create(
    invocation: Invocation,
    references: tuple[str, ...],
    output: str | None,
    platforms: tuple[str, ...],
    as_json: bool,
) -> int:
    """Resolve references on every host and write what they agree on.

    Other images in the file stay as they are; without a REFERENCE all in the file are resolved anew.
    A reference that too few hosts agree on is not written, and the exit code is 5.
    """
    config = Config.load(invocation.config, locked=False)
    path = Path(output) if output else config.tags.lock_path or Path(FILE_NAME)
    former = read_lock(path) if path.exists() or not references else Lock()
    wanted = [_tagged(text) for text in references] or [image.reference for image in former.images]
    chosen = [Platform.parse(text) for text in platforms if text != "all"]
    clock = SystemClock()

    async def survey(survey: Survey) -> list[Finding]:
        return await find(
            survey,
            list(dict.fromkeys(wanted)),
            agree=config.tags.agree,
            platforms=chosen,
            former=former,
            now_seconds=clock.time(),
        )

    findings = asyncio.run(_surveyed(config, survey))
    found = [finding.locked for finding in findings if finding.locked is not None]
    renewed = former.renewed(found)
    changed = write_lock(path, renewed) if found else False
    if as_json:
        images = [_finding_json(finding, former) for finding in findings]
        click.echo(json.dumps({"file": str(path), "changed": changed, "images": images}, indent=2))
    else:
        for image in found:
            click.echo(f"{image.reference} {image.digest}")
    for finding in findings:
        _tell_finding(finding, former)
    word = "written" if changed else "unchanged" if path.exists() else "not written"
    click.echo(f"{path}: {_images(renewed)}, {word}", err=True)
    return max((finding.failure.exit_code for finding in findings if finding.failure), default=0)


@command.command(cls=Command, example="sampan lock verify\nsampan lock verify images.lock --json")
@click.argument("file", required=False)
@_json
@click.pass_obj
def verify(invocation: Invocation, file: str | None, as_json: bool) -> int:
    """Resolve every image of the lock again: 0 all holds, 4 something moved, 5 too few hosts answered."""
    config = Config.load(invocation.config, locked=False)
    path = Path(file) if file else config.tags.lock_path or Path(FILE_NAME)
    lock = read_lock(path)

    async def survey(survey: Survey) -> list[Check]:
        return await check(survey, lock, agree=config.tags.agree)

    checks = asyncio.run(_surveyed(config, survey))
    if as_json:
        click.echo(json.dumps({"file": str(path), "images": [_check_json(c) for c in checks]}, indent=2))
    else:
        _tell_moved([c for c in checks if c.standing in ("moved", "gone")])
    for one in checks:
        if one.standing == "unconfirmed":
            click.echo(f"{one.locked.reference}: not confirmed, {_why(one.verdict)}", err=True)
        if one.verdict.is_split:
            _tell_split(one.verdict, {})
    standings = [c.standing for c in checks]
    hold = "holds" if len(checks) == 1 else "hold"
    click.echo(f"{path}: {standings.count('holds')} of {_images(lock)} {hold}", err=True)
    if "moved" in standings or "gone" in standings:
        return DRIFT
    return NOBODY if "unconfirmed" in standings else 0


async def _surveyed(config: Config, ask: Callable[[Survey], Awaitable[Answer]]) -> Answer:
    clock = SystemClock()
    health = Health(clock)
    client = build_client(config, clock, health)
    try:
        return await ask(Survey(config.hosts_for, client, clock, health=health))
    finally:
        await client.close()


def _tagged(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError(
            f"{reference} names a digest: there is nothing to lock",
            hint="leave out the digest to lock the tag",
        )
    return reference


# -- for people -----------------------------------------------------------------------------------


def _images(lock: Lock) -> str:
    return f"{len(lock.images)} image{'' if len(lock.images) == 1 else 's'}"


def _tell_finding(finding: Finding, former: Lock) -> None:
    verdict, failure = finding.verdict, finding.failure
    if failure is not None:
        click.echo(f"{verdict.reference}: not written: {failure.message}", err=True)
        if failure.hint:
            click.echo(f"hint: {failure.hint}", err=True)
    elif finding.locked is not None:
        old = former.find(verdict.reference)
        if old is not None and old.digest != finding.locked.digest:
            click.echo(f"{verdict.reference}: was {old.digest}", err=True)
    if verdict.is_split:
        _tell_split(verdict, {digest: str(age) for digest, age in finding.ages.items()})


def _tell_split(verdict: Verdict, ages: dict[Digest, str]) -> None:
    click.echo(f"{verdict.reference}: hosts disagree", err=True)
    for digest in verdict.said:
        word = "agreed" if digest == verdict.agreed else ages.get(digest, "differs")
        hosts = ", ".join(host.name for host in verdict.hosts(digest))
        click.echo(f"  {word:8}{digest}  {hosts}", err=True)


def _tell_moved(moved: Sequence[Check]) -> None:
    """A table of what moved, on stdout: it is what was asked for."""
    rows = [("REFERENCE", "LOCKED", "NOW", "SAID BY")]
    for one in moved:
        now = one.verdict.agreed
        said_by = ", ".join(host.name for host in one.verdict.hosts(now)) if now else "every host"
        rows.append((str(one.locked.reference), _short(one.locked.digest), _short(now), said_by))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows if moved else ():
        click.echo(
            "  ".join([*(f"{word:{width}}" for word, width in zip(row, widths, strict=False)), row[3]])
        )


def _short(digest: Digest | None) -> str:
    return "no such tag" if digest is None else str(digest)[:DIGEST_CHARACTERS]


def _why(verdict: Verdict) -> str:
    silent = ", ".join(f"{s.host.name}: {s.outcome}" for s in verdict.sayings if s.digest is None)
    needed = f"{verdict.needed} groups of hosts must agree"
    return f"{needed} ({silent})" if silent else needed


# -- for programs ---------------------------------------------------------------------------------


def _finding_json(finding: Finding, former: Lock) -> dict[str, object]:
    failure = finding.failure
    return {
        "reference": str(finding.verdict.reference),
        "status": _status(finding, former),
        "locked": _locked_json(finding.locked),
        "error": None if failure is None else failure.message,
        **_verdict_json(finding.verdict, {digest: str(age) for digest, age in finding.ages.items()}),
    }


def _status(finding: Finding, former: Lock) -> str:
    if finding.locked is None:
        return "failed"
    old = former.find(finding.verdict.reference)
    if old is None:
        return "added"
    return "unchanged" if old.says_the_same(finding.locked) else "changed"


def _check_json(one: Check) -> dict[str, object]:
    return {
        "reference": str(one.locked.reference),
        "status": one.standing,
        "locked": _locked_json(one.locked),
        **_verdict_json(one.verdict, {}),
    }


def _locked_json(locked: Locked | None) -> dict[str, object] | None:
    if locked is None:
        return None
    return {
        "digest": str(locked.digest),
        "media_type": locked.media_type,
        "size": locked.size,
        "platforms": {
            name: {"digest": str(manifest.digest), "size": manifest.size}
            for name, manifest in locked.platforms.items()
        },
    }


def _verdict_json(verdict: Verdict, ages: dict[Digest, str]) -> dict[str, object]:
    said = [
        {
            "digest": str(digest),
            "word": "agreed" if digest == verdict.agreed else ages.get(digest, "differs"),
            "groups": list(verdict.groups(digest)),
            "hosts": [host.name for host in verdict.hosts(digest)],
        }
        for digest in verdict.said
    ]
    silent = [
        {"host": s.host.name, "group": s.host.operator, "outcome": s.outcome}
        for s in verdict.sayings
        if s.digest is None
    ]
    agreed = None if verdict.agreed is None else str(verdict.agreed)
    return {"agreed": agreed, "needed": verdict.needed, "said": said, "silent": silent}
