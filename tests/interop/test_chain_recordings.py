"""Real containerd, Docker and podman by the files of every case: what they ask and print is what is recorded,
and what our replay asks, by real requests on the same machine, and foretells of them is the same.
"""

from __future__ import annotations

import pytest

from interop.sentinel import Sentinel
from lab.case import Case
from lab.golden import read, shortened, text_of, versions
from lab.network import Network
from lab.recording import Recorded, comparable, lay_for, prepared, record
from lab.replaying import Replaying, replaying
from lab.subjects import SUBJECTS, Real, Subject
from sampan.doctor.chain.saying import agrees

pytestmark = pytest.mark.interop
CASES = [(name, version) for name, subject in SUBJECTS.items() for version in subject.versions]


@pytest.mark.parametrize(("name", "version"), CASES)
def test_the_real_program_does_what_is_recorded_and_the_replay_foretells_it(
    name: str, version: str, network: Network, way_out: Sentinel
) -> None:
    subject, text = SUBJECTS[name], text_of(name)
    recorded = read(text)
    wrong: list[str] = []
    with subject.real(subject.versions[version], network) as real, replaying(real.machine) as ours:
        assert real.version == versions(text)[version], f"python -m lab.record {name}"
        for case in subject.cases_of(version):
            wanted = recorded[case.name, version]
            found = shortened(record(case, version, real, network))
            if found != wanted:
                wrong.append(f"{case.name}: {found} is not {wanted}")
            wrong += _replayed(subject, case, version, real, network, ours, wanted)
    assert not wrong


def _replayed(
    subject: Subject,
    case: Case,
    version: str,
    real: Real,
    network: Network,
    ours: Replaying,
    wanted: Recorded,
) -> list[str]:
    """What is wrong with our replay of ``case``. What was asked once is not asked again: see Replay."""
    _, reference = prepared(case, network)
    lay_for(subject, case, version, network, real.machine.root)
    printed, withheld = ours.replay(subject.name, real.version, reference)
    if withheld is not None:
        return [] if "login" in withheld and case.name == "a password for tokens" else [withheld]
    found = shortened(Recorded(tuple(network.asked()), printed))
    wrong = []
    if not agrees(found.said, wanted.said):
        wrong.append(f"{case.name}: foretold {found.said}, printed {wanted.said}")
    if set(comparable(found.asked)) != set(comparable(wanted.asked)):
        wrong.append(f"{case.name}: replayed {found.asked}, recorded {wanted.asked}")
    return wrong
