"""``python -m lab.record [NAME…]`` in tests/: the recordings of tests/golden/chain, made anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lab.golden import DIRECTORY, written
from lab.network import Network
from lab.recording import SUBJECTS, Recorded, Subject, record


def recordings(subject: Subject, network: Network) -> tuple[dict[tuple[str, str], Recorded], dict[str, str]]:
    """All of ``subject``, and the full version of each."""
    found: dict[tuple[str, str], Recorded] = {}
    versions: dict[str, str] = {}
    for version, name in subject.versions.items():
        with subject.real(name, network) as real:
            versions[version] = real.version
            for case, wanted in subject.pairs():
                if wanted == version:
                    found[case.name, version] = record(case, version, real, network)
    return found, versions


def main(names: Sequence[str]) -> None:
    network = Network()
    for name in names or SUBJECTS:
        (DIRECTORY / f"{name}.txt").write_text(written(*recordings(SUBJECTS[name], network)))


if __name__ == "__main__":
    main(sys.argv[1:])
