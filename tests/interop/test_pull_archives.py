"""What ``sampan pull`` writes into files is read by the programs that such files are for.

The images are the real ones, from docker-registry; the readers are skopeo and containerd's ``ctr``, after
which the CRI of that containerd must know the images by their names.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import images, peers
from interop.clients import Skopeo, copied
from interop.containerd import Containerd
from interop.images import Library
from interop.processes import run, surroundings
from interop.registries import Web
from sampan.testing import FakeRegistry, ServerThread
from sampan.testing import image as made_image
from sampan.testing import index as made_index

pytestmark = pytest.mark.interop

LISTED_SECONDS = 10.0  # the CRI of containerd hears of an import a moment later


@dataclass(frozen=True, slots=True)
class Pulling:
    """``sampan pull`` with one mirror of docker.io, and a store of its own."""

    directory: Path

    @classmethod
    def of(cls, directory: Path, mirror: str) -> Pulling:
        (directory / "sampan.toml").write_text(
            f'[store]\npath = "{directory}/store"\n'
            f'[registry."docker.io"]\nmirrors = ["{mirror}"]\norigin = "never"\n'
        )
        return cls(directory)

    def __call__(self, sink: str, *words: str) -> str:
        """Pulls into ``sink``; what it printed on standard output."""
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "sampan",
            "pull",
            "--config",
            self.directory / "sampan.toml",
        ]
        return run([*command, "--to", sink, *words], environment=surroundings(HOME=str(self.directory)))


@pytest.fixture
def pulling(origin: Web, tmp_path: Path) -> Pulling:
    return Pulling.of(tmp_path, origin.url)


def named(reference: str) -> str:
    return f"docker.io/{reference}"


def imported(runtime: Containerd, archive: Path, *words: str) -> None:
    """``ctr image import`` into the namespace of the kubelet."""
    ctr: list[str | Path] = [
        peers.beside(runtime.name, "ctr"),
        "--address",
        runtime.socket,
        "--namespace",
        "k8s.io",
    ]
    run([*ctr, "images", "import", *words, archive])


def listed(runtime: Containerd, references: Sequence[str]) -> dict[str, str]:
    """Name -> ID of what ListImages says, once it knows all ``references``."""
    deadline = time.monotonic() + LISTED_SECONDS
    while True:
        found = {tag: image.id for image in runtime.cri.images() for tag in image.tags}
        if set(references) <= set(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("reference", images.SMALL)
def test_skopeo_reads_a_layout(
    pulling: Pulling, skopeo: Skopeo, library: Library, tmp_path: Path, reference: str
) -> None:
    pulling(f"oci:{tmp_path}/lay", reference)
    image = library.image(reference)
    # By name skopeo finds only what has OCI's media types; the only image of a layout needs no name.
    name = f":{named(reference)}" if "docker" not in reference else ""
    assert skopeo.inspect(f"oci:{tmp_path}/lay{name}")["Digest"] == image.manifest_digest()
    skopeo.copy_any("--preserve-digests", f"oci:{tmp_path}/lay{name}", f"dir:{tmp_path}/copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= {
        digest.partition(":")[2] for digest in (image.config_digest(), *image.layer_digests())
    }
    assert copied(tmp_path / "lay") == {
        image.manifest_digest(),
        image.config_digest(),
        *image.layer_digests(),
    }


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize("reference", images.SMALL)
def test_skopeo_reads_an_archive_in_both_ways(
    pulling: Pulling, skopeo: Skopeo, library: Library, tmp_path: Path, reference: str, kind: str
) -> None:
    pulling(f"{kind}:{tmp_path}/a.tar", reference)
    image = library.image(reference)
    assert skopeo.inspect(f"oci-archive:{tmp_path}/a.tar")["Digest"] == image.manifest_digest()
    config = library.document(image.config_digest())
    for way in ("oci-archive", "docker-archive"):
        seen = skopeo.inspect(f"{way}:{tmp_path}/a.tar", "--config")
        assert seen["rootfs"] == config["rootfs"]
        skopeo.copy_any(f"{way}:{tmp_path}/a.tar", f"dir:{tmp_path}/{way}")


def test_skopeo_reads_a_layout_of_all_platforms(
    pulling: Pulling, skopeo: Skopeo, library: Library, tmp_path: Path
) -> None:
    reference = "library/debian:oci-gzip"
    pulling(f"oci:{tmp_path}/lay", reference, "--platform", "all")
    skopeo.copy_any("--all", f"oci:{tmp_path}/lay:{named(reference)}", f"oci:{tmp_path}/copy:copied")
    top = json.loads((tmp_path / "copy/index.json").read_bytes())
    assert top["manifests"][0]["digest"] == library.image(reference).digest


@pytest.mark.parametrize("platforms", [(), ("--platform", "all")])
def test_containerd_imports_an_archive_and_the_cri_lists_it(
    pulling: Pulling, runtime: Containerd, library: Library, tmp_path: Path, platforms: tuple[str, ...]
) -> None:
    pulling(f"oci-archive:{tmp_path}/a.tar", *images.SMALL, *platforms)
    imported(runtime, tmp_path / "a.tar", "--all-platforms")  # what kind does: fails at what is absent
    names = [named(reference) for reference in images.SMALL]
    found = listed(runtime, names)
    assert {name: found.get(name) for name in names} == {
        named(reference): library.image(reference).config_digest() for reference in images.SMALL
    }
    assert runtime.corrupt() == []


def test_containerd_imports_some_platforms_of_more_and_an_attestation_is_no_trouble(
    runtime: Containerd, tmp_path: Path
) -> None:
    host = FakeRegistry("host")
    mine = f"linux/{peers.architecture()}"
    names = (mine, "linux/s390x", "linux/riscv64", "unknown/unknown")
    made = [made_image("library/many", seed=n, platform=name) for n, name in enumerate(names)]
    many = host.add(made_index("library/many", "1", made))
    with ServerThread(host):
        pulling = Pulling.of(tmp_path, host.url)
        some = ("--platform", mine, "--platform", "linux/s390x")
        assert (
            pulling(f"oci-archive:{tmp_path}/a.tar", "many:1", *some)
            == f"{named('library/many:1')}@{many.digest}\n"
        )
        assert not host.count(kind="manifest", digest=made[2].digest)
    imported(runtime, tmp_path / "a.tar", "--all-platforms")
    assert made[0].config is not None
    assert listed(runtime, [named("library/many:1")]) == {named("library/many:1"): made[0].config.digest}
