"""The ground itself: real runtimes and clients pull the real images from a healthy registry, without sampan.

When these fail, nothing that the other tests of this directory say is worth reading.
"""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from pathlib import Path

import pytest

from interop import images, registries
from interop.clients import Skopeo, copied, crane
from interop.containerd import CLOSED, Containerd
from interop.cri import CriError
from interop.images import Library
from interop.processes import CommandFailed
from interop.registries import Web
from interop.sentinel import Sentinel

pytestmark = pytest.mark.interop

LARGE = "library/big:64m"


@pytest.mark.parametrize("reference", [*images.SMALL, LARGE])
def test_a_runtime_pulls_each_kind_of_image_by_cri(
    runtime: Containerd, origin: Web, library: Library, reference: str
) -> None:
    image = library.image(reference)
    runtime.use("docker.io", [origin.url])
    assert runtime.cri.pull(f"docker.io/{reference}") == image.config_digest()
    pulled = runtime.cri.image(f"docker.io/{reference}")
    assert pulled is not None
    assert list(pulled.digests) == [f"docker.io/{image.repository}@{image.digest}"]
    assert set(image.digests()) <= set(runtime.content())
    assert runtime.corrupt() == []


@pytest.mark.parametrize(
    "reference", ["library/alpine:3", "library/debian:oci-zstd", "library/debian:docker"]
)
def test_a_runtime_pulls_by_ctr(runtime: Containerd, origin: Web, library: Library, reference: str) -> None:
    runtime.use("docker.io", [origin.url])
    assert runtime.ctr_pull(f"docker.io/{reference}") == library.image(reference).digest


def test_content_is_fetched_without_unpacking(runtime: Containerd, origin: Web, library: Library) -> None:
    runtime.use("docker.io", [origin.url])
    runtime.ctr_fetch("docker.io/library/busybox:oci-gzip")
    assert set(library.image("library/busybox:oci-gzip").digests()) <= set(runtime.content())


def test_the_short_name_means_docker_io_and_library(
    runtime: Containerd, origin: Web, library: Library
) -> None:
    runtime.use("docker.io", [origin.url])
    assert runtime.cri.pull("alpine:3") == library.image("library/alpine:3").config_digest()


def test_a_removed_image_is_gone_and_can_be_pulled_again(
    runtime: Containerd, origin: Web, library: Library
) -> None:
    runtime.use("docker.io", [origin.url])
    first = runtime.cri.pull("alpine:3")
    assert [image.id for image in runtime.cri.images()] == [first]
    runtime.cri.remove("alpine:3")
    assert runtime.cri.image("alpine:3") is None
    assert runtime.cri.pull("alpine:3") == first


def test_a_runtime_says_its_version_and_that_it_is_ready(runtime: Containerd) -> None:
    assert runtime.name.removeprefix("containerd-") in runtime.cri.version()
    assert runtime.cri.conditions()["RuntimeReady"]


@pytest.mark.parametrize("name", ["alpine:3", "quay.io/some/image:1", "registry.example:5000/x:1"])
def test_a_runtime_without_a_mirror_asks_nobody(runtime: Containerd, name: str) -> None:
    with pytest.raises(CriError, match=re.escape(CLOSED)):
        runtime.cri.pull(name)


def test_the_closed_port_is_closed() -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(CLOSED.rpartition(":")[2]))) != 0


def test_a_program_that_would_leave_this_machine_is_noticed(
    way_out: Sentinel, tmp_path: Path, complete: None
) -> None:
    with pytest.raises(CommandFailed):
        Skopeo(tmp_path).copy("registry.invalid/image:1", tmp_path / "layout")
    assert "registry.invalid" in way_out.asked[0]
    way_out.asked.clear()


@pytest.mark.parametrize("reference", images.SMALL)
def test_skopeo_copies_each_kind_of_image(
    skopeo: Skopeo, library: Library, tmp_path: Path, reference: str
) -> None:
    skopeo.copy(f"docker.io/{reference}", tmp_path / "layout")
    assert set(library.image(reference).layer_digests()) <= copied(tmp_path / "layout")


def test_skopeo_copies_all_platforms_byte_for_byte(skopeo: Skopeo, library: Library, tmp_path: Path) -> None:
    skopeo.copy("docker.io/library/alpine:3", tmp_path / "layout", "--all", "--preserve-digests")
    image = library.image("library/alpine:3")
    assert {image.digest, *image.manifests.values(), *image.blobs()} <= copied(tmp_path / "layout")


def test_crane_reads_the_digest_of_a_tag(origin: Web, library: Library) -> None:
    said = crane("digest", f"{origin.netloc}/library/alpine:3").strip()
    assert said == library.image("library/alpine:3").digest


def test_docker_registry_proxies_what_a_runtime_asks_for(
    runtime: Containerd, origin: Web, library: Library, tmp_path: Path
) -> None:
    with registries.docker_registry(tmp_path, proxy_of=origin.url) as proxy:
        runtime.use("docker.io", [proxy.url])
        assert runtime.cri.pull("alpine:3") == library.image("library/alpine:3").config_digest()


def test_nginx_serves_blobs_and_keeps_what_it_proxies(origin: Web, library: Library, tmp_path: Path) -> None:
    image = library.image("library/busybox:oci-gzip")
    digest = image.layer_digests()[0]
    data = library.path(digest).read_bytes()
    with registries.nginx(tmp_path, root=library.directory) as files:
        assert _get(f"{files.url}/blobs/{digest.replace(':', '/')}") == data
    with registries.nginx(tmp_path, proxy_of=origin.url) as proxy:
        for _ in range(2):
            assert _get(f"{proxy.url}/v2/{image.repository}/blobs/{digest}") == data
        assert any(path.is_file() for path in proxy.process.log.parent.glob("kept/*/*/*"))


def test_the_images_are_of_two_platforms_and_share_no_layer(library: Library) -> None:
    for image in library.images().values():
        layers = [set(image.layer_digests(architecture)) for architecture in image.manifests]
        assert len(layers) == 1 or not layers[0] & layers[1]


def test_a_debian_image_has_four_layers(library: Library) -> None:
    config = json.loads(library.path(library.image("library/debian:oci-gzip").config_digest()).read_bytes())
    assert len(config["rootfs"]["diff_ids"]) == 4


def _get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as response:
        return bytes(response.read())
