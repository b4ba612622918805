"""What runtimes ask and print, foretold from their files alone, is what the real programs asked and printed.

The recordings are tests/golden/chain; tests/interop/test_chain_recordings.py makes them again and compares.
"""

from __future__ import annotations

import pytest

from lab.golden import read, shortened, text_of, versions
from lab.network import Network
from lab.recording import comparable, foretell
from lab.subjects import SUBJECTS

CASES = [(name, version) for name, subject in SUBJECTS.items() for version in subject.versions]


@pytest.fixture(scope="module")
def network() -> Network:
    """Its fakes listen nowhere: they are called."""
    return Network()


@pytest.mark.parametrize(("name", "version"), CASES)
def test_what_is_foretold_of_every_configuration_is_what_was_recorded(
    name: str, version: str, network: Network
) -> None:
    subject, text = SUBJECTS[name], text_of(name)
    recorded, full = read(text), versions(text)[version]
    wrong = []
    for case in subject.cases_of(version):
        found, real = shortened(foretell(subject, case, version, full, network)), recorded[case.name, version]
        if comparable(found.asked) != comparable(real.asked) or found.said != real.said:
            wrong.append(f"{case.name}: {found} is not {real}")
    assert not wrong


def test_every_case_is_recorded_and_nothing_else_is() -> None:
    for name, subject in SUBJECTS.items():
        wanted = {(case.name, v) for v in subject.versions for case in subject.cases_of(v)}
        assert set(read(text_of(name))) == wanted, f"python -m lab.record {name}"


def test_at_least_twenty_five_configurations_of_each_containerd_are_recorded() -> None:
    found = read(text_of("containerd"))
    for version in SUBJECTS["containerd"].versions:
        assert sum(each == version for _, each in found) >= 25
