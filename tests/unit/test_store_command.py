"""``sampan store`` as people and scripts meet it, on a store of its own."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from disks import blob_path, image, index, put_image, wrong_blobs
from ordinary import as_nobody, open_directory
from sampan.cli import main
from sampan.oci import Digest, Manifest
from sampan.store import DiskStore, TagStore

Captured = pytest.CaptureFixture[str]
BASE = b"the layer that both share" * 10_000
LAYERS = {"1": b"a" * 300_000, "2": b"b" * 400_000}
APP = "r.example/app"
NAME = ("r.example", "app")


class Ground:
    """A store with two images that share a layer, the first used last, and a lone blob."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with_tags = DiskStore(path), TagStore(path / "tags")
        self.store, self.tags = with_tags
        self.images: dict[str, Manifest] = {}
        for number, (tag, layer) in enumerate(LAYERS.items()):
            made = put_image(self.store, BASE, layer, config=b'{"n":%d}' % number)
            self.tags.put(*NAME, tag, made.descriptor, host="one.example", now=time.time())
            self.images[tag] = made
        self.store.put(Digest.of(b"lone"), b"lone")
        self.age("2", days=3)
        self.age("1", days=1)
        os.utime(blob_path(path, Digest.of(b"lone")), (time.time() - 5 * 86400,) * 2)

    def age(self, tag: str, *, days: int) -> None:
        for digest in (self.images[tag].digest, *(d.digest for d in self.images[tag].references)):
            os.utime(blob_path(self.path, digest), (time.time() - days * 86400,) * 2)

    def has(self, *data: bytes) -> list[bool]:
        return [blob_path(self.path, Digest.of(each)).exists() for each in data]

    def tag_names(self) -> list[str]:
        return self.tags.list(*NAME)

    def close(self) -> None:
        self.store.close()
        self.tags.close()


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SAMPAN_LANG", "en")
    monkeypatch.chdir(tmp_path)
    ground = Ground(tmp_path / "store")
    yield ground
    ground.close()


def run(ground: Ground, *words: str) -> int:
    return main(["store", *words, "--store", str(ground.path)])


