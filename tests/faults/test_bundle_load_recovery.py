"""Bundles as ``create`` makes them, loaded after some of them was lost or damaged: recovery volumes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bundling import Bundles
from loading import Node
from rig import mirror_of
from sampan.errors import BundleDamaged, BundleIncomplete
from sampan.testing import FakeRegistry, ServerThread, image, random_layer
from sampan.testing.images import Image

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Made:
    images: tuple[Image, ...]
    data: tuple[Path, ...]
    recovery: tuple[Path, ...]


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    """Five volumes and one for recovery; one layer is larger than a volume."""
    images = (
        image("library/large", "1", layers=[random_layer(1, 5 * MIB), random_layer(2, 90_000)]),
        *(image("library/small", str(n), layers=[random_layer(10 + n, MIB)]) for n in range(5)),
    )
    registry = FakeRegistry("hub")
    with ServerThread(registry):
        for one in images:
            registry.add(one)
        async with mirror_of(tmp_path / "connected", [registry]) as rig:
            names = [f"{one.repository.removeprefix('library/')}:{one.tag}" for one in images]
            out = tmp_path / "out"
            out.mkdir()
            await Bundles(rig)(out / "images.tar", *names, volume_bytes=5 * MIB // 2, parity=1)
    files = sorted(out.iterdir())
    recovery = tuple(path for path in files if "recovery" in path.name)
    yield Made(images, tuple(path for path in files if path not in recovery), recovery)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node.at(tmp_path) as one:
        yield one


def spoil(path: Path, at: Callable[[bytearray], int]) -> None:
    raw = bytearray(path.read_bytes())
    raw[at(raw)] ^= 1
    path.write_bytes(raw)


async def test_one_volume_of_five_lost_costs_nothing(node: Node, made: Made) -> None:
    assert len(made.data) >= 5
    for lost in range(len(made.data)):
        there = [path for number, path in enumerate(made.data) if number != lost]
        reports = await node.load(*there, *made.recovery)
        assert [report.error for report in reports] == [None] * len(made.images)
        assert all(node.has(one) for one in made.images)
        node.empty()


async def test_two_volumes_lost_are_waited_for(node: Node, made: Made) -> None:
    reports = await node.load(*made.data[2:], *made.recovery)
    assert {volume for report in reports for volume in report.volumes} <= {1, 2}
    assert any(report.volumes for report in reports)
    reports = await node.load(*made.data[:2])
    assert all(node.has(one) for one in made.images)
    assert all(report.digest for report in reports)


async def test_a_damaged_blob_is_had_from_the_recovery_volume(node: Node, made: Made) -> None:
    layer = made.images[1].layers[0].read()
    (path,) = [path for path in made.data if layer in path.read_bytes()]
    spoil(path, lambda raw: raw.index(layer) + 70_000)
    reports = await node.load(*made.data, *made.recovery)
    assert [report.error for report in reports] == [None] * len(made.images)
    assert all(node.has(one) for one in made.images)


async def test_without_it_the_damage_is_named_and_costs_one_image(node: Node, made: Made) -> None:
    layer = made.images[1].layers[0].read()
    (path,) = [path for path in made.data if layer in path.read_bytes()]
    spoil(path, lambda raw: raw.index(layer) + 70_000)
    reports = await node.load(*made.data)
    (error,) = [report.error for report in reports if report.error]
    assert isinstance(error, BundleDamaged)
    assert path.name in error.message
    assert "repair" in (error.hint or "")
    assert [node.has(one) for one in made.images].count(False) == 1


async def test_recovery_volumes_alone_hold_no_image(node: Node, made: Made) -> None:
    reports = await node.load(*made.recovery)
    assert all(report.volumes or isinstance(report.error, BundleIncomplete) for report in reports)
