"""The table of 26 faults, for each containerd: a bad host before a good one, behind it, and two bad ones.

By itself containerd gets the right image 14 times of 26. Behind sampan it must arrive each time, wherever
the bad hosts stand. Each row has a registry and an image of its own, so that one mirror and one containerd
go through all of them, a few at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fault_table import ASKED_AGAIN, NEVER_MET, ORDERS, PLACES, faulted_max
from interop.containerd import VERSIONS, Containerd, containerd
from interop.serving import Serving, first_host, serving
from sampan.testing import FAULT_TABLE, FakeRegistry, Image, ServerThread, image, random_layer

pytestmark = pytest.mark.interop

NEVER_FRESH = '[tags]\nfresh_for = "0s"\n'
AT_ONCE = 6  # pulls: those that stall wait side by side
LAYER_BYTES = 400_000


@dataclass(frozen=True)
class Case:
    """One row of the table: its registry, its image, its hosts in their order."""

    row: str
    registry: str
    image: Image
    hosts: Sequence[FakeRegistry]

    @classmethod
    def of(cls, number: int, row: str, order: Sequence[str]) -> Case:
        alpine = image("library/alpine", "3", layers=[random_layer(number + 1, LAYER_BYTES)], seed=number)
        hosts = [FakeRegistry(name, host=PLACES[name]) for name in order]
        for host in hosts:
            host.add(alpine)
        return cls(row, f"row{number}.test", alpine, hosts)

    @property
    def bad(self) -> list[FakeRegistry]:
        return [host for host in self.hosts if host.name != "good"]

    def table(self) -> str:
        """Its table in sampan.toml."""
        mirrors = [host.url if host.name == "good" else first_host(self.row, host.url) for host in self.hosts]
        shown = ", ".join(
            json.dumps(one)
            if isinstance(one, str)
            else f'{{ url = "{one["url"]}", capabilities = ["pull"] }}'
            for one in mirrors
        )
        return f'[registry."{self.registry}"]\nmirrors = [{shown}]\norigin = "never"\n'


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_ends_with_the_right_image_wherever_the_bad_hosts_stand(
    version: str, order: str, complete: None, tmp_path: Path
) -> None:
    cases = [Case.of(number, row, ORDERS[order]) for number, (row, _) in enumerate(FAULT_TABLE)]
    with ServerThread(*(host for case in cases for host in case.hosts)) as thread:
        for case, (_, spoil) in zip(cases, FAULT_TABLE, strict=True):
            for host in case.bad:
                thread.call(lambda spoil=spoil, host=host, case=case: spoil(host, case.image))  # type: ignore[misc]
        tables = "".join(case.table() for case in cases)
        with serving(tmp_path, [], more=NEVER_FRESH + tables) as mirror, containerd(version) as runtime:
            for case in cases:
                runtime.use(case.registry, [mirror.url])
            with ThreadPoolExecutor(AT_ONCE) as pool:
                wrong = [line for line in pool.map(lambda case: pulled(case, mirror, runtime), cases) if line]
            assert not wrong, "\n".join(wrong)
            assert runtime.corrupt() == []
            held = set(runtime.content())
        stored = mirror.stored()  # now that it has ended: a client has the last byte before the file its name
    for case in cases:
        digests = {case.image.digest, *(blob.digest for blob in case.image.blobs)}
        assert digests <= held, case.row
        assert digests <= stored, case.row
        assert_hardly_troubled(case)


def pulled(case: Case, mirror: Serving, runtime: Containerd) -> str:
    """Pull the image of ``case``; what went wrong, or nothing."""
    assert case.image.config is not None
    for _ in range(2 if case.row in ASKED_AGAIN else 1):
        found = runtime.cri.pull(f"{case.registry}/library/alpine:3")
        if found != case.image.config.digest:
            return f"{case.row}: {found}; {mirror.process.words()}"
    return ""


def assert_hardly_troubled(case: Case) -> None:
    """A bad host in front meets its fault, and gets no more requests than it takes to see it."""
    for host in case.bad:
        faulted = [f"{one.method} {one.target}" for one in host.faulted]
        assert len(faulted) <= faulted_max(case.row), (case.row, faulted)
        if host is case.hosts[0] and case.row not in NEVER_MET:
            assert faulted, (case.row, "the test is worth nothing: nobody met the fault")
        if case.hosts[0] is not host and case.hosts[0].name == "good":
            assert not host.requests, (case.row, "nobody had a reason to ask it")
