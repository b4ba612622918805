"""umoci, which shares no code with us, lists, inspects and unpacks the layouts and archives that pull wrote.

It checks every digest on its way, those of the unpacked layers too. It knows OCI's media types alone, and of
an index it takes no platform.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from interop import peers
from interop.images import Image, Library
from interop.processes import CommandFailed, run
from interop.registries import Web
from interop.test_pull_archives import Pulling, named

pytestmark = pytest.mark.interop

IMAGES = [
    "library/alpine:3",
    "library/debian:oci-gzip",
    "library/debian:oci-zstd",
]  # the last two: four layers


def umoci(*words: str | Path) -> str:
    """Standard output of ``umoci WORDS``."""
    return run([peers.program("umoci"), *words])


@pytest.fixture
def pulling(origin: Web, tmp_path: Path) -> Pulling:
    return Pulling.of(tmp_path, origin.url)


def paths_of(image: Image) -> set[str]:
    """Every path that the image's layers make; they take none away."""
    found = set[str]()
    for digest in image.layer_digests():
        with tarfile.open(fileobj=io.BytesIO(unpacked(image.library.path(digest).read_bytes()))) as layer:
            found |= {os.path.normpath(member.name) for member in layer}
    return found


def unpacked(blob: bytes) -> bytes:
    if blob.startswith(b"\x1f\x8b"):
        return gzip.decompress(blob)
    return zstandard.ZstdDecompressor().decompressobj().decompress(blob)


def walked(root: Path) -> Iterator[str]:
    """Every path below ``root``, links not followed."""
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            yield os.path.relpath(os.path.join(directory, name), root)


def check_image(layout: Path, image: Image, scratch: Path) -> None:
    """umoci sees the same image in ``layout``, and unpacks all of it."""
    name = f"{layout}:{named(image.reference)}"
    told = json.loads(umoci("stat", "--json", "--image", name))
    assert told["manifest"]["descriptor"]["digest"] == image.manifest_digest()
    assert told["config"]["descriptor"]["digest"] == image.config_digest()
    layers = [entry["layer"]["digest"] for entry in told["history"] if entry["layer"]]
    assert layers == image.layer_digests()
    umoci("unpack", "--image", name, scratch)
    assert set(walked(scratch / "rootfs")) == paths_of(image) - {"."}


@pytest.mark.parametrize("reference", IMAGES)
def test_umoci_lists_inspects_and_unpacks_a_layout(
    pulling: Pulling, library: Library, tmp_path: Path, reference: str
) -> None:
    pulling(f"oci:{tmp_path}/lay", reference)
    assert umoci("ls", "--layout", tmp_path / "lay").split() == [named(reference)]
    check_image(tmp_path / "lay", library.image(reference), tmp_path / "bundle")


def test_umoci_finds_each_image_of_an_archive_that_was_unpacked(
    pulling: Pulling, library: Library, tmp_path: Path
) -> None:
    pulling(f"oci-archive:{tmp_path}/a.tar", *IMAGES)
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "lay", filter="data")
    assert set(umoci("ls", "--layout", tmp_path / "lay").split()) == set(map(named, IMAGES))
    for number, reference in enumerate(IMAGES):
        check_image(tmp_path / "lay", library.image(reference), tmp_path / f"bundle-{number}")


def test_umoci_finds_nothing_to_collect_in_a_layout_that_was_pulled_into_twice(
    pulling: Pulling, library: Library, tmp_path: Path
) -> None:
    for _ in range(2):
        for reference in IMAGES:
            pulling(f"oci:{tmp_path}/lay", reference)
    before = set(walked(tmp_path / "lay"))
    umoci("gc", "--layout", tmp_path / "lay")
    assert set(walked(tmp_path / "lay")) == before


@pytest.mark.parametrize(
    ("reference", "platforms", "said"),
    [
        ("library/debian:docker", (), "not implemented: application/vnd.docker"),
        ("library/debian:oci-gzip", ("--platform", "all"), "tag is ambiguous"),
    ],
)
def test_what_umoci_does_not_know_it_lists_all_the_same(
    pulling: Pulling, tmp_path: Path, reference: str, platforms: tuple[str, ...], said: str
) -> None:
    pulling(f"oci:{tmp_path}/lay", reference, *platforms)
    assert umoci("ls", "--layout", tmp_path / "lay").split() == [named(reference)]
    with pytest.raises(CommandFailed, match=said):
        umoci("stat", "--image", f"{tmp_path}/lay:{named(reference)}")
