"""What hosts say that a tag means, held against each other: who is stale, and where nobody can tell.

The origin's word is the truth where it answers. Without it the youngest image is taken for the right one, if
all were built at known times; else nobody is accused, and that they differ is all that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sampan.doctor.contract import HostReport
from sampan.oci.digest import Digest
from sampan.upstream.host import RESOLVE

Standing = Literal["right", "stale", "differs"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of reports about one tag. ``right``: the digest that it means; None: nobody can tell, or nobody gave
    one."""

    reports: tuple[HostReport, ...]
    right: Digest | None

    @property
    def is_split(self) -> bool:
        """Whether hosts gave different digests."""
        return len({report.digest for report in self.reports}) > 1

    def standing(self, report: HostReport) -> Standing | None:
        """How ``report`` stands to the right one; None: it gave no digest, or none that counts."""
        if report not in self.reports:
            return None
        if report.digest == self.right or not self.is_split:
            return "right"
        if self.right is None:
            return "differs"
        built = _built(self.reports, self.right)
        older = report.created is not None and built is not None and report.created < built
        return "stale" if older else "differs"


def compare(reports: Sequence[HostReport]) -> Comparison:
    """``reports`` of hosts about one tag, weighed. Of one that gives content alone its tags are no matter."""
    given = tuple(each for each in reports if each.digest is not None and RESOLVE in each.host.capabilities)
    return Comparison(given, _right(given))


def _right(given: Sequence[HostReport]) -> Digest | None:
    digests = {report.digest for report in given}
    if len(digests) < 2:
        return next(iter(digests), None)
    for report in given:
        if report.host.role == "origin":
            return report.digest
    built = {digest: _built(given, digest) for digest in digests if digest is not None}
    times = [(at, digest) for digest, at in built.items() if at is not None]
    if len(times) < len(digests) or len({at for at, _ in times}) < len(times):
        return None
    return max(times)[1]


def _built(reports: Sequence[HostReport], digest: Digest) -> float | None:
    return next((r.created for r in reports if r.digest == digest and r.created is not None), None)
