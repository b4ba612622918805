"""A bundle, made from faulty hosts and carried elsewhere, is read by other programs without sampan."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from interop import peers
from interop.bundled import ATTESTED, MANY, PLAIN, Packing, attested, faulty_hosts, named
from interop.clients import Skopeo
from interop.containerd import Containerd
from interop.engines import ENGINES, docker, podman
from interop.images import Library
from interop.processes import run

pytestmark = pytest.mark.interop

MIB = 1024 * 1024
LISTED_SECONDS = 10.0  # the CRI of containerd hears of an import a moment later


@pytest.fixture(scope="module")
def hosts(library: Library) -> Iterator[list[str]]:
    with faulty_hosts(library) as urls:
        yield urls


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("carried")


@pytest.fixture(scope="module")
def bundle(hosts: list[str], place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images for two platforms, signed, verified, and moved to where nothing else is."""
    packing = Packing(tmp_path_factory.mktemp("packing"), hosts)
    home = packing.directory
    packing("key", "-o", home / "maker")
    packing("create", "-o", home / "many.tar", "--platform", "all", "--sign", home / "maker", *MANY)
    moved = Path(shutil.move(home / "many.tar", place / "many.tar"))
    packing("verify", "--key", home / "maker.pub", moved)
    return moved


@pytest.fixture(scope="module")
def plain(hosts: list[str], place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every engine can load: this machine's platform, layers of gzip."""
    packing = Packing(tmp_path_factory.mktemp("packing"), hosts)
    packing("create", "-o", place / "plain.tar", *PLAIN)
    return place / "plain.tar"


def config_digest(library: Library, reference: str) -> str:
    if reference == ATTESTED:
        mine = next(m for m in attested().images if m.platform == f"linux/{peers.architecture()}")
        assert mine.config is not None
        return mine.config.digest
    return library.image(reference).config_digest()


def top_digest(library: Library, reference: str) -> str:
    return attested().digest if reference == ATTESTED else library.image(reference).digest


# -- skopeo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [reference for reference in MANY if "docker" not in reference])
def test_skopeo_finds_an_image_in_the_tar_by_its_name_with_its_original_digest(
    bundle: Path, skopeo: Skopeo, library: Library, tmp_path: Path, reference: str
) -> None:
    """By name it finds what has OCI's media types alone."""
    source = f"oci-archive:{bundle}:{named(reference)}"
    skopeo.copy_any("--all", "--preserve-digests", source, f"oci:{tmp_path}/copy:copied")
    top = json.loads((tmp_path / "copy/index.json").read_bytes())
    assert top["manifests"][0]["digest"] == top_digest(library, reference)


@pytest.mark.parametrize("reference", PLAIN)
def test_skopeo_reads_it_as_dockers_archive(
    plain: Path, skopeo: Skopeo, library: Library, tmp_path: Path, reference: str
) -> None:
    source = f"docker-archive:{plain}:{named(reference)}"
    config = library.document(config_digest(library, reference))
    assert skopeo.inspect(source, "--config")["rootfs"] == config["rootfs"]
    skopeo.copy_any(source, f"dir:{tmp_path}/copy")


def test_skopeo_reads_a_directory(hosts: list[str], skopeo: Skopeo, library: Library, tmp_path: Path) -> None:
    packing = Packing(tmp_path, hosts)
    packing("create", "-o", f"{tmp_path}/layout/", "--platform", "all", "library/alpine:3", ATTESTED)
    packing("verify", tmp_path / "layout")
    source = f"oci:{tmp_path}/layout:{named('library/alpine:3')}"
    skopeo.copy_any("--all", "--preserve-digests", source, f"dir:{tmp_path}/copy")
    manifest = (tmp_path / "copy/manifest.json").read_bytes()
    assert json.loads(manifest) == library.document(top_digest(library, "library/alpine:3"))


# -- containerd --------------------------------------------------------------------------------------


def imported(runtime: Containerd, archive: Path, *words: str) -> None:
    """``ctr image import`` into the namespace of the kubelet."""
    address = ["--address", str(runtime.socket), "--namespace", "k8s.io"]
    run([peers.beside(runtime.name, "ctr"), *address, "images", "import", *words, archive])


def listed(runtime: Containerd, references: Sequence[str]) -> dict[str, str]:
    """Name -> ID of what ListImages says, once it knows all ``references``."""
    deadline = time.monotonic() + LISTED_SECONDS
    while True:
        found = {tag: image.id for image in runtime.cri.images() for tag in image.tags}
        if set(references) <= set(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_containerd_imports_it_with_all_platforms_and_the_cri_lists_every_image(
    bundle: Path, runtime: Containerd, library: Library
) -> None:
    imported(runtime, bundle, "--all-platforms")  # what kind does: fails at what is absent
    found = listed(runtime, [named(reference) for reference in MANY])
    assert {reference: found.get(named(reference)) for reference in MANY} == {
        reference: config_digest(library, reference) for reference in MANY
    }
    assert runtime.corrupt() == []
    assert {top_digest(library, reference) for reference in MANY} <= set(runtime.content())


def test_containerd_imports_from_each_volume_what_is_whole_in_it(
    hosts: list[str], runtime: Containerd, library: Library, tmp_path: Path
) -> None:
    packing = Packing(tmp_path, hosts)
    packing("create", "-o", tmp_path / "v.tar", "--volume-size", "24MiB", "--parity", "1", *MANY)
    volumes = sorted(tmp_path.glob("v.?-of-?.tar"))
    assert len(volumes) > 1
    told = set()
    for volume in volumes:
        found = json.loads(packing("inspect", "--json", volume))
        here = {
            file["name"] for file in found["contents"]["files"] if file["volume"] == found["volume"]["number"]
        }
        assert "index.json" in here
        if any(name == "manifest.json" for name in here):
            imported(runtime, volume)
            told |= set(listed(runtime, []))
    assert told
    assert told <= {named(reference) for reference in MANY}


def test_containerd_has_an_image_whole_after_a_bundle_of_only_what_it_lacked(
    hosts: list[str], runtime: Containerd, library: Library, tmp_path: Path
) -> None:
    """The blobs that the inventory has are taken from containerd's own content store."""
    packing = Packing(tmp_path, hosts)
    packing("create", "-o", tmp_path / "first.tar", "library/debian:oci-gzip")
    imported(runtime, tmp_path / "first.tar")
    inventory = {
        "format": "sampan-inventory",
        "version": 1,
        "created_by": "a test",
        "created_at": "now",
        "of": runtime.name,
        "blobs": [{"digest": digest, "size": size} for digest, size in runtime.content().items()],
    }
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    packing(
        "create",
        "-o",
        tmp_path / "second.tar",
        "--missing-from",
        tmp_path / "inventory.json",
        "library/debian:docker",
    )
    assert (tmp_path / "second.tar").stat().st_size < (tmp_path / "first.tar").stat().st_size / 100
    imported(runtime, tmp_path / "second.tar")
    name = named("library/debian:docker")
    assert listed(runtime, [name])[name] == config_digest(library, "library/debian:docker")


# -- Docker and podman -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINES)
def test_docker_loads_it(complete: None, plain: Path, library: Library, name: str) -> None:
    with docker(name) as engine:
        said = engine.load(plain)
        assert "error" not in said, said
        for reference in PLAIN:
            found = engine.image(named(reference))
            assert found is not None
            layers = library.document(config_digest(library, reference))["rootfs"]["diff_ids"]
            assert found["RootFS"]["Layers"] == layers


def test_docker_with_the_containerd_store_keeps_the_original_digest(
    complete: None, bundle: Path, library: Library
) -> None:
    with docker("docker-28 containerd store") as engine:
        said = engine.load(bundle)
        assert "error" not in said, said
        for reference in MANY:
            found = engine.image(named(reference))
            assert found is not None, reference
            assert found["Id"] == top_digest(library, reference)


def test_podman_loads_it(complete: None, bundle: Path, library: Library) -> None:
    with podman() as program:
        program("load", "--input", str(bundle))
        found = {
            name: "sha256:" + entry["Id"]
            for entry in json.loads(program("images", "--format", "json"))
            for name in entry["Names"]
        }
        loaded = [reference for reference in MANY if named(reference) in found]
        assert set(loaded) >= set(PLAIN)
        assert {r: found[named(r)] for r in loaded} == {r: config_digest(library, r) for r in loaded}


def test_gnu_tar_lists_it_and_sha256sum_agrees(bundle: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path], check=True)
    checks = "".join(f"{path.name}  {path}\n" for path in (tmp_path / "blobs/sha256").iterdir())
    subprocess.run(["sha256sum", "--check", "--quiet"], input=checks, text=True, check=True)