def document(ground: Ground, capsys: Captured, *words: str, code: int = 0) -> Any:
    assert run(ground, *words, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_every_command_shows_an_example_first(capsys: Captured) -> None:
    for words in ([], ["list"], ["pin"], ["unpin"], ["remove"], ["sweep"], ["scrub"]):
        assert main(["store", *words, "--help"]) == 0
        assert capsys.readouterr().out.startswith("Example:\n  sampan store")


# -- list --------------------------------------------------------------------------------------------


def test_list_shows_each_image_with_its_size_its_own_part_and_who_gave_the_tag(
    ground: Ground, capsys: Captured
) -> None:
    assert run(ground, "list") == 0
    shown = capsys.readouterr()
    heads, first, second = shown.out.splitlines()
    assert heads.split() == ["IMAGE", "DIGEST", "SIZE", "OWN", "LAST", "USED", "SAID", "BY", "NOTES"]
    assert first.startswith("r.example/app:1  sha256:")
    assert [text in first for text in ("537.", "293.", "one.example", "UTC")] == [True] * 4
    assert second.startswith("r.example/app:2  sha256:")
    assert "8 blobs" in shown.err
    assert "1 of them of no image (4 B)" in shown.err


def test_list_as_json_has_all_of_it_and_each_byte_once(ground: Ground, capsys: Captured) -> None:
    ground.store.pin(ground.images["1"].digest)
    found = document(ground, capsys, "list", "--blobs")
    assert [each["tags"][0]["name"] for each in found["images"]] == [f"{APP}:1", f"{APP}:2"]
    first = found["images"][0]
    assert first["size"] == len(BASE) + len(LAYERS["1"]) + 7 + ground.images["1"].size
    assert first["size"] - first["own_bytes"] == len(BASE)
    assert (first["pinned"], first["missing"], found["images"][1]["pinned"]) == (True, 0, False)
    assert first["tags"][0]["host"] == "one.example"
    blobs = {each["digest"]: each for each in found["blobs"]}
    shared = blobs[str(Digest.of(BASE))]
    assert (shared["role"], len(shared["images"]), shared["pinned"]) == ("layer", 2, True)
    assert (blobs[str(Digest.of(b"lone"))]["role"], blobs[str(Digest.of(b"lone"))]["images"]) == ("blob", [])
    on_disk = sum(path.stat().st_size for path in (ground.path / "blobs").rglob("*") if path.is_file())
    assert sum(each["size"] for each in found["blobs"]) == found["blob_bytes"] == on_disk


def test_list_tells_what_is_missing_of_an_image_and_which_platforms_are_whole(
    ground: Ground, capsys: Captured
) -> None:
    child = image(b"never fetched", config=b"7")
    ground.store.put_manifest(child)
    ground.store.put_manifest(index(child, ground.images["1"]))
    found = document(ground, capsys, "list")
    (listed,) = [each for each in found["images"] if not each["tags"]]
    assert (listed["missing"], listed["missing_bytes"]) == (2, len(b"never fetched") + 1)
    assert run(ground, "list") == 0
    assert "2 blobs are missing" in capsys.readouterr().out


def test_whoever_may_only_read_may_look(ground: Ground) -> None:
    with open_directory() as path:
        shutil.copytree(ground.path, path / "store")

        def work() -> None:
            print("list:", main(["store", "list", "--store", str(path / "store")]))
            print("sweep:", main(["store", "sweep", "--store", str(path / "store")]))

        said = as_nobody(work)
    assert f"{APP}:1" in said
    assert "list: 0" in said
    assert "Permission denied" in said
    assert "sweep: 6" in said


@pytest.mark.parametrize("words", [["list"], ["sweep"], ["scrub"], ["pin", "alpine"], ["remove", "alpine"]])
def test_where_there_is_no_store_none_is_made(words: list[str], tmp_path: Path, capsys: Captured) -> None:
    assert main(["store", *words, "--store", str(tmp_path / "none")]) == 6
    assert not (tmp_path / "none").exists()
    assert "there is no store at" in (said := capsys.readouterr().err)
    assert "hint: --store DIR" in said


def test_people_are_told_in_chinese(
    ground: Ground, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    assert run(ground, "list") == 0
    assert capsys.readouterr().out.startswith("镜像")
    assert run(ground, "sweep", "--to", "1MiB", "--dry-run") == 0
    shown = capsys.readouterr()
    assert "将释放" in shown.err
    assert run(ground, "pin", "alpine") == 3
    assert "不在存储中" in capsys.readouterr().err
    assert document(ground, capsys, "sweep", "--to", "1MiB", "--dry-run")["reason"] == "fits into 1.0 MiB"


# -- pin ---------------------------------------------------------------------------------------------


def test_what_is_pinned_is_kept_by_sweeps_until_it_is_unpinned(ground: Ground, capsys: Captured) -> None:
    assert run(ground, "pin", f"{APP}:2") == 0
    assert capsys.readouterr().out == f"{APP}:2 {ground.images['2'].digest}\n"
    assert run(ground, "sweep", "--to", "0") == 6
    assert "all that is left is pinned (1)" in capsys.readouterr().err
    assert ground.has(BASE, *LAYERS.values()) == [True, False, True]
    assert run(ground, "unpin", f"{APP}:2") == 0
    assert run(ground, "unpin", f"{APP}:2") == 0
    assert f"{APP}:2 was not pinned" in capsys.readouterr().err
    assert run(ground, "sweep", "--to", "0") == 0
    assert wrong_blobs(ground.path) == []
    assert ground.has(BASE, *LAYERS.values()) == [False, False, False]


def test_a_digest_or_its_beginning_names_content_too(ground: Ground, capsys: Captured) -> None:
    digest = ground.images["1"].digest
    for name in (str(digest), str(digest)[:19], f"r.example/app@{digest}"):
        assert document(ground, capsys, "pin", name)["pinned"][0]["digest"] == str(digest)
        assert document(ground, capsys, "unpin", name)["unpinned"][0]["digest"] == str(digest)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("alpine:9", 3, "docker.io/library/alpine:9 is not in the store"),
        ("sha256:" + "0" * 64, 3, "is not in the store"),
        ("sha256:0000000000", 3, "is not in the store"),
        ("sha256:00", 2, "too short for a digest"),
        ("docker.io/Alpine", 2, "must be lowercase"),
    ],
)
def test_a_name_of_nothing_is_an_error_and_nothing_is_done(
    ground: Ground, capsys: Captured, name: str, code: int, said: str
) -> None:
    for words in ("pin", "remove"):
        assert run(ground, words, f"{APP}:1", name) == code
        assert said in capsys.readouterr().err
    assert ground.store.pinned() == frozenset()
    assert ground.tag_names() == ["1", "2"]


