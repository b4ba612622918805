"""The whole doctor on real sockets: its composition, its checks side by side, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.doctor import Hurried, scene_of
from sampan.doctor.checks import CHECKS
from sampan.doctor.contract import Scene
from sampan.doctor.examine import Examination, examine
from sampan.doctor.machine import check_proxies
from sampan.doctor.machine.ipv6 import answers
from sampan.doctor.verdict import judge
from sampan.errors import RuntimeUnsupported, UsageError
from sampan.runtimes.contract import Answer
from sampan.testing import BlackHole, ClosedPort, FakeRegistry, ManualClock, faults, image, random_layer
from scenes import codes, found, lay, scene
from scripted import Scripted

LAYER = [random_layer(seed=1, size_bytes=50_000)]
ALPINE = image("library/alpine", "3", layers=LAYER)
HOSTS_TOML = "etc/containerd/certs.d/docker.io/hosts.toml"
CONTAINERD = (
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
)


def config(place: Path, *urls: str) -> Config:
    mirrors = ", ".join(f'"{url}"' for url in urls)
    lay(place, {"sampan.toml": f'[registry."docker.io"]\nmirrors = [{mirrors}]\norigin = "never"\n'})
    return Config.load(place / "sampan.toml", environ={"HOME": str(place)})


async def examined(
    place: Path, *urls: str, typed: Sequence[str] = ("alpine:3",), runtimes: Sequence[str] = ()
) -> Examination:
    """All checks, over the tree at ``place/root``."""
    (place / "root").mkdir(exist_ok=True)
    opened = scene_of(
        config(place, *urls), typed, root=str(place / "root"), runtimes=runtimes, clock=SystemClock()
    )
    async with opened as made:
        return await examine(made, CHECKS)


async def test_where_all_is_well_nothing_is_said(tmp_path: Path) -> None:
    async with FakeRegistry("good") as good:
        good.add(ALPINE)
        lay(tmp_path / "root", {"etc/containerd/config.toml": CONTAINERD})
        lay(tmp_path / "root", {HOSTS_TOML: f'server = "{good.url}"\n[host."{good.url}"]\n'})
        examination = await examined(tmp_path, good.url, runtimes=["containerd@1.7.27"])
    assert examination.findings == ()
    assert examination.unseen == ()
    assert [report.is_good for report in examination.reports] == [True]
    assert list(examination.names) == ["alpine:3"]


async def test_without_a_runtime_and_without_a_name_the_hosts_are_looked_at(tmp_path: Path) -> None:
    async with FakeRegistry("good") as good:
        good.add(image("library/hello-world", "latest", layers=LAYER))
        examination = await examined(tmp_path, good.url, typed=())
    assert examination.findings == ()
    assert [report.repository for report in examination.reports] == ["library/hello-world"]
    assert examination.names == {}


async def test_three_hosts_that_swallow_everything_are_named_beside_the_one_that_answers(
    tmp_path: Path,
) -> None:
    async with FakeRegistry("good") as good, BlackHole() as one, BlackHole() as two, BlackHole() as three:
        good.add(ALPINE)
        examination = await examined(tmp_path, *(hole.url for hole in (one, two, three)), good.url)
    dead = {found.subject for found in examination.findings if found.code == "HOST_BLACK_HOLED"}
    assert dead == {hole.netloc for hole in (one, two, three)}
    assert examination.unseen == ()


async def test_a_clock_that_two_hosts_contradict_is_the_verdict(tmp_path: Path) -> None:
    date = faults.header("Date", format_datetime(datetime.now(UTC) + timedelta(days=3), usegmt=True))
    async with FakeRegistry("one") as one, FakeRegistry("two", host="127.0.0.2") as two:
        for host in (one, two):
            host.add(ALPINE)
            host.script(date)
        examination = await examined(tmp_path, one.url, two.url)
    first = judge(examination.findings, examination.origins).first
    assert first is not None
    assert (first.code, first.what) == ("CLOCK_OFF", "the clock is 3 days slow")


async def test_what_apply_mends_is_tried_on_the_tree_and_changes_nothing(tmp_path: Path) -> None:
    async with FakeRegistry("good") as good:
        good.add(ALPINE)
        text = f'[[registry]]\nprefix = "docker.io"\nlocation = "{good.netloc}"\ninsecure = true\n'
        lay(tmp_path / "root", {"etc/containers/registries.conf": text})
        examination = await examined(tmp_path, good.url, runtimes=["podman@5.4"])
    (finding,) = [each for each in examination.findings if each.code == "SHORT_NAMES_NOWHERE"]
    assert finding.command == ("sudo", "sampan", "node", "apply")
    assert [path.name for path in (tmp_path / "root").rglob("*") if path.is_file()] == ["registries.conf"]


async def test_a_proxy_that_is_not_there_is_dead_and_one_that_is_there_is_not(tmp_path: Path) -> None:
    async with ClosedPort() as closed, FakeRegistry("proxy", host="127.0.0.2") as proxy:
        unit = f"[Service]\nEnvironment=HTTPS_PROXY={closed.url} HTTP_PROXY={proxy.url}\n"
        lay(tmp_path, {"etc/systemd/system/docker.service": unit})
        here = scene(tmp_path, runtimes=["docker@28.5"], machine=Scripted())
        said = await found(check_proxies, here)
        assert codes(said) == ["PROXY_DEAD"]
        (finding,) = said
        assert finding.subject == "docker"
        assert closed.netloc in finding.what
        assert codes(await found(check_proxies, replace(here, machine=None))) == [], "it is another machine's"


async def test_what_cannot_be_meant_is_said_before_anything_is_looked_at(tmp_path: Path) -> None:
    made = config(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="no such directory"):
        async with scene_of(made, (), root=str(tmp_path / "absent"), clock=SystemClock()):
            pass
    with pytest.raises(RuntimeUnsupported):
        async with scene_of(made, (), root=str(tmp_path), runtimes=["dockerr"], clock=SystemClock()):
            pass


async def test_a_scene_has_what_was_typed_and_the_references_among_it(tmp_path: Path) -> None:
    made = config(tmp_path, "http://127.0.0.1:1")
    async with scene_of(
        made, ("alpine", "Alpine", "alpine"), root=str(tmp_path), clock=SystemClock()
    ) as seen:
        assert isinstance(seen, Scene)
        assert seen.typed == ("alpine", "Alpine", "alpine")
        assert [str(reference) for reference in seen.references] == ["docker.io/library/alpine:latest"]
        assert (seen.machine, seen.store) == (None, None), "nothing is run in a tree that is not this machine"
        assert list(seen.hosts_for("ghcr.io")) == []


def test_no_program_runs_longer_than_there_is_time() -> None:
    asked: list[float] = []

    class Noting(Scripted):
        def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
            asked.append(timeout_seconds)
            return Answer(0)

    clock = ManualClock()
    hurried = Hurried(Noting(during=lambda: None), clock, clock.monotonic() + 10)
    hurried.run(("docker", "info"))
    hurried.run(("docker", "pull"), timeout_seconds=180)
    clock.advance(20)
    hurried.run(("docker", "info"))
    hurried.wait(5)
    assert asked == [5.0, 10.0, 0.1]


async def test_an_address_that_swallows_connections_is_told_from_one_that_refuses_them() -> None:
    async with BlackHole() as hole, ClosedPort() as closed, FakeRegistry("host") as host:
        assert not await answers(hole.host, hole.port, seconds=0.05)
        assert await answers(closed.host, closed.port)
        address, _, port = host.netloc.partition(":")
        assert await answers(address, int(port))
