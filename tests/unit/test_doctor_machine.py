"""Disks, authorities and IPv6, as their files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from disks import as_nobody, mounted
from ordinary import open_directory
from sampan.doctor.contract import Finding, Unseen
from sampan.doctor.machine import check_authorities, check_disk, check_ipv6
from sampan.doctor.machine.disk import Space, judge_space
from scenes import codes, found, lay, scene
from scripted import Scripted

GIB = 1024**3
ROOMY = Space(1, 100 * GIB, 200 * GIB, 1_000_000, is_read_only=False)


@pytest.mark.parametrize(
    ("space", "code"),
    [
        (ROOMY, None),
        (Space(1, 100 * GIB, 200 * GIB, None, is_read_only=False), None),
        (Space(1, 50 * 1024**2, 200 * GIB, 1_000_000, is_read_only=False), "DISK_FULL"),
        (Space(1, 100 * GIB, 200 * GIB, 12, is_read_only=False), "DISK_FULL"),
        (Space(1, GIB, 200 * GIB, 1_000_000, is_read_only=False), "DISK_LOW"),
        (Space(1, 100 * GIB, 200 * GIB, 20_000, is_read_only=False), "DISK_LOW"),
        (Space(1, 100 * GIB, 200 * GIB, 1_000_000, is_read_only=True), "DISK_READ_ONLY"),
    ],
)
def test_a_file_system_is_judged_by_what_it_has_left(space: Space, code: str | None) -> None:
    finding = judge_space(["/var/lib/containerd"], space, kubelet=False)
    assert (finding and finding.code) == code


def test_where_a_kubelet_is_its_share_counts_too() -> None:
    space = Space(1, 10 * GIB, 100 * GIB, None, is_read_only=False)
    assert judge_space(["/x"], space, kubelet=False) is None
    finding = judge_space(["/x"], space, kubelet=True)
    assert finding is not None
    assert (finding.code, finding.level) == ("DISK_LOW", "warning")
    assert "10 %" in finding.what


async def test_the_disk_of_each_runtime_is_asked_and_each_file_system_told_once(tmp_path: Path) -> None:
    lay(tmp_path, {"etc/containerd/config.toml": 'root = "/data/containerd"\n'})
    lay(tmp_path, {"etc/docker/daemon.json": '{"data-root": "/data/docker"}'})
    with mounted(tmp_path / "data", "size=4m"):
        seen = scene(tmp_path, runtimes=["containerd@1.7", "docker@28.5"], machine=Scripted())
        full = [each for each in await found(check_disk, seen) if each.what.startswith("/data")]
    assert codes(full) == ["DISK_FULL"]
    assert full[0].what == "/data/containerd, /data/docker: 4 MiB are free"


async def test_who_may_not_look_at_a_disk_is_told_that_root_may() -> None:
    with open_directory() as root:
        lay(
            root,
            {"etc/docker/daemon.json": '{"data-root": "/data/closed/docker"}', "data/closed/docker/x": ""},
        )
        (root / "data/closed").chmod(0o700)
        with as_nobody():
            (unseen,) = await found(check_disk, scene(root, runtimes=["docker@28.5"], machine=Scripted()))
    assert isinstance(unseen, Unseen)
    assert (unseen.what, unseen.hint) == ("/data/closed/docker: what is left there", "run as root")


async def test_the_disk_under_a_tree_that_is_not_this_machine_is_nobodys(tmp_path: Path) -> None:
    assert await found(check_disk, scene(tmp_path, runtimes=["docker@28.5"])) == []


OS = {"etc/os-release": "ID=debian\n"}
LIST = "etc/ssl/certs/ca-certificates.crt"
ADDED = "usr/local/share/ca-certificates"


def pem(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


async def test_a_system_without_authorities_believes_nobody(tmp_path: Path) -> None:
    assert await found(check_authorities, scene(tmp_path)) == [], "an empty tree is no system"
    lay(tmp_path, OS)
    assert codes(await found(check_authorities, scene(tmp_path))) == ["AUTHORITIES_ABSENT"]
    lay(tmp_path, {LIST: "\n"})
    (finding,) = await found(check_authorities, scene(tmp_path))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.file) == ("AUTHORITIES_ABSENT", f"/{LIST}")
    lay(tmp_path, {LIST: pem("QUJD")})
    assert await found(check_authorities, scene(tmp_path)) == []


async def test_an_authority_that_was_copied_and_not_taken_in_is_named(tmp_path: Path) -> None:
    lay(tmp_path, {**OS, LIST: pem("QUJD") + pem("R0hJ\nSktM")})
    lay(
        tmp_path,
        {f"{ADDED}/known.crt": pem("R0hJSktM"), f"{ADDED}/corp/new.crt": pem("TU5P"), f"{ADDED}/README": ""},
    )
    (finding,) = await found(check_authorities, scene(tmp_path))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level, finding.file) == (
        "AUTHORITY_NOT_INSTALLED",
        "dead",
        f"/{ADDED}/corp/new.crt",
    )
    assert finding.command == ("sudo", "update-ca-certificates")
    (tmp_path / ADDED / "corp/new.crt").rename(tmp_path / ADDED / "corp/new.pem")
    (finding,) = await found(check_authorities, scene(tmp_path))
    assert isinstance(finding, Finding)
    assert "rename it to *.crt" in str(finding.hint)


ADDRESS = "20010db8000000000000000000000001 02 40 00 80     eth0\n".replace("20010db8", "2a0104f8")
UNIQUE_LOCAL = "fd000000000000000000000000000001 02 40 00 80     eth0\n"
NONE = "0" * 32
DEFAULT = (
    f"{NONE} 00 {NONE} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n"
)
REJECTED = f"{NONE} 00 {NONE} 00 {NONE} ffffffff 00000001 00000000 00200200       lo\n"


@pytest.mark.parametrize(
    ("addresses", "routes", "expected"),
    [
        (ADDRESS, REJECTED, ["IPV6_NO_ROUTE"]),
        (ADDRESS, "", ["IPV6_NO_ROUTE"]),
        (ADDRESS, REJECTED + DEFAULT, []),
        (UNIQUE_LOCAL, REJECTED, []),
        ("", REJECTED, []),
    ],
)
async def test_an_address_of_the_wide_world_without_a_way_there_is_noted(
    tmp_path: Path, addresses: str, routes: str, expected: list[str]
) -> None:
    lay(tmp_path, {"proc/self/net/if_inet6": addresses, "proc/self/net/ipv6_route": routes})
    (tmp_path / "proc/net").symlink_to("self/net")
    assert codes(await found(check_ipv6, scene(tmp_path))) == expected
