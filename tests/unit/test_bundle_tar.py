"""The strict reader of tar archives: what it finds, and what it will not have."""

from __future__ import annotations

import gzip
import os
import tarfile
import threading
from pathlib import Path

import pytest
import zstandard

from sampan.bundle import tape as tapes
from sampan.bundle.tape import FileTape, PackedTape, open_tape
from sampan.bundle.tar import Member, members
from sampan.errors import BundleError
from sampan.pull.sinks.files import Stopped
from tars import BLOCK, END, entry, header, padded, pax, summed, walk, written

FILES = {"oci-layout": b"{}", f"blobs/sha256/{'a' * 64}": b"x" * 1000, "index.json": b""}


def found(tmp_path: Path, raw: bytes) -> list[Member]:
    (tmp_path / "a.tar").write_bytes(raw)
    return walk(tmp_path / "a.tar")


def refused(tmp_path: Path, raw: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        found(tmp_path, raw)
    assert caught.value.hint
    assert caught.value.exit_code == 8
    return caught.value.message


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_with_their_place_and_size(tmp_path: Path, form: int) -> None:
    raw = written(FILES, form=form)
    for member in found(tmp_path, raw):
        assert raw[member.offset : member.offset + member.size] == FILES[member.name]
    assert [member.name for member in found(tmp_path, raw)] == list(FILES)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_every_form(tmp_path: Path, form: int) -> None:
    name = "/".join(["d" * 70, "e" * 60, "f" * 40])
    assert [member.name for member in found(tmp_path, written({name: b"1"}, form=form))] == [name]


def test_directories_and_a_leading_dot_are_nothing_special(tmp_path: Path) -> None:
    raw = entry("./", type=tarfile.DIRTYPE) + entry("./blobs/", type=tarfile.DIRTYPE)
    raw += entry("./blobs/", type=tarfile.DIRTYPE) + entry("./index.json", b"{}") + END
    assert [member.name for member in found(tmp_path, raw)] == ["index.json"]


def test_contents_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    size = 1 << 40
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(pax(size=str(size)) + header("large", 0) + b"")
        file.truncate(file.tell() + size)
        file.seek(0, os.SEEK_END)
        file.write(entry("small", b"1") + END)
    assert [(member.name, member.size) for member in walk(tmp_path / "a.tar")] == [
        ("large", size),
        ("small", 1),
    ]


def test_a_size_in_base_256_is_read(tmp_path: Path) -> None:
    raw = header("a", raw_size=b"\x80" + (5).to_bytes(11, "big")) + padded(b"12345") + END
    assert found(tmp_path, raw) == [Member("a", BLOCK, 5)]


def test_dockers_other_names_for_a_layer_are_told(tmp_path: Path) -> None:
    one, other = "1" * 64, "2" * 64
    raw = entry(f"{one}/layer.tar", b"layer")
    raw += header(f"{other}/layer.tar", type=tarfile.SYMTYPE, linkname=f"../{one}/layer.tar") + END
    assert found(tmp_path, raw)[1] == Member(f"{other}/layer.tar", 0, 0, f"{one}/layer.tar")


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "../../etc/passwd", "../x/layer.tar", f"../{'1' * 64}/json", ""]
)
def test_a_link_elsewhere_is_refused(tmp_path: Path, link: str) -> None:
    raw = header(f"{'2' * 64}/layer.tar", type=tarfile.SYMTYPE, linkname=link) + END
    assert "a symbolic link" in refused(tmp_path, raw)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../x", "/etc/cron.d/x", "C:\\x", "C:x", "a\\b", "a//b", "", "a/", "a b", "a\x1b[31m", "..",
     ".", "a/./b", "é", b"\xff\xfe", "x" * 99 + "\n", "a/b/c/d/e/f/g/h/i", " "],
)  # fmt: skip
def test_a_name_that_is_no_plain_path_is_refused(tmp_path: Path, name: str | bytes) -> None:
    assert "a name" in refused(tmp_path, entry(name, b"1") + END)


