"""What lies where in a volume: a function of the list, the same on every machine and for ever."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from bundles import BODIES, CONFIG, LAYER, LIST_BYTES, MANIFEST, contents_of, volume_bytes
from sampan.bundle.contents import Blob, Place, parse_contents
from sampan.bundle.head import read_head
from sampan.bundle.layout import (
    CONTENTS_NAME,
    SIGNATURE_NAME,
    VOLUME_NAME,
    blob_name,
    head_bytes,
    header_of,
    members,
)
from sampan.bundle.packing import padded
from sampan.errors import InvalidBundle
from sampan.oci import Digest

GIB = 1024**3


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "images.tar"
    path.write_bytes(volume_bytes(contents_of()))
    return path


def test_a_volume_is_a_tar_with_the_list_first_and_what_others_read_last(volume: Path) -> None:
    with tarfile.open(volume) as tar:
        names = tar.getnames()
    blobs = [blob_name(Digest.of(body)) for body in (MANIFEST, CONFIG, LAYER)]
    assert names == [CONTENTS_NAME, VOLUME_NAME, SIGNATURE_NAME, *blobs, "index.json"]


def test_every_blob_lies_where_the_list_says(volume: Path) -> None:
    contents, data = contents_of(), volume.read_bytes()
    for blob in contents.blobs:
        assert data[blob.offset : blob.offset + blob.size] == BODIES[blob.digest]
    assert len(data) == contents.volumes[0]


def test_a_member_has_no_owner_no_time_and_no_secrets(volume: Path) -> None:
    with tarfile.open(volume) as tar:
        for member in tar:
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
            assert (member.uname, member.gname, member.type) == ("", "", tarfile.REGTYPE)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("index.json", 0),
        (f"blobs/sha512/{'0' * 128}", 5),  # too long a name for ustar
        (f"blobs/sha256/{'0' * 64}", 9 * GIB),  # too large a size
        (f"blobs/sha256/{'0' * 64}.part-127-of-255", 5),
    ],
)
def test_other_programs_read_our_headers(name: str, size: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(header_of(name, size) + bytes(1024))) as tar:
        member = tar.next()
    assert member is not None
    assert (member.name, member.size) == (name, size)


def test_headers_are_the_same_bytes_for_ever() -> None:
    """A bundle of today must verify with a sampan, and a Python, of any day."""
    headers = [
        header_of("index.json", 93),
        header_of(f"blobs/sha512/{'0' * 128}", 5),
        header_of(f"blobs/sha256/{'0' * 64}", 9 * GIB),
    ]
    assert [hashlib.sha256(header).hexdigest()[:16] for header in headers] == [
        "bbc63e2be008de6a",
        "635d2b0bf311c12c",
        "32aae620a3bffc01",
    ]


def test_the_head_has_its_length_whatever_is_in_it() -> None:
    assert volume_bytes(contents_of())[: head_bytes(LIST_BYTES)][-1024:].strip() == b"{}"
    assert head_bytes(LIST_BYTES) % 512 == 0


def test_a_split_blob_has_its_parts_in_their_volumes() -> None:
    layer = Digest.of(LAYER)
    parts = (Place(1, 0, 1000, Digest.of(b"1")), Place(2, 0, 2000, Digest.of(b"2")), Place(2, 0, 4000, layer))
    blobs = (*contents_of().blobs[:2], Blob(layer, 7000, parts=parts))
    contents = contents_of(blobs=blobs, volumes=(0, 0))
    first, second = ([m.name for m in members(contents, n, LIST_BYTES)] for n in (1, 2))
    assert first[-2:] == [f"{blob_name(layer)}.part-1-of-3", "index.json"]
    assert second == [f"{blob_name(layer)}.part-{n}-of-3" for n in (2, 3)]
    assert parse_contents(padded(contents, LIST_BYTES)) == contents


def test_a_head_is_read_from_the_beginning_alone(volume: Path) -> None:
    os.truncate(volume, head_bytes(LIST_BYTES))  # nothing else is there
    head = read_head(volume)
    assert head.contents == contents_of()
    assert head.volume is not None
    assert (head.volume.kind, head.volume.number, head.volume.bundle) == ("data", 1, head.bundle)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, LIST_BYTES, head_bytes(LIST_BYTES) - 1])
def test_a_head_that_was_cut_is_refused(volume: Path, length: int) -> None:
    os.truncate(volume, length)
    with pytest.raises(InvalidBundle, match=r"images\.tar"):
        read_head(volume)


def test_a_flipped_bit_anywhere_in_the_head_is_refused_but_in_the_signature(volume: Path) -> None:
    data = volume.read_bytes()
    signature = head_bytes(LIST_BYTES) - 1024
    for place in range(0, signature, 7):
        changed = bytearray(data)
        changed[place] ^= 1
        volume.write_bytes(changed)
        with pytest.raises(InvalidBundle):
            read_head(volume)


@pytest.mark.parametrize("what", ["absent", "fifo", "not ours", "empty directory"])
def test_what_is_no_bundle_is_refused_without_waiting_for_it(tmp_path: Path, what: str) -> None:
    path = tmp_path / "thing"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "not ours":
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("oci-layout"))
    elif what == "empty directory":
        path.mkdir()
    with pytest.raises(InvalidBundle):
        read_head(path)


@pytest.mark.parametrize(("magic", "program"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b\x08", "gzip")])
def test_a_packed_bundle_is_told_by_how_it_is_packed(volume: Path, magic: bytes, program: str) -> None:
    volume.write_bytes(magic + bytes(10_000))
    with pytest.raises(InvalidBundle, match=f"is packed with {program}") as caught:
        read_head(volume)
    assert f"{program} -d" in (caught.value.hint or "")


def test_a_volume_of_another_bundle_is_not_taken_for_one_of_this(volume: Path) -> None:
    contents = contents_of()
    other = replace(contents, created_by="b test")
    data = bytearray(volume.read_bytes())
    raw = padded(other, LIST_BYTES)
    data[512 : 512 + LIST_BYTES] = raw
    volume.write_bytes(data)
    with pytest.raises(InvalidBundle, match="that of another bundle"):
        read_head(volume)
