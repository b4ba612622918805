"""What a review of the mirror found: each test is one promise that was broken, with the way it broke."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rig import ALPINE, HUB, assert_store_is_sound, mirror_of, pieces
from sampan.errors import (
    AllHostsFailed,
    Attempt,
    ContentMismatch,
    Denied,
    Missing,
    NotFound,
    RateLimited,
    SampanError,
    StoreError,
    StoreFull,
)
from sampan.mirror.asking import Asking
from sampan.mirror.events import Silence
from sampan.mirror.patience import Patience
from sampan.mirror.race import Race, Won
from sampan.mirror.route import Question, eligible, plan_route
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.secret import Secret
from sampan.server.sending import Wire
from sampan.server.stall import StallWatch
from sampan.server.v2 import V2, Request
from sampan.store.disk import DiskStore
from sampan.store.ingest import FileIngest
from sampan.store.tags import TagStore
from sampan.testing import (
    FakeCdn,
    FakeRegistry,
    Fault,
    Image,
    ManualClock,
    Match,
    faults,
    image,
    index,
    older,
    random_layer,
)
from sampan.testing.images import Content
from sampan.upstream.client import RegistryClient
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host
from standstill import LoopClock

MIB = 1024 * 1024
LARGE = 9 * MIB  # above what is verified before it leaves
BLOB = Match(kind="blob")
MANIFEST = Match(kind="manifest")
BUDGET_SECONDS = 40.0  # of a request that nobody can serve, by the promises
QUICK = Patience(connect_seconds=0.05, manifest_seconds=0.05, blob_seconds=0.05, come_back_seconds=0.01)
A, B = Host.from_url("https://a.test"), Host.from_url("https://b.test")
TAG = Question(HUB, ALPINE, "manifest", "3")


def small(tag: str = "3", *, seed: int = 1, repository: str = ALPINE) -> Image:
    return image(repository, tag, layers=[random_layer(seed, 400_000)])


def large(tag: str = "3", *, seed: int = 2) -> Image:
    return image(ALPINE, tag, layers=[random_layer(seed, LARGE)])


def layer_of(one: Image) -> Digest:
    return Digest.parse(one.layers[0].digest)


def lying_about_sizes(honest: Image, repository: str) -> Image:
    """An image that shares the layer of ``honest`` and declares another size for it."""
    document = json.loads(honest.raw)
    document["layers"][0]["size"] += 1
    manifest = Content.of(json.dumps(document).encode(), honest.manifest.media_type)
    return replace(honest, repository=repository, manifest=manifest)


def without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(DiskStore, "take_up", refuse)


def hurry(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    """Who sleeps moves the clock instead."""
    sleep = asyncio.sleep

    async def hurried(seconds: float) -> None:
        clock.advance(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", hurried)


async def settled(mirror: Any) -> None:
    while mirror.downloads_in_flight:
        await asyncio.sleep(0)


# -- right bytes -------------------------------------------------------------------------------------


async def test_bytes_that_wait_in_a_slow_clients_socket_are_not_overwritten_by_the_next(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sendfile hands over pages, not copies: a file that is written again changes what was "sent"."""
    alpine = good.add(large())
    whole = alpine.layers[0].read()
    without_room(monkeypatch)
    done = asyncio.Event()
    sending: list[Wire] = []

    async with mirror_of(tmp_path, [good], verify="stream") as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        answer = await rig.mirror.blob(HUB, ALPINE, layer_of(alpine))

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert isinstance(writer.transport, asyncio.Transport)
            wire = Wire(writer.transport, writer.drain, StallWatch(LoopClock(), limit_seconds=60))
            sending.append(wire)
            await wire.send_blob(answer, 0, answer.size, lambda: None)
            writer.close()
            done.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with socket.socket() as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, server.sockets[0].getsockname())
            while not sending or sending[0].sent_bytes < 200_000:
                await asyncio.sleep(0)
            got = bytearray()
            while len(got) < len(whole):
                got += await asyncio.get_running_loop().sock_recv(client, MIB)
        await done.wait()
        server.close()
        await server.wait_closed()
    assert bytes(got) == whole


