"""Rows D of the catalogue about a disk that will not write or read: full, sick, read-only, slow."""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from disks import as_nobody, mortal_disk, mounted, remount
from faults.trial import Trial, trial
from sampan.errors import StoreError
from sampan.oci import Digest
from sampan.store.content import BeingWritten, Buffer
from sampan.store.disk import DiskStore
from sampan.store.ingest import FileIngest
from sampan.testing import FakeRegistry, Match, image, random_layer
from standstill import StandstillLoop, quiet

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
REPOSITORY = "library/alpine"
SMALL, OTHER = (image(REPOSITORY, f"s{n}", layers=[random_layer(n, 200_000)], seed=n) for n in (1, 2))
LARGE = image(REPOSITORY, "large", layers=[random_layer(3, 6 * MIB), random_layer(4, 100_000)])
OBJECTS = 1 + len(SMALL.blobs)
PASSING = 1 + 2 * len(SMALL.blobs)  # a blob is begun, not taken by the disk, and begun again for the client
NO_ROOM = "No space left on device"


def registry() -> FakeRegistry:
    made = FakeRegistry("host")
    for one in (SMALL, OTHER, LARGE):
        made.add(one)
    return made


async def assert_passed_through(
    endured: Trial, host: FakeRegistry, why: str, *, requests_max: int, resumable: bool = False
) -> None:
    """The disk did not keep the client from anything, and is named in the log and the metrics."""
    await endured.assert_endured(
        host, reasons=[], requests_max=requests_max, seconds_max=0.2, resumable=resumable
    )
    assert re.search(f"(sha256:[0-9a-f]{{64}} is not stored|passes through).*{why}", endured.written())
    assert await endured.metric("sampan_downloads_total", outcome="unstored") >= 1
    assert await endured.metric("sampan_attempts_total", outcome="ok") >= 1


# -- D1: full ----------------------------------------------------------------------------------------


