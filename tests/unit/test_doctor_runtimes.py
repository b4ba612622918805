"""Daemons and their logs, what mends a file, and images that go past all mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from disks import as_nobody
from ordinary import open_directory
from sampan.doctor.chain import check_chain
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.runtimes import check_daemons, check_logs, check_runtimes, check_scope
from sampan.doctor.runtimes.logs import LINES_MAX
from sampan.doctor.verdict import judge
from sampan.errors import Unreachable
from sampan.oci import Reference
from sampan.testing import ManualClock
from sampan.upstream.host import Host
from scenes import Reports, codes, found, lay, report, scene
from scripted import Scripted

SOCKET = "run/docker.sock"
LOG = "var/log/containerd.log"
NOW = 1_750_000_000.0  # 2025-06-15T15:06:40Z
RECENT, OLD = "2025-06-15T15:00:00.123456789Z", "2025-06-15T09:00:00Z"


def process(name: str) -> dict[str, str]:
    return {"proc/42/comm": f"{name}\n", "proc/42/cmdline": f"{name}\0", "proc/42/environ": "A=b\0"}


def told(*lines: str, at: str = RECENT) -> str:
    return "".join(f'time="{at}" level=info {line}\n' for line in lines)


# -- daemons --------------------------------------------------------------------------------------


async def test_a_daemon_that_does_not_run_matters_when_no_other_does(tmp_path: Path) -> None:
    answers = {"docker": {"version": "Docker version 28.5.2"}, "containerd": {"version": "containerd 1.7.27"}}
    stopped = scene(tmp_path, runtimes=["docker", "containerd"], answers=answers, machine=Scripted())
    said = await found(check_daemons, stopped)
    assert [(each.code, each.level) for each in said if isinstance(each, Finding)] == [
        ("DAEMON_DOWN", "error"),
        ("DAEMON_DOWN", "error"),
    ]
    lay(tmp_path, process("containerd"))
    said = await found(check_daemons, stopped)
    assert [(each.subject, each.level) for each in said if isinstance(each, Finding)] == [("docker", "note")]


async def test_one_that_runs_and_does_not_answer_root_is_silent(tmp_path: Path) -> None:
    lay(tmp_path, {SOCKET: "", **process("dockerd")})
    silent = scene(tmp_path, runtimes=["docker@28.5"], machine=Scripted())
    assert codes(await found(check_daemons, silent)) == ["DAEMON_SILENT"]


async def test_anybody_else_is_told_that_root_would_see_more() -> None:
    with open_directory() as root:
        lay(root, {SOCKET: "", **process("dockerd")})
        silent = scene(root, runtimes=["docker@28.5"], machine=Scripted())
        with as_nobody():
            (unseen,) = await found(check_daemons, silent)
    assert isinstance(unseen, Unseen)
    assert unseen.hint == "run as root"


async def test_the_daemons_of_a_tree_that_is_not_this_machine_need_not_run(tmp_path: Path) -> None:
    assert await found(check_daemons, scene(tmp_path, runtimes=["docker@28.5"])) == []


# -- logs -----------------------------------------------------------------------------------------

NEXT = (
    'msg="trying next host" error="failed to do request: Head \\"https://m.lan/v2/library/alpine/manifests/3'
    '?ns=docker.io\\": dial tcp: i/o timeout" host=m.lan'
)
FAILED = 'msg="trying next host after status: 502 Bad Gateway" host=m.lan'
LACKS = 'msg="trying next host - response was http.StatusNotFound" host=m.lan'
DROPPED = 'msg="failed to decode /etc/containerd/certs.d/docker.io/hosts.toml" error="toml: expected"'
PLUGIN = 'msg="failed to load plugin io.containerd.grpc.v1.cri" error="`mirrors` cannot be set"'
START = 'msg="starting containerd" revision=1 version=1.7.27'


async def logged(root: Path, text: str) -> Sequence[Finding | Unseen]:
    lay(root, {LOG: text})
    return await found(check_logs, scene(root, runtimes=["containerd@1.7.27"], clock=ManualClock(NOW)))


async def test_hosts_that_were_left_are_counted_with_their_last_error(tmp_path: Path) -> None:
    (finding,) = await logged(tmp_path, told(NEXT, FAILED, LACKS))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level) == ("LOG_HOST_LEFT", "note")
    assert finding.evidence == ("m.lan: 2 ×, trying next host after status: 502 Bad Gateway",)
    (finding,) = await logged(tmp_path, told(FAILED, FAILED, FAILED))
    assert isinstance(finding, Finding)
    assert finding.level == "warning", "a host that fails again and again wavers"


@pytest.mark.parametrize(
    "text", ["", told(LACKS, LACKS, LACKS), told(FAILED, at=OLD), "not a line\n\x1b[31m"]
)
async def test_hosts_that_lack_an_image_and_what_is_long_past_do_not_matter(
    tmp_path: Path, text: str
) -> None:
    assert await logged(tmp_path, text) == []


async def test_secrets_and_control_characters_of_a_log_are_not_shown(tmp_path: Path) -> None:
    url = "https://me:secret@m/v2/?token=secret"
    line = f'msg="trying next host" error="Get \\"{url}\\": \x1b[2J" host="m\x1b[31m"'
    (finding,) = await logged(tmp_path, told(line))
    assert "secret" not in repr(finding)
    assert isinstance(finding, Finding)
    assert "\x1b" not in "".join(finding.evidence)


async def test_a_file_that_was_thrown_away_is_named(tmp_path: Path) -> None:
    (finding,) = await logged(tmp_path, told(DROPPED))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level) == ("LOG_FILE_DROPPED", "note")
    assert "docker.io/hosts.toml" in finding.evidence[0]


async def test_a_plugin_that_failed_counts_until_the_next_start(tmp_path: Path) -> None:
    (finding,) = await logged(tmp_path, told(START, PLUGIN))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level) == ("LOG_PLUGIN_FAILED", "error")
    assert await logged(tmp_path, told(START, PLUGIN, START)) == []


async def test_the_end_of_a_large_log_is_read_alone(tmp_path: Path) -> None:
    text = told(FAILED) + "x" * (2 * 1024 * 1024) + "\n" + told(NEXT)
    (finding,) = await logged(tmp_path, text)
    assert isinstance(finding, Finding)
    assert finding.evidence[0].startswith("m.lan: 1 ×")


async def test_the_journal_is_asked_where_there_is_one(tmp_path: Path) -> None:
    lay(tmp_path, {"etc/systemd/system/docker.service": "[Service]\n", "run/systemd/system/x": ""})
    line = (
        'level=warning msg="Attempting next endpoint for pull after error: Get \\"https://m.lan/v2/\\": EOF"'
    )
    machine = Scripted(output=f"{line}\n-- No entries --\n")
    (finding,) = await found(check_logs, scene(tmp_path, runtimes=["docker@28.5"], machine=machine))
    assert isinstance(finding, Finding)
    assert finding.evidence[0].startswith("m.lan: 1 ×")
    assert f"--lines={LINES_MAX}" in machine.ran[0]


# -- files ----------------------------------------------------------------------------------------


def typo(root: Path) -> Scene:
    lay(root, {"etc/docker/daemon.json": '{\n"registry-mirror": ["x"]\n}\n'})
    return scene(root, runtimes=["docker@28.5"])


async def test_apply_is_the_command_where_it_is_seen_to_mend(tmp_path: Path) -> None:
    one = typo(tmp_path)
    (finding,) = await found(check_runtimes, one)
    assert isinstance(finding, Finding)
    assert finding.command == ()
    (finding,) = await found(check_runtimes, replace(one, after=lambda _: []))
    assert isinstance(finding, Finding)
    assert finding.command == ("sudo", "sampan", "node", "apply")
    (finding,) = await found(check_runtimes, replace(one, after=lambda seen: seen.status.findings))
    assert isinstance(finding, Finding)
    assert finding.command == ()


async def test_a_file_that_may_not_be_read_is_unseen_and_no_fault() -> None:
    with open_directory() as root:
        lay(root, {"etc/docker/daemon.json": "{}"})
        (root / "etc/docker/daemon.json").chmod(0)
        with as_nobody():
            said = await found(check_runtimes, scene(root, runtimes=["docker@28.5"]))
    assert [type(each) for each in said] == [Unseen]
    assert judge([each for each in said if isinstance(each, Finding)]).is_healthy


# -- scope ----------------------------------------------------------------------------------------

GHCR = Host.from_url("https://ghcr.io", role="origin")


@pytest.mark.parametrize(("good", "level"), [(True, "note"), (False, "warning")])
async def test_mirrors_of_docker_hub_are_no_mirrors_of_another_registry(
    tmp_path: Path, good: bool, level: str
) -> None:
    lay(tmp_path, {"etc/docker/daemon.json": '{"registry-mirrors": ["https://m"]}'})
    image = Reference.parse("ghcr.io/a/b:1")
    error = None if good else Unreachable("ghcr.io: no way", outcome="connect-timeout")
    probe = Reports({GHCR.name: report(GHCR, image, error)})
    asked = scene(tmp_path, str(image), runtimes=["docker@28.5"], hosts=[GHCR], probe=probe)
    (finding,) = await found(check_scope, asked)
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level) == ("DOCKER_MIRRORS_HUB_ALONE", level)
    assert await found(check_scope, scene(tmp_path, "alpine", runtimes=["docker@28.5"], hosts=[GHCR])) == []
    lay(tmp_path, {"etc/docker/daemon.json": "{}"})
    assert await found(check_scope, scene(tmp_path, str(image), runtimes=["docker@28.5"], hosts=[GHCR])) == []


async def test_of_a_runtime_that_is_seen_in_part_nothing_is_foretold() -> None:
    with open_directory() as root:
        lay(root, {"etc/containers/registries.conf": "[[registry]]\nlocation = 'm.example'\n"})
        (root / "etc/containers/registries.conf").chmod(0)
        with as_nobody():
            hidden = scene(root, "docker.io/library/alpine:3", runtimes=["podman@5.4"])
            assert await found(check_chain, hidden) == []
        assert [seen.is_hidden for seen in hidden.runtimes] == [True]
