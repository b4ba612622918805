"""Pulling whole images from hosts on loopback: what is fetched, resumed, told and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from rig import HUB, Rig, mirror_of
from sampan.errors import (
    AllHostsFailed,
    NotFound,
    PlatformMissing,
    SinkError,
    SinkExists,
    StoreError,
    StoreFull,
)
from sampan.oci import Digest, Platform, Reference
from sampan.pull.closure import Wanted
from sampan.pull.events import (
    BlobDone,
    BlobProgress,
    BlobStarted,
    Event,
    Failed,
    ImageDone,
    Resolved,
    Started,
    as_json,
)
from sampan.pull.service import BLOBS_AT_ONCE, Report, pull
from sampan.pull.sink import Content, Sink
from sampan.testing import FakeRegistry, Match, artifact, faults, image, index, random_layer
from sampan.testing.images import Content as Made
from sampan.upstream.host import Host

MIB = 1024 * 1024
AMD64 = Platform("linux", "amd64")
ALPINE = Reference.parse("alpine:3")
T = TypeVar("T", bound=Event)


@dataclass
class Shelf:
    """A sink that keeps everything in memory, and notes in which order it was called."""

    has: frozenset[Digest] = frozenset()
    refusal: SinkError | None = None
    name: str = "shelf"
    calls: list[str] = field(default_factory=list)
    images: dict[str, dict[str, bytes]] = field(default_factory=dict)

    async def check(self) -> None:
        self.calls.append("check")
        if self.refusal is not None:
            raise self.refusal

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:
        self.calls.append("present")
        for config in wanted.configs:
            assert content.read(config.digest)
        return self.has & {layer.digest for layer in wanted.layers}

    async def put(self, wanted: Wanted, content: Content) -> None:
        self.calls.append("put")
        parts = [*wanted.manifests, *(blob for blob in wanted.blobs if blob.digest not in self.has)]
        taken = self.images[str(wanted.reference)] = {}
        for part in parts:
            with content.open(part.digest) as blob:
                taken[str(part.digest)] = blob.file.readall()

    async def finish(self) -> None:
        self.calls.append("finish")

    async def close(self) -> None:
        self.calls.append("close")


@dataclass
class Pulls:
    """Pulls by one mirror; every event of them."""

    rig: Rig
    events: list[Event] = field(default_factory=list)

    async def __call__(
        self, *references: str, sink: Sink | None = None, platforms: Sequence[Platform] | None = (AMD64,)
    ) -> list[Report]:
        return await pull(
            self.rig.mirror,
            [Reference.parse(text) for text in references],
            sink=sink or Shelf(),
            platforms=platforms,
            listener=self.events.append,
        )

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    def done(self, content: Made) -> BlobDone:
        (found,) = [event for event in self.of(BlobDone) if str(event.digest) == content.digest]
        return found


async def pulls_from(stack: AsyncExitStack, path: Path, *hosts: FakeRegistry, **more: int) -> Pulls:
    for host in hosts:
        await stack.enter_async_context(host)
    rig = await stack.enter_async_context(
        mirror_of(
            path, [Host.from_url(host.url) for host in hosts], max_size_bytes=more.get("max_size_bytes")
        )
    )
    return Pulls(rig)


async def test_an_image_arrives_whole_and_is_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", layers=[random_layer(n, 300_000) for n in (1, 2)]))
        shelf = Shelf()
        (report,) = await pulls("alpine:3", sink=shelf)
        assert report == Report(ALPINE, Digest.parse(alpine.digest))
        taken = shelf.images[str(ALPINE)]
        assert taken == {c.digest: c.read() for c in (*alpine.manifests, *alpine.blobs)}
        assert shelf.calls == ["check", "present", "put", "finish", "close"]
        assert pulls.events[0] == Started("shelf", 1)
        (resolved,) = pulls.of(Resolved)
        assert (resolved.source, resolved.blobs, resolved.stale) == (good.netloc, 3, False)
        for blob in alpine.blobs:
            done = pulls.done(blob)
            assert (done.already, done.hosts, done.resumed_bytes) == ("", {good.netloc: blob.size}, 0)
        assert pulls.events[-1] == ImageDone(str(ALPINE), Digest.parse(alpine.digest), "shelf")


async def test_of_an_index_only_this_platform_is_fetched(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(index("library/alpine", "3"))
        shelf = Shelf()
        (report,) = await pulls("alpine:3", sink=shelf)
        assert str(report.digest) == alpine.digest
        mine = alpine.images[0]
        assert set(shelf.images[str(ALPINE)]) == {
            alpine.digest,
            mine.digest,
            *(blob.digest for blob in mine.blobs),
        }
        assert good.count(kind="manifest", digest=alpine.images[1].digest) == 0


async def test_all_platforms_come_when_asked_for(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(index("library/alpine", "3"))
        shelf = Shelf()
        await pulls("alpine:3", sink=shelf, platforms=None)
        assert set(shelf.images[str(ALPINE)]) == {c.digest for c in (*alpine.manifests, *alpine.blobs)}


async def test_a_second_pull_fetches_only_what_is_new(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        base, top = random_layer(1, 400_000), random_layer(2, 50_000)
        first = good.add(image("library/alpine", "3", layers=[base]))
        second = good.add(image("library/app", "1", layers=[base, top]))
        await pulls("alpine:3")
        await pulls("app:1")
        assert good.count(kind="blob", digest=first.layers[0].digest) == 1
        assert [
            event.already for event in pulls.of(BlobDone) if str(event.digest) == second.layers[0].digest
        ] == [
            "",
            "store",
        ]
        assert pulls.done(second.layers[1]).already == ""


async def test_what_the_sink_has_is_not_fetched_but_its_config_is(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", layers=[random_layer(n, 3000) for n in (1, 2)]))
        assert alpine.config is not None
        has = frozenset(Digest.parse(blob.digest) for blob in (alpine.config, alpine.layers[0]))
        await pulls("alpine:3", sink=Shelf(has))
        assert good.count(kind="blob", digest=alpine.layers[0].digest) == 0
        assert good.count(kind="blob", digest=alpine.layers[1].digest) == 1
        assert good.count(kind="blob", digest=alpine.config.digest) == 1
        assert pulls.done(alpine.layers[0]).already == "sink"


async def test_a_blob_that_was_cut_off_goes_on_in_the_next_run_from_its_last_byte(tmp_path: Path) -> None:
    layer = random_layer(1, 12 * MIB)
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", layers=[layer]))
        gate = asyncio.Event()
        good.script(faults.held(gate, at=5 * MIB), on=Match(kind="blob", digest=alpine.layers[0].digest))
        task = asyncio.create_task(pulls("alpine:3"))
        while not any(event.arrived_bytes for event in pulls.of(BlobProgress) if event.size > MIB):
            await asyncio.sleep(0)  # the disk's pace, not a time
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        good.add(alpine)
        await pulls("alpine:3")
        done = pulls.done(alpine.layers[0])
        assert done.resumed_bytes > 0
        assert done.resumed_bytes + sum(done.hosts.values()) == done.size
        assert good.count(kind="blob", digest=alpine.layers[0].digest, ranged=True) == 1


async def test_a_host_that_fails_is_told_beside_the_one_that_gave(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        bad, good = FakeRegistry("bad"), FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, bad, good)
        alpine = image("library/alpine", "3", layers=[random_layer(1, 400_000)])
        for host in (bad, good):
            host.add(alpine)
        bad.script(faults.truncated(), on=Match(kind="blob", digest=alpine.layers[0].digest))
        await pulls("alpine:3")
        done = pulls.done(alpine.layers[0])
        assert sum(done.hosts.values()) == done.size
        assert good.netloc in done.hosts
        assert {(attempt.host, attempt.outcome) for attempt in done.attempts} == {(bad.netloc, "truncated")}


async def test_only_so_many_blobs_are_fetched_at_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", layers=[random_layer(n, 4096) for n in range(6)]))
        gate = asyncio.Event()
        for layer in alpine.layers:
            good.script(faults.held(gate, at=100), on=Match(kind="blob", digest=layer.digest))
        task = asyncio.create_task(pulls("alpine:3"))
        await good.wait_for(Match(kind="blob"), times=1 + BLOBS_AT_ONCE)
        assert len(pulls.of(BlobStarted)) == 1 + BLOBS_AT_ONCE
        gate.set()
        await task
        assert len(pulls.of(BlobDone)) == 7


async def test_a_failed_reference_keeps_no_other_from_coming(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        good.add(image("library/alpine", "3"))
        shelf = Shelf()
        missing, there = await pulls("nothing:1", "alpine:3", sink=shelf)
        assert isinstance(missing.error, NotFound)
        assert missing.error.exit_code == 3
        assert there.error is None
        assert shelf.calls == ["check", "present", "put", "close"]  # not finished: an archive lacks one
        (failed,) = pulls.of(Failed)
        assert (failed.reference, failed.attempts) == ("docker.io/library/nothing:1", missing.error.attempts)


async def test_a_blob_that_nobody_can_give_ends_the_image(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", layers=[random_layer(n, 4096) for n in range(5)]))
        good.script(faults.status(500), on=Match(kind="blob", digest=alpine.layers[2].digest))
        shelf = Shelf()
        (report,) = await pulls("alpine:3", sink=shelf)
        assert isinstance(report.error, AllHostsFailed)
        assert report.error.exit_code == 5
        assert "put" not in shelf.calls


async def test_an_image_for_another_machine_is_refused_before_its_layers_come(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(image("library/alpine", "3", platform="linux/s390x"))
        (report,) = await pulls("alpine:3")
        assert isinstance(report.error, PlatformMissing)
        assert "there is: linux/s390x" in report.error.message
        assert good.count(kind="blob", digest=alpine.layers[0].digest) == 0
        (report,) = await pulls("alpine:3", platforms=None)
        assert report.error is None


@pytest.mark.row("C10")
async def test_a_platform_that_an_index_lacks_is_refused_without_a_blob(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        good.add(index("library/alpine", "3"))
        (report,) = await pulls("alpine:3", platforms=[Platform("linux", "riscv64")])
        assert isinstance(report.error, PlatformMissing)
        assert report.error.exit_code == 3
        assert good.count(kind="blob") == 0


async def test_a_sink_that_refuses_is_asked_before_any_host(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        shelf = Shelf(refusal=SinkExists("it is there"))
        with pytest.raises(SinkExists):
            await pulls("alpine:3", sink=shelf)
        assert shelf.calls == ["check", "close"]
        assert good.requests == []


async def test_a_store_that_is_too_small_is_an_error_and_no_half_image(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good, max_size_bytes=MIB)
        good.add(image("library/alpine", "3", layers=[random_layer(1, 2 * MIB)]))
        shelf = Shelf()
        (report,) = await pulls("alpine:3", sink=shelf)
        assert isinstance(report.error, StoreFull)
        assert report.error.exit_code == 6
        assert "put" not in shelf.calls


async def test_nothing_is_evicted_before_the_sink_has_it(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good, max_size_bytes=MIB)
        alpine = good.add(
            image("library/alpine", "3", layers=[random_layer(n, 600 * 1024) for n in range(4)])
        )
        shelf = Shelf()
        (report,) = await pulls("alpine:3", sink=shelf)
        assert report.error is None
        assert set(shelf.images[str(ALPINE)]) == {c.digest for c in (*alpine.manifests, *alpine.blobs)}


async def test_the_events_are_one_line_of_json_each(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        alpine = good.add(index("library/alpine", "3"))
        await pulls("alpine:3", "nothing:1")
        lines = [as_json(event) for event in pulls.events]
        assert all("\n" not in line for line in lines)
        read = [json.loads(line) for line in lines]
        assert {line["event"] for line in read} == {
            "started",
            "resolved",
            "blob-started",
            "blob-progress",
            "blob-done",
            "giving",
            "image-done",
            "failed",
        }
        resolved = next(line for line in read if line["event"] == "resolved")
        assert resolved["digest"] == alpine.digest
        assert resolved["platforms"] == ["linux/amd64"]
        failed = next(line for line in read if line["event"] == "failed")
        assert failed["error"]["exit_code"] == 3
        assert failed["attempts"][0]["outcome"] == "missing"


async def test_two_processes_may_share_the_store(tmp_path: Path) -> None:
    """As a running `sampan serve` and a pull do: two mirrors, one directory."""
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        other = await stack.enter_async_context(mirror_of(tmp_path, [Host.from_url(good.url)]))
        good.add(image("library/alpine", "3", layers=[random_layer(1, 400_000)]))
        reports, _ = await asyncio.gather(pulls("alpine:3"), other.pull("3", registry=HUB))
        assert reports[0].error is None


async def test_a_blob_that_the_disk_cannot_keep_is_an_error(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        good = FakeRegistry("good")
        pulls = await pulls_from(stack, tmp_path, good)
        good.add(image("library/alpine", "3", layers=[random_layer(1, 400_000)]))
        (tmp_path / "ingest").rename(tmp_path / "gone")
        pulls.rig.store.ingests.close()
        (report,) = await pulls("alpine:3")
        assert isinstance(report.error, StoreError)
        assert report.error.exit_code == 6


@pytest.mark.parametrize("with_referrers", [False, True])
async def test_what_is_attached_to_an_image_comes_along_when_it_is_asked_for(
    tmp_path: Path, with_referrers: bool
) -> None:
    async with FakeRegistry("host") as host:
        alpine = host.add(image("library/alpine", "3"))
        signature = host.add(artifact(alpine, "application/vnd.example.signature"))
        async with mirror_of(tmp_path, [host]) as rig:
            shelf = Shelf()
            await pull(
                rig.mirror,
                [ALPINE],
                sink=shelf,
                platforms=[AMD64],
                listener=lambda _: None,
                with_referrers=with_referrers,
            )
    kept = {digest for taken in shelf.images.values() for digest in taken}
    assert alpine.digest in kept
    assert ({signature.digest, signature.layers[0].digest} <= kept) is with_referrers
