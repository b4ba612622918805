"""Rows F of the catalogue: a configuration that is wrong, leads in circles, or is not whole yet.

That a bad file is refused with its line is shown in tests/unit, what a reload makes of it in tests/command,
and what becomes of the files of runtimes in tests/unit and tests/state.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.trial import HUB, trial
from sampan.config import Config
from sampan.config.settling import STILL_SECONDS, WAIT_SECONDS, settled
from sampan.errors import ConfigError
from sampan.testing import FakeRegistry, image, random_layer
from sampan.upstream.host import Host
from sampan.upstream.transport import Transport

pytestmark = pytest.mark.standstill

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 200_000)])
ME = "this-very-process"
ONE, OTHER = (f'[registry."{name}.example"]\nmirrors = ["https://m.example"]\n' for name in ("one", "other"))


async def test_f2_a_mirror_that_is_this_server_under_another_name(tmp_path: Path) -> None:
    hosts: list[Host] = []
    async with FakeRegistry("good", host="127.0.0.2") as good:
        good.add(ALPINE)
        options = {"settings": {"instance": ME}, "transport": Transport(instance_id=ME)}
        async with trial(tmp_path, {HUB: hosts}, **options) as endured:  # type: ignore[arg-type]
            own = Host.from_url(endured.server.url)
            hosts += [own, Host.from_url(good.url)]
            await endured.pull(ALPINE)
            await endured.assert_endured(own.name, reasons=["server-error"], seconds_max=0.1, holds=[ALPINE])
            asked = await endured.metric("sampan_requests_total", status="508")
            assert 1 <= asked <= 3  # each goes round once, and no further


async def test_f2_every_mirror_leads_back(tmp_path: Path) -> None:
    hosts: list[Host] = []
    options = {"settings": {"instance": ME}, "transport": Transport(instance_id=ME)}
    async with trial(tmp_path, {HUB: hosts}, **options) as endured:  # type: ignore[arg-type]
        hosts.append(Host.from_url(endured.server.url))
        answer = await endured.ask(f"/v2/{ALPINE.repository}/manifests/3")
        assert answer.status == 503
        assert {one["status"] for one in answer.error["detail"]["attempts"]} == {508}
        await endured.assert_endured(hosts[0].name, reasons=["server-error"], seconds_max=0.1)


async def test_f4_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """At every pause it is a valid configuration, of half the registries or of none."""
    file = tmp_path / "sampan.toml"
    file.write_text("")

    async def write() -> None:
        for part in (ONE, OTHER):
            await asyncio.sleep(STILL_SECONDS * 0.9)
            with file.open("a") as half:
                half.write(part)

    writing = asyncio.create_task(write())
    await settled(file)
    assert set(Config.load(file, {}).registry) == {"one.example", "other.example"}
    await writing


async def test_f4_a_file_that_is_written_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "sampan.toml"

    async def write() -> None:
        while True:
            with file.open("a") as half:
                half.write("#")
            await asyncio.sleep(STILL_SECONDS * 0.9)

    writing, began = asyncio.create_task(write()), asyncio.get_running_loop().time()
    try:
        with pytest.raises(ConfigError, match="is being written") as caught:
            await settled(file)
    finally:
        writing.cancel()
        await asyncio.wait([writing])
    assert asyncio.get_running_loop().time() - began == pytest.approx(WAIT_SECONDS, abs=0.1)
    assert "once it is whole" in (caught.value.hint or "")


async def test_f4_a_file_that_nobody_writes_is_read_soon(tmp_path: Path) -> None:
    began = asyncio.get_running_loop().time()
    await settled(tmp_path / "not there")
    assert asyncio.get_running_loop().time() - began == pytest.approx(STILL_SECONDS, abs=0.01)
