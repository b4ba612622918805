"""Bundles that were damaged on the way: what is found, named, repaired and refused."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tarfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from bundling import Bundles
from rig import mirror_of
from sampan.bundle.contents import Contents
from sampan.bundle.head import read_head
from sampan.bundle.layout import SIGNATURE_NAME, blob_name, head_bytes, members
from sampan.bundle.reading import Stop
from sampan.bundle.recovered import Recovered, is_recoverable
from sampan.bundle.repair import needs_repair, repair
from sampan.bundle.rows import ROW_BYTES, lines_of, rows_offset, sums_offset
from sampan.bundle.verify import Verification, verify
from sampan.bundle.volume_set import read_set
from sampan.errors import BundleDamaged, BundleIncomplete, InvalidBundle, UsageError
from sampan.oci import Digest
from sampan.testing import FakeRegistry, image, random_layer

KIB, MIB = 1024, 1024 * 1024
LIMIT = 2 * MIB
IMAGES = [
    image("library/alpine", "3", layers=[random_layer(1, MIB), random_layer(2, 700 * KIB)]),
    image("library/nginx", "1", layers=[random_layer(1, MIB), random_layer(3, 5 * MIB)]),  # one is split
    image("library/redis", "7", layers=[random_layer(4, 900 * KIB)]),
]
NAMES = ("alpine:3", "nginx:1", "redis:7")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, a directory, and volumes with one and with two recovery volumes."""

    async def make(path: Path) -> None:
        async with FakeRegistry("good") as registry:
            for one in IMAGES:
                registry.add(one)
            async with mirror_of(path / "store", [registry]) as rig:
                bundles = Bundles(rig)
                await bundles(path / "one.tar", *NAMES)
                await bundles(f"{path}/layout/", *NAMES)
                await bundles(path / "vol.tar", *NAMES, volume_bytes=LIMIT, parity=1)
                await bundles(path / "two.tar", *NAMES, volume_bytes=LIMIT, parity=2)

    path = tmp_path_factory.mktemp("made")
    asyncio.run(make(path))
    return path


@pytest.fixture
def files(made: Path, tmp_path: Path) -> Callable[[str], list[Path]]:
    """A copy of the bundle of that name, to be damaged."""

    def copied(name: str) -> list[Path]:
        for path in sorted(made.glob(f"{name}*")):
            shutil.copytree(path, tmp_path / path.name) if path.is_dir() else shutil.copy(path, tmp_path)
        return sorted(tmp_path.glob(f"{name}*"))

    return copied


Files = Callable[[str], list[Path]]


def looked_at(paths: Sequence[Path]) -> Verification:
    return verify(read_set(paths), told=lambda _: None, stop=threading.Event())


def mended(found: Verification, path: Path) -> list[Path]:
    return repair(found, path, told=lambda _: None, stop=threading.Event())


def flip(path: Path, *places: int) -> None:
    with path.open("r+b") as file:
        for place in places:
            byte = os.pread(file.fileno(), 1, place)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 0x10]), place)


def named(found: Verification) -> set[tuple[str, str]]:
    return {(damage.file.name, damage.member) for damage in found.damages}


def contents_of(path: Path) -> Contents:
    return read_head(path).contents


# -- what is right -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "layout", "vol", "two"])
def test_what_is_right_is_found_right_and_every_byte_was_read(files: Files, name: str) -> None:
    paths, read, lock = files(name), 0, threading.Lock()

    def told(count: int) -> None:
        nonlocal read
        with lock:
            read += count

    found = verify(read_set(paths), told=told, stop=threading.Event())
    found.check()
    assert (found.damages, found.spoilt) == ((), ())
    if name != "layout":
        heads = sum(head_bytes(len(read_head(path).raw)) for path in paths)
        again = sum(32 * lines_of(contents_of(path)) for path in paths if "recovery" in path.name)
        assert read + heads - again == sum(path.stat().st_size for path in paths)