@pytest.mark.parametrize("opened", ["before the liar's bytes are dropped", "after"])
async def test_a_reader_that_opens_the_file_while_a_liars_bytes_are_dropped_gets_no_wrong_byte(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    alpine = good.add(bad.add(large()))
    bad.script(faults.flipped_bit(0), on=BLOB)
    gate, may_open, honest_open = asyncio.Event(), threading.Event(), FileIngest.open_reader

    def slow_open(self: FileIngest) -> Any:  # a thread that waits for its turn, as on a busy machine
        if opened == "after":
            may_open.wait(5)
            return honest_open(self)
        file = honest_open(self)
        may_open.wait(5)
        return file

    monkeypatch.setattr(FileIngest, "open_reader", slow_open)
    if opened == "after":
        good.script(faults.held(gate, at=100_000), on=BLOB)
    async with mirror_of(tmp_path, [bad, good], verify="stream") as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        reading = asyncio.create_task(rig.bytes(layer_of(alpine)))
        if opened == "after":
            await good.wait_for(BLOB)
        else:
            await bad.wait_for(BLOB)
            await settled(rig.mirror)
        may_open.set()
        for _ in range(20):
            await asyncio.sleep(0)
        gate.set()
        try:
            assert await reading == alpine.layers[0].read()
        except ContentMismatch:
            pass  # cut rather than completed: as good


async def test_bytes_of_an_unproven_host_stay_back_though_the_reader_has_been_served_for_long(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(large()))
    bad.script(faults.resets(4 * MIB), on=BLOB)
    gate, clock = asyncio.Event(), ManualClock()
    good.script(faults.held(gate, at=3 * MIB), on=BLOB)
    hosts = [Host.from_url(bad.url, verify="stream"), Host.from_url(good.url, verify="before")]
    async with mirror_of(tmp_path, {HUB: hosts}, clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        answer = await rig.mirror.blob(HUB, ALPINE, layer_of(alpine))
        windows = answer.windows(0, answer.size)
        got = (await anext(aiter(windows))).count
        clock.advance(201)  # the client took its time; it never waited for us
        while rig.watcher.received_bytes.get(good.netloc, 0) < 2 * MIB:
            await asyncio.sleep(0)
        while True:
            following = asyncio.ensure_future(anext(aiter(windows)))
            await asyncio.wait([following], timeout=0.1)
            if not following.done() or got > 4 * MIB:
                break
            got += following.result().count
        early = got
        gate.set()
        got += (await following).count + sum([window.count async for window in windows])
        assert got == LARGE
        assert early <= 4 * MIB, "only what the trusted host gave"


async def test_an_answer_that_began_with_a_liars_size_is_cut_and_not_completed(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(large()))
    bad.script(faults.short_by(10), on=BLOB)
    async with mirror_of(tmp_path, [bad, good], verify="stream") as rig:
        answer = await rig.mirror.blob(HUB, ALPINE, layer_of(alpine))
        await settled(rig.mirror)
        with suppress(ContentMismatch):
            data = b"".join([piece async for piece in pieces(answer)])
            assert data == alpine.layers[0].read()


# -- if one host has it, the request succeeds ----------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.short_by(10), faults.page()], ids=lambda fault: fault.name)
async def test_a_size_that_only_a_liar_told_does_not_make_honest_hosts_wrong(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, fault: Fault
) -> None:
    alpine = good.add(bad.add(small()))
    bad.script(fault, on=BLOB)
    async with mirror_of(tmp_path, [bad, good]) as rig:
        assert await rig.read(layer_of(alpine)) == 400_000


async def test_a_strangers_manifest_does_not_decide_the_size_of_anothers_blob(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(small())
    good.add(lying_about_sizes(alpine, "evil/image"))
    gate = asyncio.Event()
    good.script(faults.held(gate), on=BLOB, times=1)
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        await rig.mirror.manifest(HUB, "evil/image", "3")
        other = asyncio.create_task(rig.read(layer_of(alpine), repository="evil/image"))
        await good.wait_for(BLOB)
        reading = asyncio.create_task(rig.read(layer_of(alpine)))
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        await asyncio.wait([other])
        other.exception()
        assert await reading == 400_000


async def test_a_blob_is_not_lost_because_somebody_asked_another_registry_for_it_first(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(small())
    bad.add(small(seed=9))
    gate = asyncio.Event()
    bad.script(faults.held(gate), on=BLOB)
    hosts = {HUB: [Host.from_url(good.url)], "quay.io": [Host.from_url(bad.url)]}
    async with mirror_of(tmp_path, hosts) as rig:
        other = asyncio.create_task(rig.read(layer_of(alpine), registry="quay.io"))
        await bad.wait_for(BLOB)
        reading = asyncio.create_task(rig.read(layer_of(alpine)))
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        with pytest.raises(NotFound):
            await other
        assert await reading == 400_000


@pytest.mark.parametrize("kind", ["manifest", "blob"])
async def test_waiting_for_our_own_limit_on_connections_is_no_failure_of_the_host(
    tmp_path: Path, good: FakeRegistry, kind: str
) -> None:
    busy, other = good.add(large()), good.add(small("4"))
    gate = asyncio.Event()
    good.script(faults.held(gate, at=100_000), on=Match(digest=busy.layers[0].digest))
    host = Host.from_url(good.url, max_connections=1)
    clock = ManualClock()
    async with mirror_of(tmp_path, {HUB: [host]}, clock=clock, patience=QUICK) as rig:
        first = asyncio.create_task(rig.read(layer_of(busy)))
        await good.wait_for(BLOB)
        asked: Coroutine[Any, Any, object]
        asked = rig.read(layer_of(other)) if kind == "blob" else rig.mirror.manifest(HUB, ALPINE, "4")
        second = asyncio.create_task(asked)
        await asyncio.wait([second], timeout=0.2)  # by then it waits for its turn
        clock.advance(2 * QUICK.budget_seconds)
        gate.set()
        assert await first == LARGE
        await second


async def test_a_resting_host_is_asked_when_those_who_are_well_do_not_have_it(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    bad.add(small("other"))
    for tag in ("1", "2", "3", "4"):
        good.add(small(tag))
    good.script(faults.status(503), times=3)
    clock = ManualClock()
    async with mirror_of(tmp_path, [bad, good], clock=clock) as rig:
        for tag in ("1", "2", "3"):
            with pytest.raises(AllHostsFailed):
                await rig.mirror.manifest(HUB, ALPINE, tag)
        clock.advance(5)  # it is back, and its last failure is some seconds old
        assert (await rig.mirror.manifest(HUB, ALPINE, "4")).source == good.netloc


async def test_a_good_host_behind_many_silent_ones_is_asked_within_the_budget() -> None:
    silent = [Host.from_url(f"https://m{number}.test") for number in range(12)]
    health = Health(LoopClock())

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        connected()
        if host != A:
            await asyncio.Event().wait()
        return "answer"

    patience = replace(QUICK, budget_seconds=0.3)
    race: Race[str] = Race(
        TAG, ask, health=health, clock=LoopClock(), noted=lambda _: None, patience=patience
    )
    won: Won[str] = await race.run(plan_route([*silent, A], TAG, health))
    assert won.answer == "answer"


async def test_a_partial_file_that_is_already_whole_is_taken_although_nobody_knows_the_size(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host answers 416 to a range that begins at the end."""
    alpine = good.add(small())
    store = DiskStore(tmp_path)
    ingest = store.ingest(layer_of(alpine))
    ingest.write(alpine.layers[0].read())
    ingest.suspend()
    store.close()
    clock = ManualClock()
    hurry(monkeypatch, clock)
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        assert await rig.read(layer_of(alpine)) == 400_000


@pytest.mark.parametrize("longer_by", [0, 10])
async def test_a_partial_file_that_is_wrong_does_not_make_every_host_wrong(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch, longer_by: int
) -> None:
    """Nobody knows the size, and hosts answer 416: without a fresh start this lasts until a sweep."""
    alpine = good.add(small())
    store = DiskStore(tmp_path)
    ingest = store.ingest(layer_of(alpine))
    ingest.write(bytes(400_000 + longer_by))
    ingest.suspend()
    store.close()
    clock = ManualClock()
    hurry(monkeypatch, clock)
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        assert await rig.read(layer_of(alpine)) == 400_000


async def test_a_host_that_must_give_the_whole_alone_is_gone_on_from_where_it_was_cut(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(bad.add(large()))
    wrong, cut = faults.flipped_bit(0), faults.resets(5 * MIB)
    bad.script(
        Fault("wrong and cut", lambda asked, right: cut.change(asked, wrong.change(asked, right)), cut.on),
        on=BLOB,
    )
    good.script(cut, on=BLOB)
    clock = ManualClock()
    async with mirror_of(tmp_path, [bad, good], clock=clock) as rig:
        hurry(monkeypatch, clock)
        with suppress(SampanError):
            assert await rig.read(layer_of(alpine)) == LARGE
        await settled(rig.mirror)
        assert bad.count(kind="blob") + good.count(kind="blob") <= 12
        assert rig.watcher.downloads == ["committed"]


async def test_what_passes_through_is_not_asked_of_the_same_liar_again(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(bad.add(small()))
    bad.script(faults.flipped_bit(), on=BLOB)
    without_room(monkeypatch)
    async with mirror_of(tmp_path, [bad, good]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        try:
            await rig.read(layer_of(alpine))
        except ContentMismatch:
            assert await rig.read(layer_of(alpine)) == 400_000


async def test_what_passes_through_costs_one_request(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(small())
    without_room(monkeypatch)
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        assert await rig.read(layer_of(alpine)) == 400_000
    assert good.count(kind="blob") == 1


async def test_a_disk_that_cannot_be_read_does_not_keep_a_client_from_what_a_host_has(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(small())

    def broken(*_: object, **__: object) -> None:
        raise StoreError("input/output error")

    async with mirror_of(tmp_path, [good]) as rig:
        monkeypatch.setattr(DiskStore, "find", broken)
        monkeypatch.setattr(TagStore, "_look", broken)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == alpine.digest
        assert await rig.read(layer_of(alpine)) == 400_000


# -- every request ends, with what is true -------------------------------------------------------------


async def test_an_error_that_nobody_foresaw_ends_the_request(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug, ours or a library's")

    monkeypatch.setattr(RegistryClient, "blob", broken)
    async with mirror_of(tmp_path, [good]) as rig:
        with pytest.raises(SampanError):
            await asyncio.wait_for(rig.read(Digest.of(b"x")), 0.5)


async def test_an_empty_blob_of_known_size_is_stored(tmp_path: Path, good: FakeRegistry) -> None:
    empty = good.add(image(ALPINE, "3", layers=[random_layer(1, 0)]))
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.pull()
        await settled(rig.mirror)
        assert rig.watcher.downloads == ["committed"] * 2
        assert rig.store.stat(layer_of(empty)) == 0


async def test_a_blob_that_all_hosts_rate_limit_is_refused_within_the_budget(
    tmp_path: Path, bad: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad.add(small())
    bad.script(faults.rate_limited("15"), on=BLOB)
    clock = ManualClock()
    async with mirror_of(tmp_path, [bad], clock=clock) as rig:
        hurry(monkeypatch, clock)
        began = clock.monotonic()
        with pytest.raises(AllHostsFailed):
            await rig.read(layer_of(small()))
    assert clock.monotonic() - began <= BUDGET_SECONDS


async def test_a_question_is_not_asked_again_when_that_would_exceed_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()
    hurry(monkeypatch, clock)
    asking = Asking(lambda _: [A], Health(clock), clock, Silence(), Patience())

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        clock.advance(15)  # as long as a small request may take
        raise RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=15)

    began = clock.monotonic()
    with pytest.raises(AllHostsFailed):
        await asking.first(TAG, ask)
    assert clock.monotonic() - began <= BUDGET_SECONDS


async def test_hosts_that_there_was_no_time_to_ask_have_denied_nothing() -> None:
    clock = ManualClock()
    health = Health(clock)

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        clock.advance(40)
        raise Missing("404", outcome="missing", status=404)

    race: Race[str] = Race(
        TAG, ask, health=health, clock=clock, noted=lambda _: None, patience=Patience(budget_seconds=36)
    )
    with pytest.raises(AllHostsFailed) as caught:
        await race.run(plan_route([A, B], TAG, health))
    assert caught.value.status != 404


async def test_a_mirror_that_closes_is_not_held_up_by_a_full_disk(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(large())
    gate, honest_place = asyncio.Event(), FileIngest.place
    writing, may_fail = threading.Event(), threading.Event()
    good.script(faults.held(gate, at=100_000), on=BLOB)

    def place(self: FileIngest, start: int, data: Any) -> None:
        if not may_fail.is_set():
            writing.set()
            may_fail.wait(5)
            raise StoreFull("no room")
        honest_place(self, start, data)

    async def made(*_: object) -> bool:
        return True

    async with mirror_of(tmp_path, [good], verify="stream") as rig:
        monkeypatch.setattr(FileIngest, "place", place)
        monkeypatch.setattr(rig.room, "make", made)
        reading = asyncio.create_task(rig.read(layer_of(alpine)))
        while not writing.is_set():
            await asyncio.sleep(0)
        closing = asyncio.create_task(rig.mirror.close())
        for _ in range(10):
            await asyncio.sleep(0)
        may_fail.set()
        done, _ = await asyncio.wait([closing], timeout=0.5)
        gate.set()
        await asyncio.gather(reading, closing, return_exceptions=True)
        assert done


async def test_who_comes_while_a_download_is_being_given_up_is_served(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(large())
    gate, clock = asyncio.Event(), ManualClock()
    may_suspend, suspending, honest = threading.Event(), threading.Event(), FileIngest.suspend
    good.script(faults.held(gate, at=4 * MIB), on=BLOB, times=1)

    def suspend(self: FileIngest) -> None:
        suspending.set()
        may_suspend.wait(5)
        honest(self)

    monkeypatch.setattr("sampan.mirror.download.ABANDONED_BYTES", 0)
    monkeypatch.setattr(FileIngest, "suspend", suspend)
    async with mirror_of(tmp_path, [good], clock=clock, verify="stream") as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        first = await rig.mirror.blob(HUB, ALPINE, layer_of(alpine))
        first.close()
        clock.advance(31)
        gate.set()
        while not suspending.is_set():
            await asyncio.sleep(0)
        late = asyncio.create_task(rig.read(layer_of(alpine)))
        for _ in range(5):
            await asyncio.sleep(0)
        may_suspend.set()
        assert await late == LARGE


# -- tags ----------------------------------------------------------------------------------------------


async def test_a_confirmed_tag_is_answered_though_the_disk_is_full(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(small())
    clock = ManualClock()

    def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.advance(301)
        monkeypatch.setattr(TagStore, "touch", full)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == alpine.digest


async def test_a_stale_tag_with_a_stamp_from_the_future_can_be_put_into_headers(
    tmp_path: Path, good: FakeRegistry
) -> None:
    good.add(small())
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.wall_offset_seconds = -1.0  # as small a step as NTP makes every day
        good.script(faults.status(503))
        v2 = V2(rig.mirror, instance="x")
        path = f"/v2/{ALPINE}/manifests/3"
        answer = await v2.answer(Request("GET", path, {}), v2.parse(path))
        assert answer.status == 200


async def test_a_host_that_names_a_digest_nobody_has_does_not_keep_a_tag_from_moving(
    tmp_path: Path, good: FakeRegistry
) -> None:
    old = good.add(small())
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        new = good.add(older(old))
        good.script(faults.lying_digest(), on=Match(kind="manifest", method="HEAD"))
        clock.advance(301)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == new.digest


async def test_only_answers_that_a_host_gave_are_noted_as_answers(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(small())
    good.script(faults.status(405), on=Match(kind="manifest", method="HEAD"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        for _ in range(3):
            await rig.mirror.manifest(HUB, ALPINE, "3")
            clock.advance(301)
        noted = [attempt for _, attempt in rig.watcher.attempts if attempt.outcome == "ok"]
    assert len(noted) <= good.count(kind="manifest", method="GET")


async def test_a_silent_operator_does_not_hold_up_those_who_agree(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(small()))
    gate = asyncio.Event()
    async with FakeRegistry("silent", host="127.0.0.3") as silent:
        silent.add(small())
        silent.script(faults.held(gate))
        hosts = [Host.from_url(one.url, group=one.name) for one in (silent, bad, good)]
        async with mirror_of(tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2)) as rig:
            asking = asyncio.create_task(rig.mirror.manifest(HUB, ALPINE, "3"))
            done, _ = await asyncio.wait([asking], timeout=0.4)
            gate.set()
            assert str((await asking).manifest.digest) == alpine.digest
            assert done


async def test_a_tag_that_every_operator_denies_is_not_found(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(small()))
    hosts = [Host.from_url(bad.url, group="one"), Host.from_url(good.url, group="two")]
    async with mirror_of(tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2)) as rig:
        with pytest.raises(NotFound):
            await rig.mirror.manifest(HUB, ALPINE, "none")


async def test_two_operators_against_two_agree_on_nothing(tmp_path: Path) -> None:
    one = small()
    async with (
        FakeRegistry("a", host="127.0.0.3") as a,
        FakeRegistry("b", host="127.0.0.4") as b,
        FakeRegistry("c", host="127.0.0.5") as c,
        FakeRegistry("d", host="127.0.0.6") as d,
    ):
        for place, content in ((a, one), (b, one), (c, older(one)), (d, older(one))):
            place.add(content)
        hosts = [Host.from_url(place.url, group=place.name) for place in (a, b, c, d)]
        async with mirror_of(tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2)) as rig:
            with pytest.raises(AllHostsFailed):
                await rig.mirror.manifest(HUB, ALPINE, "3")


async def test_an_empty_list_of_tags_says_nothing_and_the_next_host_is_asked(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(small()))
    bad.untag(ALPINE, "3")
    async with mirror_of(tmp_path, [bad, good]) as rig:
        assert await rig.mirror.tags(HUB, ALPINE) == ["3"]


def test_a_host_that_may_only_pull_is_not_asked_what_refers_to_an_image() -> None:
    """Nobody can check such a list: by the word of host.py it takes ``resolve``."""
    puller = Host.from_url("https://a.test", capabilities=frozenset({"pull"}))
    assert eligible([puller, B], Question(HUB, ALPINE, "referrers", Digest.of(b"x"))) == [B]


# -- what is remembered of hosts -----------------------------------------------------------------------


async def test_a_refusal_of_the_storage_behind_a_host_is_about_that_blob_alone(tmp_path: Path) -> None:
    async with FakeCdn(host="127.0.0.3") as cdn, FakeRegistry(cdn=cdn, host="127.0.0.2") as hub:
        alpine = hub.add(image(ALPINE, "3", layers=[random_layer(1, 40_000), random_layer(2, 40_000)]))
        first, second = alpine.layers
        cdn.script(faults.status(403), on=Match(digest=first.digest))
        async with mirror_of(tmp_path, [hub]) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.read(first.digest)
            assert caught.value.status != 404, "the registry itself has not denied it"
            assert await rig.read(second.digest) == 40_000


async def test_storage_that_cannot_be_reached_says_nothing_of_the_hosts_manifests(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(small())
    good.script(faults.redirect(faults.UNREACHABLE_URL), on=BLOB)
    async with mirror_of(tmp_path, [good]) as rig:
        with pytest.raises(AllHostsFailed):
            await rig.read(layer_of(alpine))
        host = Host.from_url(good.url)
        assert rig.mirror.health.judge(host, "library/other", "manifest", "3").standing is Standing.READY


async def test_a_silent_host_costs_one_time_out_a_period_whatever_the_repository(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    names = [f"library/r{number}" for number in range(4)]
    for name in names:
        good.add(bad.add(small(repository=name)))
    bad.script(faults.silence())
    async with mirror_of(tmp_path, [bad, good], patience=QUICK) as rig:
        for name in names:
            await rig.mirror.manifest(HUB, name, "3")
    assert len(bad.faulted) == 1


def test_a_rate_limit_is_kept_to_though_another_request_was_still_answered() -> None:
    clock = ManualClock()
    health = Health(clock)
    limited = RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=600)
    health.fail(A, ALPINE, "manifest", "3", limited, Attempt(A.name, "rate-limited", 0.1, 429))
    health.succeed(A, ALPINE, "blob")
    clock.advance(1)
    assert health.judge(A, ALPINE, "manifest", "4").standing is Standing.OPEN


def test_a_host_whose_login_was_corrected_is_asked_at_once() -> None:
    """The memory outlives a reload; it must not outlive what it is about."""
    health = Health(ManualClock())
    wrong = Host.from_url("https://a.test", username="me", password=Secret("wrong"))
    right = replace(wrong, password=Secret("right"))
    refused = Denied("403", outcome="denied", status=403)
    health.fail(wrong, ALPINE, "manifest", "3", refused, Attempt(wrong.name, "denied", 0.1, 403))
    assert health.judge(right, ALPINE, "manifest", "3").standing is Standing.READY


def test_a_strangers_registries_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``registry."*"`` and an origin, clients choose the hosts."""
    monkeypatch.setattr("sampan.upstream.recent.REMEMBERED_MAX", 100)
    health = Health(ManualClock())
    for number in range(300):
        health.judge(Host.from_url(f"https://r{number}.test"), ALPINE, "manifest", "3")
    assert len(health.states()) <= 100


# -- the event loop, and room --------------------------------------------------------------------------


def note_the_thread(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, into: set[str]) -> None:
    honest = getattr(owner, name)

    def noting(self: Any, *arguments: Any, **options: Any) -> Any:
        into.add(threading.current_thread().name)
        return honest(self, *arguments, **options)

    monkeypatch.setattr(owner, name, noting)


async def test_manifests_are_not_read_from_the_disk_on_the_event_loop(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = good.add(index(ALPINE, "3"))
    digests = [Digest.parse(one.digest) for one in many.manifests]
    async with mirror_of(tmp_path, [good]) as rig:
        for digest in digests:
            await rig.mirror.manifest(HUB, ALPINE, digest)
    threads: set[str] = set()
    note_the_thread(monkeypatch, DiskStore, "peek_manifest", threads)
    async with mirror_of(tmp_path, [good]) as rig:
        for digest in digests:
            assert (await rig.mirror.manifest(HUB, ALPINE, digest)).source == "store"
    assert threads
    assert threading.main_thread().name not in threads


async def test_a_blob_is_not_hashed_on_the_event_loop(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpine = good.add(small())
    good.add(lying_about_sizes(alpine, "evil/image"))
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.pull()
        await settled(rig.mirror)
    threads: set[str] = set()
    note_the_thread(monkeypatch, DiskStore, "verify", threads)
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.mirror.manifest(HUB, "evil/image", "3")
        assert await rig.read(layer_of(alpine), repository="evil/image") == 400_000
    assert threading.main_thread().name not in threads
    assert_store_is_sound(tmp_path)


async def test_the_folders_of_tags_are_not_read_on_the_event_loop(
    tmp_path: Path, good: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    good.add(small())
    threads: set[str] = set()
    note_the_thread(monkeypatch, TagStore, "_look", threads)
    note_the_thread(monkeypatch, TagStore, "list", threads)
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        await rig.mirror.tags(HUB, ALPINE)
    assert threads
    assert threading.main_thread().name not in threads


async def test_room_that_quarantine_gave_is_room(tmp_path: Path, good: FakeRegistry) -> None:
    async with mirror_of(tmp_path, [good]) as rig:
        (tmp_path / "quarantine" / "sha256-damaged").write_bytes(os.urandom(100_000))
        assert await rig.room.make(50_000)


async def test_no_image_is_dropped_for_the_sake_of_bytes_that_are_still_coming(
    tmp_path: Path, good: FakeRegistry
) -> None:
    """A partial file cannot be dropped while it is written: to count it as used frees twice."""
    good.add(small("1", seed=1))
    good.add(small("2", seed=2))
    async with mirror_of(tmp_path, [good]) as rig:
        for tag in ("1", "2"):
            await rig.pull(tag)
            await settled(rig.mirror)
        coming = rig.store.ingest(Digest.of(b"coming"))
        coming.write(bytes(500_000))
        assert await rig.room.make(100_000)
        coming.discard()
        assert rig.store.usage() > 400_000, "one image was enough"


async def test_a_reader_of_windows_leaves_no_reader_behind(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(large())
    gate = asyncio.Event()
    good.script(faults.held(gate, at=4 * MIB), on=BLOB)
    async with mirror_of(tmp_path, [good], verify="stream") as rig:
        answer = await rig.mirror.blob(HUB, ALPINE, layer_of(alpine))

        async def follow() -> None:
            async for _ in pieces(answer):
                pass

        reading = asyncio.create_task(follow())
        while rig.watcher.received_bytes.get(good.netloc, 0) < 3 * MIB:
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        for _ in range(5):
            await asyncio.sleep(0)
        assert getattr(answer, "_download").arrival.readers == 0  # noqa: B009
        gate.set()
        await settled(rig.mirror)
