"""``sampan bundle inventory`` as a process: what it lists, and the bundle that is made for it."""

from __future__ import annotations

import json
from pathlib import Path

from bundling import BundleMachine
from carrying import layout_tar
from sampan.bundle.inventory import parse_inventory
from sampan.bundle.taking import listed_by_ctr
from sampan.oci import Digest
from sampan.testing import FakeRegistry, ServerThread, image, index, random_layer

ALPINE = "docker.io/library/alpine:3"


def machine_in(directory: Path, mirror: str = "http://127.0.0.1:1") -> BundleMachine:
    directory.mkdir()
    return BundleMachine(directory, mirror)


def listed(path: Path) -> set[str]:
    return {str(digest) for digest in parse_inventory(path.read_bytes()).digests}


def test_what_a_store_has_is_listed_and_left_out_of_the_next_bundle(tmp_path: Path) -> None:
    base, top = random_layer(1, 200_000), random_layer(2, 5000)
    old, new = image("library/alpine", "3", layers=[base]), image("library/alpine", "3", layers=[base, top])
    far = machine_in(tmp_path / "far")
    (tmp_path / "old.tar").write_bytes(layout_tar({ALPINE: old}))
    assert far.bundle("load", "--to", "store", str(tmp_path / "old.tar")).returncode == 0
    done = far.bundle("inventory", "--of", "store", "-o", str(tmp_path / "far.json"))
    assert done.returncode == 0, done.stderr
    assert listed(tmp_path / "far.json") == {part.digest for part in (old.manifest, *old.blobs)}
    assert "3 digests" in done.stderr
    registry = FakeRegistry("hub")
    with ServerThread(registry):
        registry.add(new)
        machine = machine_in(tmp_path / "near", registry.url)
        words = ("--platform", "linux/amd64", "--missing-from", str(tmp_path / "far.json"), "alpine:3")
        made = machine.bundle("create", "-o", str(tmp_path / "new.tar"), *words)
        assert made.returncode == 0, made.stderr
    assert (tmp_path / "new.tar").stat().st_size < 100_000
    done = far.bundle("load", "--to", "store", str(tmp_path / "new.tar"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ALPINE}@{new.digest}\n"


def test_an_image_that_did_not_change_is_loaded_again_from_what_is_left(tmp_path: Path) -> None:
    made = image("library/alpine", "3")
    far = machine_in(tmp_path / "far")
    (tmp_path / "old.tar").write_bytes(layout_tar({ALPINE: made}))
    assert far.bundle("load", "--to", "store", str(tmp_path / "old.tar")).returncode == 0
    assert far.bundle("inventory", "--of", "store", "-o", str(tmp_path / "far.json")).returncode == 0
    registry = FakeRegistry("hub")
    with ServerThread(registry):
        registry.add(made)
        machine = machine_in(tmp_path / "near", registry.url)
        words = ("--platform", "linux/amd64", "--missing-from", str(tmp_path / "far.json"), "alpine:3")
        assert machine.bundle("create", "-o", str(tmp_path / "new.tar"), *words).returncode == 0
    done = far.bundle("load", "--to", "store", str(tmp_path / "new.tar"))
    assert done.returncode == 0, done.stderr


def test_a_repository_of_a_registry_is_listed_without_its_configs(tmp_path: Path) -> None:
    made = index("team/app", "1")
    registry = FakeRegistry("lan")
    with ServerThread(registry):
        registry.add(made)
        machine = machine_in(tmp_path / "far")
        place = f"registry:{registry.url.removeprefix('http://')}/team/app"
        done = machine.bundle("inventory", "--of", place, "-o", "-")
    assert done.returncode == 0, done.stderr
    found = {str(digest) for digest in parse_inventory(done.stdout.encode()).digests}
    layers = {layer.digest for child in made.images for layer in child.layers}
    assert found == {manifest.digest for manifest in made.manifests} | layers
    assert json.loads(done.stdout)["of"] == place.replace("registry:", "registry ")


def test_what_there_is_none_of_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    machine = machine_in(tmp_path / "far")
    for place, code in (
        ("store", 6),
        ("podman", 7),
        ("docker", 7),
        ("oci:x", 2),
        ("registry:127.0.0.1:1/a", 7),
    ):
        done = machine.bundle("inventory", "--of", place, "-o", "far.json")
        assert done.returncode == code, (place, done.stderr)
        assert "hint: " in done.stderr
    assert not list((tmp_path / "far").glob("*.json"))
    assert not (tmp_path / "far" / "store").exists()


def test_the_table_of_ctr_is_read_without_the_configs(tmp_path: Path) -> None:
    manifest, config, layer = (f"sha256:{letter * 64}" for letter in "abc")
    more = f"containerd.io/gc.ref.content.l.0={layer}"
    table = f"""DIGEST SIZE AGE LABELS
{manifest}\t528B\t3 days\tcontainerd.io/gc.ref.content.config={config},{more}
{config}\t1.46KiB\t3 days\tcontainerd.io/gc.ref.snapshot.overlayfs=sha256:0
{layer}\t3.401MiB\t3 days\t-
not a digest
"""
    found = dict(listed_by_ctr(table))
    assert found == {Digest.parse(manifest): 528, Digest.parse(layer): round(3.401 * 1024**2)}