def test_each_volume_is_right_by_itself_and_says_what_is_missing(files: Files) -> None:
    paths = files("vol")
    for path in paths[:-1]:
        found = looked_at([path])
        found.check()
        assert len(found.volumes.missing) == len(paths) - 2
        assert not is_recoverable(found.volumes)
    assert is_recoverable(read_set(paths[1:]))


def test_nobody_waits_for_the_rest_once_it_is_stopped(files: Files) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stop):
        verify(read_set(files("one")), told=lambda _: None, stop=stop)


# -- what is damaged ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_is_found_and_the_right_member_is_named(files: Files, seed: int) -> None:
    (path,) = files("one")
    head, size = head_bytes(len(read_head(path).raw)), path.stat().st_size
    place = random.Random(seed).randrange(head, size)
    contents, length = contents_of(path), len(read_head(path).raw)
    flip(path, place)
    found = looked_at([path])
    (damage,) = found.damages
    inside = [m for m in members(contents, 1, length) if m.offset <= place < m.offset + m.size]
    if inside:
        assert damage.member == inside[0].name
        assert (damage.digest is not None) == damage.member.startswith("blobs/")
        assert [one.reference for one in found.spoilt] == [
            one.reference for one in contents.images if inside[0].digest in one.needs
        ]
    with pytest.raises(BundleDamaged, match=r"damaged: .*one\.tar"):
        found.check()


@pytest.mark.parametrize("where", ["header", "padding", "end", "behind the end"])
def test_what_stands_between_members_is_looked_at_as_well(files: Files, where: str) -> None:
    """There is no place to hide anything, nor to name a member otherwise."""
    (path,) = files("one")
    head = read_head(path)
    member = next(m for m in members(head.contents, 1, len(head.raw)) if m.size % 512)
    if where == "behind the end":
        with path.open("ab") as file:
            file.write(bytes(512))
    else:
        places = {"header": member.start + 3, "padding": member.stop - 1, "end": path.stat().st_size - 1}
        flip(path, places[where])
    expected = f"what stands round {member.name}" if where in ("header", "padding") else "its end"
    assert named(looked_at([path])) == {("one.tar", expected)}


@pytest.mark.parametrize("count", [1, 600, 100_000])
def test_a_file_that_was_cut_is_found(files: Files, count: int) -> None:
    (path,) = files("one")
    os.truncate(path, path.stat().st_size - count)
    assert ("one.tar", "its end") in named(looked_at([path]))


def test_in_a_directory_each_file_is_looked_at(files: Files) -> None:
    (path,) = files("layout")
    contents = contents_of(path)
    flipped, absent, longer = contents.blobs[2], contents.blobs[3], contents.blobs[1]
    flip(path / blob_name(flipped.digest), 5)
    (path / blob_name(absent.digest)).unlink()
    with (path / blob_name(longer.digest)).open("ab") as file:
        file.write(b"more")
    (path / "index.json").write_text("{}")
    names = {blob_name(blob.digest) for blob in (flipped, absent, longer)}
    assert named(looked_at([path])) == {("layout", name) for name in (*names, "index.json")}


def test_a_link_in_a_directory_is_no_blob(files: Files, tmp_path: Path) -> None:
    (path,) = files("layout")
    blob = path / blob_name(contents_of(path).blobs[2].digest)
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    assert named(looked_at([path])) == {("layout", f"blobs/sha256/{blob.name}")}


def test_a_split_blob_that_is_not_what_its_parts_are_is_found(files: Files, made: Path) -> None:
    """Its parts are as the list says, and the whole is not: whoever made the list lied."""
    paths = files("vol")
    contents = contents_of(paths[0])
    (split,) = [blob for blob in contents.blobs if blob.parts]
    volumes = read_set(paths)
    other = Digest.of(b"something else")
    lying = changed(
        contents, blobs=tuple(changed(b, digest=other) if b is split else b for b in contents.blobs)
    )
    found = verify(
        replace(volumes, head=replace(volumes.head, contents=lying)),
        told=lambda _: None,
        stop=threading.Event(),
    )
    assert blob_name(other) in {damage.member for damage in found.damages}


