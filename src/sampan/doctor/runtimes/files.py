"""What runtimes' files say that keeps images away: the rules of :mod:`sampan.runtimes`, told as findings.

The rules themselves are there, since ``sampan node status`` has them too. Here is what a person in trouble
needs besides: what the finding costs, and whether ``sampan node apply`` mends it, which is tried on paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from sampan.doctor.aside import aside
from sampan.doctor.contract import UNREADABLE, Finding, Scene, Seen, Unseen
from sampan.errors import printable
from sampan.runtimes import contract
from sampan.words import Text, sentence

APPLY = ("sudo", "sampan", "node", "apply")
_WHY = {
    "dead": sentence("it stands there without effect: images are pulled as if it did not"),
    "MIRROR_NEVER_READ": sentence("the mirror that it names is never asked, and the registry itself is"),
    "HOSTS_TOML_DROPPED": sentence("no mirror of this registry is asked, and nobody prints an error"),
    "NO_RESOLVER": sentence("mirrors may give content by digest, but none may say what a tag means"),
    "SHORT_NAMES_NOWHERE": sentence("alpine alone is no name for podman, unlike docker.io/library/alpine"),
}


async def check_runtimes(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What is wrong with the files of all runtimes, or with how they are obeyed."""
    for seen in scene.runtimes:
        for told in await aside(_told, scene, seen):
            yield told


def _told(scene: Scene, seen: Seen) -> list[Finding | Unseen]:
    return list(_each(scene, seen))


def _each(scene: Scene, seen: Seen) -> Iterator[Finding | Unseen]:
    findings = seen.status.findings
    left = scene.after(seen) if findings else None
    for finding in findings:
        if finding.code == UNREADABLE and finding.hint is not None:  # a matter of rights, not of the file
            what = sentence("{path}: {reason}", path=printable(finding.file or "?"), reason=finding.message)
            yield Unseen(seen.status.runtime, what, finding.hint)
        else:
            yield _finding(seen.status.runtime, finding, mended=_is_mended(finding, findings, left))


def _is_mended(
    finding: contract.Finding, before: Sequence[contract.Finding], after: Sequence[contract.Finding] | None
) -> bool:
    """Whether less of it is left ``after``. Lines move, so that code and file are what is compared."""
    if after is None:
        return False
    key = finding.code, finding.file
    return Counter((f.code, f.file) for f in after)[key] < Counter((f.code, f.file) for f in before)[key]


def _finding(runtime: str, finding: contract.Finding, *, mended: bool) -> Finding:
    return Finding(
        finding.code,
        runtime,
        finding.message,
        finding.level,
        why=_why(finding),
        hint=finding.hint,
        command=APPLY if mended else (),
        file=finding.file,
        line=finding.line,
    )


def _why(finding: contract.Finding) -> Text | None:
    return _WHY.get(finding.code) or _WHY.get(finding.level)
