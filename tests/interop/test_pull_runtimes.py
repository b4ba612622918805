"""What `sampan pull` puts into runtimes is there by every name, whole, unpacked, and runs."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers
from interop.containerd import CLOSED, VERSIONS, Containerd, containerd
from interop.engines import ENGINES, Docker, Podman, docker, podman
from interop.images import OCI_INDEX, OCI_MANIFEST, Image, Library
from interop.processes import run, surroundings
from interop.registries import Web
from interop.sentinel import Sentinel
from interop.serving import configuration
from interop.wanted import Stock, Workshop, stock
from sampan.errors import SinkUnavailable
from sampan.oci.digest import Digest
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.containerd import ContainerdSink
from sampan.pull.sinks.docker import DockerSink
from sampan.pull.sinks.docker import open_sink as open_docker
from sampan.pull.sinks.podman import PodmanSink
from sampan.store.content import OpenBlob

pytestmark = pytest.mark.interop

HERE = f"linux/{peers.architecture()}"
ELSEWHERE = f"linux/{peers.FOREIGN[peers.architecture()]}"
LAYERED = "library/debian:oci-zstd"  # four layers


@pytest.fixture
def shelf(tmp_path: Path, library: Library) -> Iterator[Stock]:
    with stock(tmp_path / "store") as made:
        yield made


# -- containerd -------------------------------------------------------------------------------------


@pytest.fixture(params=VERSIONS)
def node(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Containerd]:
    """A containerd whose containers can run: not in memory, which is mounted without that right."""
    with containerd(request.param, Path("/tmp")) as running:
        yield running


async def sink_of(node: Containerd, namespace: str = "k8s.io") -> ContainerdSink:
    sink = ContainerdSink(node.socket, namespace, environ_of(node))
    await sink.check()
    return sink


def environ_of(node: Containerd) -> dict[str, str]:
    """Where the ``ctr`` of the same package is the first that is found."""
    directory = peers.beside(node.name, "ctr").parent
    return surroundings(PATH=f"{directory}:{surroundings()['PATH']}")


def ctr(node: Containerd, *words: str) -> str:
    where = ["--address", str(node.socket), "--namespace", "k8s.io"]
    return run([peers.beside(node.name, "ctr"), *where, *words])


async def test_an_image_is_listed_by_the_cri_at_once_and_a_container_of_it_runs(
    node: Containerd, shelf: Stock, library: Library
) -> None:
    sink = await sink_of(node)
    for reference in ("library/alpine:3", LAYERED, "library/busybox:docker-one-platform"):
        image = library.image(reference)
        await sink.put(shelf.want(image, HERE), shelf.content)
        listed = next(found for found in node.cri.images() if found.id == image.config_digest())
        assert list(listed.tags) == [f"docker.io/{reference}"]
        assert list(listed.digests) == [f"docker.io/{image.repository}@{image.digest}"]
        for name in (f"docker.io/{reference}", f"docker.io/{image.repository}@{image.digest}"):
            found = node.cri.image(name)
            assert found is not None
            assert found.id == image.config_digest()
    assert node.corrupt() == []
    assert "false" not in ctr(node, "images", "check")  # the last column: unpacked
    said = ctr(node, "run", "--rm", "docker.io/library/alpine:3", "once", "cat", "/etc/os-release")
    assert said == "NAME=alpine\nID=alpine\n"


async def test_layers_that_containerd_has_are_neither_wanted_nor_given_again(
    runtime: Containerd, shelf: Stock, library: Library
) -> None:
    sink = await sink_of(runtime)
    first, second = library.image("library/debian:oci-gzip"), library.image("library/debian:docker")
    shared = set(first.layer_digests()) & set(second.layer_digests())
    assert len(shared) == len(second.layer_digests())
    await sink.put(shelf.want(first, HERE), shelf.content)
    for digest in shared:
        assert shelf.store.remove(Digest.parse(digest))
    wanted = shelf.want(second, HERE, without=shared)
    assert await sink.present(wanted, shelf.content) == {layer.digest for layer in wanted.layers}
    await sink.put(wanted, shelf.content)
    assert {found.id for found in runtime.cri.images()} == {first.config_digest(), second.config_digest()}


async def test_an_index_with_an_attestation_and_a_platform_that_is_absent_is_imported(
    runtime: Containerd, shelf: Stock, library: Library, tmp_path: Path
) -> None:
    image = attested(library, tmp_path)
    sink = await sink_of(runtime)
    await sink.put(shelf.want(image, HERE), shelf.content)
    found = runtime.cri.image(f"docker.io/library/attested@{image.digest}")
    assert found is not None
    assert found.id == image.config_digest()


async def test_several_platforms_are_all_kept_though_others_are_absent(
    runtime: Containerd, shelf: Stock, library: Library, tmp_path: Path
) -> None:
    image = attested(library, tmp_path)
    sink = await sink_of(runtime)
    wanted = shelf.want(image, HERE, ELSEWHERE)
    await sink.put(wanted, shelf.content)
    ctr(runtime, "images", "rm", *(f"docker.io/library/attested@{m.digest}" for m in wanted.images))
    ctr(runtime, "images", "rm", "--sync", "docker.io/library/attested:1")  # a collection, at once
    kept = set(runtime.content())
    assert {str(blob.digest) for blob in wanted.blobs} <= kept
    assert {str(manifest.digest) for manifest in wanted.manifests} <= kept


async def test_an_image_for_another_machine_is_taken_when_it_is_asked_for(
    runtime: Containerd, shelf: Stock, library: Library
) -> None:
    image = library.image("library/busybox:oci-gzip")
    await (await sink_of(runtime, "elsewhere")).put(shelf.want(image, ELSEWHERE), shelf.content)
    assert set(image.digests(peers.FOREIGN[peers.architecture()])) <= set(runtime.content())


async def test_what_could_not_be_taken_has_no_name(
    runtime: Containerd, shelf: Stock, library: Library
) -> None:
    wanted = shelf.want(library.image("library/busybox:oci-zstd"), HERE)
    damage(shelf, wanted.layers[-1].digest)
    sink = await sink_of(runtime)
    with pytest.raises(SinkUnavailable, match="containerd did not take"):
        await sink.put(wanted, shelf.content)
    assert ctr(runtime, "images", "ls", "-q").split() == []


async def test_an_import_that_is_cancelled_leaves_no_name_and_the_next_one_succeeds(
    runtime: Containerd, shelf: Stock, library: Library
) -> None:
    wanted = shelf.want(library.image(LAYERED), HERE)
    halfway, sink = Halfway(shelf, wanted.layers[-1].digest), await sink_of(runtime)
    putting = asyncio.create_task(sink.put(wanted, halfway))
    await asyncio.to_thread(halfway.reached.wait)
    putting.cancel()
    halfway.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert ctr(runtime, "images", "ls", "-q").split() == []
    await sink.put(wanted, shelf.content)
    assert runtime.cri.image(f"docker.io/{LAYERED}") is not None


class Halfway(Content):
    """Content that stops at one blob until it may go on."""

    def __init__(self, shelf: Stock, at: Digest) -> None:
        super().__init__(shelf.store)
        self._at = at
        self.reached, self.go_on = threading.Event(), threading.Event()

    def open(self, digest: Digest) -> OpenBlob:
        if digest == self._at:
            self.reached.set()
            self.go_on.wait()
        return super().open(digest)


def test_the_command_pulls_into_a_runtime_and_fetches_no_layer_twice(
    runtime: Containerd, origin: Web, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "sampan.toml").write_text(configuration(tmp_path, "127.0.0.1:0", [origin.url], CLOSED))
    command = [sys.executable, "-m", "sampan.cli", "pull", "--config", str(tmp_path / "sampan.toml")]
    command += ["--json", "--to", "containerd", "--containerd-address", str(runtime.socket)]
    environment = environ_of(runtime)
    first = run([*command, "debian:oci-gzip"], environment=environment)
    assert '"already": "sink"' not in first
    assert runtime.cri.image("debian:oci-gzip") is not None
    shutil.rmtree(tmp_path / "store")
    second = run([*command, "debian:docker"], environment=environment)
    assert second.count('"already": "sink"') == len(library.image("library/debian:docker").layer_digests())
    assert runtime.cri.image("debian:docker") is not None


def damage(shelf: Stock, digest: Digest) -> None:
    """One bit of the blob in the store, which does not hash what it gives to sinks."""
    place = shelf.store.root / "blobs" / digest.algorithm / digest.hex
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    with place.open("r+b") as file:
        file.write(data)


def attested(library: Library, directory: Path) -> Image:
    """busybox:oci-gzip with an attestation for it, and with a platform that nobody has."""
    source = library.image("library/busybox:oci-gzip")
    workshop = Workshop(library, directory)
    blob, grown = workshop.blob, workshop.library
    statement = blob("application/vnd.in-toto+json", b'{"_type":"https://in-toto.io/Statement/v0.1"}')
    rootfs = {"type": "layers", "diff_ids": [statement["digest"]]}
    config = json.dumps({"architecture": "unknown", "os": "unknown", "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob("application/vnd.oci.image.config.v1+json", config),
        "layers": [statement],
    }
    note = {
        **blob(OCI_MANIFEST, json.dumps(manifest).encode()),
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    absent = {
        "mediaType": OCI_MANIFEST,
        "digest": f"sha256:{'ab' * 32}",
        "size": 500,
        "platform": {"architecture": "s390x", "os": "linux"},
    }
    entries = [absent, *grown.document(source.digest)["manifests"], note]
    top = blob(
        OCI_INDEX, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    )
    return Image(grown, "library/attested:1", str(top["digest"]), OCI_INDEX)


# -- Docker -----------------------------------------------------------------------------------------


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Docker]:
    with docker(request.param) as running:
        yield running


async def docker_sink(engine: Docker, shelf: Stock) -> DockerSink:
    sink = open_docker(SinkSpec("docker"), SinkSetting(shelf.store, environ=engine.environ))
    await sink.check()
    return sink


async def test_docker_has_each_image_by_its_tag(engine: Docker, shelf: Stock, library: Library) -> None:
    sink = await docker_sink(engine, shelf)
    references = ["library/alpine:3", "library/busybox:docker", "library/busybox:docker-one-platform"]
    references += ["library/debian:oci-gzip"] + ([LAYERED] if engine.name != "docker-20" else [])
    for reference in references:
        image = library.image(reference)
        await sink.put(shelf.want(image, HERE), shelf.content)
        found = engine.image(reference)
        assert found is not None
        expected = image.digest if "containerd store" in engine.name else image.config_digest()
        assert found["Id"] == expected
        assert found["RootFS"]["Layers"] == library.document(image.config_digest())["rootfs"]["diff_ids"]
    assert engine.tags() == {reference.removeprefix("library/") for reference in references}


async def test_docker_says_what_it_cannot_hold(engine: Docker, shelf: Stock, library: Library) -> None:
    sink = await docker_sink(engine, shelf)
    image = library.image(LAYERED)
    by_digest = shelf.want(image, HERE, reference=f"docker.io/library/debian@{image.digest}")
    both = shelf.want(image, HERE, ELSEWHERE)
    if "containerd store" in engine.name:
        await sink.put(by_digest, shelf.content)
        await sink.put(both, shelf.content)
        assert engine.image(f"debian@{image.digest}") is not None
        return
    with pytest.raises(SinkUnavailable, match="keeps no digests"):
        await sink.put(by_digest, shelf.content)
    with pytest.raises(SinkUnavailable, match="keeps one platform"):
        await sink.put(both, shelf.content)
    if engine.name == "docker-20":
        with pytest.raises(SinkUnavailable, match="they are zstd"):
            await sink.put(shelf.want(image, HERE), shelf.content)
    assert engine.tags() == set()


async def test_docker_is_told_of_no_image_whose_layer_is_damaged(
    engine: Docker, shelf: Stock, library: Library
) -> None:
    sink = await docker_sink(engine, shelf)
    wanted = shelf.want(library.image("library/busybox:oci-gzip"), HERE)
    damage(shelf, wanted.layers[-1].digest)
    with pytest.raises(SinkUnavailable, match="Docker did not take"):
        await sink.put(wanted, shelf.content)
    assert engine.tags() == set()


# -- podman -----------------------------------------------------------------------------------------


@pytest.fixture
def pods(complete: None, way_out: Sentinel) -> Iterator[Podman]:
    with podman() as made:
        yield made


async def test_podman_has_each_image_by_its_tag_and_its_digest(
    pods: Podman, shelf: Stock, library: Library
) -> None:
    sink = PodmanSink(pods.environ)
    await sink.check()
    for reference in ("library/alpine:3", LAYERED, "library/busybox:docker-one-platform"):
        image = library.image(reference)
        await sink.put(shelf.want(image, HERE), shelf.content)
        for name in (f"docker.io/{reference}", f"docker.io/{image.repository}@{image.digest}"):
            told = pods("image", "inspect", "--format", "{{.Id}}", name)
            assert told.strip() == image.config_digest().removeprefix("sha256:")


async def test_podman_takes_an_image_by_digest_and_one_for_another_machine(
    pods: Podman, shelf: Stock, library: Library
) -> None:
    sink = PodmanSink(pods.environ)
    await sink.check()
    image = library.image("library/alpine:3")
    name = f"docker.io/library/alpine@{image.digest}"
    await sink.put(shelf.want(image, HERE, reference=name), shelf.content)
    pods("image", "exists", name)
    other = library.image("library/busybox:oci-gzip")
    await sink.put(shelf.want(other, ELSEWHERE), shelf.content)
    told = pods("image", "inspect", "--format", "{{.Architecture}}", "docker.io/library/busybox:oci-gzip")
    assert told.strip() == peers.FOREIGN[peers.architecture()]


async def test_podman_says_what_it_cannot_take(pods: Podman, shelf: Stock, library: Library) -> None:
    sink = PodmanSink(pods.environ)
    await sink.check()
    other = library.image("library/alpine:3")
    with pytest.raises(SinkUnavailable, match="podman loads one platform"):
        await sink.put(shelf.want(other, HERE, ELSEWHERE), shelf.content)
    wanted = shelf.want(library.image("library/busybox:oci-gzip"), HERE)
    damage(shelf, wanted.layers[-1].digest)
    with pytest.raises(SinkUnavailable, match="podman did not take"):
        await sink.put(wanted, shelf.content)
    assert pods("images", "--quiet") == ""
