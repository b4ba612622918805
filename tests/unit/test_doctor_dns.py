"""What names mean to each nameserver, and what /etc/hosts makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.doctor.contract import Answer, Finding
from sampan.doctor.machine import check_dns
from sampan.errors import Unreachable
from sampan.oci import Reference
from sampan.upstream.host import Host
from scenes import Reports, found, lay, report, scene

ALPINE = Reference.parse("alpine:3")
HUB = Host.from_url("https://registry-1.docker.io")
INSIDE = Host.from_url("https://mirror.lan", private=True)
SYSTEM, FIRST, SECOND = "system", "10.0.0.1", "10.0.0.2"


async def about(root: Path, *answers: Answer, host: Host = HUB, good: bool = False) -> list[Finding]:
    error = None if good else Unreachable(f"{host.name}: no address", outcome="dns")
    probe = Reports({host.name: report(host, ALPINE, error, answers=answers)})
    seen = scene(root, "alpine:3", hosts=[host], probe=probe)
    return [each for each in await found(check_dns, seen) if isinstance(each, Finding)]


@pytest.mark.row("N3")
async def test_nameservers_that_all_keep_silent_are_dead(tmp_path: Path) -> None:
    said = [Answer(SYSTEM, problem="no answer"), Answer(FIRST, problem="no answer")]
    (finding,) = await about(tmp_path, *said, Answer(SECOND, problem="refused: nothing listens there"))
    assert (finding.code, finding.level, finding.file) == ("DNS_DEAD", "error", "/etc/resolv.conf")
    assert finding.evidence == ("10.0.0.1: no answer", "10.0.0.2: refused: nothing listens there")


async def test_one_that_is_silent_beside_others_costs_time(tmp_path: Path) -> None:
    said = [Answer(FIRST, problem="no answer"), Answer(SECOND, ("93.184.215.14",))]
    (finding,) = await about(tmp_path, *said)
    assert (finding.code, finding.level) == ("DNS_SERVER_DEAD", "warning")


async def test_a_name_that_does_not_exist_is_an_answer(tmp_path: Path) -> None:
    assert await about(tmp_path, Answer(FIRST, problem="NXDOMAIN")) == []


@pytest.mark.parametrize(
    "address", ["31.13.94.37", "108.160.169.181", "2a03:2880:f10e::1", "0.0.0.0", "127.0.0.1"]
)
@pytest.mark.row("N4")
async def test_an_address_where_no_registry_is_was_forged(tmp_path: Path, address: str) -> None:
    (finding,) = await about(tmp_path, Answer(SYSTEM, (address,)))
    assert (finding.code, finding.level, finding.subject) == ("DNS_FORGED", "error", HUB.name)
    assert finding.evidence == (f"system: {address}",)


@pytest.mark.parametrize("address", ["93.184.215.14", "10.1.2.3", "198.18.0.7"])
async def test_an_address_where_a_registry_may_be_was_not(tmp_path: Path, address: str) -> None:
    assert await about(tmp_path, Answer(SYSTEM, (address,))) == []


async def test_a_host_that_is_meant_to_be_on_this_machine_is_not_forged(tmp_path: Path) -> None:
    assert await about(tmp_path, Answer(SYSTEM, ("127.0.0.1",)), host=INSIDE) == []


async def test_servers_that_differ_matter_where_the_host_cannot_be_talked_to(tmp_path: Path) -> None:
    said = [Answer(SYSTEM, ("93.184.215.14",)), Answer(FIRST, ("93.184.216.34",))]
    assert [finding.code for finding in await about(tmp_path, *said)] == ["DNS_DIFFERS"]
    assert await about(tmp_path, *said, good=True) == []
    assert await about(tmp_path, *said, Answer(SECOND, ("93.184.215.14", "93.184.216.34"))) != []
    assert await about(tmp_path, said[0], Answer(FIRST, ("93.184.216.34", "93.184.215.14"))) == []


async def test_a_forgotten_line_of_etc_hosts_is_named_with_its_line(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"etc/hosts": "127.0.0.1 localhost\n# helped in 2021\n104.18.121.25\tregistry-1.docker.io\n"},
    )
    (finding,) = await about(tmp_path)
    assert (finding.code, finding.level) == ("DNS_PINNED", "warning")
    assert (finding.file, finding.line) == ("/etc/hosts", 3)
    (finding,) = await about(tmp_path, good=True)
    assert finding.level == "note"
