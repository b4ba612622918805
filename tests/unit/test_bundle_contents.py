"""The list of contents: what it says comes back, and what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from bundles import CONFIG, LAYER, LIST_BYTES, MANIFEST, REFERENCE, contents_of, whole_blobs
from sampan.bundle.contents import (
    CONTENTS_BYTES_MAX,
    Asked,
    Blob,
    Contents,
    Elsewhere,
    File,
    Image,
    Place,
    parse_contents,
    render_contents,
)
from sampan.bundle.inventory import inventory_of, parse_inventory, render_inventory
from sampan.bundle.layout import check_layout
from sampan.errors import InvalidBundle
from sampan.oci import Digest

manifest, config, layer = map(Digest.of, (MANIFEST, CONFIG, LAYER))


def test_a_list_that_is_written_is_read_back() -> None:
    contents = contents_of(
        elsewhere=[Elsewhere(Digest.of(b"far"), 3)], asked=Asked(("alpine",), ("linux/arm64",), True)
    )
    assert parse_contents(render_contents(contents)) == contents
    assert parse_contents(render_contents(contents).ljust(LIST_BYTES)) == contents


def test_it_has_an_entry_a_line_so_that_grep_finds_it() -> None:
    lines = render_contents(contents_of()).decode().splitlines()
    assert sum(str(layer) in line for line in lines) == 2  # of the image, and of the blob
    assert lines[1] == '"format": "sampan-bundle",'


def test_what_has_its_default_is_not_written() -> None:
    text = render_contents(contents_of()).decode()
    assert "attached_to" not in text
    assert '"asked": {"references":["docker.io/library/alpine:3"]}' in text


def test_the_images_that_need_a_blob_are_found() -> None:
    contents = contents_of()
    assert contents.images_with([config]) == contents.images
    assert contents.images_with([Digest.of(b"other")]) == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b'"version": 1', b'"version": 2', "of version 2, and this sampan reads version 1"),
        (b'"version": 1', b'"version": true', "Expected `int`, got `bool`"),
        (b"sampan-bundle", b"another-thing", "Invalid enum value 'another-thing' - at `$.format`"),
        (b'"created_by"', b'"created_bY"', "unknown field `created_bY`"),
        (b'"size":8', b'"size":-8', "Expected `int` >= 0 - at `$.blobs[1].size`"),
        (b'"size":8', b'"size":8.5', "Expected `int`, got `float` - at `$.blobs[1].size`"),
        (b'"size":8', b'"size":99999999999999999999', "at `$.blobs[1].size`"),
        (
            b'"digest":"sha256:',
            b'"digest":"md5:',
            "unsupported digest algorithm: 'md5' - at `$.blobs[0].digest`",
        ),
        (
            b'docker.io/library/alpine:3","man',
            b'docker.io/UPPER:3","man',
            "must be lowercase - at `$.images[0].reference`",
        ),
        (b'docker.io/library/alpine:3","man', b'docker.io/\xff:3","man', "'utf-8' codec can't decode"),
        (b"\n}\n", b"\n", "Input data was truncated"),
    ],
)
def test_a_list_that_is_not_as_described_is_refused_with_the_place(
    before: bytes, after: bytes, said: str
) -> None:
    raw = render_contents(contents_of())
    assert before in raw
    with pytest.raises(InvalidBundle) as caught:
        parse_contents(raw.replace(before, after, 1))
    assert said in caught.value.message
    assert caught.value.exit_code == 8
    assert caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"[" * 100_000, b"\x00" * 100, b"{}"])
def test_what_is_no_list_at_all_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBundle, match="not a bundle's list of contents"):
        parse_contents(raw)


def test_a_list_has_a_limit() -> None:
    with pytest.raises(InvalidBundle, match="the limit is"):
        parse_contents(b" " * (CONTENTS_BYTES_MAX + 1))


def part(volume: int, size: int) -> Place:
    return Place(volume, 0, size, layer)


def with_layer(blob: Blob) -> Callable[[Contents], Contents]:
    return lambda contents: replace(contents, blobs=(*contents.blobs[:2], blob))


def with_file(file: File) -> Callable[[Contents], Contents]:
    return lambda contents: replace(contents, files=(file,))


CONTRADICTIONS: list[tuple[str, Callable[[Contents], Contents]]] = [
    ("it lists a digest twice", lambda c: replace(c, blobs=(*c.blobs, c.blobs[2]))),
    ("it lists a digest twice", lambda c: replace(c, elsewhere=(Elsewhere(layer, 1),))),
    (f"lacks its manifest {manifest}", lambda c: replace(c, blobs=c.blobs[1:])),
    (f"lacks its manifest {config}", lambda c: replace(c, images=(Image(REFERENCE, (config,)),))),
    (f"needs {layer}, which is not listed", lambda c: replace(c, blobs=c.blobs[:2])),
    ("has no manifest", lambda c: replace(c, images=(Image(REFERENCE, ()),))),
    ("is in a volume that there is not", with_layer(Blob(layer, 7, volume=2))),
    ("is in a volume that there is not", with_layer(Blob(layer, 7))),
    ("the parts of", with_layer(Blob(layer, 7, parts=(part(1, 7),)))),
    ("the parts of", with_layer(Blob(layer, 7, parts=(part(1, 3), part(1, 3))))),
    ("the parts of", with_layer(Blob(layer, 7, volume=1, parts=(part(1, 3), part(1, 4))))),
    ("can be no manifest", with_layer(Blob(layer, 7, volume=1, media_type="text/html"))),
    ("can be no manifest", with_layer(Blob(layer, 2**30, volume=1, media_type=whole_blobs()[0].media_type))),
    ("it is of 0 volumes", lambda c: replace(c, volumes=())),
    ("it is of 1 volumes and 255 to recover", lambda c: replace(c, asked=Asked((), parity=255))),
    ("there can be no ../../etc/passwd", with_file(File("../../etc/passwd", 1, 0, 2, Digest.of(b"{}")))),
    ("there can be no blobs/sha256/", with_file(File(f"blobs/sha256/{'0' * 64}", 1, 0, 2, Digest.of(b"{}")))),
    ("there can be no blobs/sha256/", with_file(File(f"blobs/sha256/{layer.hex}", 1, 0, 2, layer))),
    ("there can be no index.json in volume 7", with_file(File("index.json", 7, 0, 2, Digest.of(b"{}")))),
    ("it lists a file twice", lambda c: replace(c, files=c.files * 2)),
]


@pytest.mark.parametrize(("said", "change"), CONTRADICTIONS)
def test_a_list_that_contradicts_itself_is_refused(said: str, change: Callable[[Contents], Contents]) -> None:
    raw = render_contents(change(contents_of()))
    with pytest.raises(InvalidBundle) as caught:
        parse_contents(raw)
    assert said in caught.value.message


def moved(blob: Blob) -> Blob:
    return replace(blob, offset=blob.offset + 512)


@pytest.mark.parametrize(
    ("said", "change"),
    [
        (str(layer), lambda c: replace(c, blobs=(*c.blobs[:2], moved(c.blobs[2])))),
        (str(manifest), lambda c: replace(c, blobs=(moved(c.blobs[0]), *c.blobs[1:]))),
        ("index.json", lambda c: replace(c, files=(replace(c.files[0], offset=0),))),
        ("a volume cannot end", lambda c: replace(c, volumes=(c.volumes[0] + 512,))),
        (str(layer), lambda c: replace(c, blobs=(c.blobs[0], c.blobs[2], c.blobs[1]))),
    ],
)
def test_a_place_that_the_sizes_do_not_make_is_refused(
    said: str, change: Callable[[Contents], Contents]
) -> None:
    right = contents_of()
    check_layout(right, LIST_BYTES)
    with pytest.raises(InvalidBundle) as caught:
        check_layout(change(right), LIST_BYTES)
    assert said in caught.value.message


def test_an_inventory_that_is_written_is_read_back_sorted_and_each_once() -> None:
    one, other = sorted([Digest.of(b"1"), Digest.of(b"2")])
    inventory = inventory_of([(other, 2), (one, 1), (other, 2)], of="a store", by="a test", at="now")
    assert [held.digest for held in inventory.blobs] == [one, other]
    assert parse_inventory(render_inventory(inventory)) == inventory
    assert inventory.digests == {one, other}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.replace(b'"version": 1', b'"version": 9'), "version 9"),
        (lambda raw: raw.replace(b'"size":2', b'"size":-2'), "at `$.blobs[1].size`"),
        (
            lambda raw: raw.replace(str(Digest.of(b"1")).encode(), str(Digest.of(b"2")).encode()),
            "a digest twice",
        ),
        (lambda raw: b"# a list\n" + raw, "not an inventory"),
    ],
)
def test_an_inventory_that_is_none_is_refused(change: Callable[[bytes], bytes], said: str) -> None:
    both = sorted([(Digest.of(b"1"), 1), (Digest.of(b"2"), 1)])
    inventory = inventory_of([(both[0][0], 1), (both[1][0], 2)], of="a store", by="a test", at="now")
    with pytest.raises(InvalidBundle) as caught:
        parse_inventory(change(render_inventory(inventory)))
    assert said in caught.value.message
