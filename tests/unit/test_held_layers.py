"""Layers that a runtime has are neither fetched nor given again: which ones, and when nobody can tell."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes import Dockerd, program, wanted_of
from sampan.errors import SinkUnavailable
from sampan.oci import Descriptor, Digest, Platform
from sampan.pull.closure import Wanted
from sampan.pull.image import diff_ids_of_config
from sampan.pull.sink import Content
from sampan.pull.sinks.docker import DockerSink
from sampan.pull.sinks.layers import digests_in_storage, held_in_chains
from sampan.pull.sinks.podman import PodmanSink
from sampan.store.disk import DiskStore
from sampan.testing import Image, image, index, random_layer

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DIGESTS = [Digest.of(bytes([number])) for number in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store")
    yield store
    store.close()


def layers(*numbers: int) -> list[Descriptor]:
    return [Descriptor("application/vnd.oci.image.layer.v1.tar", DIGESTS[number], 1) for number in numbers]


# -- chains of diff IDs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diff_ids", "chains", "held"),
    [
        ("abc", [], []),
        ("abc", ["abc"], [0, 1, 2]),
        ("abc", ["abx", "a"], [0, 1]),
        ("abc", ["bc", "xbc"], []),  # the same content on another base is another layer to Docker
        ("abc", ["abcd"], [0, 1, 2]),
        ("ab", ["ab"], []),  # a config of other layers than the manifest has
    ],
)
def test_a_layer_is_held_where_all_below_it_is_the_same(
    diff_ids: str, chains: Sequence[str], held: list[int]
) -> None:
    found = held_in_chains(layers(0, 1, 2), list(diff_ids), [list(chain) for chain in chains])
    assert found == {DIGESTS[number] for number in held}


def test_a_blob_that_comes_again_above_what_is_held_is_needed() -> None:
    assert held_in_chains(layers(0, 1, 0), ["a", "b", "a"], [["a", "b"]]) == {DIGESTS[1]}


def test_a_config_that_is_none_has_no_layers() -> None:
    for raw in (b"", b"[]", b'{"rootfs": []}', b'{"rootfs": {"diff_ids": {}}}', b"[" * 100_000):
        assert diff_ids_of_config(raw) == ()
    assert diff_ids_of_config(b'{"rootfs": {"diff_ids": ["a", "b"]}}') == ("a", "b")


# -- the storage of podman --------------------------------------------------------------------------


def test_a_storage_tells_the_blobs_that_its_whole_layers_were_made_of() -> None:
    entries = [
        {"id": "1", "compressed-diff-digest": str(DIGESTS[0]), "diff-digest": str(DIGESTS[1])},
        {"id": "2", "compressed-diff-digest": str(DIGESTS[2]), "flags": {"incomplete": True}},
        {"id": "3", "compressed-diff-digest": "nonsense"},
        {"id": "a container's own"},
        7,
    ]
    assert digests_in_storage(json.dumps(entries).encode()) == {DIGESTS[0], DIGESTS[1]}


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"[" * 100_000, b"\xff"])
def test_a_storage_that_cannot_be_read_tells_nothing(raw: bytes) -> None:
    assert digests_in_storage(raw) == frozenset()


# -- Docker -----------------------------------------------------------------------------------------


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Dockerd]:
    server = Dockerd(tmp_path / "d.sock")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def app() -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed, 4096) for seed in (1, 2, 3)])


def diff_ids(made: Image) -> list[str]:
    assert made.config is not None
    listed: list[str] = json.loads(made.config.read())["rootfs"]["diff_ids"]
    return listed


async def docker_of(dockerd: Dockerd, environ: dict[str, str] | None = None) -> DockerSink:
    sink = DockerSink(dockerd.path, environ or {"PATH": "/nowhere"})
    await sink.check()
    return sink


def loaded(dockerd: Dockerd) -> set[str]:
    """The blobs of the archive that the engine was given."""
    assert dockerd.loaded is not None
    with tarfile.open(fileobj=io.BytesIO(dockerd.loaded)) as archive:
        return {Path(name).name for name in archive.getnames() if name.startswith("blobs/")}


async def test_docker_is_not_given_the_layers_of_an_image_that_it_has(
    dockerd: Dockerd, store: DiskStore
) -> None:
    made = app()
    wanted = wanted_of(store, made)
    dockerd.chains["sha256:other"] = [*diff_ids(made)[:2], "sha256:something"]
    sink = await docker_of(dockerd)
    low, lower, top = wanted.layers
    assert await sink.present(wanted, Content(store)) == {low.digest, lower.digest}
    for layer in (low, lower):
        assert store.remove(layer.digest)
    await sink.put(wanted, Content(store))
    assert loaded(dockerd) == {wanted.root.digest.hex, wanted.configs[0].digest.hex, top.digest.hex}


async def test_an_old_docker_takes_layers_of_zstd_only_when_it_has_them_unpacked_already(
    dockerd: Dockerd, store: DiskStore
) -> None:
    dockerd.version = "20.10.24+dfsg1"
    made = app()
    wanted = zstd(wanted_of(store, made))
    sink = await docker_of(dockerd)
    for take in (sink.present, sink.put):
        with pytest.raises(SinkUnavailable, match=r"Docker 20.10.24\+dfsg1 cannot read .* they are zstd"):
            await take(wanted, Content(store))
    assert dockerd.loaded is None
    dockerd.chains["sha256:other"] = diff_ids(made)
    assert await sink.present(wanted, Content(store)) == {layer.digest for layer in wanted.layers}


def zstd(wanted: Wanted) -> Wanted:
    """The same image, if its layers were zstd."""
    (made,) = wanted.images
    made = replace(made, layers=tuple(replace(layer, media_type=ZSTD) for layer in made.layers))
    return replace(wanted, root=made, manifests=(made,))


async def test_what_docker_cannot_hold_is_told_before_a_layer_is_fetched(
    dockerd: Dockerd, store: DiskStore
) -> None:
    wanted = wanted_of(
        store, index("library/alpine", "3"), *map(Platform.parse, ("linux/amd64", "linux/arm64"))
    )
    with pytest.raises(SinkUnavailable, match="keeps one platform"):
        await (await docker_of(dockerd)).present(wanted, Content(store))


async def test_what_dockers_containerd_holds_is_asked_of_it(
    dockerd: Dockerd, store: DiskStore, tmp_path: Path
) -> None:
    dockerd.driver = "snap"
    wanted = wanted_of(store, app())
    held = wanted.layers[1].digest
    script = f'[ "$*" = "--address /run/c.sock --namespace moby content ls -q" ] && echo {held}'
    sink = await docker_of(dockerd, program(tmp_path / "bin", "ctr", script))
    assert await sink.present(wanted, Content(store)) == {held}
    await sink.put(wanted, Content(store))
    assert held.hex not in loaded(dockerd)


@pytest.mark.parametrize("script", [None, "echo 'permission denied' >&2; exit 1"])
async def test_a_containerd_that_may_not_be_asked_means_that_all_is_fetched(
    dockerd: Dockerd, store: DiskStore, tmp_path: Path, script: str | None
) -> None:
    dockerd.driver = "snap"
    made = app()
    dockerd.chains["sha256:other"] = diff_ids(made)  # unpacked, and yet perhaps without the blobs
    environ = None if script is None else program(tmp_path / "bin", "ctr", script)
    sink = await docker_of(dockerd, environ)
    assert await sink.present(wanted_of(store, made), Content(store)) == frozenset()


# -- podman -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_remote", "finds"), [("false", True), ("true", False)])
async def test_the_storage_of_podman_is_read_where_podman_says(
    store: DiskStore, tmp_path: Path, is_remote: str, finds: bool
) -> None:
    wanted = wanted_of(store, app())
    held, _, other = wanted.layers
    listed = [{"compressed-diff-digest": str(held.digest)}, {"compressed-diff-digest": str(DIGESTS[0])}]
    place = tmp_path / "the root" / "overlay-layers"
    place.mkdir(parents=True)
    (place / "layers.json").write_text(json.dumps(listed))
    got = tmp_path / "got.tar"
    script = (
        f"""case "$1" in info) echo "{is_remote} overlay {tmp_path}/the root";; load) cat > {got};; esac"""
    )
    sink = PodmanSink(program(tmp_path / "bin", "podman", script))
    await sink.check()
    assert await sink.present(wanted, Content(store)) == ({held.digest} if finds else frozenset())
    await sink.put(wanted, Content(store))
    with tarfile.open(got) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert (held.digest.hex in names) is not finds
    assert other.digest.hex in names


@pytest.mark.parametrize("script", ["", "exit 125", "echo false overlay /nowhere", "echo nonsense"])
async def test_a_podman_whose_storage_cannot_be_found_is_given_everything(
    store: DiskStore, tmp_path: Path, script: str
) -> None:
    sink = PodmanSink(program(tmp_path / "bin", "podman", f'case "$1" in info) {script or ":"};; esac'))
    await sink.check()
    assert await sink.present(wanted_of(store, app()), Content(store)) == frozenset()
