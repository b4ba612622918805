"""The table of 26 faults with `sampan pull` in the place of the other clients: 26 right images of 26."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rig import HUB, mirror_of
from sampan.mirror.patience import Patience
from sampan.oci import Platform, Reference
from sampan.pull.events import Event
from sampan.pull.service import pull
from sampan.pull.sinks.layout import LayoutSink
from sampan.testing import FAULT_TABLE, FakeRegistry, image, random_layer
from sampan.upstream.host import Host

IMPATIENT = Patience(connect_seconds=0.1, manifest_seconds=0.1, blob_seconds=0.1, come_back_seconds=0.01)
FAULTED_MAX = 6  # as for the mirror: 3, and 6 where the fault is a login


def ignore(_: Event) -> None:
    """Nobody watches."""


@pytest.mark.row("N1", "N11", "N13", "H1", "H2", "H4", "H5", "H6", "H9", "H10")
@pytest.mark.row("H11", "H16", "H20", "H23", "H25", "H28")
@pytest.mark.parametrize(("row", "spoil"), FAULT_TABLE, ids=[row for row, _ in FAULT_TABLE])
async def test_the_right_image_is_pulled_whatever_the_first_host_does(
    row: str, spoil: object, tmp_path: Path
) -> None:
    assert callable(spoil)
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        alpine = good.add(bad.add(image("library/alpine", "3", layers=[random_layer(1, 400_000)])))
        spoil(bad, alpine)
        # An old tag looks just like a new one: who may be behind is not asked what a tag means.
        capabilities = frozenset({"pull"}) if row == "stale tag" else frozenset({"pull", "resolve"})
        hosts = [Host.from_url(bad.url, capabilities=capabilities), Host.from_url(good.url)]
        async with mirror_of(tmp_path / "store", {HUB: hosts}, patience=IMPATIENT, read_seconds=0.2) as rig:
            sink = LayoutSink(tmp_path / "layout")
            await pull(
                rig.mirror,
                [Reference.parse("alpine:3")],
                sink=sink,
                platforms=[Platform("linux", "amd64")],
                listener=ignore,
            )
        assert len(bad.faulted) <= FAULTED_MAX
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [alpine.digest]
    files = [file for file in (tmp_path / "layout" / "blobs" / "sha256").iterdir() if file.is_file()]
    assert {file.name for file in files} == {c.digest.split(":")[1] for c in (alpine.manifest, *alpine.blobs)}
    assert all(hashlib.sha256(file.read_bytes()).hexdigest() == file.name for file in files)
