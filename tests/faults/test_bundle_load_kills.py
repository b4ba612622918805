"""kill -9 in the middle of a load: what is on disk is right, no image is visible that is not whole, and the
same command goes on from there."""

from __future__ import annotations

import asyncio
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundling import BundleMachine
from carrying import Bundled, docker_tar, layout_tar
from disks import wrong_blobs
from dying import killed_at, killed_at_each_step
from loading import Node
from sampan.oci import Digest, Reference
from sampan.store.disk import DiskStore
from sampan.store.tags import TagStore
from sampan.testing import image, index, random_layer
from sampan.testing.images import Content, Image

MIB = 1024 * 1024
KILLS = 10
SEED = 20260131
APP, BASE = "docker.io/library/app:1", "docker.io/library/base:2"


def made(unit: int = MIB) -> dict[str, Image]:
    shared, own = random_layer(1, 5 * unit), random_layer(2, 9 * unit + 512)
    return {
        APP: image("library/app", "1", layers=[shared, own, random_layer(3, 4096)]),
        BASE: index("library/base", "2", [image("library/base", layers=[shared, random_layer(4, 3 * unit)])]),
    }


@dataclass
class Ground:
    """Where loads die: a store, and what is loaded into it."""

    directory: Path
    images: dict[str, Image]
    files: list[Path]

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def load(self) -> None:
        """In a process that may be killed."""
        node = Node(self.directory)
        asyncio.run(node.load(*self.files))
        node.close()

    def check(self) -> set[str]:
        """What is on disk is right; the names of the images that are visible, each of them whole."""
        if not self.store.exists():
            return set()
        assert wrong_blobs(self.store) == []
        store, tags = DiskStore(self.store), TagStore(self.store / "tags")
        try:
            return {name for name, one in self.images.items() if self._is_visible(name, one, store, tags)}
        finally:
            tags.close()
            store.close()

    def _is_visible(self, name: str, one: Image, store: DiskStore, tags: TagStore) -> bool:
        reference = Reference.parse(name)
        assert reference.tag is not None
        record = tags.get(reference.registry, reference.repository, reference.tag)
        if record is None:
            return False
        assert str(record.descriptor.digest) == one.digest
        for part in (*one.manifests, *one.blobs):
            assert store.verify(Digest.parse(part.digest)), f"{name} is visible without {part.digest}"
        assert store.get_manifest(Digest.parse(one.digest)) is not None
        return True

    def taken_bytes(self) -> int:
        """On disk, whole or not."""
        places = (path for name in ("blobs", "ingest") for path in (self.store / name).rglob("*"))
        return sum(path.stat().st_blocks * 512 for path in places if path.is_file())


def ground_of(form: str, directory: Path, unit: int) -> Ground:
    def spread(content: Content) -> list[tuple[int, int]]:
        if content.size > 9 * unit:
            return [(1, 4 * unit), (2, 4 * unit), (3, content.size - 8 * unit)]
        return [(1 if content.size < unit else 2, content.size)]

    images = made(unit)
    if form == "docker":
        images = {APP: images[APP]}
    raw = {
        "bundle": lambda: Bundled(images).volumes(),
        "volumes": lambda: Bundled(images, where=spread).volumes(),
        "layout": lambda: [layout_tar(images)],
        "docker": lambda: [docker_tar(images)],
    }[form]()
    files = [directory / f"images.{number}.tar" for number in range(1, len(raw) + 1)]
    for path, data in zip(files, raw, strict=True):
        path.write_bytes(data)
    if form == "docker":  # its manifest is made on the way
        node = Node(directory / "once")
        (report,) = asyncio.run(node.load(*files))
        manifest = node.store.get_manifest(report.digest) if report.digest else None
        node.close()
        assert manifest is not None
        content = Content.of(manifest.raw, manifest.media_type)
        one = images[APP]
        images = {APP: Image(one.repository, one.tag, content, one.config, one.layers)}
    return Ground(directory, images, files)


@pytest.mark.parametrize("form", ["bundle", "volumes"])
@pytest.mark.row("X6")
def test_killed_before_any_system_call_it_leaves_nothing_that_looks_whole(tmp_path: Path, form: str) -> None:
    ground = ground_of(form, tmp_path, 16 * 1024)
    seen = set[str]()
    for _ in killed_at_each_step(lambda: shutil.rmtree(ground.store, ignore_errors=True), ground.load):
        seen |= ground.check()
    assert seen == set(ground.images)


@pytest.mark.parametrize("form", ["bundle", "volumes", "layout", "docker"])
@pytest.mark.row("X6")
def test_killed_at_ten_random_points_it_goes_on_each_time(tmp_path: Path, form: str) -> None:
    ground = ground_of(form, tmp_path, MIB)
    choice, taken = random.Random(SEED), 0
    for _ in range(KILLS):
        if not killed_at(choice.randrange(2, 30), ground.load):
            break
        ground.check()
        assert ground.taken_bytes() >= taken, "what had arrived was thrown away"
        taken = ground.taken_bytes()
    ground.load()
    assert ground.check() == set(ground.images)


@pytest.mark.row("X6")
def test_the_command_killed_at_ten_of_its_events_ends_with_the_same_images(tmp_path: Path) -> None:
    machine, images = BundleMachine(tmp_path, "http://127.0.0.1:1"), made()
    path = tmp_path / "images.tar"
    path.write_bytes(Bundled(images).volumes()[0])
    ground, choice = Ground(tmp_path, images, [path]), random.Random(SEED)
    for _ in range(KILLS):
        with machine.start("load", "--to", "store", str(path)) as process:
            assert process.stdout is not None
            for _, _ in zip(range(choice.randrange(1, 12)), process.stdout, strict=False):
                pass
            process.kill()
        ground.check()
    done = machine.bundle("load", "--to", "store", str(path))
    assert done.returncode == 0, done.stderr
    assert ground.check() == set(images)