def test_a_name_with_a_nul_in_a_pax_header_is_refused(tmp_path: Path) -> None:
    assert "a name" in refused(tmp_path, pax(path="index.json\0x") + entry("a", b"1") + END)


def test_a_name_longer_than_anybody_needs_is_refused(tmp_path: Path) -> None:
    assert "a name" in refused(tmp_path, pax(path="x" * 256) + entry("a", b"1") + END)


@pytest.mark.parametrize(
    "kind, said",
    [(tarfile.LNKTYPE, "hard link"), (tarfile.SYMTYPE, "symbolic link"), (tarfile.CHRTYPE, "device"),
     (tarfile.BLKTYPE, "device"), (tarfile.FIFOTYPE, "named pipe"), (tarfile.CONTTYPE, "contiguous"),
     (tarfile.GNUTYPE_SPARSE, "sparse"), (b"M", "part"), (b"Z", "no known kind")],
)  # fmt: skip
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes, said: str) -> None:
    assert said in refused(tmp_path, header("index.json", type=kind, linkname="blobs") + END)


@pytest.mark.parametrize("key", ["GNU__sparse__major", "GNU__sparse__map", "GNU__sparse__realsize"])
def test_a_sparse_file_in_pax_is_refused(tmp_path: Path, key: str) -> None:
    assert "sparse" in refused(tmp_path, pax(**{key: "1"}) + entry("a", b"1") + END)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_a_file_that_runs_as_another_user_is_refused(tmp_path: Path, mode: int) -> None:
    assert "more than a file" in refused(tmp_path, entry("index.json", b"{}", mode=mode) + END)


@pytest.mark.parametrize("second", ["index.json", "INDEX.json", "./index.json"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, second: str) -> None:
    assert "two members" in refused(tmp_path, entry("index.json", b"1") + entry(second, b"2") + END)


def test_a_file_and_a_directory_of_one_name_are_refused(tmp_path: Path) -> None:
    raw = entry("blobs", b"1") + entry("blobs/", type=tarfile.DIRTYPE) + END
    assert "two members" in refused(tmp_path, raw)


@pytest.mark.parametrize(
    "raw", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"-0000000001\0", b"0000000008 \0", b"\0" * 12, b" " * 12]
)
def test_a_size_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    assert "refused" in refused(tmp_path, header("a", raw_size=raw) + END)


@pytest.mark.parametrize("size", ["-1", "1e3", "0x10", " 1", "", str(2**63), "9" * 30, "١"])
def test_a_size_in_pax_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    assert "size" in refused(tmp_path, pax(size=size) + entry("a", b"1") + END)


def test_two_sizes_for_one_member_are_refused(tmp_path: Path) -> None:
    assert "two sizes" in refused(tmp_path, pax(size="512") + header("a", 1024) + bytes(1024) + END)


def test_a_size_beyond_the_end_is_refused(tmp_path: Path) -> None:
    assert "cut short" in refused(tmp_path, header("a", 8**11 - 1) + END)


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    raw = written({"a": b"1" * 700, "b": b"2"}, form=tarfile.USTAR_FORMAT)[: 5 * BLOCK + len(END)]
    assert found(tmp_path, raw)
    for length in (0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 6 * BLOCK, len(raw) - 1):
        refused(tmp_path, raw[:length])


@pytest.mark.parametrize("rest", [b"x", bytes(BLOCK) + entry("b", b"1"), bytes(tapes.READ_BYTES + 1)])
def test_what_stands_behind_the_end_is_refused(tmp_path: Path, rest: bytes) -> None:
    assert "behind its end" in refused(tmp_path, entry("a", b"1") + END + rest)


def test_zeros_as_programs_fill_up_are_no_garbage(tmp_path: Path) -> None:
    assert len(found(tmp_path, entry("a", b"1") + END + bytes(10240))) == 1


def test_one_block_of_zeros_is_no_end(tmp_path: Path) -> None:
    assert "behind its end" in refused(tmp_path, entry("a", b"1") + bytes(BLOCK) + entry("b", b"1") + END)


