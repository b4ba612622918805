"""Rows D of the catalogue about what is on the disk: damaged, gone, left over, planted, too much."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from disks import blob_path
from faults.trial import AheadClock, trial
from rig import assert_store_is_sound
from sampan.errors import StoreError
from sampan.oci import Digest
from sampan.store import DiskStore, scrub
from sampan.store.ingest import partial_name
from sampan.testing import FakeRegistry, Image, image, random_layer
from serving.wire import read_response
from standstill import quiet

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
REPOSITORY = "library/alpine"
IMAGE, NEXT, THIRD = (
    image(REPOSITORY, f"s{n}", layers=[random_layer(n, 600_000)], seed=n) for n in (1, 2, 3)
)
LARGE = image(REPOSITORY, "large", layers=[random_layer(4, 9 * MIB)])
LAYER = Digest.parse(IMAGE.layers[0].digest)
LARGE_LAYER = Digest.parse(LARGE.layers[0].digest)
OBJECTS = 1 + len(IMAGE.blobs)


def registry() -> FakeRegistry:
    made = FakeRegistry("host")
    for one in (IMAGE, NEXT, THIRD, LARGE):
        made.add(one)
    return made


async def pulled_before(path: Path, host: FakeRegistry, *images: Image) -> None:
    """By a mirror that has ended."""
    async with trial(path, [host]) as endured:
        for one in images:
            await endured.pull(one)
        await quiet()


# -- D4, D5: what the disk has forgotten ---------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


async def _assert_healed(path: Path, digest: Digest, harm: Callable[[Path], None]) -> None:
    """The next who asks has the right bytes, in the same answer; the bad ones are set aside."""
    async with registry() as host:
        await pulled_before(path, host, IMAGE)
        harm(blob_path(path / "store", digest))
        async with trial(path, [host]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
            )
            assert f"{digest} was damaged: it is now" in endured.written()
            assert await endured.metric("sampan_answers_total", result="miss") == 1
            (aside,) = (endured.store / "quarantine").iterdir()
            assert digest.hex in aside.name


WHICH = {
    "a layer": LAYER,
    "a manifest": Digest.parse(IMAGE.digest),
    "a config": Digest.parse(IMAGE.blobs[0].digest),
}


@pytest.mark.parametrize("which", WHICH)
async def test_d4_a_bit_that_the_disk_forgot_before_the_start(tmp_path: Path, which: str) -> None:
    await _assert_healed(tmp_path, WHICH[which], flip_a_bit)


@pytest.mark.parametrize("harm", [cut_in_half, empty])
@pytest.mark.parametrize("which", WHICH)
async def test_d5_a_file_that_is_cut_or_empty(
    tmp_path: Path, which: str, harm: Callable[[Path], None]
) -> None:
    await _assert_healed(tmp_path, WHICH[which], harm)


async def test_d4_a_bit_in_a_large_blob_cuts_one_answer_and_the_next_is_right(tmp_path: Path) -> None:
    async with registry() as host:
        await pulled_before(tmp_path, host, LARGE)
        flip_a_bit(blob_path(tmp_path / "store", LARGE_LAYER))
        async with trial(tmp_path, [host]) as endured:
            path = f"/v2/{REPOSITORY}/blobs/{LARGE_LAYER}"
            assert not (await endured.ask(path)).complete
            answer = await endured.ask(path)
            assert (answer.complete, answer.body == LARGE.layers[0].read()) == (True, True)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[LARGE]
            )
            assert "is damaged in the store" in endured.written()
            assert await endured.metric("sampan_answers_cut_total") == 1


async def test_d4_a_bit_that_the_disk_forgot_meanwhile_is_found_by_a_scrub(tmp_path: Path) -> None:
    async with registry() as host, trial(tmp_path, [host]) as endured:
        await endured.pull(IMAGE)
        await quiet()
        flip_a_bit(blob_path(endured.store, LAYER))
        with closing(DiskStore(endured.store)) as beside:  # as another process has it
            report = await asyncio.to_thread(scrub, beside)
        assert report.damaged == (LAYER,)
        await endured.pull(IMAGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
        )
        assert f"{LAYER} was damaged" in endured.written()


@pytest.mark.parametrize("harm", [cut_in_half, empty])
async def test_d5_a_file_that_is_cut_while_the_mirror_runs(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async with registry() as host, trial(tmp_path, [host]) as endured:
        await endured.pull(IMAGE)
        await quiet()
        harm(blob_path(endured.store, LAYER))
        await endured.pull(IMAGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
        )
        assert f"{LAYER} was damaged" in endured.written()


# -- D6: what goes while it is being served ------------------------------------------------------------


async def test_d6_a_blob_that_is_removed_while_it_is_served(tmp_path: Path) -> None:
    async with registry() as host, trial(tmp_path, [host]) as endured:
        await endured.pull(LARGE)
        await quiet()
        file = blob_path(endured.store, LARGE_LAYER)
        reader, writer = await asyncio.open_connection(*endured.server.address, limit=64 * 1024)
        path = f"/v2/{REPOSITORY}/blobs/{LARGE_LAYER}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await quiet()  # the answer has begun, and waits for us to read on
        await asyncio.to_thread(file.unlink)
        answer = await read_response(reader)
        assert (answer.complete, answer.body == LARGE.layers[0].read()) == (True, True)
        writer.close()
        assert host.count(kind="blob", digest=str(LARGE_LAYER)) == 1
        await endured.pull(LARGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[LARGE]
        )


@pytest.mark.parametrize("which", WHICH)
async def test_d6_a_file_that_is_gone_is_fetched_again(tmp_path: Path, which: str) -> None:
    clock = AheadClock()
    async with registry() as host, trial(tmp_path, [host], clock=clock, store_clock=clock) as endured:
        await endured.pull(IMAGE)
        await quiet()
        blob_path(endured.store, WHICH[which]).unlink()
        endured.later(5.0)  # what is on disk is looked at again every few seconds
        await endured.pull(IMAGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
        )


# -- D7, D8: what a crash left --------------------------------------------------------------------------


async def test_d7_what_a_crash_left_of_a_blob_is_gone_on_with_and_never_served(tmp_path: Path) -> None:
    whole = IMAGE.layers[0].read()
    half = len(whole) // 2
    async with registry() as host:
        DiskStore(tmp_path / "store").close()
        ingests = tmp_path / "store" / "ingest"
        (ingests / partial_name(LAYER)).write_bytes(whole[:half])
        (ingests / f"{partial_name(LAYER)}.0123456789abcdef").write_bytes(b"of a killed process")
        (ingests / "probe.0123456789abcdef").write_bytes(b"?")
        async with trial(tmp_path, [host]) as endured:
            host.refuse()
            assert (await endured.ask(f"/v2/{REPOSITORY}/blobs/{LAYER}")).status == 503
            await host.accept()
            endured.later(600.0)
            await endured.rig.mirror.tidy()
            assert [path.name for path in ingests.iterdir()] == [partial_name(LAYER)]
            await endured.pull(IMAGE)
            await endured.assert_endured(
                host, reasons=["refused"], requests_max=OBJECTS, seconds_max=0.2, holds=[IMAGE]
            )
        (asked,) = [request for request in host.requests if request.digest == str(LAYER)]
        assert asked.headers["range"] == f"bytes={half}-"


async def test_d7_wrong_bytes_that_a_crash_left_cost_no_host_its_good_name(tmp_path: Path) -> None:
    async with registry() as host:
        DiskStore(tmp_path / "store").close()
        (tmp_path / "store" / "ingest" / partial_name(LAYER)).write_bytes(bytes(300_000))
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
            )
            assert await endured.metric("sampan_host_strikes") == 0


GARBAGE = {
    "empty": b"",
    "zeros": bytes(512),
    "torn": b'{"registry": "docker.io", "dig',
    "other JSON": b"[1, 2]",
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_d8_every_small_file_of_the_store_is_garbage(tmp_path: Path, garbage: str) -> None:
    async with registry() as host:
        await pulled_before(tmp_path, host, IMAGE)
        store = tmp_path / "store"
        notes = [path for path in store.rglob("*") if path.is_file() and "blobs" not in path.parts]
        assert {path.parent.name for path in notes} >= {"store", "manifests"}
        for path in notes:
            path.write_bytes(GARBAGE[garbage])
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
            )
            assert "ignored a tag's record that cannot be read" in endured.written()
            assert host.count(kind="blob") == len(IMAGE.blobs), "the blobs are right, and are kept"
        assert json.loads((store / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        assert isinstance(json.loads((store / "index.json").read_bytes()), dict)


# -- D10: too much ---------------------------------------------------------------------------------------


async def test_d10_what_is_pinned_stays_and_what_is_new_makes_room_for_itself(tmp_path: Path) -> None:
    async with registry() as host, trial(tmp_path, [host], max_size_bytes=900_000) as endured:
        await endured.pull(IMAGE)
        await quiet()
        await asyncio.to_thread(endured.rig.store.pin, Digest.parse(IMAGE.digest))
        for one in (NEXT, THIRD):
            await endured.pull(one)
            await quiet()
            await endured.rig.room.close()
            assert endured.rig.store.recount() <= 900_000
        await endured.pull(IMAGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=3 * OBJECTS, seconds_max=0.2, holds=[IMAGE]
        )
        assert "freed" in endured.written()


async def test_d10_what_is_served_is_not_evicted(tmp_path: Path) -> None:
    async with registry() as host, trial(tmp_path, [host], max_size_bytes=10 * MIB) as endured:
        await endured.pull(LARGE)
        await quiet()
        reader, writer = await asyncio.open_connection(*endured.server.address, limit=64 * 1024)
        path = f"/v2/{REPOSITORY}/blobs/{LARGE_LAYER}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await quiet()
        for one in (IMAGE, NEXT, THIRD):
            await endured.pull(one)
        await quiet()
        await endured.rig.room.close()
        await endured.assert_endured(
            host, reasons=[], requests_max=4 * OBJECTS, seconds_max=0.2, holds=[LARGE]
        )
        answer = await read_response(reader)
        assert (answer.complete, answer.body == LARGE.layers[0].read()) == (True, True)
        writer.close()


async def test_d10_what_is_larger_than_the_whole_store_may_be_passes_through(tmp_path: Path) -> None:
    async with registry() as host, trial(tmp_path, [host], max_size_bytes=MIB) as endured:
        await endured.pull(IMAGE)
        await endured.pull(LARGE)
        await endured.assert_endured(
            host, reasons=[], requests_max=2 * OBJECTS, seconds_max=0.2, holds=[IMAGE]
        )
        assert "are more than the whole store may hold" in endured.written()
        assert await endured.metric("sampan_downloads_total", outcome="unstored") == 1


# -- D11: planted links ----------------------------------------------------------------------------------

SECRET = b"root:x:0:0:a file that is none of ours"


def of_a_file(store: Path) -> dict[str, Path]:
    """Every file that a pull of IMAGE reads or writes, by the directory that it is in."""
    names = {"blobs": blob_path(store, LAYER), "ingest": store / "ingest" / partial_name(LAYER)}
    names["pieces"] = store / "pieces" / partial_name(LAYER)
    (names["tags"],) = (store / "tags").glob("*/s1.json")
    (names["manifests"],) = (store / "manifests").iterdir()
    names["top"] = store / "oci-layout"
    names["index"] = store / "index.json"
    names["lock"] = store / "sweep.lock"
    return names


PLANTED = ("blobs", "ingest", "pieces", "tags", "manifests", "top", "index", "lock")


@pytest.mark.parametrize("where", PLANTED)
async def test_d11_a_link_in_place_of_a_file_is_neither_read_nor_written_through(
    tmp_path: Path, where: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    async with registry() as host:
        await pulled_before(tmp_path, host, IMAGE)
        place = of_a_file(tmp_path / "store")[where]
        if where in ("ingest", "pieces"):
            blob_path(tmp_path / "store", LAYER).unlink()
        place.unlink(missing_ok=True)
        place.symlink_to(secret)
        async with trial(tmp_path, [host]) as endured:
            await endured.rig.mirror.tidy()
            await endured.pull(IMAGE)
            await quiet()
            assert len(host.requests) <= OBJECTS + 2
            if where in ("blobs", "tags"):
                assert place.name in endured.written(), "what was planted there is told"
        assert secret.read_bytes() == SECRET
        assert not blob_path(tmp_path / "store", LAYER).is_symlink()
        assert_store_is_sound(tmp_path / "store")


@pytest.mark.parametrize(
    "where", ["blobs", "blobs/sha256", "ingest", "pieces", "manifests", "pins", "quarantine"]
)
async def test_d11_a_link_in_place_of_a_directory_stops_the_start(tmp_path: Path, where: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    DiskStore(tmp_path / "store").close()
    place = tmp_path / "store" / where
    await asyncio.to_thread(_replace_by_link, place, elsewhere)
    with pytest.raises(StoreError, match=place.name) as told:
        DiskStore(tmp_path / "store")
    assert told.value.hint is not None
    assert list(elsewhere.iterdir()) == []


async def test_d11_a_link_in_place_of_a_folder_of_tags(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with registry() as host:
        await pulled_before(tmp_path, host, IMAGE)
        (folder,) = (tmp_path / "store" / "tags").iterdir()
        await asyncio.to_thread(_replace_by_link, folder, elsewhere)
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.2, holds=[IMAGE]
            )
            assert "Not a directory" in endured.written() or "symbolic" in endured.written()
        assert list(elsewhere.iterdir()) == []


def _replace_by_link(place: Path, target: Path) -> None:
    place.rename(place.with_name(f".{place.name}"))
    place.symlink_to(target, target_is_directory=True)