async def test_d1_a_disk_that_is_full_already(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        async with registry() as host, trial(disk, [host]) as endured:
            filler = disk / "filler"
            with pytest.raises(OSError, match=NO_ROOM):
                filler.write_bytes(bytes(2 * MIB))
            await endured.pull(SMALL)
            await assert_passed_through(endured, host, NO_ROOM, requests_max=PASSING)
            assert (await endured.ask("/readyz")).status == 503
            filler.unlink()
            await endured.pull(SMALL)
            await endured.assert_endured(
                host, reasons=[], requests_max=PASSING + OBJECTS, seconds_max=0.2, holds=[SMALL]
            )
            assert (await endured.ask("/readyz")).status == 200


async def test_d1_a_disk_that_is_full_in_mid_blob(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        async with registry() as host, trial(disk, [host]) as endured:
            await endured.pull(LARGE)
            await assert_passed_through(
                endured, host, NO_ROOM, requests_max=1 + len(LARGE.blobs) + 1, resumable=True
            )
            remount(disk, "size=16m")
            await endured.pull(LARGE)
            await endured.assert_endured(host, reasons=[], requests_max=9, seconds_max=0.2, holds=[LARGE])
            ranges = [r.headers["range"] for r in host.requests if "range" in r.headers]
            assert len(ranges) == 1, "what fitted is not fetched again"


async def test_d1_old_images_make_room_before_anything_passes_through(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=7m") as disk:
        async with registry() as host, trial(disk, [host]) as endured:
            await endured.pull(SMALL)
            await quiet()
            (disk / "filler").write_bytes(bytes(900_000))
            await endured.pull(LARGE)
            await endured.assert_endured(
                host, reasons=[], requests_max=OBJECTS + 2 + len(LARGE.blobs), seconds_max=0.2, holds=[LARGE]
            )
            assert "freed" in endured.written()
            assert await endured.metric("sampan_downloads_total", outcome="unstored") == 0


# -- D2: sick ----------------------------------------------------------------------------------------


async def test_d2_a_disk_that_does_not_confirm_what_was_written(tmp_path: Path) -> None:
    """The kernel's own EIO, at the fsync: nothing becomes visible, and that file is not tried again."""
    with mortal_disk(tmp_path / "disk") as disk:
        async with registry() as host, trial(disk.path, [host]) as endured:
            await endured.pull(SMALL)
            await quiet()  # until all of it is on disk
            disk.no_more_writes()
            for _ in range(2):
                await endured.pull(OTHER)
            await assert_passed_through(
                endured, host, "Input/output error", requests_max=OBJECTS + 2 * PASSING
            )
            for blob in OTHER.blobs:
                assert not (endured.store / "blobs" / "sha256" / blob.digest.partition(":")[2]).exists()
            await endured.pull(SMALL)  # what is there is served
            await endured.assert_endured(
                host,
                reasons=[],
                requests_max=OBJECTS + 2 * PASSING,
                seconds_max=0.2,
                holds=[SMALL],
            )


async def test_d2_a_disk_that_cannot_be_read_any_more(tmp_path: Path) -> None:
    with mortal_disk(tmp_path / "disk") as disk:
        async with registry() as host:
            async with trial(disk.path, [host]) as endured:
                await endured.pull(SMALL)
            async with trial(disk.path, [host]) as endured:
                disk.no_more_reads()
                await endured.pull(SMALL)
                assert len(host.requests) <= 2 * OBJECTS
                assert "Input/output error" in endured.written()


# -- D3: read-only, or somebody else's -----------------------------------------------------------------


async def test_d3_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8m") as disk:
        async with registry() as host, trial(disk, [host]) as endured:
            await endured.pull(SMALL)
            await quiet()
            remount(disk, "ro")
            try:
                for one in (SMALL, OTHER):
                    await endured.pull(one)
                await assert_passed_through(endured, host, "Read-only file system", requests_max=2 * OBJECTS)
                assert (await endured.ask("/readyz")).status == 503
            finally:
                remount(disk, "rw")
            await endured.pull(OTHER)
            await endured.assert_endured(
                host, reasons=[], requests_max=3 * OBJECTS, seconds_max=0.2, holds=[SMALL, OTHER]
            )


async def test_d3_a_store_that_is_read_only_at_the_start_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        remount(disk, "ro")
        with pytest.raises(StoreError, match="Read-only") as told:
            DiskStore(disk / "store")
    assert "choose another [store] path, or remount it" in str(told.value.hint)


def test_d3_a_store_of_another_user_is_told_at_the_start() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # where everybody may look
        path = Path(name)
        path.chmod(0o755)
        DiskStore(path / "store").close()
        (path / "store" / "ingest").chmod(0o555)
        with as_nobody(), pytest.raises(StoreError, match=r"/store/.*Permission denied") as told:
            DiskStore(path / "store")
    assert "give the user that runs sampan write permission there" in str(told.value.hint)


# -- D9: no inodes -----------------------------------------------------------------------------------


async def test_d9_a_disk_without_inodes(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8m", "nr_inodes=40") as disk:
        async with registry() as host, trial(disk, [host]) as endured:
            for number in range(40):
                try:
                    (disk / f"f{number}").touch()
                except OSError:
                    break
            await endured.pull(SMALL)
            await assert_passed_through(endured, host, NO_ROOM, requests_max=OBJECTS)
            for path in disk.glob("f*"):
                path.unlink()
            await endured.pull(SMALL)
            await endured.assert_endured(
                host, reasons=[], requests_max=2 * OBJECTS, seconds_max=0.2, holds=[SMALL]
            )


# -- D12: slow ---------------------------------------------------------------------------------------

STALL_SECONDS = 20.0  # longer than a host may be silent


class _StallingIngest(FileIngest):
    gate = threading.Event()

    def place(self, start: int, data: Buffer | Iterable[Buffer]) -> None:
        self.gate.wait()
        super().place(start, data)


class _StallingStore(DiskStore):
    """Its disk takes no byte until the gate is opened."""

    def take_up(self, digest: Digest, size: int | None = None) -> FileIngest | BeingWritten:
        return _StallingIngest(self.ingests, self, digest, size)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    _StallingIngest.gate.clear()
    yield _StallingIngest.gate
    _StallingIngest.gate.set()


async def test_d12_a_disk_that_stalls_holds_up_nothing_but_what_is_written_to_it(
    tmp_path: Path, gate: threading.Event
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StandstillLoop)
    layer = LARGE.layers[0]
    async with registry() as host:
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(SMALL)
        async with trial(tmp_path, [host], store_type=_StallingStore) as endured:
            try:
                loop.thread_seconds = 0.02  # the thread waits for us, so the time must not stand still for it
                began = loop.time()
                slow = asyncio.create_task(endured.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}"))
                await host.wait_for(Match(digest=layer.digest))
                await endured.pull(SMALL)
                assert endured.seconds < 0.5, "who asks for what is stored does not wait"
                await asyncio.sleep(STALL_SECONDS)
                assert not slow.done()
                taken = await endured.metric("sampan_received_bytes_total")
                assert taken <= MIB, "what the disk does not take stays with the host, not in memory"
                gate.set()
                answer = await slow
                assert (answer.status, answer.body == layer.read()) == (200, True)
                assert STALL_SECONDS <= loop.time() - began <= STALL_SECONDS + 2.0
                loop.thread_seconds = StandstillLoop.thread_seconds
                await endured.assert_endured(host, reasons=[], requests_max=OBJECTS + 1, seconds_max=21.0)
                blamed = await endured.metric("sampan_attempts_total")
                assert blamed == await endured.metric("sampan_attempts_total", outcome="ok")
            finally:
                gate.set()  # or the thread would never end
