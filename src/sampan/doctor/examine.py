"""Checks run side by side, within the time that there is, and what they found.

Guarantees that it is over when the scene's time is, whatever a check waits for, and that no check takes
another's findings with it: what one had found is kept when it is cut, or fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sampan.doctor.contract import Check, Finding, HostReport, Scene, Unseen
from sampan.doctor.looks import look_at_all
from sampan.doctor.names import Named, names_of
from sampan.errors import printable, redact
from sampan.oci.reference import origin_url
from sampan.words import sentence

_PREFIX = "check_"


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found, in the order of the checks; ``origins``: the registries' own hosts, by the names
    that findings have for them. ``names``: what tools make of each name that was given; ``reports``: of the
    hosts that were looked at. ``seconds``: how long it took."""

    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]
    origins: frozenset[str]
    seconds: float
    names: Mapping[str, Sequence[Named]] = field(default_factory=dict)
    reports: Sequence[HostReport] = ()


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
        reports = group.create_task(_reports(scene))
        for check, kept in runs:
            group.create_task(_run(check, scene, kept))
    return Examination(
        tuple(dict.fromkeys(finding for _, each in runs for finding in each.findings)),
        tuple(dict.fromkeys(unseen for _, each in runs for unseen in each.unseen)),
        frozenset(_origins(scene)),
        scene.clock.monotonic() - started,
        {text: names for text in scene.typed if (names := names_of(text, scene.tree))},
        reports.result(),
    )


async def _reports(scene: Scene) -> Sequence[HostReport]:
    """Those that checks ask for; where one look is not over in time, none."""
    try:
        async with asyncio.timeout(scene.seconds_left):
            return await look_at_all(scene)
    except TimeoutError:
        return ()


def _origins(scene: Scene) -> Iterator[str]:
    """Configured or not: runtimes ask them in any case."""
    for registry in {reference.registry for reference in scene.references}:
        yield origin_url(registry).partition("://")[2]
        yield from (host.name for host in scene.hosts_for(registry) if host.role == "origin")


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
