"""Real runtimes and clients behind a sampan whose host is healthy: every kind of image, by every way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import images, registries
from interop.clients import Skopeo, copied, crane
from interop.containerd import Containerd
from interop.images import Library
from interop.registries import Web
from interop.serving import Serving, serving

pytestmark = pytest.mark.interop


@pytest.fixture
def mirror(origin: Web, tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, [origin.url]) as running:
        yield running


@pytest.mark.parametrize("reference", [*images.SMALL, "library/big:64m"])
def test_a_runtime_pulls_each_kind_of_image(
    runtime: Containerd, mirror: Serving, library: Library, reference: str
) -> None:
    image = library.image(reference)
    runtime.use("docker.io", [mirror.url])
    assert runtime.cri.pull(f"docker.io/{reference}") == image.config_digest()
    assert set(image.digests()) <= set(runtime.content()) & mirror.stored()
    assert runtime.corrupt() == []


def test_a_runtime_pulls_by_digest(runtime: Containerd, mirror: Serving, library: Library) -> None:
    image = library.image("library/alpine:3")
    runtime.use("docker.io", [mirror.url])
    assert runtime.cri.pull(f"docker.io/library/alpine@{image.digest}") == image.config_digest()


def test_a_runtime_pulls_what_is_stored_while_every_host_is_down(
    runtime: Containerd, library: Library, tmp_path: Path
) -> None:
    image, storage = library.image("library/alpine:3"), registries.stock(library)
    with (
        registries.docker_registry(tmp_path, storage=storage, read_only=True) as dying,
        serving(tmp_path, [dying.url]) as mirror,
    ):
        runtime.use("docker.io", [mirror.url])
        runtime.cri.pull("alpine:3")
        runtime.cri.remove("alpine:3")
        dying.process.kill()
        assert runtime.cri.pull("alpine:3", timeout_seconds=10) == image.config_digest()
        assert runtime.cri.pull(f"alpine@{image.digest}", timeout_seconds=10) == image.config_digest()


def test_all_platforms_are_fetched_by_ctr(runtime: Containerd, mirror: Serving, library: Library) -> None:
    image = library.image("library/debian:oci-zstd")
    runtime.use("docker.io", [mirror.url])
    runtime.ctr(
        "content",
        "fetch",
        "--all-platforms",
        "--hosts-dir",
        runtime.hosts_directory,
        f"docker.io/{image.reference}",
    )
    assert {image.digest, *image.manifests.values(), *image.blobs()} <= set(runtime.content())


@pytest.mark.parametrize("reference", images.SMALL)
def test_skopeo_copies_from_sampan_as_its_mirror_of_docker_io(
    mirror: Serving, library: Library, tmp_path: Path, reference: str
) -> None:
    Skopeo(tmp_path, [mirror.netloc]).copy(f"docker.io/{reference}", tmp_path / "layout")
    assert set(library.image(reference).layer_digests()) <= copied(tmp_path / "layout")


@pytest.mark.parametrize("path", ["docker.io/library/alpine:3", "docker.io/alpine:3", "alpine:3"])
def test_skopeo_copies_from_sampan_as_a_registry_host(
    mirror: Serving, library: Library, tmp_path: Path, path: str
) -> None:
    Skopeo(tmp_path).copy(f"{mirror.netloc}/{path}", tmp_path / "layout", "--all", "--preserve-digests")
    image = library.image("library/alpine:3")
    assert {image.digest, *image.manifests.values(), *image.blobs()} <= copied(tmp_path / "layout")


def test_crane_reads_digest_tags_and_layers(mirror: Serving, library: Library, tmp_path: Path) -> None:
    image = library.image("library/alpine:3")
    name = f"{mirror.netloc}/docker.io/library/alpine"
    assert crane("digest", f"{name}:3").strip() == image.digest
    assert crane("ls", name).split() == ["3"]
    crane("pull", "--format", "oci", f"{name}:3", tmp_path / "layout")
    assert {image.digest, *image.blobs()} <= copied(tmp_path / "layout")


def test_docker_registry_can_be_a_proxy_of_sampan(
    runtime: Containerd, mirror: Serving, library: Library, tmp_path: Path
) -> None:
    with registries.docker_registry(tmp_path, proxy_of=mirror.url) as proxy:
        runtime.use("docker.io", [proxy.url])
        assert runtime.cri.pull("alpine:3") == library.image("library/alpine:3").config_digest()