def test_a_tag_whose_content_is_gone_cannot_be_pinned(ground: Ground, capsys: Captured) -> None:
    blob_path(ground.path, ground.images["1"].digest).unlink()
    assert run(ground, "pin", f"{APP}:1") == 3
    assert ground.store.pinned() == frozenset()
    assert run(ground, "remove", f"{APP}:1") == 0
    assert "its content was gone" in capsys.readouterr().err
    assert ground.tag_names() == ["2"]


# -- remove ------------------------------------------------------------------------------------------


def test_remove_takes_what_only_that_image_needs(ground: Ground, capsys: Captured) -> None:
    assert run(ground, "remove", f"{APP}:1", "--dry-run") == 0
    dry = capsys.readouterr()
    assert ground.has(*LAYERS.values()) == [True, True]
    assert "nothing was removed" in dry.err
    assert run(ground, "remove", f"{APP}:1") == 0
    assert capsys.readouterr().out == dry.out
    assert "of it stay, for other images need them" in dry.out
    assert ground.has(BASE, *LAYERS.values(), ground.images["1"].raw) == [True, False, True, False]
    assert ground.tag_names() == ["2"]


def test_remove_of_one_of_two_names_takes_that_name_alone(ground: Ground, capsys: Captured) -> None:
    made = ground.images["1"]
    ground.tags.put(*NAME, "latest", made.descriptor, host="h", now=time.time())
    found = document(ground, capsys, "remove", f"{APP}:1")
    assert found["removals"] == []
    assert [(each["removed"], each["unnamed"]) for each in found["outcomes"]] == [(False, True)]
    assert ground.tag_names() == ["2", "latest"]
    assert document(ground, capsys, "remove", f"{APP}:latest")["outcomes"][0]["removed"]
    assert ground.tag_names() == ["2"]


def test_remove_by_digest_takes_all_its_names(ground: Ground, capsys: Captured) -> None:
    made = ground.images["1"]
    ground.tags.put(*NAME, "latest", made.descriptor, host="h", now=time.time())
    found = document(ground, capsys, "remove", str(made.digest))
    assert found["images"][0]["tags"] == [f"{APP}:1", f"{APP}:latest"]
    assert ground.tag_names() == ["2"]


def test_what_others_need_and_what_is_pinned_stays(ground: Ground, capsys: Captured) -> None:
    ground.store.put_manifest(index(ground.images["1"]))
    before = ground.store.recount()
    for name in (str(Digest.of(BASE)), str(ground.images["1"].digest)):
        found = document(ground, capsys, "remove", name, code=6)
        assert "stays:" in found["outcomes"][0]["told"]
    assert run(ground, "pin", f"{APP}:2") == 0
    assert run(ground, "remove", f"{APP}:2") == 6
    said = capsys.readouterr().err
    assert f"{APP}:2 stays: pinned" in said
    assert "hint: sampan store unpin" in said
    assert run(ground, "remove", f"{APP}:1") == 0, "the name goes, the index needs the rest"
    assert ground.store.recount() == before
    assert ground.tag_names() == ["2"]


# -- sweep -------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_goes_why_and_how_much_that_frees(ground: Ground, capsys: Captured) -> None:
    assert run(ground, "sweep", "--to", "1MiB", "--dry-run") == 0
    nothing = capsys.readouterr()
    assert (nothing.out, "fits into 1.0 MiB" in nothing.err) == ("", True)
    found = document(ground, capsys, "sweep", "--free", "1MiB", "--dry-run", code=6)
    assert (found["removals"], found["reason"]) == ([], "1.0 MiB is more than all that could go")
    ground.store.put(Digest.of(b"z" * 200_000), b"z" * 200_000)
    dry = document(ground, capsys, "sweep", "--to", "1MiB", "--dry-run")
    assert dry["freed_bytes"] == sum(each["size"] for each in dry["removals"])
    lone, *rest = dry["removals"]
    assert lone["name"] == str(Digest.of(b"lone"))
    assert lone["why"].startswith("no image needs it, and it was last used ")
    assert {each["image"] for each in rest} == {str(ground.images["2"].digest)}
    assert all(each["why"].startswith(f"only {APP}:2 needs it, last used ") for each in rest)
    assert dry["images"][0]["shared_bytes"] == len(BASE)
    assert ground.has(*LAYERS.values()) == [True, True]
    real = document(ground, capsys, "sweep", "--to", "1MiB")
    assert {**real, "dry_run": True} == dry
    assert ground.has(BASE, *LAYERS.values(), b"lone") == [True, True, False, False]


