"""The memory of hosts outlives the process: through the very parts that ``sampan serve`` is built of."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rig import ALPINE, HUB
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.errors import AllHostsFailed, SampanError
from sampan.mirror.keeping import ASIDE, DIRECTORY, KEEP_SECONDS, LOOK_SECONDS, NAME, Keeping
from sampan.mirror.service import Mirror
from sampan.testing import FakeRegistry, ManualClock, Match, faults, image, random_layer
from sampan.testing.fault import Fault
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import REFUSALS_MAX, Host
from sampan.upstream.kept import BYTES_MAX
from standstill import LoopClock

MANY = 3


@asynccontextmanager
async def running(path: Path, *hosts: FakeRegistry, is_public: bool = False) -> AsyncIterator[Mirror]:
    """A mirror as ``sampan serve`` has it, from its start to its end in good order. ``is_public``: the
    refusals of its hosts are counted."""
    more = f", max_refusals = {REFUSALS_MAX}" if is_public else ""
    mirrors = f"[{', '.join(f'{{ url = {json.dumps(host.url)}{more} }}' for host in hosts)}]"
    text = f'[store]\npath = "{path}"\n[registry."{HUB}"]\nmirrors = {mirrors}\norigin = "never"\n'
    config = Config.parse(text, environ={})
    lasting = await asyncio.to_thread(Lasting.of, config, LoopClock())
    keeping = lasting.keeping(config)
    await asyncio.to_thread(keeping.recall)
    async with keeping:
        mirror = build(config, lasting=lasting)
        try:
            yield mirror
        finally:
            await mirror.close()
    lasting.close()


async def pull(mirror: Mirror, tag: str) -> None:
    manifest = (await mirror.manifest(HUB, ALPINE, tag)).manifest
    for wanted in manifest.references:
        answer = await mirror.blob(HUB, ALPINE, wanted.digest)
        async for _ in answer.windows(0, answer.size):
            pass
        answer.close()


def filled(*registries: FakeRegistry, count: int = 6) -> None:
    for number in range(count):
        for registry in registries:
            registry.add(image(ALPINE, f"t{number}", layers=[random_layer(number, 1_000)]))


@pytest.mark.parametrize(
    ("fault", "on"),
    [
        (faults.rate_limited("600"), Match(kind="manifest")),
        (faults.denied(), Match(kind="blob")),
        (faults.silence(), Match(kind="blob")),
        (faults.reset_before_answer(), Match(kind="manifest")),
        (faults.flipped_bit(), Match(kind="blob")),
    ],
    ids=["rate limit", "allow-list", "silence", "dead", "lie"],
)
async def test_a_restart_does_not_ask_again_whom_the_process_would_not_have_asked(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, fault: Fault, on: Match
) -> None:
    filled(bad, good)
    bad.script(fault, on=on)
    async with running(tmp_path, bad, good) as mirror:
        for number in range(MANY):
            await pull(mirror, f"t{number}")
    before = len(bad.faulted)
    assert before
    async with running(tmp_path, bad, good) as mirror:
        await pull(mirror, "t5")
    assert len(bad.faulted) == before


async def test_a_restart_keeps_the_error_budget(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    filled(bad, good)
    host = Host.from_url(bad.url, max_refusals=REFUSALS_MAX)
    async with running(tmp_path, bad, good, is_public=True) as mirror:
        await pull(mirror, "t0")
        for _ in range(REFUSALS_MAX):
            mirror.health.budget.answered(host, 404)
    before = len(bad.requests)
    async with running(tmp_path, bad, good, is_public=True) as mirror:
        assert isinstance(mirror.health, Health)
        await pull(mirror, "t1")
        assert mirror.health.budget.rest_seconds(host) > 0
    assert len(bad.requests) == before
    bad.script(faults.status(500))
    good.script(faults.status(500))
    async with running(tmp_path, bad, good, is_public=True) as mirror:
        with pytest.raises(AllHostsFailed) as caught:
            await pull(mirror, "t2")
    assert [attempt.outcome for attempt in caught.value.attempts][-1] == "over-budget"
    assert len(bad.requests) == before, "not even when nobody else can serve"


async def test_a_process_that_is_killed_loses_seconds_of_its_refusals_and_not_a_minute(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    filled(bad, good)
    async with running(tmp_path, bad, good, is_public=True) as mirror:
        await asyncio.sleep(KEEP_SECONDS * 1.5)
        mirror.health.budget.answered(Host.from_url(bad.url, max_refusals=REFUSALS_MAX), 404)
        await asyncio.sleep(LOOK_SECONDS * 1.5)
        document = json.loads((tmp_path / DIRECTORY / NAME).read_bytes())
    assert [len(each["refused_ago"]) for each in document["refusals"]] == [1]


async def test_what_is_usual_of_a_host_is_known_from_the_first_request_on(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    filled(bad, good, count=12)
    async with running(tmp_path, bad, good) as mirror:
        for number in range(11):
            await pull(mirror, f"t{number}")
    bad.script(faults.sleeps_first(1.0))
    async with running(tmp_path, bad, good) as mirror:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await mirror.manifest(HUB, ALPINE, "t11")
        assert loop.time() - began < 0.2


async def test_it_is_written_now_and_then_when_there_is_news_and_not_otherwise(
    tmp_path: Path, good: FakeRegistry
) -> None:
    filled(good)
    file = tmp_path / DIRECTORY / NAME
    async with running(tmp_path, good) as mirror:
        await asyncio.sleep(KEEP_SECONDS * 2)
        assert not file.exists()
        await pull(mirror, "t0")
        await asyncio.sleep(KEEP_SECONDS * 1.5)
        first = file.stat()
        await asyncio.sleep(KEEP_SECONDS * 3)
        assert file.stat().st_ino == first.st_ino
        await pull(mirror, "t1")
        await asyncio.sleep(KEEP_SECONDS * 1.5)
        assert file.stat().st_ino != first.st_ino
    assert os.listdir(file.parent) == [NAME]


# -- files and disks that are not as they should be -----------------------------------------------------


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


def a_link(file: Path) -> None:
    (file.parent.parent / "secret").write_text("keep out")
    file.symlink_to(file.parent.parent / "secret")


def a_directory(file: Path) -> None:
    (file / "deep").mkdir(parents=True)


def garbage(file: Path) -> None:
    file.write_bytes(b"\x00\xffgarbage")


def torn(file: Path) -> None:
    file.write_bytes(b'{"version":1,"written":1800000000.0,"machines":[{"url"')


def empty(file: Path) -> None:
    file.write_bytes(b"")


def huge(file: Path) -> None:
    with file.open("wb") as made:
        made.truncate(BYTES_MAX + 1)


def of_another_version(file: Path) -> None:
    file.write_text('{"version": 7, "written": 0}')


@pytest.mark.parametrize(
    "make",
    [a_pipe, a_link, a_directory, garbage, torn, empty, huge, of_another_version],
    ids=lambda make: make.__name__,
)
async def test_a_file_that_is_none_is_put_aside_with_one_line_and_the_start_succeeds(
    tmp_path: Path, good: FakeRegistry, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    filled(good)
    file = tmp_path / DIRECTORY / NAME
    file.parent.mkdir(parents=True)
    make(file)
    with caplog.at_level(logging.INFO):
        async with running(tmp_path, good) as mirror:
            assert os.listdir(file.parent) == [ASIDE]
            await pull(mirror, "t0")
    told = [record for record in caplog.records if record.name == "sampan.mirror.keeping"]
    assert len(told) == 1
    assert ASIDE in told[0].getMessage()
    assert "keep out" not in told[0].getMessage()
    assert json.loads(file.read_bytes())["version"] == 1, "and the next one is in its place"


@pytest.mark.parametrize("make", [garbage, a_directory, a_link], ids=lambda make: make.__name__)
async def test_a_directory_that_is_none_does_no_harm(
    tmp_path: Path, good: FakeRegistry, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    filled(good)
    (tmp_path / "store").mkdir()
    make(tmp_path / "store" / DIRECTORY)
    if make is a_directory:
        (tmp_path / "store" / DIRECTORY / NAME / "deep").mkdir(parents=True)
        (tmp_path / "store" / DIRECTORY / ASIDE / "deep").mkdir(parents=True)
    async with running(tmp_path / "store", good) as mirror:
        await pull(mirror, "t0")
    assert 1 <= len([one for one in caplog.records if one.name == "sampan.mirror.keeping"]) <= 2


async def test_a_disk_that_takes_nothing_any_more_says_so_once_and_nobody_else_notices(
    tmp_path: Path, good: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """As a read-only or a full one: a file stands where the directory should be made."""
    filled(good)
    async with running(tmp_path, good) as mirror:
        (tmp_path / DIRECTORY).write_text("in the way")
        for number in range(3):
            await pull(mirror, f"t{number}")
            await asyncio.sleep(KEEP_SECONDS * 1.5)
        told = [one for one in caplog.records if one.name == "sampan.mirror.keeping"]
        assert len(told) == 1
        (tmp_path / DIRECTORY).unlink()
        await asyncio.sleep(KEEP_SECONDS * 1.5)
        assert (tmp_path / DIRECTORY / NAME).exists(), "what could not be written is tried again"


async def test_of_two_processes_on_one_store_the_last_to_write_is_remembered(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    filled(bad, good)
    bad.script(faults.rate_limited("600"), times=1)
    async with running(tmp_path, good, bad) as last, running(tmp_path, bad, good) as first:
        await pull(first, "t0")
        assert first.health.judge(Host.from_url(bad.url), ALPINE, "manifest", "x").standing is Standing.OPEN
        await pull(last, "t1")
        await asyncio.sleep(KEEP_SECONDS * 1.5)
        assert json.loads((tmp_path / DIRECTORY / NAME).read_bytes())["version"] == 1
        await pull(last, "t2")
    async with running(tmp_path, bad, good) as third:
        standing = third.health.judge(Host.from_url(bad.url), ALPINE, "manifest", "x").standing
        assert standing is Standing.READY, "who ended last had not asked it"


async def test_a_start_that_is_broken_off_leaves_nothing_running(tmp_path: Path, good: FakeRegistry) -> None:
    with pytest.raises(SampanError):
        async with running(tmp_path, good):
            raise AllHostsFailed("nothing", ())


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    clock = ManualClock()
    Keeping(tmp_path / "store", Health(clock), [], clock).recall()
    assert os.listdir(tmp_path / "store") == []
