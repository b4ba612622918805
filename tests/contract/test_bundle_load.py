"""Loading bundles and other programs' archives: into the store, into a sink, by volumes, after damage."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import zstandard

from carrying import Bundled, docker_tar, layout_files, layout_tar
from loading import Node, Shelf, told
from sampan.bundle.load import Report
from sampan.errors import BundleDamaged, BundleError, BundleIncomplete, SampanError, UsageError
from sampan.oci import Digest, Platform
from sampan.oci.manifest import Index
from sampan.pull.events import BlobDone, Event, Failed, ImageDone, Resolved, Started, Waiting
from sampan.testing import artifact, image, index, random_layer
from sampan.testing.images import Content as Made
from sampan.testing.images import Image
from tars import written

E = TypeVar("E", bound=Event)
MIB = 1024 * 1024
ALPINE, NGINX = "docker.io/library/alpine:3", "docker.io/library/nginx:1.27"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node.at(tmp_path) as one:
        yield one


def two_images() -> Mapping[str, Image]:
    shared = random_layer(1, 300_000)
    return {
        ALPINE: image("library/alpine", "3", layers=[shared, random_layer(2, 9000, compressed=True)]),
        NGINX: index("library/nginx", "1.27", [
            image("library/nginx", layers=[shared, random_layer(3, 5000)]),
            image("library/nginx", layers=[random_layer(4, 5000)], platform="linux/arm64/v8"),
        ]),
    }  # fmt: skip


def error_of(reports: Sequence[Report]) -> SampanError:
    (error,) = [report.error for report in reports if report.error is not None]
    return error


# -- what is loaded --------------------------------------------------------------------------------


async def test_a_bundle_is_in_the_store_with_its_tags(node: Node) -> None:
    images = two_images()
    reports = await node.load(node.file("images.tar", Bundled(images).volumes()[0]))
    assert [str(report.digest) for report in reports] == [made.digest for made in images.values()]
    for name, made in images.items():
        assert node.has(made)
        assert node.tag(name) == made.digest
    record = node.tags.get("docker.io", "library/alpine", "3")
    assert record is not None
    assert record.host == "bundle images.tar"
    assert record.checked_at == node.clock.time()


@pytest.mark.parametrize(
    "form", ["layout", "docker", "directory", "gzip", "zstd", "docker gzip", "bundle zstd"]
)
async def test_what_other_programs_write_is_loaded(node: Node, form: str) -> None:
    images = {ALPINE: image("library/alpine", "3", layers=[random_layer(1, 300_000), random_layer(2, 9000)])}
    raw = {
        "layout": lambda: layout_tar(images),
        "docker": lambda: docker_tar(images),
        "gzip": lambda: gzip.compress(layout_tar(images)),
        "zstd": lambda: zstandard.compress(layout_tar(images)),
        "docker gzip": lambda: gzip.compress(docker_tar(images)),
        "bundle zstd": lambda: zstandard.compress(Bundled(images).volumes()[0]),
    }
    if form == "directory":
        path = node.directory / "layout"
        for name, data in layout_files(images).items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        path = node.file("images.tar", raw[form]())
    (report,) = await node.load(path)
    assert report.error is None
    assert node.tag(ALPINE) == str(report.digest)
    for layer in images[ALPINE].blobs:
        assert node.store.verify(Digest.parse(layer.digest))


async def test_a_docker_archive_gives_the_same_manifest_each_time(node: Node) -> None:
    images = {ALPINE: image("library/alpine", "3", layers=[random_layer(1, 5000)])}
    one = await node.load(node.file("one.tar", docker_tar(images)))
    other = await node.load(node.file("other.tar", docker_tar(images, legacy=False)))
    assert one[0].digest == other[0].digest


async def test_images_of_a_docker_archive_share_layers_through_links(node: Node) -> None:
    shared, own = random_layer(1, 5000), random_layer(2, 5000)
    images = {
        ALPINE: image("library/alpine", "3", layers=[shared]),
        NGINX: image("library/nginx", "1.27", layers=[shared, own]),
    }
    reports = await node.load(node.file("images.tar", docker_tar(images)))
    assert all(report.error is None for report in reports)
    assert all(node.store.verify(Digest.parse(layer.diff_id)) for layer in (shared, own))


async def test_a_docker_archive_with_packed_layers_keeps_them_packed(node: Node) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 5000, compressed=True)])
    (report,) = await node.load(node.file("images.tar", docker_tar({ALPINE: made})))
    assert report.error is None
    assert node.store.verify(Digest.parse(made.layers[0].digest))


async def test_nothing_is_read_twice_when_it_is_there(node: Node) -> None:
    path = node.file("images.tar", Bundled(two_images()).volumes()[0])
    await node.load(path)
    node.events.clear()
    await node.load(path)
    assert {event.already for event in told(node, BlobDone)} == {"store"}


async def test_an_index_with_some_platforms_keeps_its_bytes(node: Node) -> None:
    made = index("library/nginx", "1.27")
    bundled = Bundled({NGINX: made}, only={NGINX: ["linux/amd64"]})
    (report,) = await node.load(node.file("images.tar", bundled.volumes()[0]))
    assert str(report.digest) == made.digest
    kept = node.store.get_manifest(Digest.parse(made.digest))
    assert isinstance(kept, Index)
    assert kept.raw == made.raw
    assert node.has(made.images[0])
    assert not node.has(made.images[1])


async def test_a_runtime_is_given_the_platform_of_its_machine(node: Node) -> None:
    made, shelf = index("library/nginx", "1.27"), Shelf()
    path = node.file("images.tar", Bundled({NGINX: made}).volumes()[0])
    await node.load(path, sink=shelf, own=ARM64)
    assert made.images[1].layers[0].digest in shelf.images[NGINX]
    assert made.images[0].layers[0].digest not in shelf.images[NGINX]
    await node.load(path, sink=shelf, own=ARM64, platforms=[AMD64])
    assert made.images[0].layers[0].digest in shelf.images[NGINX]


async def test_what_is_attached_goes_where_it_can_be_held(node: Node) -> None:
    made = image("library/alpine", "3")
    name = f"docker.io/library/alpine:{made.digest.replace(':', '-')}.sig"
    signature = artifact(made, "application/vnd.example.signature")
    bundled = Bundled({ALPINE: made, name: signature}, attached={name: ALPINE})
    path = node.file("images.tar", bundled.volumes()[0])
    shelf = Shelf()
    await node.load(path, sink=shelf, takes_attached=False)
    assert list(shelf.images) == [ALPINE]
    await node.load(path)
    assert node.tag(name) == signature.digest


async def test_blobs_are_read_where_they_lie_and_not_stored(node: Node) -> None:
    images, shelf = two_images(), Shelf()
    await node.load(node.file("images.tar", Bundled(images).volumes()[0]), sink=shelf)
    for name, made in images.items():
        assert {part.digest for part in (*made.manifests, *made.blobs)} == shelf.images[name].keys()
        assert all(str(Digest.of(data)) == digest for digest, data in shelf.images[name].items())
    assert shelf.finished
    assert node.store.usage() == 0
    assert node.tag(ALPINE) is None


async def test_events_tell_what_came_from_where(node: Node) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 5000)])
    await node.load(node.file("images.tar", Bundled({ALPINE: made}).volumes()[0]))
    assert isinstance(node.events[0], Started)
    (resolved,) = told(node, Resolved)
    assert (resolved.reference, resolved.source) == (ALPINE, "bundle images.tar")
    layer = next(e for e in told(node, BlobDone) if str(e.digest) == made.layers[0].digest)
    assert layer.hosts == {"bundle images.tar": 5000}
    assert isinstance(node.events[-1], ImageDone)


# -- names -----------------------------------------------------------------------------------------


async def test_an_image_without_a_name_is_given_one(node: Node) -> None:
    made = image("library/alpine", "3")
    files = layout_files({ALPINE: made})
    listed = json.loads(files["index.json"])
    listed["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "3.20"}
    path = node.file("images.tar", written({**files, "index.json": json.dumps(listed).encode()}))
    assert await node.load(path) == []
    await node.load(path, name="alpine")
    assert node.tag("docker.io/library/alpine:3.20") == made.digest
    await node.load(path, name="lan.example/base:1")
    assert node.tag("lan.example/base:1") == made.digest


async def test_a_name_for_nothing_or_for_two_is_refused(node: Node) -> None:
    path = node.file("images.tar", layout_tar({ALPINE: image("library/alpine", "3")}))
    with pytest.raises(UsageError, match="0 images there have no name"):
        await node.load(path, name="alpine")


async def test_two_meanings_of_one_name_are_refused(node: Node) -> None:
    one = node.file("one.tar", layout_tar({ALPINE: image("library/alpine", "3", seed=1)}))
    other = node.file("other.tar", layout_tar({ALPINE: image("library/alpine", "3", seed=2)}))
    with pytest.raises(UsageError, match="means two images"):
        await node.load(one, other)


# -- volumes ---------------------------------------------------------------------------------------


def spread(content: Made) -> list[tuple[int, int]]:
    """Small ones into the first volume, the rest into the second; the largest in three parts."""
    if content.size > MIB:
        third = content.size // 3
        return [(1, third), (2, third), (3, content.size - 2 * third)]
    return [(1 if content.size < 4000 else 2, content.size)]


def three_volumes(node: Node) -> tuple[Image, list[Path]]:
    made = image("library/alpine", "3", layers=[random_layer(1, 3 * MIB + 512), random_layer(2, 9000)])
    volumes = Bundled({ALPINE: made}, where=spread).volumes()
    return made, [node.file(f"images.{n}.tar", raw) for n, raw in enumerate(volumes, start=1)]


async def test_volumes_at_once_are_one_bundle_in_any_order(node: Node) -> None:
    made, paths = three_volumes(node)
    await node.load(*reversed(paths))
    assert node.has(made)
    assert node.tag(ALPINE) == made.digest


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_volumes_on_different_days_become_an_image_with_the_last(
    node: Node, order: Sequence[int]
) -> None:
    made, paths = three_volumes(node)
    for number in order[:-1]:
        assert node.tag(ALPINE) is None
        (report,) = await node.load(paths[number])
        assert report.error is None
        assert report.volumes
        assert number + 1 not in report.volumes
        node.close()
        node.__post_init__()  # another day, another process
    (report,) = await node.load(paths[order[-1]])
    assert (report.error, report.volumes) == (None, ())
    assert node.has(made)
    assert node.tag(ALPINE) == made.digest


async def test_volumes_one_by_one_reach_a_sink_when_all_are_there(node: Node) -> None:
    made, paths = three_volumes(node)
    shelf = Shelf()
    for path in paths:
        assert not shelf.images
        await node.load(path, sink=shelf)
    assert {part.digest for part in (made.manifest, *made.blobs)} == shelf.images[ALPINE].keys()
    assert len(told(node, Waiting)) == 2


async def test_a_damaged_part_is_found_in_its_own_volume(node: Node) -> None:
    made, paths = three_volumes(node)
    raw = bytearray(paths[1].read_bytes())
    at = raw.index(made.layers[0].read()[MIB + 100_000 : MIB + 100_064])
    raw[at] ^= 1
    broken = node.file("broken.tar", bytes(raw))
    error = error_of(await node.load(broken))
    assert isinstance(error, BundleDamaged)
    assert "broken.tar" in error.message
    for path in paths:
        await node.load(path)
    assert node.tag(ALPINE) == made.digest
    assert node.has(made)


# -- what is wrong ---------------------------------------------------------------------------------


async def test_a_flipped_bit_costs_the_image_that_has_it_and_no_other(node: Node) -> None:
    images = two_images()
    raw = bytearray(Bundled(images).volumes()[0])
    raw[raw.index(images[ALPINE].layers[1].read()) + 4000] ^= 1
    reports = await node.load(node.file("images.tar", bytes(raw)))
    error = error_of(reports)
    assert isinstance(error, BundleDamaged)
    assert images[ALPINE].layers[1].digest in error.message
    assert "images.tar" in error.message
    assert node.tag(ALPINE) is None
    assert node.store.stat(Digest.parse(images[ALPINE].layers[1].digest)) is None
    assert node.tag(NGINX) == images[NGINX].digest
    assert [event.reference for event in told(node, Failed)] == [ALPINE]


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
async def test_a_flipped_bit_before_it_was_packed_is_found_too(
    node: Node, packed: Callable[[bytes], bytes]
) -> None:
    images = two_images()
    raw = bytearray(layout_tar(images))
    raw[raw.index(images[ALPINE].layers[1].read()) + 4000] ^= 1
    reports = await node.load(node.file("images.tar", packed(bytes(raw))))
    assert isinstance(error_of(reports), BundleDamaged)
    assert node.tag(ALPINE) is None
    assert node.tag(NGINX) == images[NGINX].digest


async def test_a_layer_of_docker_that_is_not_its_diff_id_is_refused(node: Node) -> None:
    for compressed in (False, True):
        made = image("library/alpine", "3", layers=[random_layer(1, 5000, compressed=compressed)])
        others = (random_layer(seed, 5000, compressed=compressed) for seed in range(2, 100))
        swapped = next(one.body.read() for one in others if one.body.size == made.layers[0].size)
        raw = docker_tar({ALPINE: made}).replace(made.layers[0].read(), swapped)
        assert isinstance(await failure(node, node.file("images.tar", raw)), BundleDamaged)
        assert node.tag(ALPINE) is None


async def failure(node: Node, path: Path) -> SampanError:
    """Why it was not loaded: at once, or when its turn came."""
    try:
        return error_of(await node.load(path))
    except BundleError as error:
        return error


async def test_a_delta_is_loaded_where_the_rest_is(node: Node) -> None:
    base, top = random_layer(1, 5000), random_layer(2, 5000)
    old, new = image("library/alpine", "3", layers=[base]), image("library/alpine", "3", layers=[base, top])
    await node.load(node.file("old.tar", Bundled({ALPINE: old}).volumes()[0]))
    delta = Bundled({ALPINE: new}, without=[old.layers[0].digest]).volumes()[0]
    assert old.layers[0].read() not in delta
    await node.load(node.file("new.tar", delta))
    assert node.tag(ALPINE) == new.digest
    assert node.has(new)


async def test_a_delta_finds_the_rest_in_the_sink(node: Node) -> None:
    base, top = random_layer(1, 5000), random_layer(2, 5000)
    new = image("library/alpine", "3", layers=[base, top])
    delta = node.file("new.tar", Bundled({ALPINE: new}, without=[new.layers[0].digest]).volumes()[0])
    shelf = Shelf(has=frozenset([new.layers[0].digest]))
    (report,) = await node.load(delta, sink=shelf)
    assert report.error is None
    assert new.layers[1].digest in shelf.images[ALPINE]


async def test_a_delta_where_the_rest_is_not_says_what_to_do(node: Node) -> None:
    new = image("library/alpine", "3", layers=[random_layer(1, 5000), random_layer(2, 5000)])
    delta = node.file("new.tar", Bundled({ALPINE: new}, without=[new.layers[0].digest]).volumes()[0])
    error = error_of(await node.load(delta))
    assert isinstance(error, BundleIncomplete)
    assert new.layers[0].digest in error.message
    assert "inventory" in (error.hint or "")
    assert node.tag(ALPINE) is None


async def test_an_archive_that_lacks_a_blob_is_refused(node: Node) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 5000), random_layer(2, 5000)])
    files = layout_files({ALPINE: made})
    del files[f"blobs/{made.layers[1].digest.replace(':', '/')}"]
    error = error_of(await node.load(node.file("images.tar", written(files))))
    assert isinstance(error, BundleIncomplete)
    assert node.tag(ALPINE) is None
    assert node.store.usage() < 5000  # no layer was written


# -- the end before the end ------------------------------------------------------------------------


async def test_a_load_that_is_cancelled_goes_on_where_it_was(node: Node) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 40 * MIB)])
    path = node.file("images.tar", Bundled({ALPINE: made}).volumes()[0])
    loading = asyncio.create_task(node.load(path))
    while not any(node.directory.glob("store/ingest/sha256-*")):
        await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert node.tag(ALPINE) is None
    await node.load(path)
    assert node.tag(ALPINE) == made.digest
    assert node.has(made)


async def test_what_an_earlier_run_left_wrong_is_read_again(node: Node) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 9 * MIB)])
    digest = Digest.parse(made.layers[0].digest)
    ingest = node.store.ingest(digest, 9 * MIB)
    ingest.write(b"x" * MIB)
    ingest.suspend()
    await node.load(node.file("images.tar", Bundled({ALPINE: made}).volumes()[0]))
    assert node.has(made)
    assert not told(node, Failed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that are not its own")
async def test_what_root_loads_into_the_store_of_a_service_is_the_services(node: Node) -> None:
    node.close()
    service = 4321
    for path in (node.directory / "store", *(node.directory / "store").rglob("*")):
        os.chown(path, service, service)
    node.__post_init__()
    await node.load(node.file("images.tar", Bundled(two_images()).volumes()[0]))
    made = list((node.directory / "store").rglob("*"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(service, service)}