def test_a_sweep_goes_down_to_the_limit_of_the_configuration(
    ground: Ground, capsys: Captured, tmp_path: Path
) -> None:
    config = tmp_path / "other.toml"
    config.write_text(f'[store]\npath = "{ground.path}"\nmax_size = "1MiB"\n')
    ground.store.put(Digest.of(b"z" * 400_000), b"z" * 400_000)
    assert main(["store", "sweep", "--config", str(config)]) == 0
    assert ground.store.recount() <= 1024 * 1024
    config.write_text(f'[store]\npath = "{ground.path}"\nmax_size = "unlimited"\n')
    assert main(["store", "sweep", "--config", str(config)]) == 0
    assert "there is room for the rest" in capsys.readouterr().err


def test_partials_and_quarantine_are_told_by_their_files(ground: Ground, capsys: Captured) -> None:
    (ground.path / "ingest" / "probe.0123456789abcdef").write_bytes(b"?")
    (ground.path / "quarantine" / "sha256-x").write_bytes(b"bad")
    assert run(ground, "list") == 0
    assert "1 unfinished (1 B), 1 in quarantine (3 B)" in capsys.readouterr().err
    assert run(ground, "sweep", "--to", "0", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "partial" in lines[0]
    assert "left by a process that was killed" in lines[0]
    assert "quarantined" in lines[1]
    assert run(ground, "sweep") == 0
    assert [path.name for path in (ground.path / "quarantine").iterdir()] == ["sha256-x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "--to", "much"], '--to: expected a size, got "much"'),
        (["sweep", "--to", "unlimited"], "--to: expected a size"),
        (["sweep", "--to", "1MiB", "--free", "1MiB"], "contradict each other"),
        (["scrub", "--rate", "fast"], '--rate: expected a size, got "fast"'),
        (["pin"], "Missing argument"),
    ],
)
def test_what_makes_no_sense_is_refused(
    ground: Ground, capsys: Captured, words: list[str], said: str
) -> None:
    assert run(ground, *words) == 2
    assert said in capsys.readouterr().err


# -- scrub -------------------------------------------------------------------------------------------


def test_a_scrub_sets_aside_what_is_damaged_and_says_whose_it_was(ground: Ground, capsys: Captured) -> None:
    assert run(ground, "scrub") == 0
    assert "8 blobs" in (said := capsys.readouterr().err)
    assert "all are right" in said
    bad = Digest.of(LAYERS["2"])
    blob_path(ground.path, bad).write_bytes(b"B" * len(LAYERS["2"]))
    assert run(ground, "scrub", f"{APP}:1") == 0
    assert "4 blobs" in capsys.readouterr().err
    assert run(ground, "scrub", f"{APP}:2", "--rate", "unlimited") == 4
    shown = capsys.readouterr()
    assert shown.out == f"{bad} was damaged, and is set aside: it belongs to {APP}:2\n"
    assert "the next request for it fetches it anew" in shown.err
    assert len(list((ground.path / "quarantine").iterdir())) == 1
    assert run(ground, "scrub") == 0
    assert wrong_blobs(ground.path) == []


def test_a_damaged_manifest_is_found_by_a_scrub_of_its_image(ground: Ground, capsys: Captured) -> None:
    digest = ground.images["2"].digest
    blob_path(ground.path, digest).write_bytes(b"{}")
    found = document(ground, capsys, "scrub", f"{APP}:2", code=4)
    assert found["damaged"] == [{"digest": str(digest), "images": [f"{APP}:2"]}]
    assert run(ground, "scrub") == 0