def test_a_signature_that_differs_from_its_sisters_is_damage(files: Files) -> None:
    paths = files("vol")
    place = head_bytes(len(read_head(paths[1]).raw)) - 1000
    flip(paths[1], place)
    assert named(looked_at(paths)) == {(paths[1].name, SIGNATURE_NAME)}


def test_a_volume_may_be_named_by_a_link(files: Files, tmp_path: Path) -> None:
    (path,) = files("one")
    (tmp_path / "latest.tar").symlink_to(path)
    looked_at([tmp_path / "latest.tar"]).check()


def test_a_volume_that_is_gone_meanwhile_is_an_error_with_its_name(files: Files) -> None:
    (path,) = files("one")
    volumes = read_set([path])
    path.unlink()
    with pytest.raises(BundleDamaged, match=r"cannot read .*one\.tar: No such file"):
        verify(volumes, told=lambda _: None, stop=threading.Event())


def test_files_of_two_bundles_are_told_apart(files: Files) -> None:
    with pytest.raises(InvalidBundle, match="are of two bundles"):
        read_set([*files("one"), *files("vol")])


def test_one_volume_twice_is_told(files: Files, tmp_path: Path) -> None:
    paths = files("vol")
    shutil.copy(paths[0], tmp_path / "again.tar")
    with pytest.raises(InvalidBundle, match="are the same volume"):
        read_set([*paths, tmp_path / "again.tar"])


def test_a_volume_whose_head_is_damaged_keeps_the_others_from_nothing(files: Files) -> None:
    paths = files("vol")
    flip(paths[0], 700)
    found = looked_at(paths)
    assert list(found.volumes.unreadable) == [paths[0]]
    assert found.volumes.missing == (1,)
    with pytest.raises(BundleDamaged, match="its head"):
        found.check()


@pytest.mark.parametrize("where", ["row", "sum", "last sum", "head", "end"])
def test_damage_of_a_recovery_volume_is_found(files: Files, where: str) -> None:
    path = files("vol")[-1]
    head = read_head(path)
    rows, sums = rows_offset(head.contents, len(head.raw)), sums_offset(head.contents, len(head.raw))
    size = path.stat().st_size
    last = sums + 32 * (size - sums) // 32
    places = {"row": rows + ROW_BYTES + 5, "sum": sums + 33, "head": rows - 10, "end": size - 1}
    flip(path, places.get(where, last - 1024 - 512 - 5) if where != "last sum" else sums_end(path) - 1)
    assert looked_at([path]).damages


def sums_end(path: Path) -> int:
    with tarfile.open(path) as tar:
        member = tar.getmember("sampan-recovery.sums")
    return member.offset_data + member.size


# -- what is repaired --------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(5))
def test_any_lost_volume_comes_back_to_the_byte(files: Files, made: Path, tmp_path: Path, lost: int) -> None:
    paths = files("vol")
    assert len(paths) == 6
    paths[lost].unlink()
    found = looked_at([path for path in paths if path.exists()])
    assert needs_repair(found) == (lost + 1,)
    assert mended(found, tmp_path) == [paths[lost]]
    assert paths[lost].read_bytes() == (made / paths[lost].name).read_bytes()


def test_two_lost_volumes_come_back_with_two_recovery_volumes(
    files: Files, made: Path, tmp_path: Path
) -> None:
    paths = files("two")
    for path in (paths[0], paths[3]):
        path.unlink()
    mended(looked_at([path for path in paths if path.exists()]), tmp_path)
    for path in paths:
        assert path.read_bytes() == (made / path.name).read_bytes()


