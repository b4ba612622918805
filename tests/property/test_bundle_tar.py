"""Whatever bytes a tar has: what is accepted means the same to another reader, the rest is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from sampan.bundle.tar import Member
from sampan.errors import BundleError
from tars import BLOCK, END, entry, summed, walk, written

NAMES = st.lists(
    st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}\Z"), min_size=1, max_size=4
).map("/".join)  # fmt: skip
FILES = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6)
FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def read(raw: bytes) -> list[Member] | None:
    """The members; None: refused. Any other error is the test's failure."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "a.tar")
        path.write_bytes(raw)
        try:
            return walk(path)
        except BundleError:
            return None


def read_by_python(raw: bytes) -> list[Member]:
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        return [Member(one.name.removeprefix("./"), one.offset_data, one.size) for one in tar if one.isfile()]


@given(FILES, FORMS)
def test_what_others_write_is_found_where_others_find_it(files: dict[str, bytes], form: int) -> None:
    try:
        raw = written(files, form=form)
    except ValueError:  # too long a name for ustar
        return
    if len({name.lower() for name in files}) == len(files):
        assert read(raw) == read_by_python(raw)
    else:
        assert read(raw) is None


@given(FILES, FORMS, st.data())
def test_damage_is_refused_or_does_not_change_what_it_means(
    files: dict[str, bytes], form: int, data: st.DataObject
) -> None:
    try:
        raw = bytearray(written(files, form=form))
    except ValueError:
        return
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # the check sum of the first header no longer tells
        raw[:BLOCK] = summed(raw[:BLOCK])
    agree(bytes(raw))


BLOCKS = st.one_of(
    st.binary(min_size=BLOCK, max_size=BLOCK),
    st.binary(min_size=BLOCK, max_size=BLOCK).map(
        lambda block: summed(block[:257] + b"ustar\x0000" + block[265:])
    ),
    st.builds(
        entry,
        st.sampled_from(["a", "b/c", "../x", "/x", "A", "", "index.json"]),
        st.binary(max_size=600),
        type=st.sampled_from([b"0", b"\0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S", b"7"]),
        linkname=st.sampled_from(["", "a", "../x"]),
        mode=st.sampled_from([0o644, 0o4755]),
    ),
    st.just(END),
    st.just(bytes(BLOCK)),
)


@given(st.lists(BLOCKS, max_size=6).map(b"".join))
def test_any_blocks_are_understood_as_others_do_or_refused(raw: bytes) -> None:
    agree(raw)


@given(st.lists(BLOCKS, max_size=4).map(b"".join), st.integers(1, 600))
def test_an_archive_that_is_cut_is_refused(raw: bytes, count: int) -> None:
    whole = entry("a", b"1") + raw + END
    assert read(whole[: max(len(whole) - 1024 - count, 0)]) is None or raw.endswith(bytes(1024))


def agree(raw: bytes) -> None:
    """What we accept, Python's reader understands alike; members lie within the file and do not overlap."""
    found = read(raw)
    if found is None:
        return
    plain = [member for member in found if member.target is None]
    try:
        assert plain == read_by_python(raw)
    except tarfile.ReadError:
        pass  # it also reads what images have no use for: owners, devices
    end = 0
    for member in plain:
        assert end + BLOCK <= member.offset <= member.offset + member.size <= len(raw)
        assert ".." not in member.name.split("/")
        assert not member.name.startswith("/")
        end = member.offset + member.size
