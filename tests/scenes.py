"""Scenes for the doctor's checks: a tree of files, and a machine whose programs are scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.doctor.contract import Check, Finding, HostReport, Probe, Scene, Seen, Step, Unseen
from sampan.errors import HostError, InvalidReference
from sampan.oci import Reference
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Installed, Machine
from sampan.runtimes.examine import Chosen
from sampan.runtimes.tree import Tree
from sampan.testing import ManualClock
from sampan.upstream.host import Host


@dataclass
class Reports:
    """A probe that has looked already: ``told`` by the host's name, good where nothing is told."""

    told: Mapping[str, HostReport] = field(default_factory=dict)

    async def look(self, host: Host, reference: Reference) -> HostReport:
        return self.told.get(host.name) or report(host, reference)


def report(host: Host, reference: Reference, error: HostError | None = None, **seen: object) -> HostReport:
    """Of a host that gave the manifest, or did not."""
    step = Step("manifest", "ok" if error is None else error.outcome, 0.1)
    names = reference.registry, reference.repository, reference.object
    return HostReport(host, *names, (step,), error=error, **seen)  # type: ignore[arg-type]


def scene(
    root: Path,
    *typed: str,
    runtimes: Sequence[str] = (),
    answers: Mapping[str, Mapping[str, str]] | None = None,
    hosts: Sequence[Host] = (),
    probe: Probe | None = None,
    machine: Machine | None = None,
    environ: Mapping[str, str] | None = None,
    clock: ManualClock | None = None,
    seconds: float = 10.0,
    **more: Any,
) -> Scene:
    """The tree at ``root``, with ``runtimes`` as after ``--runtime``, and what their programs say."""
    clock = clock or ManualClock()
    tree = Tree(root)
    seen = []
    for chosen in map(Chosen.parse, runtimes):
        installed = Installed(chosen.version, (answers or {}).get(chosen.name, {}))
        runtime = RUNTIMES[chosen.name]
        seen.append(Seen(runtime, installed, runtime.status(tree, installed)))
    references = tuple(filter(None, map(_reference, typed)))
    return Scene(
        typed=typed,
        references=references,
        tree=tree,
        machine=machine,
        runtimes=seen,
        hosts_for=lambda registry: tuple(hosts),  # noqa: ARG005 - whatever is asked for
        environ=environ or {},
        probe=probe or Reports(),
        clock=clock,
        deadline=clock.monotonic() + seconds,
        **more,
    )


def _reference(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except InvalidReference:
        return None


async def found(check: Check, scene: Scene) -> list[Finding | Unseen]:
    """All that ``check`` says."""
    return [each async for each in check(scene)]


def codes(found: Sequence[Finding | Unseen]) -> list[str]:
    """Of the findings among them."""
    return [each.code for each in found if isinstance(each, Finding)]


def lay(root: Path, files: Mapping[str, str]) -> Path:
    """``files`` by their paths in the tree."""
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root
