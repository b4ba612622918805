"""What names mean here: servers that are dead, answers that are forged, and lines that somebody forgot.

It asks nobody by itself: whoever looks at a host notes what this machine and each of its nameservers say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from sampan.doctor.contract import Answer, Finding, HostReport, Scene, Unseen
from sampan.doctor.looks import look_at_all
from sampan.doctor.machine.nearby import HOSTS, nearby
from sampan.upstream.addresses import Address, may_dial
from sampan.words import sentence

SUBJECT = "dns"
SYSTEM = "system"  # the source of what this machine's own resolver says
RESOLV_CONF = "/etc/resolv.conf"
# What forged answers were seen to give: addresses of services that are blocked themselves, so that whoever
# is sent there finds nobody. Seen in reports of 2019 to 2025; it is no complete list.
FORGED = tuple(
    ip_network(text)
    for text in (
        "31.13.64.0/18",
        "66.220.144.0/20",
        "69.63.176.0/20",
        "69.171.224.0/19",
        "103.252.114.0/23",
        "157.240.0.0/16",
        "173.252.64.0/18",
        "108.160.160.0/20",
        "162.125.0.0/16",
        "199.16.156.0/22",
        "199.59.148.0/22",
        "199.96.56.0/21",
        "104.244.40.0/21",
        "2a03:2880::/32",
        "2001::/32",
    )
)


async def check_dns(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What the nameservers and /etc/hosts say of the hosts."""
    reports = await look_at_all(scene)
    for finding in (*_pinned(scene, reports), *answers_findings(reports)):
        yield finding


def answers_findings(reports: Sequence[HostReport]) -> tuple[Finding, ...]:
    """What is wrong with the answers that ``reports`` hold."""
    return (*_dead(reports), *_forged(reports), *_differing(reports))


def is_misled(report: HostReport) -> bool:
    """Whether this machine is told that the host is where it cannot be: what follows is no fault of it."""
    return any(_is_forged(address, report) for address in report.addresses)


def _asked(reports: Sequence[HostReport]) -> Mapping[str, tuple[HostReport, Sequence[Answer]]]:
    """By name, what was said of it."""
    return {report.host.base.host: (report, report.answers) for report in reports if report.answers}


def _dead(reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Nameservers that say nothing of any name."""
    servers: dict[str, list[Answer]] = {}
    for _, answers in _asked(reports).values():
        for answer in answers:
            if answer.source != SYSTEM:
                servers.setdefault(answer.source, []).append(answer)
    dead = {server: each[0].problem for server, each in servers.items() if not any(map(_is_said, each))}
    if not dead:
        return
    all_dead = len(dead) == len(servers)
    what = sentence("no nameserver answers") if all_dead else sentence("a nameserver does not answer")
    why = sentence("no host has an address then, whichever is asked")
    if not all_dead:
        why = sentence("each name that it is asked first for costs seconds")
    yield Finding(
        "DNS_DEAD" if all_dead else "DNS_SERVER_DEAD",
        SUBJECT,
        what,
        "error" if all_dead else "warning",
        tuple(f"{server}: {problem}" for server, problem in dead.items()),
        why,
        sentence("name one that answers in {file}, or in what writes that file", file=RESOLV_CONF),
        file=RESOLV_CONF,
    )


def _is_said(answer: Answer) -> bool:
    """Whether somebody is there: that a name does not exist is an answer too."""
    return bool(answer.addresses) or answer.problem in ("NXDOMAIN", "no address")


def _forged(reports: Sequence[HostReport]) -> Iterator[Finding]:
    for name, (report, answers) in _asked(reports).items():
        bad = [(a.source, each) for a in answers for each in a.addresses if _is_forged(each, report)]
        if not bad:
            continue
        yield Finding(
            "DNS_FORGED",
            name,
            sentence("its name is answered with an address where it cannot be"),
            "error",
            tuple(f"{source}: {address}" for source, address in bad),
            sentence("somebody on the way answers in the place of the nameserver, so that you find nobody"),
            sentence(
                "use a mirror that is reached from here, or a nameserver by an encrypted way (DoH, DoT)"
            ),
            ("sampan", "mirrors", "test"),
        )


def _is_forged(text: str, report: HostReport) -> bool:
    """Whether a host of the wide world cannot be there. A private address is for whoever dials to judge."""
    address: Address = ip_address(text)
    if any(address in network for network in FORGED):
        return True
    return not report.host.private and (address.is_loopback or not may_dial(address, private=True))


def _differing(reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Servers that have no address in common, for a host that cannot be talked to. Networks that bring
    content near answer everybody differently, so that alone means nothing."""
    for name, (report, answers) in _asked(reports).items():
        given = {answer.source: set(answer.addresses) for answer in answers if answer.addresses}
        common = set.intersection(*given.values()) if given else set()
        if (
            report.is_good
            or len(given) < 2
            or common
            or any(_is_forged(a, report) for s in given.values() for a in s)
        ):
            continue
        yield Finding(
            "DNS_DIFFERS",
            name,
            sentence("its name means something else to each nameserver, and it cannot be talked to"),
            "warning",
            tuple(f"{source}: {', '.join(sorted(addresses))}" for source, addresses in given.items()),
            sentence("one of them may be wrong or forged"),
            sentence("see whose certificate is shown at each address"),
        )


def _pinned(scene: Scene, reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Lines of /etc/hosts that once helped."""
    pinned = nearby(scene.tree).pinned
    for name, report in {report.host.base.host: report for report in reports}.items():
        if name not in pinned or pinned[name].address.is_loopback:
            continue
        yield Finding(
            "DNS_PINNED",
            name,
            sentence("{file} gives it the address {address}", file=HOSTS, address=pinned[name].address),
            "note" if report.is_good else "warning",
            why=sentence("such a line outlives the address: hosts move, and nobody asks a nameserver"),
            hint=sentence("take the line out, and see whether it goes without"),
            file=HOSTS,
            line=pinned[name].line,
        )
