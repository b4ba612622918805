"""IPv6 that is there by half: an address, and no way out.

A program that has an address of the wide world tries the wide world by it. Without a route that fails at
once and costs nothing; where routers say there is a way and there is none, each connection waits for it.
Nothing is configured here: /proc says it, of this machine as of a tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address

from sampan.doctor.contract import Finding, HostReport, Scene, Unseen
from sampan.doctor.looks import look_at_all
from sampan.runtimes.tree import Tree
from sampan.upstream.addresses import may_dial
from sampan.words import sentence

ADDRESSES, ROUTES = "/proc/net/if_inet6", "/proc/net/ipv6_route"
CONNECT_SECONDS = 3.0
SUBJECT = "ipv6"
_LOOPBACK = "lo"
_REJECT = 0x0200  # RTF_REJECT: a route that says that there is none
_WIDE_WORLD = IPv6Network("2000::/3")


async def check_ipv6(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Whether addresses of the wide world lead there."""
    own = _addresses(scene.tree)
    if not own:
        return
    if not _has_default_route(scene.tree):
        yield Finding(
            "IPV6_NO_ROUTE",
            SUBJECT,
            sentence("this machine has an IPv6 address and no route to anywhere"),
            "note",
            tuple(map(str, own)),
            sentence("programs try it, fail at once and go on with IPv4"),
        )
        return
    for report in _first_with_both(await look_at_all(scene)) if scene.machine is not None else ():
        address = next(each for each in report.addresses if ":" in each)
        if not await answers(address, report.host.base.port):
            yield _black_hole(report, address)


def _black_hole(report: HostReport, address: str) -> Finding:
    what = sentence(
        "{host} is reached by IPv4, and at {address} not within {seconds} s",
        host=report.host.name,
        address=address,
        seconds=f"{CONNECT_SECONDS:g}",
    )
    return Finding(
        "IPV6_BLACK_HOLE",
        SUBJECT,
        what,
        "warning",
        why=sentence("what tries IPv6 first waits there at every connection"),
        hint=sentence("have IPv6 routed, or switched off on this machine"),
        command=("sudo", "sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1"),
    )


def _addresses(tree: Tree) -> list[IPv6Address]:
    """Those of the wide world; private ones (fc00::/7) promise nothing."""
    found = []
    for line in tree.file(ADDRESSES).text.splitlines():
        words = line.split()
        if len(words) == 6 and len(words[0]) == 32 and words[5] != _LOOPBACK:
            address = IPv6Address(int(words[0], 16))
            found += [address] if address in _WIDE_WORLD else []
    return found


def _has_default_route(tree: Tree) -> bool:
    rows = (line.split() for line in tree.file(ROUTES).text.splitlines())
    return any(_leads_everywhere(row) for row in rows if len(row) == 10 and row[9] != _LOOPBACK)


def _leads_everywhere(row: Sequence[str]) -> bool:
    destination, length, flags = (int(row[column], 16) for column in (0, 1, 8))
    return destination == length == 0 and not flags & _REJECT


def _first_with_both(reports: Sequence[HostReport]) -> list[HostReport]:
    """One host that is reached and has addresses of both kinds: one connection is enough to know."""
    for report in reports:
        connected = report.step("connect")
        kinds = {":" in each for each in report.addresses}
        if connected is not None and connected.outcome == "ok" and len(kinds) == 2:
            six = next(ip_address(each) for each in report.addresses if ":" in each)
            if may_dial(six, private=report.host.private):
                return [report]
    return []


async def answers(address: str, port: int, *, seconds: float = CONNECT_SECONDS) -> bool:
    """Whether a connection is made or refused within ``seconds``: whoever tries then knows, and goes on."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return False
    except OSError:  # refused or unroutable
        return True
    writer.close()
    return True
