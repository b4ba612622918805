"""Rows C of the catalogue about content: bytes that are not what they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.trial import Trial, trial
from sampan.testing import FakeRegistry, Fault, Image, Match, faults, image, random_layer
from sampan.testing.catalogue import cases
from sampan.testing.images import Content
from standstill import quiet

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
REPOSITORY = "library/alpine"
IMAGE = image(REPOSITORY, "3", layers=[random_layer(1, 200_000)])
NEXT = image(REPOSITORY, "4", layers=[random_layer(4, 100_000)])
LARGE = image(REPOSITORY, "large", layers=[random_layer(2, 9 * MIB)])
OBJECTS = 1 + len(IMAGE.blobs)
BLOB = Match(kind="blob")


def registry(name: str, *images: Image) -> FakeRegistry:
    """Each name at an address of its own: the good one shares nothing with the bad."""
    made = FakeRegistry(name, host="127.0.0.2" if name == "good" else "127.0.0.1")
    for one in images or (IMAGE, NEXT, LARGE):
        made.add(one)
    return made


async def strikes(endured: Trial, bad: FakeRegistry) -> float:
    return await endured.metric("sampan_host_strikes", host=bad.url, kind="host")


# -- C1, C2: blobs -----------------------------------------------------------------------------------


async def _assert_a_liar_is_left_and_not_asked_again(path: Path, lie: Fault) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.script(lie, on=BLOB)
        async with trial(path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["wrong-content"], requests_max=OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )
            assert await strikes(endured, bad) >= 1
            asked = len(bad.requests)
            await endured.pull(NEXT)
            await endured.assert_endured(bad, reasons=[], requests_max=asked, seconds_max=0.1, holds=[NEXT])


async def _assert_a_stream_is_cut_and_right_the_next_time(path: Path, lie: Fault) -> None:
    """A host that may stream: what has left cannot be taken back, so the answer is not completed."""
    layer = LARGE.layers[0]
    async with registry("bad") as bad, registry("good") as good:
        bad.script(lie, on=BLOB)
        async with trial(path, [bad, good], verify="stream") as endured:
            assert (await endured.ask(f"/v2/{REPOSITORY}/manifests/large")).body == LARGE.raw
            first = await endured.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
            assert (first.status, first.complete) == (200, False)
            second = await endured.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
            assert (second.status, second.complete, second.body == layer.read()) == (200, True, True)
            await endured.assert_endured(bad, reasons=["wrong-content"], requests_max=2, seconds_max=0.2)
            assert await endured.metric("sampan_answers_cut_total") == 1


async def test_c1_one_bit_flipped_in_a_blob(tmp_path: Path) -> None:
    await _assert_a_liar_is_left_and_not_asked_again(tmp_path, faults.flipped_bit())


async def test_c1_one_bit_flipped_in_a_blob_that_is_streamed(tmp_path: Path) -> None:
    await _assert_a_stream_is_cut_and_right_the_next_time(tmp_path, faults.flipped_bit())


async def test_c2_other_bytes_of_the_same_length(tmp_path: Path) -> None:
    await _assert_a_liar_is_left_and_not_asked_again(tmp_path, faults.substituted())


async def test_c2_other_bytes_of_the_same_length_that_are_streamed(tmp_path: Path) -> None:
    await _assert_a_stream_is_cut_and_right_the_next_time(tmp_path, faults.substituted())


@pytest.mark.parametrize("lie", [faults.flipped_bit(), faults.substituted()], ids=["c1", "c2"])
async def test_c1_nothing_is_served_or_stored_when_nobody_has_it_right(tmp_path: Path, lie: Fault) -> None:
    async with registry("bad") as bad:
        bad.script(lie, on=BLOB)
        async with trial(tmp_path, [bad]) as endured:
            await endured.ask(f"/v2/{REPOSITORY}/manifests/3")
            for blob in IMAGE.blobs:
                answer = await endured.ask(f"/v2/{REPOSITORY}/blobs/{blob.digest}")
                assert answer.status in (502, 503)
                assert blob.digest not in stored(endured)
            await endured.assert_endured(
                bad, reasons=["wrong-content"], requests_max=1 + 2 * len(IMAGE.blobs), seconds_max=3.1
            )


def stored(endured: Trial) -> set[str]:
    return {
        f"{file.parent.name}:{file.name}" for file in (endured.store / "blobs").rglob("*") if file.is_file()
    }


# -- C3, C4, C5: manifests ---------------------------------------------------------------------------


async def test_c3_a_manifest_by_digest_that_is_another(tmp_path: Path) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.script(faults.flipped_bit(), on=Match(kind="manifest", tagged=False))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE, by=IMAGE.digest)
            await endured.assert_endured(
                bad, reasons=["wrong-content"], requests_max=1, seconds_max=0.1, holds=[IMAGE]
            )
            assert await strikes(endured, bad) == 1


@pytest.mark.parametrize("digest", [faults.LYING_DIGEST, NEXT.digest])
async def test_c4_a_digest_that_is_not_that_of_the_tags_manifest(tmp_path: Path, digest: str) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.script(faults.lying_digest(digest), on=Match(kind="manifest", tagged=True))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["wrong-content"], requests_max=1, seconds_max=0.1, holds=[IMAGE]
            )
            assert await strikes(endured, bad) == 1


async def test_c4_a_head_that_lies_does_not_move_a_known_tag(tmp_path: Path) -> None:
    async with registry("bad") as bad, registry("good") as good, trial(tmp_path, [bad, good]) as endured:
        await endured.pull(IMAGE)
        bad.script(faults.lying_digest(), on=Match(kind="manifest", tagged=True))
        endured.later(400.0)
        before = len(bad.requests)
        await endured.pull(IMAGE)
        await endured.assert_endured(
            bad, reasons=["wrong-content"], requests_max=before + 3, seconds_max=0.1, holds=[IMAGE]
        )


async def test_c5_a_size_that_the_blob_has_not(tmp_path: Path) -> None:
    """The blob is right by its digest, and not what the manifest describes: the two do not make an image."""
    (case,) = cases("C5")
    async with registry("bad") as bad, registry("good") as good:
        case.apply(bad, IMAGE)
        async with trial(tmp_path, [bad, good]) as endured:
            assert (await endured.ask(f"/v2/{REPOSITORY}/manifests/3")).status == 200
            path = f"/v2/{REPOSITORY}/blobs/{IMAGE.layers[0].digest}"
            assert (await endured.ask(path, method="HEAD")).status == 503
            for _ in range(4):
                answer = await endured.ask(path)
                assert answer.status == 503
                assert "200000 bytes in place of a blob of 200001 bytes" in answer.error["message"]
            await endured.assert_endured(bad, reasons=["other-size"], requests_max=2 + 4, seconds_max=0.1)
            assert IMAGE.layers[0].digest not in stored(endured)
            await endured.pull(NEXT, by=NEXT.digest)  # honest hosts of that repository are asked as ever
            await endured.assert_endured(
                bad, reasons=[], requests_max=2 + 4 + OBJECTS, seconds_max=0.1, holds=[NEXT]
            )


# -- C12, C13, C14, C15: blobs and manifests of all sorts ----------------------------------------------


async def test_c12_a_blob_that_the_mirror_of_its_manifest_has_lost(tmp_path: Path) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.forget(IMAGE.layers[0].digest)
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["missing"], requests_max=OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )
            assert len(good.requests) == 1


STRONG = image(REPOSITORY, "strong", layers=[random_layer(3, 300_000)], algorithm="sha512")


async def test_c13_digests_of_sha512(tmp_path: Path) -> None:
    async with registry("bad", STRONG) as bad, trial(tmp_path, [bad]) as endured:
        for by in (STRONG.tag, STRONG.digest, STRONG.tag):
            await endured.pull(STRONG, by=by)
            await endured.assert_endured(
                bad, reasons=[], requests_max=OBJECTS, seconds_max=0.1, holds=[STRONG]
            )


@pytest.mark.parametrize("on", [BLOB, Match(kind="manifest")], ids=["blob", "manifest"])
async def test_c13_wrong_bytes_under_a_sha512(tmp_path: Path, on: Match) -> None:
    async with registry("bad", STRONG) as bad, registry("good", STRONG) as good:
        bad.script(faults.flipped_bit(), on=on)
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(STRONG, by=STRONG.digest)
            await endured.assert_endured(
                bad, reasons=["wrong-content"], requests_max=OBJECTS, seconds_max=0.1, holds=[STRONG]
            )


EMPTY = image(REPOSITORY, "empty", layers=[random_layer(1, 0)])
NOTHING = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


async def test_c14_a_blob_of_no_bytes(tmp_path: Path) -> None:
    """What it is everybody knows: it is asked of nobody, so nobody can get it wrong."""
    assert EMPTY.layers[0].digest == NOTHING
    async with registry("bad", EMPTY) as bad:
        bad.script(faults.answer_with(Content.of(b"x", "text/plain")), on=Match(kind="blob", digest=NOTHING))
        async with trial(tmp_path, [bad]) as endured:
            for _ in range(2):  # from the host, and from the store
                await endured.pull(EMPTY)
                await quiet()
                for method in ("GET", "HEAD"):
                    answer = await endured.ask(f"/v2/{REPOSITORY}/blobs/{NOTHING}", method=method)
                    assert (answer.status, answer.headers["content-length"]) == (200, "0")
                await endured.assert_endured(
                    bad, reasons=[], requests_max=OBJECTS, seconds_max=0.1, holds=[EMPTY]
                )


def of_size(size_bytes: int) -> Image:
    """An image whose manifest has exactly so many bytes."""
    shortest = image(REPOSITORY, "big", annotations={"filling": ""})
    made = image(REPOSITORY, "big", annotations={"filling": "x" * (size_bytes - shortest.manifest.size)})
    assert made.manifest.size == size_bytes
    return made


async def test_c15_a_manifest_of_four_mebibytes(tmp_path: Path) -> None:
    largest = of_size(4 * MIB)
    async with registry("bad", largest) as bad, trial(tmp_path, [bad]) as endured:
        for by in ("big", largest.digest):
            await endured.pull(largest, by=by)
        await endured.assert_endured(bad, reasons=[], requests_max=OBJECTS, seconds_max=0.1, holds=[largest])


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_c15_a_manifest_of_a_byte_more(tmp_path: Path, by: str) -> None:
    larger = of_size(4 * MIB + 1)
    async with registry("bad", larger) as bad, trial(tmp_path, [bad]) as endured:
        named = "big" if by == "tag" else larger.digest
        answer = await endured.ask(f"/v2/{REPOSITORY}/manifests/{named}")
        assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE")
        assert "a manifest of more than 4194304 bytes" in answer.error["message"]
        await endured.assert_endured(bad, reasons=["protocol"], requests_max=1, seconds_max=0.1)
        assert stored(endured) == set()
