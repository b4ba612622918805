"""What runtimes' files say that keeps images away: the rules of :mod:`sampan.runtimes`, told as findings.

The rules themselves are there, since ``sampan node status`` has them too. Here is what a person in trouble
needs besides: what the finding costs, and the command that mends it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.runtimes import contract
from sampan.words import sentence

UNREADABLE = "FILE_UNREADABLE"
APPLY = ("sudo", "sampan", "node", "apply")
# What a plan of sampan's writes anew, or moves to where it is read.
_MENDED_BY_APPLY = frozenset(
    {
        "MIRRORS_AND_CONFIG_PATH",
        "MIRROR_NEVER_READ",
        "MIRROR_PATH",
        "CONFIG_PATH_LIST",
        "PLUGIN_NAME",
        "HOSTS_TOML_UNREAD",
        "HOSTS_DIRECTORY_EMPTY",
    }
)


async def check_runtimes(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What is wrong with the files of all runtimes, or with how they are obeyed."""
    for seen in scene.runtimes:
        for finding in seen.status.findings:
            yield _told(seen.status.runtime, finding)


def _told(runtime: str, finding: contract.Finding) -> Finding | Unseen:
    if finding.code == UNREADABLE and finding.hint is not None:  # a matter of rights, not of the file
        what = sentence("{file}: {reason}", file=finding.file, reason=finding.message)
        return Unseen(runtime, what, finding.hint)
    return Finding(
        finding.code,
        runtime,
        finding.message,
        finding.level,
        hint=finding.hint,
        command=APPLY if finding.code in _MENDED_BY_APPLY else (),
        file=finding.file,
        line=finding.line,
    )