def test_a_wrong_check_sum_is_refused(tmp_path: Path) -> None:
    block = bytearray(header("b", 1))
    block[0] ^= 1
    assert "check sum" in refused(tmp_path, entry("a", b"1") + bytes(block) + padded(b"1") + END)


def test_what_is_no_tar_says_so(tmp_path: Path) -> None:
    assert "not a tar archive" in refused(tmp_path, b"PK\x03\x04" + bytes(2000))
    assert "not a tar archive" in refused(tmp_path, b"")


def test_the_oldest_form_of_tar_is_refused(tmp_path: Path) -> None:
    assert "nobody writes" in refused(tmp_path, header("a", magic=bytes(8)) + END)


@pytest.mark.parametrize(
    "raw", [b"5 a=b", b"6 a=b\nx", b"99 a=b\n", b"0 a=b\n", b"-6 a=b\n", b"x a=b\n", b"4 a\n", b"5 ==\n7 ab"]
)
def test_a_malformed_pax_header_is_refused(tmp_path: Path, raw: bytes) -> None:
    block = header("pax", len(raw), type=tarfile.XHDTYPE) + padded(raw)
    assert "refused" in refused(tmp_path, block + entry("a", b"1") + END)


@pytest.mark.parametrize(
    "twice", [pax(path="b") * 2, pax(path="b") + entry("x", b"c\0", type=b"L"), pax(size="1")]
)
def test_headers_without_their_member_or_twice_are_refused(tmp_path: Path, twice: bytes) -> None:
    last = b"" if twice == pax(size="1") else entry("a", b"1")
    assert "header" in refused(tmp_path, twice + last + END)


def global_pax(**records: str) -> bytes:
    raw = pax(**records)
    return summed(raw[:156] + b"g" + raw[157:BLOCK]) + raw[BLOCK:]


def test_a_global_header_may_comment_and_not_name(tmp_path: Path) -> None:
    assert len(found(tmp_path, global_pax(comment="made by hand") + entry("a", b"1") + END)) == 1
    for records in ({"path": "b"}, {"size": "1"}, {"linkpath": "b"}):
        assert "global" in refused(tmp_path, global_pax(**records) + entry("a", b"1") + END)


@pytest.mark.parametrize(
    "kind, size", [(b"x", 1 << 30), (b"g", 64 * 1024 + 1), (b"L", 4097), (b"K", 1 << 33)]
)
def test_a_huge_header_is_refused_unread(tmp_path: Path, kind: bytes, size: int) -> None:
    assert "a header of" in refused(
        tmp_path, header("x", type=kind, raw_size=b"\x80" + size.to_bytes(11, "big"))
    )


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
def test_a_packed_archive_is_read_on_the_way(tmp_path: Path, packed: type) -> None:
    raw = written(FILES)
    (tmp_path / "a").write_bytes(packed(raw))
    tape = open_tape(tmp_path / "a")
    assert isinstance(tape, PackedTape)
    contents = {member.name: tape.read(member.size) for member in members(tape)}
    tape.close()
    assert contents == FILES


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
def test_a_packed_archive_that_is_damaged_or_cut_is_refused(tmp_path: Path, packed: type) -> None:
    whole = packed(written({"a": os.urandom(4000)}))
    damaged = whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:]
    for raw in (whole[:-20], whole[:100], whole + b"garbage behind it", damaged[:-12]):
        message = refused(tmp_path, raw)
        assert "cut short" in message or "cannot be unpacked" in message or "refused" in message


def test_a_device_or_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(BundleError, match="is not a file"):
            open_tape(path)


def test_a_file_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such file"):
        open_tape(tmp_path / "absent")


def test_a_plain_tape_reads_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    tape = open_tape(tmp_path / "a")
    assert isinstance(tape, FileTape)
    tape.advance(4)
    assert (tape.read(3), tape.position, tape.read(9), tape.read(1)) == (b"456", 7, b"789", b"")
    tape.close()


def test_a_packed_tape_ends_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(written(FILES)))
    stop = threading.Event()
    tape = open_tape(tmp_path / "a", stop)
    assert len(tape.read(512)) == 512
    stop.set()
    with pytest.raises(Stopped):
        tape.read(512)
    tape.close()
