"""A second release that changes one layer of five images: what is carried, beside what others would carry."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.bundled import Packing, named
from interop.clients import Skopeo
from sampan.testing import FakeRegistry, Image, ServerThread, image, random_layer

pytestmark = pytest.mark.interop

MIB = 1024 * 1024
APPS = [f"library/app{number}" for number in range(5)]
BASE, OLD, NEW = random_layer(1, 20 * MIB), random_layer(2, 4 * MIB), random_layer(3, 4 * MIB)
OWN = {name: random_layer(10 + number, 2 * MIB) for number, name in enumerate(APPS)}
TAR_BYTES_MAX = 64 * 1024  # headers, the list, the names for other programs


def release(tag: str) -> list[Image]:
    """Five applications: a base and a runtime that all have, and a layer of their own."""
    shared = {"1": OLD, "2": NEW}[tag]
    return [image(name, tag, layers=[BASE, shared, OWN[name]], seed=n) for n, name in enumerate(APPS)]


@pytest.fixture(scope="module")
def host() -> Iterator[FakeRegistry]:
    registry = FakeRegistry("host")
    with ServerThread(registry) as thread:
        for tag in ("1", "2"):
            for one in release(tag):
                thread.call(lambda one=one: registry.add(one))  # type: ignore[misc]
        yield registry


def inventory_of(bundle: dict[str, object], path: Path) -> Path:
    """What the far side has after the first release: all of that bundle."""
    contents = bundle["contents"]
    assert isinstance(contents, dict)
    blobs = [{"digest": blob["digest"], "size": blob["size"]} for blob in contents["blobs"]]
    said = {
        "format": "sampan-inventory",
        "version": 1,
        "created_by": "a test",
        "created_at": "now",
        "of": "far",
    }
    path.write_text(json.dumps({**said, "blobs": blobs}))
    return path


def test_a_second_release_is_one_layer_and_the_manifests_and_configs(
    complete: None, host: FakeRegistry, tmp_path: Path
) -> None:
    packing = Packing(tmp_path, [host.url])
    packing("create", "-o", tmp_path / "first.tar", *(f"{name}:1" for name in APPS))
    inventory = inventory_of(
        json.loads(packing("inspect", "--json", tmp_path / "first.tar")), tmp_path / "far.json"
    )
    host.requests.clear()
    packing(
        "create", "-o", tmp_path / "second.tar", "--missing-from", inventory, *(f"{name}:2" for name in APPS)
    )
    packing("verify", tmp_path / "second.tar")

    second = release("2")
    layer = second[0].layers[1]
    configs = {one.config.digest for one in second if one.config is not None}
    carried = {layer.digest, *configs, *(one.digest for one in second)}
    with tarfile.open(tmp_path / "second.tar") as tar:
        names = {name for name in tar.getnames() if name.startswith("blobs/")}
    assert names == {f"blobs/sha256/{digest.partition(':')[2]}" for digest in carried}
    fetched = {str(request.digest) for request in host.requests if request.kind == "blob"}
    assert fetched == {layer.digest, *configs}

    sizes = {
        "bundle of what is missing": (tmp_path / "second.tar").stat().st_size,
        "bundle of everything": (tmp_path / "first.tar").stat().st_size,
        "skopeo copy, an oci-archive an image": with_skopeo(host, tmp_path),
        "one tar of the five layouts": plain_tar(second, tmp_path),
    }
    print("\n".join(f"{size:>12} {what}" for what, size in sizes.items()))
    delta, whole, skopeo, plain = sizes.values()
    assert delta - layer.size < TAR_BYTES_MAX
    assert whole < (20 + 4 + 5 * 2) * MIB + TAR_BYTES_MAX
    assert skopeo > 5 * 26 * MIB, "it carries what the images share five times"
    assert delta * 8 < plain
    assert delta * 30 < skopeo


def with_skopeo(host: FakeRegistry, path: Path) -> int:
    """Bytes of the archives that ``skopeo copy`` makes."""
    skopeo = Skopeo(path, [host.netloc])
    for number, name in enumerate(APPS):
        source = f"docker://{named(name)}:2"
        skopeo.copy_any("--src-tls-verify=false", source, f"oci-archive:{path}/s{number}.tar:{named(name)}:2")
    return sum(archive.stat().st_size for archive in path.glob("s?.tar"))


def plain_tar(images: list[Image], path: Path) -> int:
    """Bytes of a tar of every blob once."""
    with tarfile.open(path / "plain.tar", "w") as tar:
        for content in {c.digest: c for one in images for c in (*one.manifests, *one.blobs)}.values():
            (path / "blob").write_bytes(content.read())
            tar.add(path / "blob", arcname=content.digest)
    return (path / "plain.tar").stat().st_size