def test_a_lost_volume_comes_back_without_one_of_two_recovery_volumes(
    files: Files, made: Path, tmp_path: Path
) -> None:
    for spare in (0, 1):
        paths = files("two")
        data = [path for path in paths if "recovery" not in path.name]
        recovery = [path for path in paths if "recovery" in path.name]
        data[1].unlink()
        mended(looked_at([*(path for path in data if path.exists()), recovery[spare]]), tmp_path)
        assert data[1].read_bytes() == (made / data[1].name).read_bytes()


def test_bad_spots_of_every_volume_are_mended_as_long_as_no_two_are_in_one_line(
    files: Files, made: Path, tmp_path: Path
) -> None:
    paths = files("vol")
    data = paths[:-1]
    for line, path in zip((4, 1, 2, 3, 0), data, strict=True):
        flip(path, line * ROW_BYTES + 150_000)
    found = looked_at(paths)
    assert len(needs_repair(found)) == len(data)
    assert sorted(mended(found, tmp_path)) == data
    for path in data:
        assert path.read_bytes() == (made / path.name).read_bytes()
    looked_at(paths).check()


def test_two_bad_spots_in_one_line_are_refused_and_the_files_are_as_they_were(
    files: Files, tmp_path: Path
) -> None:
    paths = files("vol")
    for path in paths[:2]:
        flip(path, ROW_BYTES + 5)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(BundleDamaged, match="row 1 of 2 volumes is lost or damaged, and 1 recovery"):
        mended(looked_at(paths), tmp_path)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == paths


def test_a_volume_with_a_damaged_head_is_made_anew_in_its_place(
    files: Files, made: Path, tmp_path: Path
) -> None:
    paths = files("vol")
    flip(paths[2], 700)
    mended(looked_at(paths), tmp_path)
    assert paths[2].read_bytes() == (made / paths[2].name).read_bytes()


def test_a_damaged_recovery_volume_is_not_believed(files: Files, tmp_path: Path) -> None:
    paths = files("vol")
    flip(paths[-1], rows_offset(contents_of(paths[0]), len(read_head(paths[0]).raw)) + 5)
    paths[0].unlink()
    with pytest.raises(BundleDamaged, match="row 0 of 1 volumes is lost or damaged, and 0 recovery"):
        mended(looked_at(paths[1:]), tmp_path)


def test_without_a_recovery_volume_it_is_said_that_one_is_needed(files: Files, tmp_path: Path) -> None:
    paths = files("vol")
    with pytest.raises(BundleIncomplete, match="volumes 1 need one"):
        mended(looked_at(paths[1:-1]), tmp_path)


def test_a_directory_cannot_be_repaired(files: Files, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recovery volumes"):
        mended(looked_at(files("layout")), tmp_path)


def test_what_is_right_needs_no_repair(files: Files, tmp_path: Path) -> None:
    assert mended(looked_at(files("vol")), tmp_path) == []


def test_names_that_say_nothing_get_one_that_does(files: Files, made: Path, tmp_path: Path) -> None:
    paths = [path.rename(tmp_path / f"disc{number}") for number, path in enumerate(files("vol"))]
    assert mended(looked_at(paths[1:]), tmp_path) == [tmp_path / "volume.1-of-5.tar"]


def test_a_lost_volume_is_read_without_being_made_anew(files: Files, made: Path) -> None:
    """As a loader does it: piece by piece, in any order, with no copy on the disk."""
    paths = files("vol")
    right = (made / paths[1].name).read_bytes()
    with closing(Recovered(read_set([paths[0], *paths[2:]]))) as recovered:
        for start, stop in ((0, 10), (ROW_BYTES - 5, ROW_BYTES + 5), (3 * ROW_BYTES, len(right)), (7, 9)):
            assert recovered.read(2, start, stop) == right[start:stop]
        assert recovered.read(2, len(right) - 3, len(right) + 100) == right[-3:]
        assert recovered.read(1, 0, 100) == paths[0].read_bytes()[:100]
