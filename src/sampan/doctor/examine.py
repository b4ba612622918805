"""Checks run side by side, within the time that there is, and what they found.

Guarantees that it is over when the scene's time is, whatever a check waits for, and that no check takes
another's findings with it: what one had found is kept when it is cut, or fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from sampan.doctor.contract import Check, Finding, Scene, Unseen
from sampan.errors import printable, redact
from sampan.words import sentence

_PREFIX = "check_"


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found, in the order of the checks; ``seconds``: how long it took."""

    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]
    seconds: float


@dataclass(slots=True)
class _Found:
    findings: list[Finding] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)

    def add(self, each: Finding | Unseen) -> None:
        if isinstance(each, Finding):
            self.findings.append(each)
        else:
            self.unseen.append(each)


async def examine(scene: Scene, checks: Iterable[Check]) -> Examination:
    """Run ``checks``, all at once, until the last is over or the time is."""
    started = scene.clock.monotonic()
    runs = [(check, _Found()) for check in checks]
    async with asyncio.TaskGroup() as group:
        for check, kept in runs:
            group.create_task(_run(check, scene, kept))
    return Examination(
        tuple(dict.fromkeys(finding for _, each in runs for finding in each.findings)),
        tuple(dict.fromkeys(unseen for _, each in runs for unseen in each.unseen)),
        scene.clock.monotonic() - started,
    )


async def _run(check: Check, scene: Scene, found: _Found) -> None:
    name = getattr(check, "__name__", "check").removeprefix(_PREFIX)
    limit = asyncio.timeout(scene.seconds_left)
    try:
        async with limit:
            async for each in check(scene):
                found.add(each)
    except Exception as error:  # noqa: BLE001 - what the others found is worth more than this one
        found.add(_cut(name) if limit.expired() else _failed(name, error))


def _cut(name: str) -> Unseen:
    return Unseen(name, sentence("there was no time to look at all of it"))


def _failed(name: str, error: Exception) -> Unseen:
    words = printable(redact(str(error)))
    what = sentence("this check failed: {kind}: {words}", kind=type(error).__name__, words=words)
    return Unseen(name, what, sentence("this is a fault of sampan: please report it"))
