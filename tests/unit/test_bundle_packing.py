"""What is packed into which volume: whole where it fits, split where it cannot, the same each time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from sampan.bundle.contents import Asked, Contents, parse_contents
from sampan.bundle.layout import check_layout, members
from sampan.bundle.others import describe_all, files_for_others
from sampan.bundle.packing import UNKNOWN, Plan, Stamp, arrange, padded, with_parts
from sampan.bundle.rows import recovery_bytes
from sampan.bundle.survey import Surveyed
from sampan.bundle.volumes import MEMBER_BYTES, PART_BYTES_MIN, Piece, fill
from sampan.errors import InvalidManifest, UsageError
from sampan.oci import Descriptor, Digest, Manifest, Platform, Reference
from sampan.oci.manifest import Index, parse_manifest
from sampan.pull.closure import closure
from sampan.testing import Image, artifact, image, index, random_layer
from sampan.testing.images import Content

MIB = 1024 * 1024
STAMP = Stamp("a test", "2026-01-31T12:00:00Z")
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def surveyed(
    made: Image, platforms: Sequence[Platform] | None = None, attached_to: Reference | None = None
) -> Surveyed:
    """``made`` as a survey finds it."""
    by_digest = {content.digest: content for content in made.manifests}

    def parsed(digest: str) -> Manifest | Index:
        return parse_manifest(by_digest[digest].read())

    name = f"{made.repository}:{made.tag}" if made.tag else f"{made.repository}@{made.digest}"
    steps = closure(Reference.parse(name), parsed(made.digest), platforms)
    needed: Sequence[Descriptor] | None = None
    try:
        while True:
            given = None if needed is None else [parsed(str(entry.digest)) for entry in needed]
            needed = next(steps) if given is None else steps.send(given)
    except StopIteration as stop:
        return Surveyed(stop.value, attached_to)


def digest(content: Content) -> Digest:
    return Digest.parse(content.digest)


BASE = random_layer(1, 300_000)
APPS = [
    image(f"library/app{n}", "1", layers=[BASE, random_layer(n, n * 400_000)], seed=n) for n in range(2, 7)
]


def packed(
    images: Sequence[Image] = APPS,
    *,
    volume_bytes: int = 0,
    parity: int = 0,
    held: Sequence[Digest] = (),
    platforms: Sequence[Platform] | None = None,
) -> Plan:
    asked = Asked(("x",), volume_bytes=volume_bytes, parity=parity)
    return arrange([surveyed(one, platforms) for one in images], asked, frozenset(held), STAMP)


def check(plan: Plan) -> Contents:
    """It agrees with itself, and comes back from its bytes."""
    contents = plan.contents
    assert parse_contents(plan.raw) == contents
    check_layout(contents, len(plan.raw))
    assert {(file.volume, file.name) for file in contents.files} == set(plan.files)
    for file in contents.files:
        assert Digest.of(plan.files[file.volume, file.name]) == file.digest
    return contents


def digests(pieces: Sequence[Piece]) -> Iterator[Digest]:
    yield from (piece.digest for piece in pieces)


# -- volumes ---------------------------------------------------------------------------------------


def blob(name: str, size: int) -> tuple[Digest, int]:
    return Digest.of(name.encode()), size


def test_without_a_limit_everything_is_in_one_volume_in_its_order() -> None:
    group = [blob("a", 5 * MIB), blob("b", 0), blob("c", 7)]
    pieces, volumes = fill([group[:1], group[1:]], None)
    assert volumes == 1
    assert [(piece.digest, piece.size) for piece in pieces] == group
    assert {piece.volume for piece in pieces} == {1}


def test_nothing_at_all_is_one_volume() -> None:
    assert fill([], 4 * MIB) == ([], 1)


def test_an_image_is_kept_together_where_a_volume_that_was_begun_has_the_room() -> None:
    groups = [[blob("big", 3 * MIB)], [blob("a", 2 * MIB), blob("b", MIB)], [blob("c", 400_000)]]
    pieces, volumes = fill(groups, 4 * MIB)
    where = {piece.digest: piece.volume for piece in pieces}
    assert volumes == 2
    assert where[blob("a", 0)[0]] == where[blob("b", 0)[0]] == 2
    assert where[blob("c", 0)[0]] == 1, "the rest of the first volume is filled later"


def test_a_blob_that_fits_a_volume_is_never_split() -> None:
    capacity = 4 * MIB
    groups = [[blob(str(n), capacity - MEMBER_BYTES)] for n in range(3)]
    pieces, volumes = fill(groups, capacity)
    assert volumes == len(pieces) == 3


def test_a_larger_blob_fills_what_is_left_of_the_last_volume_and_then_others() -> None:
    capacity = 4 * MIB
    pieces, volumes = fill([[blob("a", MIB), blob("large", 9 * MIB), blob("b", MIB)]], capacity)
    parts = [piece for piece in pieces if piece.digest == blob("large", 0)[0]]
    assert [part.volume for part in parts] == [1, 2, 3]
    assert sum(part.size for part in parts) == 9 * MIB
    assert volumes == 3


def test_no_part_is_smaller_than_worth_it_but_the_last() -> None:
    capacity = 4 * MIB
    first = capacity - MEMBER_BYTES - PART_BYTES_MIN // 2
    pieces, _ = fill([[blob("a", first), blob("large", 5 * MIB)]], capacity)
    assert [piece.volume for piece in pieces if piece.digest == blob("large", 0)[0]] == [2, 3]


# -- plans -----------------------------------------------------------------------------------------


def test_a_blob_that_several_images_need_is_packed_once() -> None:
    contents = check(packed())
    base = digest(APPS[0].layers[0])
    assert sum(one.digest == base for one in contents.blobs) == 1
    assert len(contents.images_with([base])) == len(APPS)


def test_the_same_images_make_the_same_bytes() -> None:
    assert packed(volume_bytes=3 * MIB, parity=1) == packed(volume_bytes=3 * MIB, parity=1)


def test_what_the_far_side_has_is_listed_and_not_packed_but_manifests_are() -> None:
    one = APPS[0]
    held = [digest(content) for content in (one.manifest, *one.blobs)]
    contents = check(packed([one], held=held))
    assert [blob.digest for blob in contents.blobs] == [digest(one.manifest)]
    assert {(gone.digest, gone.size) for gone in contents.elsewhere} == {
        (digest(content), content.size) for content in one.blobs
    }
    assert contents.images[0].blobs == tuple(digest(content) for content in one.blobs)


@pytest.mark.parametrize("parity", [0, 1, 3])
@pytest.mark.parametrize("limit", [1_700_000, 2 * MIB, 3_000_000, 40 * MIB])
def test_no_volume_is_larger_than_asked_nor_a_recovery_volume(limit: int, parity: int) -> None:
    plan = packed(volume_bytes=limit, parity=parity)
    contents = check(plan)
    assert max(contents.volumes) <= limit
    if parity:
        assert recovery_bytes(contents, len(plan.raw)) <= limit
    for blob in contents.blobs:
        assert len(blob.places) == 1 or blob.size > limit / 2, "it could have been whole"


def test_volumes_too_small_for_the_list_say_how_large_they_must_be() -> None:
    with pytest.raises(UsageError, match="too small") as caught:
        packed(volume_bytes=MIB)
    assert caught.value.hint is not None
    need = int(caught.value.hint.rpartition("--volume-size ")[2].partition("MiB")[0])
    check(packed(volume_bytes=need * MIB))


def test_more_volumes_than_there_can_be_are_refused() -> None:
    with pytest.raises(UsageError, match="254 to recover them, and 255 is the limit"):
        packed(volume_bytes=2 * MIB, parity=254)


def test_two_sizes_for_one_blob_are_refused_with_the_image() -> None:
    one = APPS[0]
    document = json.loads(one.raw)
    document["layers"][0]["size"] += 1
    liar = Image("library/liar", "1", Content.of(json.dumps(document).encode(), one.manifest.media_type))
    with pytest.raises(InvalidManifest, match=r"library/liar:1 says that sha256:"):
        packed([one, liar])


def test_two_images_of_one_name_are_refused_and_one_that_is_named_twice_is_not() -> None:
    one, other = APPS[0], image("library/app2", "1", seed=77)
    with pytest.raises(UsageError, match="one name"):
        packed([one, other])
    contents = check(packed([one, one]))
    assert len(json.loads(packed([one, one]).files[1, "index.json"])["manifests"]) == 1
    assert len(contents.images) == 2


# -- what other programs read ------------------------------------------------------------------------


def test_other_programs_are_told_of_images_that_are_whole_in_the_volume_alone() -> None:
    plan = packed(volume_bytes=3_000_000)
    contents = check(plan)
    assert len(contents.volumes) > 1
    told = []
    for number in range(1, len(contents.volumes) + 1):
        here = {member.digest for member in members(contents, number, len(plan.raw))}
        for entry in json.loads(plan.files[number, "index.json"])["manifests"]:
            told.append(entry["annotations"]["io.containerd.image.name"])
            (found,) = [one for one in contents.images if str(one.reference) == told[-1]]
            assert set(found.needs) <= here
    assert told


def test_a_bundle_for_an_inventory_names_its_images_all_the_same() -> None:
    plan = packed([APPS[0]], held=[digest(APPS[0].layers[0])])
    assert len(json.loads(plan.files[1, "index.json"])["manifests"]) == 1
    assert json.loads(plan.files[1, "manifest.json"])[0]["RepoTags"] == ["docker.io/library/app2:1"]


def test_with_some_platforms_an_index_of_ours_lists_just_these_and_the_original_is_kept() -> None:
    machines = [
        image("library/multi", platform=platform, seed=n)
        for n, platform in enumerate(("linux/amd64", "linux/arm64", "linux/s390x"))
    ]
    multi = index("library/multi", "1", machines)
    plan = packed([multi], platforms=[AMD64, ARM64])
    contents = check(plan)
    assert contents.images[0].root == digest(multi.manifest)
    assert contents.images[0].platforms == ("linux/amd64", "linux/arm64")
    (entry,) = json.loads(plan.files[1, "index.json"])["manifests"]
    ours = json.loads(plan.files[1, f"blobs/sha256/{entry['digest'].partition(':')[2]}"])
    assert [one["digest"] for one in ours["manifests"]] == [machine.digest for machine in machines[:2]]


def test_what_nobody_can_load_into_docker_makes_no_empty_list_for_it() -> None:
    signature = surveyed(artifact(APPS[0], "application/vnd.example"))
    assert "manifest.json" not in files_for_others(describe_all([signature]), frozenset())


def test_the_parts_of_a_split_blob_get_their_digests_and_the_list_keeps_its_length() -> None:
    large = image("library/large", "1", layers=[random_layer(8, 5 * MIB)])
    plan = packed([large], volume_bytes=2 * MIB)
    (split,) = [one for one in plan.contents.blobs if one.parts]
    assert {part.digest for part in split.parts} == {UNKNOWN}
    known = {(split.digest, n): Digest.of(b"%d" % n) for n in range(1, len(split.parts) + 1)}
    contents = with_parts(plan.contents, known)
    raw = padded(contents, len(plan.raw))
    assert len(raw) == len(plan.raw)
    assert [part.digest for part in parse_contents(raw).blobs[2].parts] == list(known.values())
    check_layout(contents, len(raw))
