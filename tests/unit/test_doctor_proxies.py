"""Proxies as each daemon has them: by its unit, by its process, by daemon.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.doctor.contract import Finding, Unseen
from sampan.doctor.daemons import running_of
from sampan.doctor.machine import check_proxies
from sampan.runtimes.tree import Tree
from sampan.runtimes.unit_variables import variables_of
from scenes import codes, found, lay, scene

UNIT = "lib/systemd/system/containerd.service"
DROP_IN = "etc/systemd/system/containerd.service.d/proxy.conf"
HOSTS_TOML = "etc/containerd/certs.d/docker.io/hosts.toml"
START = "[Service]\nExecStart=/usr/bin/containerd\n"
PROXY = "http://proxy.corp:3128"
CONTAINERD = {
    UNIT: START,
    "etc/containerd/config.toml": 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
    'config_path = "/etc/containerd/certs.d"\n',
    HOSTS_TOML: '[host."https://harbor.lan"]\n[host."https://mirror.example"]\n[host."http://127.0.0.1:5050"]\n',
}


def process(name: str, environ: dict[str, str], number: int = 42) -> dict[str, str]:
    """The files of a running daemon."""
    joined = "".join(f"{key}={value}\0" for key, value in environ.items())
    place = f"proc/{number}"
    return {
        f"{place}/comm": f"{name}\n",
        f"{place}/cmdline": f"/usr/bin/{name}\0",
        f"{place}/environ": joined,
    }


def drop_in(*lines: str) -> dict[str, str]:
    return {DROP_IN: "\n".join(["[Service]", *lines, ""])}


async def about(
    root: Path,
    *files: dict[str, str],
    environ: dict[str, str] | None = None,
    runtime: str = "containerd@1.7.27",
) -> list[Finding | Unseen]:
    lay(root, CONTAINERD)
    for each in files:
        lay(root, each)
    return await found(check_proxies, scene(root, runtimes=[runtime], environ=environ))


async def test_a_host_of_the_own_network_that_goes_through_the_proxy_is_named(tmp_path: Path) -> None:
    said = await about(tmp_path, drop_in("# by IT", f"Environment=HTTPS_PROXY={PROXY} NO_PROXY=10.0.0.0/8"))
    assert codes(said) == ["PROXY_WITHOUT_NO_PROXY"]
    (finding,) = said
    assert isinstance(finding, Finding)
    assert "harbor.lan" in finding.what
    assert "proxy.corp:3128" in finding.what
    assert finding.evidence == ("NO_PROXY=10.0.0.0/8",)
    assert (finding.file, finding.line) == (f"/{DROP_IN}", 3)
    assert finding.command[-1] == "systemctl daemon-reload && systemctl restart containerd.service"


@pytest.mark.parametrize("excepted", ["harbor.lan", ".lan", "*.lan", "*", "harbor.lan:443"])
async def test_one_that_no_proxy_names_is_not(tmp_path: Path, excepted: str) -> None:
    line = f'Environment="HTTPS_PROXY={PROXY}" "NO_PROXY=localhost,{excepted}"'
    assert await about(tmp_path, drop_in(line)) == []


async def test_what_the_process_has_counts_and_what_the_unit_says_since_is_not_in_force(
    tmp_path: Path,
) -> None:
    running = process("containerd", {"INVOCATION_ID": "1", "HTTPS_PROXY": PROXY, "NO_PROXY": "harbor.lan"})
    said = await about(tmp_path, drop_in("Environment=HTTPS_PROXY=http://other:3128"), running)
    assert codes(said) == ["PROXY_NOT_IN_FORCE", "PROXY_NOT_IN_FORCE"]
    assert [each.what for each in said] == [
        "its unit has another HTTPS_PROXY than the running daemon",
        "its unit has another NO_PROXY than the running daemon",
    ]
    assert isinstance(said[0], Finding)
    assert (said[0].file, said[0].line, said[0].level) == (f"/{DROP_IN}", 2, "dead")


async def test_one_that_was_started_by_hand_owes_its_unit_nothing(tmp_path: Path) -> None:
    assert (
        await about(
            tmp_path, drop_in("Environment=HTTPS_PROXY=http://p:1"), process("containerd", {"A": "b"})
        )
        == []
    )


async def test_the_containerd_of_docker_is_not_taken_for_that_of_the_machine(tmp_path: Path) -> None:
    kept = process("containerd", {"HTTPS_PROXY": PROXY}, number=7)
    kept["proc/7/cmdline"] = "containerd\0--config\0/var/run/docker/containerd/containerd.toml\0"
    assert await about(tmp_path, kept) == []


async def test_a_command_that_somebody_gives_is_no_daemon(tmp_path: Path) -> None:
    given = process("podman", {"HTTPS_PROXY": PROXY})
    lay(tmp_path, {"etc/systemd/system/podman.service": "[Service]\n", **given})
    (running,) = running_of(Tree(tmp_path), ["podman"])
    assert running.process is None
    lay(tmp_path, {"proc/42/cmdline": "/usr/bin/podman\0system\0service\0"})
    (running,) = running_of(Tree(tmp_path), ["podman"])
    assert running.process is not None
    assert running.process.number == 42


async def test_a_proxy_of_the_shell_alone_is_said_to_be_that(tmp_path: Path) -> None:
    said = await about(tmp_path, environ={"https_proxy": PROXY})
    assert codes(said) == ["PROXY_OF_SHELL_ALONE"]
    assert (
        await about(tmp_path, drop_in(f"Environment=HTTPS_PROXY={PROXY}", "Environment=NO_PROXY=.lan")) == []
    )


async def test_all_proxy_is_read_by_no_daemon(tmp_path: Path) -> None:
    assert codes(await about(tmp_path, drop_in(f"Environment=ALL_PROXY={PROXY}"))) == ["PROXY_ALL_IGNORED"]


async def test_what_is_no_proxy_is_told_without_its_password(tmp_path: Path) -> None:
    said = await about(tmp_path, drop_in("Environment=HTTPS_PROXY=ftp://me:secret@proxy"))
    assert codes(said) == ["PROXY_INVALID"]
    assert "secret" not in repr(said)


async def test_daemon_json_stands_above_the_environment_of_docker(tmp_path: Path) -> None:
    files = {
        "lib/systemd/system/docker.service": "[Service]\nEnvironment=NO_PROXY=.lan\n",
        "etc/docker/daemon.json": '{"registry-mirrors": ["https://harbor.lan"], '
        f'"proxies": {{"https-proxy": "{PROXY}", "no-proxy": "other"}}}}',
    }
    said = await about(tmp_path, files, runtime="docker@28.5.0")
    assert codes(said) == ["PROXY_WITHOUT_NO_PROXY"]
    lay(tmp_path, {"etc/docker/daemon.json": files["etc/docker/daemon.json"].replace("other", "harbor.lan")})
    assert await found(check_proxies, scene(tmp_path, runtimes=["docker@28.5.0"])) == []


async def test_a_name_that_etc_hosts_keeps_inside_is_inside(tmp_path: Path) -> None:
    lay(tmp_path, {"etc/hosts": "10.1.2.3 mirror.example\n"})
    said = await about(tmp_path, drop_in(f"Environment=HTTPS_PROXY={PROXY}", "Environment=NO_PROXY=.lan"))
    assert ["mirror.example" in each.what for each in said] == [True]


def test_the_files_of_a_unit_count_as_they_do_for_systemd(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "etc/systemd/system.conf": "[Manager]\nDefaultEnvironment=A=manager B=manager\n",
            "usr/lib/systemd/system/x.service": "[Service]\nEnvironment=A=unit 'C=with space' \\\n  D=unit\n"
            "EnvironmentFile=-/etc/default/%N\n#Environment=E=comment\n",
            "etc/systemd/system/x.service.d/10.conf": "[Service]\nEnvironment=D=drop-in\n"
            "UnsetEnvironment=B\n",
            "etc/default/x": "# words\nexport A='file'\nF=plain\nnot an assignment\n",
        },
    )
    variables = variables_of(Tree(tmp_path), "x.service")
    values = {name: variable.value for name, variable in variables.items()}
    assert values == {"A": "file", "C": "with space", "D": "drop-in", "F": "plain"}
    assert (variables["C"].file, variables["C"].line) == ("/usr/lib/systemd/system/x.service", 2)
    assert "drop-in" not in repr(variables["D"])
    lay(tmp_path, {"etc/systemd/system/x.service.d/20.conf": "[Service]\nEnvironment=\nEnvironmentFile=\n"})
    assert dict(variables_of(Tree(tmp_path), "x.service")) == {}
    assert variables_of(Tree(tmp_path), "absent.service") == {}
