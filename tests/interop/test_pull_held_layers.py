"""Real runtimes take an image without the layers that they have, and have it whole afterwards.

What each of them needs to find a layer was found by trying; these tests say so again for each version.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers
from interop.containerd import CLOSED
from interop.engines import ENGINES, Docker, Podman, docker, podman
from interop.images import Image, Library
from interop.processes import CommandFailed, run
from interop.registries import Web
from interop.sentinel import Sentinel
from interop.serving import configuration
from interop.wanted import Stock, Workshop, stock
from sampan.errors import SinkUnavailable
from sampan.pull.closure import Wanted
from sampan.pull.sink import SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.describe import describe
from sampan.pull.sinks.docker import DockerSink
from sampan.pull.sinks.docker import open_sink as open_docker
from sampan.pull.sinks.engine import Engine
from sampan.pull.sinks.podman import PodmanSink
from sampan.pull.sinks.stream import feed_of

pytestmark = pytest.mark.interop

HERE = f"linux/{peers.architecture()}"
BASE = "library/debian:oci-gzip"  # four layers
GROWN = "library/grown:1"


@pytest.fixture
def shelf(tmp_path: Path, library: Library) -> Iterator[Stock]:
    with stock(tmp_path / "store") as made:
        yield made


@pytest.fixture
def grown(tmp_path: Path, library: Library) -> Image:
    """The base with a layer on top."""
    return Workshop(library, tmp_path / "workshop").grown(library.image(BASE), GROWN)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Docker]:
    with docker(request.param) as running:
        yield running


@pytest.fixture
def pods(complete: None, way_out: Sentinel) -> Iterator[Podman]:
    with podman() as made:
        yield made


def environ_of(engine: Docker) -> dict[str, str]:
    """With the ``ctr`` of the containerd beside the engine."""
    ctr = peers.beside(ENGINES[engine.name][0], "ctr")
    return {**engine.environ, "PATH": f"{ctr.parent}:{engine.environ['PATH']}"}


async def docker_sink(engine: Docker, shelf: Stock) -> DockerSink:
    sink = open_docker(SinkSpec("docker"), SinkSetting(shelf.store, environ=environ_of(engine)))
    await sink.check()
    return sink


def forget(shelf: Stock, image: Image) -> None:
    """Its layers are not here any more: whoever asks for one fails."""
    for digest in shelf.want(image, HERE).layers:
        assert shelf.store.remove(digest.digest)


def is_whole(saved: bytes, wanted: Wanted) -> bool:
    """Whether what the engine saved has all the layers, unpacked or as they came."""
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        (entry,) = json.load(file)
        return set(entry["Layers"]) <= set(archive.getnames()) and len(entry["Layers"]) == len(wanted.layers)


def saved_by(engine: Docker) -> bytes:
    """What ``docker save`` gives."""
    return engine.raw(f"/images/{GROWN}/get") or b""


async def test_docker_takes_an_image_without_the_layers_of_another_one(
    engine: Docker, shelf: Stock, library: Library, grown: Image
) -> None:
    sink = await docker_sink(engine, shelf)
    base = library.image(BASE)
    await sink.put(shelf.want(base, HERE), shelf.content)
    forget(shelf, base)
    wanted = shelf.want(grown, without=base.layer_digests())
    held = await sink.present(wanted, shelf.content)
    assert {str(digest) for digest in held} == set(base.layer_digests())
    await sink.put(wanted, shelf.content)
    found = engine.image(GROWN)
    assert found is not None
    assert found["RootFS"]["Layers"] == diff_ids_of(grown)
    assert is_whole(saved_by(engine), wanted)


def diff_ids_of(image: Image) -> list[str]:
    listed: list[str] = image.library.document(image.config_digest())["rootfs"]["diff_ids"]
    return listed


async def test_an_engine_without_them_is_given_all_the_layers(
    engine: Docker, shelf: Stock, library: Library, grown: Image
) -> None:
    sink = await docker_sink(engine, shelf)
    wanted = shelf.want(grown)
    assert await sink.present(wanted, shelf.content) == frozenset()
    await sink.put(wanted, shelf.content)
    assert is_whole(saved_by(engine), wanted)


async def test_an_engine_refuses_what_lacks_a_layer_that_it_has_not(
    engine: Docker, shelf: Stock, grown: Image
) -> None:
    """Were it otherwise, to leave out one layer too many would make an image that is not whole."""
    wanted = shelf.want(grown)
    entry = describe(wanted).docker
    without = {wanted.layers[0].digest}
    feed = feed_of(wanted, shelf.content, names=[f"docker.io/{GROWN}"], without=without, docker=entry)
    with pytest.raises(SinkUnavailable, match=r"not found|no such file"):
        Engine(engine.socket).load(feed, doing="x")


async def test_the_same_layers_in_another_compression_are_no_help_to_the_containerd_store(
    engine: Docker, shelf: Stock, library: Library, grown: Image
) -> None:
    if engine.name == "docker-20":
        return  # it reads no zstd
    sink = await docker_sink(engine, shelf)
    await sink.put(shelf.want(library.image("library/debian:oci-zstd"), HERE), shelf.content)
    wanted = shelf.want(grown)
    held = await sink.present(wanted, shelf.content)
    assert len(held) == (0 if "containerd store" in engine.name else len(wanted.layers) - 1)
    await sink.put(wanted, shelf.content)
    assert is_whole(saved_by(engine), wanted)


async def test_podman_takes_an_image_without_the_layers_of_another_one(
    pods: Podman, shelf: Stock, library: Library, grown: Image
) -> None:
    sink = PodmanSink(pods.environ)
    await sink.check()
    base = library.image(BASE)
    await sink.put(shelf.want(base, HERE), shelf.content)
    forget(shelf, base)
    wanted = shelf.want(grown, without=base.layer_digests())
    held = await sink.present(wanted, shelf.content)
    assert {str(digest) for digest in held} == set(base.layer_digests())
    await sink.put(wanted, shelf.content)
    told = json.loads(pods("image", "inspect", f"docker.io/{GROWN}"))
    assert told[0]["RootFS"]["Layers"] == diff_ids_of(grown)
    pods("save", "--output", str(pods.home / "saved.tar"), f"docker.io/{GROWN}")
    assert is_whole((pods.home / "saved.tar").read_bytes(), wanted)


async def test_a_podman_without_them_refuses_what_lacks_a_layer(
    pods: Podman, shelf: Stock, grown: Image
) -> None:
    wanted = shelf.want(grown)
    assert shelf.store.remove(wanted.layers[0].digest)
    feed = feed_of(wanted, shelf.content, names=[f"docker.io/{GROWN}"], without={wanted.layers[0].digest})
    with (pods.home / "a.tar").open("wb") as file:
        feed(file)
    with pytest.raises(CommandFailed, match="no such file or directory"):
        pods("load", "--input", str(pods.home / "a.tar"))


def pull_command(directory: Path, origin: Web, sink: str) -> list[str]:
    (directory / "sampan.toml").write_text(configuration(directory, "127.0.0.1:0", [origin.url], CLOSED))
    command = [sys.executable, "-m", "sampan.cli", "pull", "--config", str(directory / "sampan.toml")]
    return [*command, "--json", "--to", sink]


def check_second_pull(command: list[str], environ: dict[str, str], directory: Path, library: Library) -> None:
    """Another image of the same layers, when nothing is left here of the first one."""
    first = run([*command, "debian:oci-gzip"], environment=environ)
    assert '"already": "sink"' not in first
    shutil.rmtree(directory / "store")
    second = run([*command, "debian:docker"], environment=environ)
    layers = library.image("library/debian:docker").layer_digests()
    assert second.count('"already": "sink"') == len(layers)


def test_the_command_fetches_no_layer_that_docker_has(
    engine: Docker, origin: Web, library: Library, tmp_path: Path
) -> None:
    command = pull_command(tmp_path, origin, "docker")
    check_second_pull(command, environ_of(engine), tmp_path, library)
    assert engine.tags() == {"debian:oci-gzip", "debian:docker"}


def test_the_command_fetches_no_layer_that_podman_has(
    pods: Podman, origin: Web, library: Library, tmp_path: Path
) -> None:
    command = pull_command(tmp_path, origin, "podman")
    check_second_pull(command, pods.environ, tmp_path, library)
    pods("image", "exists", "docker.io/library/debian:docker")
