"""What the runtimes of a machine have, packed: containerd's own bytes, where no host has the images any more;
of Docker and podman the digests that they run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop import peers
from interop.bundled import Packing, faulty_hosts, named
from interop.containerd import Containerd
from interop.engines import docker, podman
from interop.images import Library
from interop.processes import surroundings

pytestmark = pytest.mark.interop

IMAGES = ("library/alpine:3", "library/busybox:oci-zstd", "library/debian:docker")
NOBODY = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(scope="module")
def hosts(library: Library) -> Iterator[list[str]]:
    with faulty_hosts(library) as urls:
        yield urls


@pytest.fixture(scope="module")
def archive(hosts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images as an archive, to bring them into runtimes."""
    packing = Packing(tmp_path_factory.mktemp("packing"), hosts)
    packing("create", "-o", packing.directory / "images.tar", *IMAGES)
    return packing.directory / "images.tar"


def listed(packing: Packing, bundle: Path) -> dict[str, Any]:
    images = json.loads(packing("inspect", "--json", bundle))["contents"]["images"]
    return {image["reference"]: image for image in images}


def test_what_containerd_has_is_packed_from_its_own_content_without_any_host(
    archive: Path, runtime: Containerd, library: Library, tmp_path: Path
) -> None:
    runtime.ctr("--namespace", "k8s.io", "images", "import", archive)
    packing = Packing(tmp_path, [NOBODY])
    path = f"{peers.program(runtime.name).parent}:{surroundings()['PATH']}"
    packing(
        "create",
        "-o",
        tmp_path / "node.tar",
        "--from-node",
        "--containerd-address",
        runtime.socket,
        environ={"PATH": path},
    )
    packing("verify", tmp_path / "node.tar")
    found = listed(packing, tmp_path / "node.tar")
    assert set(found) == {
        f"{named(reference)}@{library.image(reference).manifest_digest()}" for reference in IMAGES
    }
    for reference in IMAGES:
        image = library.image(reference)
        (entry,) = [one for name, one in found.items() if name.startswith(f"{named(reference)}@")]
        assert set(entry["blobs"]) == {image.config_digest(), *image.layer_digests()}


def test_what_docker_has_is_packed_by_its_digests_and_what_was_built_there_is_told(
    complete: None, archive: Path, hosts: list[str], library: Library, tmp_path: Path
) -> None:
    """The containerd store knows the digest of what was loaded; the classic one of what was pulled."""
    with docker("docker-28 containerd store") as engine:
        assert "error" not in engine.load(archive)
        packing = Packing(tmp_path, hosts)
        packing("create", "-o", tmp_path / "node.tar", "--from-node", environ=engine.environ)
        found = listed(packing, tmp_path / "node.tar")
    digests = {reference: library.image(reference).manifest_digest() for reference in IMAGES}
    assert set(found) == {f"{named(reference)}@{digest}" for reference, digest in digests.items()}


def test_what_podman_has_is_packed_by_its_digests(
    complete: None, hosts: list[str], library: Library, tmp_path: Path
) -> None:
    """It keeps the digest of an image that it loads from an archive of one; of several it makes new ones."""
    packing = Packing(tmp_path, hosts)
    with podman() as program:
        for number, reference in enumerate(IMAGES):
            packing("create", "-o", tmp_path / f"{number}.tar", reference)
            program("load", "--input", str(tmp_path / f"{number}.tar"))
        packing("create", "-o", tmp_path / "node.tar", "--from-node", environ=program.environ)
        found = listed(packing, tmp_path / "node.tar")
    assert set(found) == {f"{named(r)}@{library.image(r).manifest_digest()}" for r in IMAGES}
