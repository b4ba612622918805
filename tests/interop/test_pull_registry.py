"""``sampan pull --to registry:…`` into docker-registry: skopeo and crane pull the same digests from there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import images, registries
from interop.clients import Skopeo, copied, crane
from interop.images import Library
from interop.processes import surroundings
from interop.registries import Web
from sampan.testing import FakeRegistry, ServerThread, artifact
from sampan.testing import image as made_image

pytestmark = pytest.mark.interop

PULL_TIMEOUT_SECONDS = 120.0


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Web]:
    with registries.docker_registry(tmp_path) as web:
        yield web


def pull(directory: Path, origin: Web, *words: str, registry: str = "docker.io") -> str:
    """``sampan pull WORDS`` with ``registry`` at ``origin``; its standard output."""
    settings = f'[registry."{registry}"]\nmirrors = ["{origin.url}"]\norigin = "never"\n'
    (directory / "sampan.toml").write_text(settings)
    command = [sys.executable, "-W", "error", "-m", "sampan", "pull", "--store", "store", *words]
    environment = surroundings(HOME=str(directory), DOCKER_CONFIG=str(directory))
    ended = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PULL_TIMEOUT_SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("reference", [*images.SMALL, "library/big:64m"])
def test_each_kind_of_image_arrives_whole(
    origin: Web, target: Web, library: Library, tmp_path: Path, reference: str
) -> None:
    image, name = library.image(reference), reference.partition(":")[0]
    pull(tmp_path, origin, "--platform", "all", "--to", f"registry:{target.netloc}/{name}", reference)
    assert crane("digest", f"{target.netloc}/{reference}").strip() == image.digest
    crane("pull", "--format", "oci", f"{target.netloc}/{reference}", tmp_path / "crane")
    assert {image.digest, *image.manifests.values(), *image.blobs()} <= copied(tmp_path / "crane")
    Skopeo(tmp_path).copy(f"{target.netloc}/{reference}", tmp_path / "skopeo")
    assert set(image.layer_digests()) <= copied(tmp_path / "skopeo")


def test_one_platform_is_an_image_of_its_own_there(
    origin: Web, target: Web, library: Library, tmp_path: Path
) -> None:
    image = library.image("library/alpine:3")
    where = f"registry:{target.netloc}/team/alpine:arm"
    pull(tmp_path, origin, "--platform", "linux/arm64", "--to", where, "alpine:3")
    manifest = json.loads(crane("manifest", f"{target.netloc}/team/alpine:arm"))
    assert crane("digest", f"{target.netloc}/team/alpine:arm").strip() in image.manifests.values()
    assert "layers" in manifest


def test_a_second_push_sends_no_layer_again(
    origin: Web, target: Web, library: Library, tmp_path: Path
) -> None:
    where = f"registry:{target.netloc}/library/alpine"
    pull(tmp_path, origin, "--platform", "all", "--to", where, "alpine:3")
    sent = _uploads(target)
    pull(tmp_path, origin, "--platform", "all", "--to", where, "alpine:3")
    assert _uploads(target) == sent + 1  # the question whether we may push


def test_layers_of_another_repository_there_are_taken_over(
    origin: Web, target: Web, library: Library, tmp_path: Path
) -> None:
    image = library.image("library/debian:oci-gzip")
    pull(tmp_path, origin, "--to", f"registry:{target.netloc}/library/debian", "debian:oci-gzip")
    (tmp_path / "other").mkdir()
    words = (
        "--json",
        "--to",
        f"registry:{target.netloc}/team/debian",
        f"{target.netloc}/library/debian:oci-gzip",
    )
    events = pull(tmp_path / "other", target, *words, registry=target.netloc)
    assert events.count('"already": "sink"') == len(image.layer_digests())
    crane("validate", "--remote", f"{target.netloc}/team/debian:oci-gzip")


def test_what_is_attached_is_found_in_a_registry_that_keeps_no_list(target: Web, tmp_path: Path) -> None:
    host = FakeRegistry("host")
    alpine = host.add(made_image("library/alpine", "3"))
    made = [host.add(artifact(alpine, "application/vnd.example.bill", payload=b)) for b in (b"one", b"two")]
    signed = f"{alpine.digest.replace(':', '-')}.sig"
    signature = host.add(made_image("library/alpine", signed, seed=5))
    with ServerThread(host):
        mirror = Web(host.netloc, target.process)
        words = ("--with", "referrers", "--platform", "linux/amd64", "alpine:3")
        pull(tmp_path, mirror, "--to", f"registry:{target.netloc}/library/alpine", *words)
    where = f"{target.netloc}/library/alpine"
    assert crane("digest", f"{where}:{signed}").strip() == signature.digest
    listed = json.loads(crane("manifest", f"{where}:{alpine.digest.replace(':', '-')}"))
    assert {entry["digest"] for entry in listed["manifests"]} == {one.digest for one in made}
    for one in made:
        crane("blob", f"{where}@{one.layers[0].digest}")


def _uploads(target: Web) -> int:
    return target.process.log.read_text().count("http.request.method=POST")
