"""``sampan store`` beside a mirror that serves: nobody is disturbed, and what is bad or gone comes anew."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from disks import blob_path
from rig import ALPINE, HUB, Rig, assert_store_is_sound, mirror_of, pieces
from sampan.cli import main
from sampan.errors import AllHostsFailed, ContentMismatch
from sampan.mirror.blobs import BlobAnswer
from sampan.oci import Digest
from sampan.store import DiskStore, TagStore, evict
from sampan.testing import (
    FakeRegistry,
    Image,
    ManualClock,
    Match,
    Tap,
    artifact,
    faults,
    image,
    index,
    random_layer,
)
from sampan.upstream.host import Host

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
SIZE = 9 * MIB
SIGNATURE = "application/vnd.example.signature"


@dataclass
class Ground:
    """A mirror that has pulled an image, and the directory of its store."""

    rig: Rig
    host: FakeRegistry
    image: Image
    path: Path
    clock: ManualClock

    @property
    def layer(self) -> Digest:
        return Digest.parse(self.image.layers[0].digest)

    async def store(self, *words: str) -> int:
        """The command, as another process runs it."""
        return await asyncio.to_thread(main, ["store", *words, "--store", str(self.path)])

    def asked(self) -> int:
        """How often the host was asked since the last time."""
        count = len(self.host.requests)
        self.host.requests.clear()
        return count


@pytest.fixture
def no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def ground(path: Path) -> AsyncIterator[Ground]:
    clock = ManualClock(time.time())
    async with FakeRegistry("host") as host:
        alpine = host.add(image(ALPINE, "3", layers=[random_layer(3, SIZE)]))
        async with mirror_of(path / "store", [host], clock=clock, store_clock=clock) as rig:
            await rig.pull()
            await settled(rig)
            made = Ground(rig, host, alpine, path / "store", clock)
            made.asked()
            yield made
    assert_store_is_sound(path / "store")


async def settled(rig: Rig) -> None:
    """What was answered is committed, too."""
    while rig.mirror.downloads_in_flight:
        await asyncio.sleep(0.001)


def damage(path: Path, digest: Digest) -> None:
    file = blob_path(path, digest)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.usefixtures("no_config")
async def test_a_bad_layer_heals_by_a_download_on_the_next_request(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        damage(g.path, g.layer)
        assert await g.store("scrub", "--rate", "unlimited") == 4
        assert await g.rig.read(g.layer) == SIZE
        await settled(g.rig)
        assert g.asked() == 1
        assert await g.rig.read(g.layer) == SIZE
        assert g.asked() == 0
        assert await g.store("scrub", "--rate", "unlimited") == 0


@pytest.mark.usefixtures("no_config")
async def test_a_bad_manifest_heals_and_is_right_meanwhile(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        damage(g.path, Digest.parse(g.image.digest))
        assert await g.store("scrub", "--rate", "unlimited") == 4
        for seconds, asked in ((0, 0), (3, 1), (3, 0)):
            g.clock.advance(seconds)
            answer = await g.rig.mirror.manifest(HUB, ALPINE, Digest.parse(g.image.digest))
            assert str(answer.manifest.digest) == g.image.digest
            assert g.asked() == asked
        assert await g.store("scrub", "--rate", "unlimited") == 0


async def drain(answer: BlobAnswer, sent: list[int]) -> None:
    """As a client that counts."""
    async for piece in pieces(answer):
        sent.append(len(piece))  # noqa: PERF401  # what came before it fails counts


@asynccontextmanager
async def restarted(g: Ground) -> AsyncIterator[Ground]:
    """Another process on the same store, which knows nothing of what was verified before."""
    async with mirror_of(g.path, [g.host]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        g.asked()
        yield replace(g, rig=rig)


async def test_a_large_blob_that_the_disk_forgot_is_never_completed_and_the_next_request_has_it_right(
    tmp_path: Path,
) -> None:
    async with ground(tmp_path) as g, restarted(g) as again:
        damage(g.path, g.layer)
        answer, sent = await again.rig.mirror.blob(HUB, ALPINE, g.layer), list[int]()
        with pytest.raises(ContentMismatch, match="damaged in the store"):
            await drain(answer, sent)
        answer.close()
        assert sum(sent) == SIZE - 64 * 1024
        assert g.asked() == 0
        assert await again.rig.read(g.layer) == SIZE
        await settled(again.rig)
        assert g.asked() == 1
        assert len(list((g.path / "quarantine").iterdir())) == 1


async def test_a_small_blob_that_the_disk_forgot_is_right_in_the_same_answer(tmp_path: Path) -> None:
    async with ground(tmp_path) as g, restarted(g) as again:
        config = Digest.parse(g.image.blobs[0].digest)
        damage(g.path, config)
        assert await again.rig.read(config) == g.image.blobs[0].size
        await settled(again.rig)
        assert g.asked() == 1


async def test_a_small_blob_that_the_disk_forgot_is_an_error_while_no_host_has_it(tmp_path: Path) -> None:
    async with ground(tmp_path) as g, restarted(g) as again:
        config = Digest.parse(g.image.blobs[0].digest)
        damage(g.path, config)
        g.host.script(faults.status(503))
        with pytest.raises(AllHostsFailed):
            await again.rig.read(config)


async def test_what_the_disk_has_right_is_hashed_once_since_the_start(tmp_path: Path) -> None:
    async with ground(tmp_path) as g, restarted(g) as again:
        assert not again.rig.store.is_verified(g.layer)
        assert [await again.rig.read(g.layer) for _ in range(2)] == [SIZE, SIZE]
        assert again.rig.store.is_verified(g.layer)
        damage(g.path, g.layer)
        with pytest.raises(AssertionError):
            await again.rig.read(g.layer)  # the disk is trusted from then on: a scrub asks it
        assert g.asked() == 0
        blob_path(g.path, g.layer).unlink()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (SIZE - 100, SIZE), (SIZE - 100_000, SIZE - 10), (5, 5)]
)
async def test_a_part_of_a_blob_that_is_being_checked_is_that_part(
    tmp_path: Path, start: int, stop: int
) -> None:
    async with ground(tmp_path) as g, restarted(g) as again:
        answer = await again.rig.mirror.blob(HUB, ALPINE, g.layer)
        data = b"".join([piece async for piece in pieces(answer, start, stop)])
        answer.close()
        assert data == g.image.layers[0].read()[start:stop]


@pytest.mark.usefixtures("no_config")
async def test_an_image_that_is_removed_is_fetched_when_it_is_asked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ground(tmp_path) as g:
        assert await g.store("remove", "alpine:3") == 0
        g.clock.advance(3)
        assert await g.rig.pull() > SIZE
        await settled(g.rig)
        assert g.asked() == 1 + len(g.image.blobs)
        capsys.readouterr()
        assert await g.store("list", "--json") == 0
        (listed,) = json.loads(capsys.readouterr().out)["images"]
        assert [tag["name"] for tag in listed["tags"]] == ["docker.io/library/alpine:3"]
        assert listed["missing"] == 0


@pytest.mark.usefixtures("no_config")
async def test_who_is_reading_a_blob_has_it_to_its_end_though_it_is_swept(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        answer = await g.rig.mirror.blob(HUB, ALPINE, g.layer)
        g.clock.advance(3600)
        assert await g.store("sweep", "--to", "0") == 0
        assert not blob_path(g.path, g.layer).exists()
        data = b"".join([piece async for piece in pieces(answer)])
        answer.close()
        assert Digest.of(data) == g.layer
        assert g.asked() == 0


@pytest.mark.usefixtures("no_config")
async def test_a_download_under_way_is_not_swept(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        tap, other = Tap(), g.host.add(image(ALPINE, "4", layers=[random_layer(4, 9 * MIB)]))
        g.host.script(tap.fault(), on=Match(kind="blob"))
        await g.rig.mirror.manifest(HUB, ALPINE, "4")
        reading = asyncio.create_task(g.rig.read(other.layers[0].digest))
        while not tap.waiting:
            await asyncio.sleep(0)
        tap.pour(4 * MIB)
        while not tap.is_dry:
            await asyncio.sleep(0)
        assert await g.store("sweep", "--to", "0") == 6
        tap.open()
        assert await reading == other.layers[0].size
        assert [r.headers.get("range") for r in g.host.requests if r.kind == "blob"] == [None]


async def test_a_sweep_of_another_process_is_seen_in_what_is_used(tmp_path: Path) -> None:
    """The mirror counts anew before it sweeps: it does not free room that is free already."""
    async with ground(tmp_path) as g:
        other, tags = DiskStore(g.path), TagStore(g.path / "tags")
        assert evict(other, tags, 0).used_bytes == 0
        other.close()
        tags.close()
        assert g.rig.store.recount() == 0


# -- what refers to an image, while no host tells ----------------------------------------------------


async def signed(g: Ground, payload: bytes = b"signature") -> str:
    """The digest of a signature that is on its host, and in the store."""
    signature = g.host.add(artifact(g.image, SIGNATURE, payload))
    await g.rig.mirror.manifest(HUB, ALPINE, Digest.parse(signature.digest))
    return signature.digest


@pytest.mark.parametrize("status", [503, 404, 403])
async def test_stored_referrers_are_listed_while_no_host_tells(tmp_path: Path, status: int) -> None:
    async with ground(tmp_path) as g:
        subject, signature = Digest.parse(g.image.digest), await signed(g)
        told = await g.rig.mirror.referrers(HUB, ALPINE, subject)
        g.host.script(faults.status(status))
        known = await g.rig.mirror.referrers(HUB, ALPINE, subject)
        assert [str(entry.digest) for entry in known.manifests] == [signature]
        assert json.loads(known.raw)["manifests"] == json.loads(told.raw)["manifests"]
        assert known.manifests[0].artifact_type == SIGNATURE


async def test_stored_referrers_are_listed_where_no_host_may_tell(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        subject, signature = Digest.parse(g.image.digest), await signed(g)
        puller = Host.from_url(g.host.url, capabilities=frozenset({"pull"}))
        async with mirror_of(g.path, {HUB: [puller]}) as rig:
            known = await rig.mirror.referrers(HUB, ALPINE, subject)
            assert [str(entry.digest) for entry in known.manifests] == [signature]


async def test_of_what_nothing_stored_refers_to_the_failure_of_the_hosts_is_told(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        await signed(g)
        g.host.script(faults.status(503))
        with pytest.raises(Exception, match="server-error"):
            await g.rig.mirror.referrers(HUB, ALPINE, Digest.of(b"another"))


async def test_the_list_under_the_tag_in_the_endpoints_place_counts_too(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        subject, listed = Digest.parse(g.image.digest), artifact(g.image, SIGNATURE)
        tag = f"sha256-{subject.hex}"
        g.host.add(index(ALPINE, tag, [listed]))
        await g.rig.mirror.manifest(HUB, ALPINE, tag)
        stored = await signed(g, payload=b"another signature")
        g.host.script(faults.status(503))
        known = await g.rig.mirror.referrers(HUB, ALPINE, subject)
        assert [str(entry.digest) for entry in known.manifests] == [stored, listed.digest]
