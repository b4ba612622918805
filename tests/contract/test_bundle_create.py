"""Bundles made from hosts on loopback: what is packed, resumed, told and refused, and what the disk holds."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event as Flag
from typing import TypeVar

import pytest

from bundling import Bundles, held
from rig import HUB, mirror_of
from sampan.bundle.contents import Contents, parse_contents
from sampan.bundle.create import Outcome
from sampan.bundle.head import read_head
from sampan.bundle.layout import CONTENTS_NAME
from sampan.bundle.target import PARTIAL
from sampan.bundle.verify import verify
from sampan.bundle.volume_set import read_set
from sampan.errors import (
    BundleExists,
    NotFound,
    PlatformMissing,
    StoreError,
)
from sampan.oci import Digest, Platform
from sampan.pull.events import BlobDone, BlobProgress, BundleDone, Giving, ImageDone, Resolved, Started
from sampan.testing import FakeRegistry, Fault, Image, Match, artifact, faults, image, index, random_layer
from sampan.testing.images import Content

MIB = 1024 * 1024
T = TypeVar("T")
BASE = random_layer(1, MIB)
ALPINE = image("library/alpine", "3", layers=[BASE, random_layer(2, 200_000, compressed=True)])
NGINX = image("library/nginx", "1", layers=[BASE, random_layer(3, 2 * MIB)], docker=True)


@pytest.fixture
async def bundles(tmp_path: Path, good: FakeRegistry) -> AsyncIterator[Bundles]:
    good.add(ALPINE)
    good.add(NGINX)
    async with mirror_of(tmp_path / "store", [good]) as rig:
        yield Bundles(rig)


def verified(outcome: Outcome) -> Contents:
    """The list of a bundle all of which is right."""
    assert all(report.error is None for report in outcome.reports)
    volumes = read_set(outcome.files)
    verify(volumes, told=lambda _: None, stop=Flag()).check()
    assert volumes.missing == ()
    return volumes.contents


def packed(contents: Contents) -> set[str]:
    return {str(blob.digest) for blob in contents.blobs}


def of(kind: type[T], bundles: Bundles) -> list[T]:
    return [event for event in bundles.events if isinstance(event, kind)]


def digests(*images: Image) -> set[str]:
    return {content.digest for one in images for content in (*one.manifests, *one.blobs)}


def asked_for(registry: FakeRegistry) -> list[str]:
    """The blobs that were asked for, in their order."""
    return [str(request.digest) for request in registry.requests if request.kind == "blob"]


@asynccontextmanager
async def next_run(bundles: Bundles, good: FakeRegistry) -> AsyncIterator[Bundles]:
    """As in a process that comes later: nothing is remembered of hosts, which behave now."""
    good.behave()
    good.requests.clear()
    async with mirror_of(bundles.rig.store.root, [good]) as rig:
        yield Bundles(rig)


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


async def brought(bundles: Bundles) -> None:
    """alpine:3 is in the store, all of it."""
    answer = await bundles.rig.mirror.manifest(HUB, "library/alpine", "3")
    for blob in answer.manifest.references:
        await bundles.rig.mirror.bring(HUB, "library/alpine", blob.digest)


async def test_a_bundle_is_one_file_with_everything_once(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1")
    contents = verified(outcome)
    assert packed(contents) == digests(ALPINE, NGINX)
    assert outcome.files == (tmp_path / "images.tar",)
    assert names(tmp_path) == ["images.tar", "store"]
    fetched = asked_for(good)
    assert len(fetched) == len(set(fetched))
    with tarfile.open(tmp_path / "images.tar") as tar:
        assert tar.getnames()[0] == CONTENTS_NAME


async def test_it_tells_what_a_pull_tells_and_what_came_of_it(tmp_path: Path, bundles: Bundles) -> None:
    await bundles(tmp_path / "images.tar", "alpine:3")
    kinds = [type(event) for event in bundles.events]
    assert kinds[:2] == [Started, Resolved]
    assert kinds[-3:] == [Giving, ImageDone, BundleDone]
    done = bundles.events[-1]
    assert isinstance(done, BundleDone)
    assert (done.images, done.blobs, done.files) == (1, 4, (str(tmp_path / "images.tar"),))
    assert done.bundle == read_head(tmp_path / "images.tar").bundle
    assert done.size_bytes == (tmp_path / "images.tar").stat().st_size


async def test_layers_go_straight_to_their_place_and_the_store_does_not_get_them(
    tmp_path: Path, bundles: Bundles
) -> None:
    await bundles(tmp_path / "images.tar", "alpine:3")
    stored = {str(blob.digest) for blob in bundles.rig.store.blobs()}
    assert stored == {ALPINE.digest, ALPINE.blobs[0].digest}, "the manifest and the config"


async def test_the_disk_never_holds_a_blob_twice(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    """Looked at each time that a blob is done: everything below the directory, as the disk counts it."""
    peak = 0

    class Heard(list[object]):
        def append(self, event: object) -> None:
            nonlocal peak
            files = [path for path in tmp_path.rglob("*") if path.is_file()]
            peak = max(peak, sum(path.stat().st_blocks * 512 for path in files))

    bundles.events = Heard()  # type: ignore[assignment]
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1")
    size = verified(outcome).size_bytes
    assert size < peak < size * 1.1


async def test_what_the_store_has_is_copied_and_nobody_is_asked_for_it(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    await brought(bundles)
    good.requests.clear()
    contents = verified(await bundles(tmp_path / "images.tar", "alpine:3"))
    assert packed(contents) == digests(ALPINE)
    assert asked_for(good) == []
    done = [event for event in bundles.events if isinstance(event, BlobDone)]
    assert {event.already for event in done} == {"store"}


async def test_what_is_damaged_in_the_store_is_fetched_instead(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    await brought(bundles)
    layer = ALPINE.layers[1]
    path = tmp_path / "store/blobs/sha256" / layer.digest.partition(":")[2]
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    good.requests.clear()
    verified(await bundles(tmp_path / "images.tar", "alpine:3"))
    assert asked_for(good) == [layer.digest]
    assert not path.exists(), "it was set aside"


async def test_keep_leaves_in_the_store_what_was_fetched(tmp_path: Path, bundles: Bundles) -> None:
    verified(await bundles(tmp_path / "images.tar", "alpine:3", keep=True))
    assert {str(blob.digest) for blob in bundles.rig.store.blobs()} == digests(ALPINE)


async def test_a_directory_is_a_layout_with_the_list_in_it(tmp_path: Path, bundles: Bundles) -> None:
    outcome = await bundles(f"{tmp_path}/images/", "alpine:3", "nginx:1")
    assert packed(verified(outcome)) == digests(ALPINE, NGINX)
    assert names(tmp_path / "images") == [
        "blobs",
        "index.json",
        "manifest.json",
        "oci-layout",
        "sampan-bundle.json",
        "sampan-signature.json",
    ]
    assert json.loads((tmp_path / "images/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


async def test_an_empty_directory_takes_a_bundle_and_one_with_something_in_it_does_not(
    tmp_path: Path, bundles: Bundles
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    verified(await bundles(tmp_path / "empty", "alpine:3"))
    with pytest.raises(BundleExists, match="full exists"):
        await bundles(tmp_path / "full", "alpine:3")
    assert names(tmp_path / "full") == ["mine"]


async def test_nothing_is_overwritten_and_nothing_is_fetched_for_it(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    (tmp_path / "images.tar").write_text("mine")
    with pytest.raises(BundleExists, match="is not overwritten"):
        await bundles(tmp_path / "images.tar", "alpine:3")
    (tmp_path / "images.3-of-3.tar").write_text("mine")
    with pytest.raises(BundleExists, match=r"3-of-3\.tar exists"):
        await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1", volume_bytes=1_300_000)
    assert asked_for(good) == [one.blobs[0].digest for one in (ALPINE, NGINX)], "the configs alone"
    assert not [name for name in names(tmp_path) if name.endswith(PARTIAL)]


# -- platforms, what is attached, inventories --------------------------------------------------------


async def test_platforms_are_chosen_and_the_index_keeps_its_bytes(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    multi = index("library/multi", "1")
    good.add(multi)
    contents = verified(await bundles(tmp_path / "one.tar", "multi:1"))
    assert packed(contents) == {multi.digest} | digests(multi.images[0])
    assert contents.images[0].platforms == ("linux/amd64",)
    contents = verified(await bundles(tmp_path / "all.tar", "multi:1", platforms=None))
    assert packed(contents) == digests(multi)


async def test_what_is_attached_comes_along_and_says_to_what(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    signature = artifact(ALPINE, "application/vnd.example.signature")
    good.add(signature)
    contents = verified(await bundles(tmp_path / "images.tar", "alpine:3", referrers=True))
    assert packed(contents) == digests(ALPINE, signature)
    first, second = contents.images
    assert (first.attached_to, second.attached_to) == (None, first.reference)
    assert len([event for event in bundles.events if isinstance(event, ImageDone)]) == 1


async def test_exactly_the_blobs_that_the_far_side_lacks_are_packed(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    there = [ALPINE.digest, ALPINE.layers[0].digest, "sha256:" + "0" * 64]
    contents = verified(await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1", without=[held(*there)]))
    assert packed(contents) == digests(ALPINE, NGINX) - {ALPINE.layers[0].digest}
    assert [str(blob.digest) for blob in contents.elsewhere] == [ALPINE.layers[0].digest]
    assert ALPINE.layers[0].digest not in asked_for(good)
    assert contents.asked.without[0].of == "the far side"


async def test_a_far_side_that_has_everything_gets_manifests(tmp_path: Path, bundles: Bundles) -> None:
    there = held(*digests(ALPINE))
    contents = verified(await bundles(tmp_path / "images.tar", "alpine:3", without=[there]))
    assert packed(contents) == {ALPINE.digest}


# -- volumes ---------------------------------------------------------------------------------------


async def test_volumes_verify_each_by_itself_and_together(tmp_path: Path, bundles: Bundles) -> None:
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1", volume_bytes=1_700_000, parity=1)
    contents = verified(outcome)
    assert [path.name for path in outcome.files] == [
        "images.1-of-3.tar",
        "images.2-of-3.tar",
        "images.3-of-3.tar",
        "images.recovery-1-of-1.tar",
    ]
    split = [blob for blob in contents.blobs if blob.parts]
    assert [str(blob.digest) for blob in split] == [NGINX.layers[1].digest]
    for path in outcome.files:
        assert path.stat().st_size <= 1_700_000
        alone = read_set([path])
        verify(alone, told=lambda _: None, stop=Flag()).check()


# -- what goes wrong -------------------------------------------------------------------------------


async def test_one_image_that_nobody_has_keeps_the_bundle_from_being_made_and_leaves_nothing(
    tmp_path: Path, bundles: Bundles
) -> None:
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", "absent:1")
    assert [type(report.error) for report in outcome.reports] == [type(None), NotFound]
    assert outcome.files == ()
    assert names(tmp_path) == ["store"]


async def test_a_platform_that_is_not_there_is_told_before_any_layer_is_fetched(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", platforms=[Platform("linux", "s390x")])
    assert isinstance(outcome.reports[0].error, PlatformMissing)
    assert asked_for(good) == [ALPINE.blobs[0].digest]


async def test_a_layer_that_nobody_gives_fails_its_images_and_the_others_are_kept_for_the_next_run(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    bad = NGINX.layers[1].digest
    good.script(faults.status(404), on=Match(kind="blob", digest=bad))
    outcome = await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1")
    failed = {str(r.reference): type(r.error) for r in outcome.reports}
    assert failed == {"docker.io/library/alpine:3": type(None), "docker.io/library/nginx:1": NotFound}
    assert not (tmp_path / "images.tar").exists()
    assert (tmp_path / "images.tar.partial").is_dir()
    async with next_run(bundles, good) as again:
        verified(await again(tmp_path / "images.tar", "alpine:3", "nginx:1"))
    assert set(asked_for(good)) == {bad}


@pytest.mark.parametrize(
    "fault",
    [faults.truncated(), faults.flipped_bit(), faults.status(503), faults.redirect("https://192.0.2.1/")],
    ids=lambda fault: fault.name,
)
async def test_a_faulty_host_beside_a_good_one_changes_nothing(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, fault: Fault
) -> None:
    for host in (bad, good):
        host.add(ALPINE)
        host.add(NGINX)
    bad.script(fault, on=Match(kind="blob"))
    async with mirror_of(tmp_path / "store", [bad, good]) as rig:
        verified(await Bundles(rig)(tmp_path / "images.tar", "alpine:3", "nginx:1"))


async def test_the_same_order_goes_on_though_tags_have_moved(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    good.script(faults.status(404), on=Match(kind="blob", digest=NGINX.layers[1].digest))
    await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1")
    good.add(image("library/alpine", "3", seed=99))
    async with next_run(bundles, good) as again:
        contents = verified(await again(tmp_path / "images.tar", "nginx:1", "alpine:3"))
    assert packed(contents) == digests(ALPINE, NGINX)
    resolved = [event for event in again.events if isinstance(event, Resolved)]
    assert {event.source for event in resolved} == {"images.tar.partial"}


async def test_another_order_is_refused_while_one_is_begun(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    good.script(faults.status(404), on=Match(kind="blob", digest=NGINX.layers[1].digest))
    await bundles(tmp_path / "images.tar", "nginx:1")
    with pytest.raises(BundleExists, match=r"now without docker\.io/library/nginx:1, now with"):
        await bundles(tmp_path / "images.tar", "alpine:3")


async def test_two_at_once_for_one_file_are_refused(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    gate = asyncio.Event()
    good.script(faults.held(gate), on=Match(kind="blob", digest=ALPINE.layers[0].digest))
    first = asyncio.create_task(bundles(tmp_path / "images.tar", "alpine:3"))
    while not (tmp_path / "images.tar.partial/plan.json").exists():
        await asyncio.sleep(0)
    with pytest.raises(BundleExists, match="another process is making"):
        await bundles(tmp_path / "images.tar", "alpine:3")
    gate.set()
    verified(await first)


async def test_somebodys_own_directory_is_not_taken_for_an_unfinished_bundle(
    tmp_path: Path, bundles: Bundles
) -> None:
    (tmp_path / "images.tar.partial").mkdir()
    (tmp_path / "images.tar.partial" / "thesis.tex").write_text("mine")
    with pytest.raises(BundleExists, match=r"has thesis\.tex in it, which no bundle has"):
        await bundles(tmp_path / "images.tar", "alpine:3")
    assert names(tmp_path / "images.tar.partial") == ["thesis.tex"]


async def test_what_a_kill_left_before_there_was_a_plan_is_begun_anew(
    tmp_path: Path, bundles: Bundles
) -> None:
    for name in ("notes", "volumes"):
        (tmp_path / "images.tar.partial" / name).mkdir(parents=True)
    (tmp_path / "images.tar.partial" / ".plan.json.0123456789abcdef").write_text("{")
    verified(await bundles(tmp_path / "images.tar", "alpine:3"))
    assert names(tmp_path) == ["images.tar", "store"]


async def test_cancelled_it_keeps_what_came_and_goes_on_from_there(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    gate, layer = asyncio.Event(), NGINX.layers[1]
    good.script(faults.held(gate, at=MIB), on=Match(kind="blob", digest=layer.digest))
    making = asyncio.create_task(bundles(tmp_path / "images.tar", "nginx:1"))
    wanted = Digest.parse(layer.digest)
    while not any(e.digest == wanted and e.arrived_bytes for e in of(BlobProgress, bundles)):
        await asyncio.sleep(0.01)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    gate.set()
    async with next_run(bundles, good) as again:
        verified(await again(tmp_path / "images.tar", "nginx:1"))
    (asked,) = [request for request in good.requests if request.digest == layer.digest]
    assert asked.headers["range"] == f"bytes={MIB}-"


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
async def test_what_became_wrong_between_two_runs_is_found_and_fetched_again(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry, damage: str
) -> None:
    """As after a power cut: the note says that a blob is there, and it is not."""
    good.script(faults.status(404), on=Match(kind="blob", digest=NGINX.layers[1].digest))
    await bundles(tmp_path / "images.tar", "alpine:3", "nginx:1")
    growing = tmp_path / "images.tar.partial/volumes/data-1"
    base = next(b for b in read_plan(tmp_path).blobs if str(b.digest) == ALPINE.layers[0].digest)
    if damage == "flipped":
        with growing.open("r+b") as file:
            os.pwrite(file.fileno(), b"\xff\x00\xff", base.offset + 5000)
    elif damage == "cut":
        os.truncate(growing, base.offset + 5000)
    else:
        growing.unlink()
    async with next_run(bundles, good) as again:
        verified(await again(tmp_path / "images.tar", "alpine:3", "nginx:1"))
    missing = {ALPINE.layers[0].digest, NGINX.layers[1].digest}
    assert set(asked_for(good)) >= missing
    assert damage != "flipped" or set(asked_for(good)) == missing


def read_plan(path: Path) -> Contents:
    return parse_contents((path / "images.tar.partial/plan.json").read_bytes())


async def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    tmp_path: Path, bundles: Bundles, good: FakeRegistry
) -> None:
    endless = image("library/endless", "1", layers=[BASE])
    document = json.loads(endless.raw)
    document["layers"][0]["size"] = 2**60
    good.add(
        Image(
            "library/endless",
            "1",
            Content.of(json.dumps(document).encode(), endless.manifest.media_type),
            endless.config,
        )
    )
    with pytest.raises(StoreError, match=r"needs \d+ bytes, and .* has \d+ left"):
        await bundles(tmp_path / "images.tar", "endless:1")
    assert BASE.diff_id not in asked_for(good)


async def test_a_directory_that_is_not_there_is_an_error_with_what_to_do(
    tmp_path: Path, bundles: Bundles
) -> None:
    with pytest.raises(StoreError, match="No such file or directory") as caught:
        await bundles(tmp_path / "nowhere/images.tar", "alpine:3")
    assert caught.value.hint == "make the directory first"
