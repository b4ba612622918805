"""``python -m lab.record [NAME…]`` in tests/: the recordings of tests/golden/chain, made anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lab.golden import DIRECTORY, Recordings, written
from lab.network import Network
from lab.recording import Recorded, record
from lab.subjects import SUBJECTS, Subject


def recordings(subject: Subject, network: Network) -> tuple[Recordings, dict[str, str]]:
    """All of ``subject``, and the full version of each."""
    found: dict[tuple[str, str], Recorded] = {}
    versions: dict[str, str] = {}
    for version, name in subject.versions.items():
        with subject.real(name, network) as real:
            versions[version] = real.version
            for case in subject.cases_of(version):
                found[case.name, version] = record(case, version, real, network)
    ordered = {
        (case.name, v): found[case.name, v]
        for case in subject.cases
        for v in versions
        if (case.name, v) in found
    }
    return ordered, versions


def main(names: Sequence[str]) -> None:
    network = Network()
    for name in names or SUBJECTS:
        (DIRECTORY / f"{name}.txt").write_text(written(*recordings(SUBJECTS[name], network)))


if __name__ == "__main__":
    main(sys.argv[1:])
