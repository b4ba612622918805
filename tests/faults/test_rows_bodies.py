"""Rows N of the catalogue: hosts that were reached, and the way on which their answers do not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.trial import Trial, trial
from sampan.mirror.pace import WINDOW_SECONDS
from sampan.mirror.patience import Patience
from sampan.mirror.tagged import TagPolicy
from sampan.testing import FakeRegistry, Fault, Image, Match, faults, image, random_layer
from sampan.testing.catalogue import PACKET_BYTES, SLEEP_SECONDS
from sampan.testing.wire import Request
from sampan.upstream.call import READ_SECONDS
from sampan.upstream.health import BREAKER_FAILURES, REST_SECONDS

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
SMALL, MIDDLE, LARGE, NEXT = (
    image(f"library/{name}", "3", layers=[random_layer(seed, size)])
    for seed, (name, size) in enumerate(
        [("small", 300_000), ("middle", 4 * MIB), ("large", 9 * MIB), ("next", 50_000)]
    )
)
MANY = image("library/many", "1", layers=[random_layer(seed, 20_000 + seed) for seed in range(20)])
BLOB = Match(kind="blob")
LARGE_SECONDS = 2.0
PATIENCE = Patience()
BUDGET_SECONDS = PATIENCE.budget_seconds


@dataclass
class Ground:
    """A host that misbehaves as told, a good one behind it, and the mirror before both."""

    bad: FakeRegistry
    good: FakeRegistry
    endured: Trial


@asynccontextmanager
async def ground(path: Path, fault: Fault | None, on: Match = BLOB, **options: Any) -> AsyncIterator[Ground]:
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        for one in (SMALL, MIDDLE, LARGE, NEXT, MANY):
            good.add(bad.add(one))
        if fault is not None:
            bad.script(fault, on=on)
        async with trial(path, [bad, good], **options) as endured:
            yield Ground(bad, good, endured)


def sent(registry: FakeRegistry, one: Image) -> int:
    """Bytes of the layer."""
    return sum(r.bytes_sent for r in registry.requests if r.digest == one.layers[0].digest)


def layer_of(one: Image) -> Match:
    return Match(kind="blob", digest=one.layers[0].digest)


# -- the first byte -----------------------------------------------------------------------------------


async def test_n9_accepted_and_no_answer(tmp_path: Path) -> None:
    usual = PATIENCE.manifest_seconds + PATIENCE.blob_seconds
    async with ground(tmp_path, faults.silence(), Match()) as g:
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=["beaten"], requests_max=3, seconds_max=usual + 0.1, holds=[SMALL]
        )
        await g.endured.pull(NEXT)
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=3, seconds_max=0.1, holds=[NEXT])


async def test_n9_the_first_is_kept_until_another_delivers(tmp_path: Path) -> None:
    """It is late, and the other one would be later."""
    async with ground(
        tmp_path, faults.sleeps_first(PATIENCE.manifest_seconds + 1), Match(kind="manifest")
    ) as g:
        g.good.script(faults.sleeps_first(20.0), on=Match(kind="manifest"))
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=[], requests_max=3, seconds_max=PATIENCE.manifest_seconds + 1.1, holds=[SMALL]
        )
        assert g.good.count(kind="manifest") == 1
        assert [r.status for r in g.bad.requests if r.finished and r.kind == "manifest"] == [200]


async def test_n9_silence_everywhere_ends_within_the_budget(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.silence(), Match()) as g:
        g.good.script(faults.silence())
        answer = await g.endured.ask(f"/v2/{SMALL.repository}/manifests/{SMALL.tag}")
        assert answer.status == 504
        assert {one["outcome"] for one in answer.error["detail"]["attempts"]} == {"first-byte-timeout"}
        await g.endured.assert_endured(
            g.bad, reasons=["first-byte-timeout"], requests_max=2, seconds_max=BUDGET_SECONDS + 0.1
        )


async def test_n10_sleeps_before_the_first_byte(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.sleeps_first(SLEEP_SECONDS)) as g:
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=["beaten"], requests_max=3, seconds_max=PATIENCE.blob_seconds + 0.1, holds=[SMALL]
        )
        await g.endured.pull(NEXT)  # it comes after the other now ...
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=4, seconds_max=0.1, holds=[NEXT])
        g.good.refuse()
        await g.endured.pull(LARGE)  # ... and is asked at once where that one is gone: nothing broke
        await g.endured.assert_endured(
            g.bad, reasons=[], requests_max=7, seconds_max=SLEEP_SECONDS + 0.3, holds=[LARGE]
        )


async def test_n10_one_that_sleeps_and_is_alone_is_waited_for(tmp_path: Path) -> None:
    """As a mirror does that allows a MiB a second, and has a layer of thirty."""
    async with FakeRegistry("alone") as alone, trial(tmp_path, [alone]) as endured:
        alone.add(LARGE)
        alone.script(faults.sleeps_first(30.0), on=layer_of(LARGE))
        await endured.pull(LARGE)
        await endured.assert_endured(alone, reasons=[], requests_max=3, seconds_max=30.1, holds=[LARGE])


# -- the middle of a body -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "reason", "seconds_max"),
    [(SMALL, "stalled", READ_SECONDS + 0.1), (LARGE, "slow", 2.0)],  # others join in what is large
    ids=["small", "large"],
)
async def test_n11_a_stall_in_mid_blob(tmp_path: Path, one: Image, reason: str, seconds_max: float) -> None:
    async with ground(tmp_path, faults.stalls(50_000), layer_of(one), verify="stream") as g:
        await g.endured.pull(one)
        await g.endured.assert_endured(
            g.bad, reasons=[reason], requests_max=3, seconds_max=seconds_max, holds=[one]
        )
        starts = [
            r.headers.get("range", "").partition("-")[0]
            for r in g.good.requests
            if r.digest == one.layers[0].digest
        ]
        assert "bytes=50000" in starts
        assert sent(g.good, one) <= one.layers[0].size - 50_000 + MIB


async def test_n12_a_byte_a_second_for_ever(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.trickle()) as g:
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=["slow"], requests_max=3, seconds_max=WINDOW_SECONDS + 1.1, holds=[SMALL]
        )


@pytest.mark.parametrize("one", [SMALL, LARGE], ids=["small", "large"])
async def test_n13_reset_in_mid_blob(tmp_path: Path, one: Image) -> None:
    async with ground(tmp_path, faults.resets(), layer_of(one), verify="stream") as g:
        await g.endured.pull(one)
        await g.endured.assert_endured(g.bad, reasons=["reset"], requests_max=4, seconds_max=0.5, holds=[one])
        assert sent(g.good, one) <= one.layers[0].size // 2 + MIB


async def test_n14_reset_after_the_last_byte(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.resets_at_the_end()) as g:
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=3, seconds_max=0.5, holds=[SMALL])
        assert g.good.requests == []


async def test_n14_reset_after_the_headers(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.resets(0)) as g:
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=["reset"], requests_max=3, seconds_max=0.5, holds=[SMALL]
        )


async def test_n15_an_idle_connection_was_closed(tmp_path: Path) -> None:
    """Each connection carries one request: the next one on it finds that its host has hung up."""
    async with ground(tmp_path, None) as g:
        g.bad.script(faults.hang_up(), on=Match(when=lambda request: not is_first(g.bad, request)))
        await g.endured.pull(SMALL)
        await g.endured.pull(NEXT)
        await g.endured.assert_endured(
            g.bad, reasons=[], seconds_max=0.1, requests_max=12, holds=[SMALL, NEXT]
        )
        assert any(request.fault for request in g.bad.requests)
        assert g.good.requests == []
        assert await g.endured.metric("sampan_attempts_total", outcome="truncated") == 0


def is_first(registry: FakeRegistry, request: Request) -> bool:
    """On its connection; those that came are noted once they are answered."""
    return all(one.connection != request.connection for one in registry.requests)


# -- there and gone -----------------------------------------------------------------------------------


async def test_n16_each_second_connection_fails(tmp_path: Path) -> None:
    flaps = Match(every_connection=2)
    async with ground(tmp_path, faults.reset_before_answer(), flaps) as g:
        await g.endured.pull(MANY)
        await g.endured.assert_endured(
            g.bad, reasons=["reset"], requests_max=22, seconds_max=0.1, holds=[MANY]
        )
        await g.endured.pass_seconds(REST_SECONDS)
        await g.endured.pull(NEXT)  # it is not shut out for ever
        assert g.bad.count(repository=NEXT.repository) > 0
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=25, seconds_max=0.1, holds=[NEXT])


async def test_n16_a_host_that_flaps_and_is_alone_serves_all(tmp_path: Path) -> None:
    async with FakeRegistry("flaps") as flaps, trial(tmp_path, [flaps]) as endured:
        flaps.add(MANY)
        flaps.script(faults.reset_before_answer(), on=Match(every_connection=2))
        await endured.pull(MANY)
        await endured.assert_endured(flaps, reasons=["reset"], requests_max=44, seconds_max=0.1, holds=[MANY])


async def test_n22_the_network_comes_back_during_the_pull(tmp_path: Path) -> None:
    async with FakeRegistry("alone") as alone, trial(tmp_path, [alone], verify="stream") as endured:
        alone.add(LARGE)
        alone.script(faults.bandwidth(LARGE.layers[0].size / LARGE_SECONDS), on=BLOB)
        pull = asyncio.create_task(endured.pull(LARGE))
        await endured.pass_seconds(1.0)
        alone.refuse()
        await endured.pass_seconds(PATIENCE.come_back_seconds - 0.5)
        await alone.accept()
        await pull
        assert sent(alone, LARGE) <= LARGE.layers[0].size + MIB
        await endured.assert_endured(
            alone,
            reasons=["refused"],
            requests_max=4,
            seconds_max=LARGE_SECONDS + PATIENCE.come_back_seconds + 0.1,
            holds=[LARGE],
        )


# -- nobody is there ----------------------------------------------------------------------------------


async def test_n17_everything_is_down_and_it_is_stored(tmp_path: Path) -> None:
    async with ground(tmp_path, None, policy=TagPolicy(fresh_for_seconds=0.0)) as g:
        await g.endured.pull(SMALL)
        for host in (g.bad, g.good):
            host.refuse()
        asked = len(g.bad.requests)
        await g.endured.pull(SMALL)
        answer = await g.endured.ask(f"/v2/{SMALL.repository}/manifests/{SMALL.tag}")
        assert (answer.status, answer.body) == (200, SMALL.raw)
        assert answer.headers["warning"].startswith("110 ")
        assert "age" in answer.headers
        assert await g.endured.metric("sampan_stale_answers_total") == 2
        await g.endured.assert_endured(
            g.bad, reasons=["refused"], requests_max=asked, seconds_max=0.05, holds=[SMALL]
        )


async def test_n18_everything_is_down_and_it_is_not_stored(tmp_path: Path) -> None:
    async with ground(tmp_path, None) as g:
        g.bad.refuse()
        g.good.script(faults.status(502))
        for path in [f"manifests/{SMALL.tag}"] * 5 + [f"blobs/{SMALL.layers[0].digest}"] * 5:
            answer = await g.endured.ask(f"/v2/{SMALL.repository}/{path}")
            assert answer.status == 503
            assert answer.headers["content-type"] == "application/json"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            told = {one["host"]: one["outcome"] for one in answer.error["detail"]["attempts"]}
            assert told == {g.bad.netloc: "refused", g.good.netloc: "server-error"}
            await g.endured.assert_endured(g.bad, reasons=["refused"], requests_max=0, seconds_max=0.05)
        assert g.good.count(kind="manifest") <= BREAKER_FAILURES
        assert g.good.count(kind="blob") <= BREAKER_FAILURES + 1


# -- slow lines ---------------------------------------------------------------------------------------


async def test_n20_two_speeds(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.bandwidth(50_000)) as g:
        g.good.script(faults.bandwidth(10 * MIB), on=BLOB)
        await g.endured.pull(LARGE)
        await g.endured.assert_endured(
            g.bad, reasons=["slow"], requests_max=3, seconds_max=2.0, holds=[LARGE]
        )
        assert sent(g.bad, LARGE) <= 2 * 50_000
        await g.endured.pull(SMALL)  # of the faster one at once
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=4, seconds_max=0.1, holds=[SMALL])


async def test_n20_two_speeds_of_a_blob_that_one_host_gives_alone(tmp_path: Path) -> None:
    async with ground(tmp_path, faults.bandwidth(50_000)) as g:
        await g.endured.pull(MIDDLE)
        await g.endured.assert_endured(
            g.bad, reasons=["slow"], requests_max=3, seconds_max=WINDOW_SECONDS + 0.1, holds=[MIDDLE]
        )
        assert sent(g.bad, MIDDLE) + sent(g.good, MIDDLE) <= MIDDLE.layers[0].size + MIB


@pytest.mark.parametrize(
    ("fault", "reason", "seconds_max"),
    [
        (faults.stalls(PACKET_BYTES), "stalled", READ_SECONDS + 0.1),
        (faults.silence(), "beaten", PATIENCE.blob_seconds + 0.1),
    ],
    ids=["behind the head", "with the head"],
)
async def test_n21_only_small_answers_arrive(
    tmp_path: Path, fault: Fault, reason: str, seconds_max: float
) -> None:
    """The packets of a large answer are as large as the way allows, and one in the middle drops those."""
    async with ground(tmp_path, fault, layer_of(SMALL)) as g:
        config, layer = SMALL.blobs
        assert max(len(SMALL.raw), config.size) < PACKET_BYTES < layer.size
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(
            g.bad, reasons=[reason], requests_max=3, seconds_max=seconds_max, holds=[SMALL]
        )
        assert g.good.count() == 1
