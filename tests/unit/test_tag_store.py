"""What tags mean: kept, confirmed, changed; and files that are torn, foreign or planted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from disks import mounted
from sampan.errors import StoreError, StoreFull
from sampan.oci import Descriptor, Digest
from sampan.oci.manifest import OCI_MANIFEST
from sampan.store import TagRecord, TagStore
from sampan.store.tags import EARLIER_MAX, LOOK_AGAIN_SECONDS
from sampan.testing import ManualClock

ONE = Descriptor(OCI_MANIFEST, Digest.of(b"one"), 3)
TWO = Descriptor(OCI_MANIFEST, Digest.of(b"two"), 3)
THREE = Descriptor(OCI_MANIFEST, Digest.of(b"three"), 5)
ALPINE = ("docker.io", "library/alpine", "3")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tags(tmp_path: Path, clock: ManualClock) -> Iterator[TagStore]:
    tags = TagStore(tmp_path / "tags", clock)
    yield tags
    tags.close()


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "tags").rglob("*") if not path.is_dir()]


def reopened(tmp_path: Path) -> TagStore:
    return TagStore(tmp_path / "tags", ManualClock())


def test_a_tag_that_nobody_put_is_none(tags: TagStore) -> None:
    assert tags.get(*ALPINE) is None
    assert tags.touch(*ALPINE, host="a", now=1.0) is None
    assert not tags.forget(*ALPINE)
    assert tags.list("docker.io", "library/alpine") == []


def test_a_record_says_who_and_when(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="mirror.example", now=100.0)
    wanted = TagRecord(*ALPINE, ONE, "mirror.example", 100.0, 100.0, None)
    assert tags.get(*ALPINE) == wanted
    again = reopened(tmp_path)
    assert again.get(*ALPINE) == wanted
    again.close()


def test_a_tag_that_moves_keeps_its_previous_digest(tags: TagStore) -> None:
    tags.put(*ALPINE, ONE, host="a", now=100.0)
    tags.put(*ALPINE, ONE, host="b", now=200.0)
    moved = tags.put(*ALPINE, TWO, host="c", now=300.0)
    assert moved == TagRecord(*ALPINE, TWO, "c", 300.0, 300.0, ONE.digest)
    confirmed = tags.put(*ALPINE, TWO, host="a", now=400.0)
    assert confirmed == TagRecord(*ALPINE, TWO, "a", 400.0, 300.0, ONE.digest)


def test_a_tag_that_goes_back_is_known_to_have_been_there(tags: TagStore, tmp_path: Path) -> None:
    for now, descriptor in enumerate((ONE, TWO, THREE)):
        assert not tags.put(*ALPINE, descriptor, host="a", now=float(now)).came_back
    again = reopened(tmp_path)
    back = again.put(*ALPINE, ONE, host="b", now=3.0)
    assert (back.came_back, back.previous, back.earlier) == (True, THREE.digest, (TWO.digest, ONE.digest))
    assert again.put(*ALPINE, ONE, host="c", now=4.0).came_back
    again.close()


def test_of_a_tag_that_moves_all_the_time_some_digests_are_kept(tags: TagStore, tmp_path: Path) -> None:
    digests = [Digest.of(b"%d" % number, "sha512") for number in range(40)]
    moves = [
        tags.put(*ALPINE, replace(ONE, digest=d), host="a", now=float(at)) for at, d in enumerate(digests)
    ]
    record = moves[-1]
    assert len(record.earlier) == EARLIER_MAX
    again = reopened(tmp_path)
    assert again.get(*ALPINE) == record
    again.close()


def test_touching_confirms_without_changing(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=100.0)
    touched = tags.touch(*ALPINE, host="b", now=200.0)
    assert touched == TagRecord(*ALPINE, ONE, "b", 200.0, 100.0, None)
    again = reopened(tmp_path)
    assert again.get(*ALPINE) == touched
    again.close()


def test_a_stamp_from_the_future_is_kept_as_it_is(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=9e12)
    again = reopened(tmp_path)
    record = again.get(*ALPINE)
    assert record is not None
    assert record.checked_at == 9e12
    again.close()


def test_tags_are_listed_by_repository_and_all_together(tags: TagStore) -> None:
    tags.put("docker.io", "a", "2", ONE, host="h", now=1.0)
    tags.put("docker.io", "a", "1", ONE, host="h", now=1.0)
    tags.put("docker.io", "a/b", "3", ONE, host="h", now=1.0)
    assert tags.list("docker.io", "a") == ["1", "2"]
    assert sorted((r.repository, r.tag) for r in tags.records()) == [("a", "1"), ("a", "2"), ("a/b", "3")]


def test_a_forgotten_tag_is_gone(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    assert not tags.forget(*ALPINE, digest=TWO.digest)
    assert tags.forget(*ALPINE, digest=ONE.digest)
    assert tags.get(*ALPINE) is None
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("registry", "repository", "tag"),
    [
        ("localhost:5000", "a", "Latest"),
        ("[::1]:5000", "a/b/c", "v1.0_x-y"),
        ("r.example", "x" * 255, "t" * 128),
        ("r.example", "/".join("a" * 128), "1"),
        ("..", "..", ".."),
        ("../../etc", "../passwd", "../../x"),
        ("a%2Fb", "a+b", "%2E"),
        ("", "", "x"),
    ],
)
def test_no_name_leads_out_of_the_directory(
    tags: TagStore, tmp_path: Path, registry: str, repository: str, tag: str
) -> None:
    tags.put(registry, repository, tag, ONE, host="a", now=1.0)
    again = reopened(tmp_path)
    record = again.get(registry, repository, tag)
    assert record is not None
    assert (record.registry, record.repository, record.tag) == (registry, repository, tag)
    [file] = files(tmp_path)
    assert len(file.relative_to(tmp_path / "tags").parts) == 2
    assert all(len(part) <= 255 for part in file.parts)
    assert [path.name for path in tmp_path.iterdir()] == ["tags"]
    again.close()


def test_no_two_names_share_a_file(tags: TagStore, tmp_path: Path) -> None:
    names = [
        (registry, repository, "1")
        for registry in ("a", "a+b", "a/b", "a%2Fb", "A")
        for repository in ("b/c", "c", "b+c", "b%2Fc", "x" * 255, "x" * 254 + "y")
    ]
    for name in names:
        tags.put(*name, ONE, host="a", now=1.0)
    assert len(files(tmp_path)) == len(names)


GOOD: dict[str, object] = {
    "registry": "docker.io",
    "repository": "library/alpine",
    "tag": "3",
    "mediaType": OCI_MANIFEST,
    "digest": str(ONE.digest),
    "size": 3,
    "host": "a",
    "checkedAt": 1.0,
    "changedAt": 1.0,
    "previous": None,
}


def garbage() -> list[bytes]:
    wrong: list[dict[str, object]] = [
        {"digest": "sha256:abc"},
        {"digest": None},
        {"size": -1},
        {"size": True},
        {"size": "3"},
        {"host": 1},
        {"checkedAt": "now"},
        {"checkedAt": True},
        {"checkedAt": float("nan")},
        {"checkedAt": 10**400},
        {"previous": []},
        {"previous": "x"},
        {"earlier": "x"},
        {"earlier": [[]]},
        {"earlier": [None]},
        {"tag": "4"},
    ]
    missing = [{key: value for key, value in GOOD.items() if key != left_out} for left_out in GOOD]
    torn = json.dumps(GOOD).encode()[:-5]
    odd = [b"", b"{", b"null", b"[]", b"3", b"\xff", b"[" * 9000, b" " * 20_000, bytes(100), torn]
    return (
        odd
        + [json.dumps({**GOOD, **each}).encode() for each in wrong]
        + [json.dumps(m).encode() for m in missing]
    )


@pytest.mark.parametrize("data", garbage(), ids=range(len(garbage())))
def test_a_torn_or_foreign_record_is_none_and_logged(
    tags: TagStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    [file] = files(tmp_path)
    file.write_bytes(data)
    again = reopened(tmp_path)
    assert again.get(*ALPINE) is None
    assert "ignored a tag's record" in caplog.text
    assert [record.exc_info for record in caplog.records] == [None]
    list(again.records())
    again.put(*ALPINE, TWO, host="b", now=2.0)
    again.close()
    third = reopened(tmp_path)
    found = third.get(*ALPINE)
    assert found is not None
    assert found.descriptor == TWO
    third.close()


def test_a_link_in_place_of_a_record_is_refused_and_replaced(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    [file] = files(tmp_path)
    outside = tmp_path / "outside"
    file.rename(outside)
    content = outside.read_bytes()
    file.symlink_to(outside)
    again = reopened(tmp_path)
    assert again.get(*ALPINE) is None
    again.put(*ALPINE, TWO, host="a", now=2.0)
    assert not file.is_symlink()
    assert outside.read_bytes() == content
    again.close()


def test_a_link_in_place_of_a_repository_is_refused(tags: TagStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tags" / "docker.io+library+alpine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        tags.put(*ALPINE, ONE, host="a", now=1.0)
    assert list(tags.records()) == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_hit_costs_no_look_at_the_disk(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    [file] = files(tmp_path)
    file.unlink()
    assert tags.get(*ALPINE) is not None


def test_what_another_process_wrote_is_seen_within_seconds(
    tags: TagStore, tmp_path: Path, clock: ManualClock
) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    other = reopened(tmp_path)
    other.put(*ALPINE, TWO, host="b", now=2.0)
    clock.advance(LOOK_AGAIN_SECONDS)
    seen = tags.get(*ALPINE)
    assert seen is not None
    assert (seen.descriptor, seen.previous) == (TWO, ONE.digest)
    clock.advance(LOOK_AGAIN_SECONDS)
    assert tags.get(*ALPINE) is seen
    other.forget(*ALPINE)
    clock.advance(LOOK_AGAIN_SECONDS)
    assert tags.get(*ALPINE) is None
    other.close()


def test_only_what_was_looked_at_lately_is_recalled(tags: TagStore, clock: ManualClock) -> None:
    assert tags.recall(*ALPINE) is None
    record = tags.put(*ALPINE, ONE, host="a", now=1.0)
    assert tags.recall(*ALPINE) == record
    clock.advance(LOOK_AGAIN_SECONDS)
    assert tags.recall(*ALPINE) is None
    assert tags.get(*ALPINE) == record
    assert tags.recall(*ALPINE) == record


def test_memory_is_bounded(tmp_path: Path) -> None:
    tags = TagStore(tmp_path / "tags", ManualClock(), remembered_max=2)
    for number in range(5):
        tags.put("r", "a", str(number), ONE, host="a", now=1.0)
    assert [name[2] for name in tags._remembered] == ["3", "4"]
    assert tags.get("r", "a", "0") is not None
    tags.close()


def test_what_a_killed_writer_left_is_no_tag_and_is_dropped(tags: TagStore, tmp_path: Path) -> None:
    tags.put(*ALPINE, ONE, host="a", now=1.0)
    [file] = files(tmp_path)
    left = file.with_name(".3.json.0123456789abcdef")
    left.write_bytes(b"{")
    os.utime(left, (1.0, 1.0))
    assert tags.list("docker.io", "library/alpine") == ["3"]
    tags.drop_leftovers(0.5)
    assert left.exists()
    tags.drop_leftovers(2.0)
    assert files(tmp_path) == [file]


def test_a_full_disk_keeps_the_old_record(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        tags = TagStore(disk / "tags", ManualClock())
        tags.put(*ALPINE, ONE, host="a", now=1.0)
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(128 * 1024))
        with pytest.raises(StoreFull):
            tags.put(*ALPINE, TWO, host="a", now=2.0)
        tags.close()
        again = TagStore(disk / "tags", ManualClock())
        record = again.get(*ALPINE)
        assert record is not None
        assert record.descriptor == ONE
        assert len(list((disk / "tags").rglob(".*"))) == 0
        again.close()
