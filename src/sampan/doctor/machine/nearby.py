"""Which hosts are inside, as far as names tell: those that no proxy of the outside reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from sampan.runtimes.tree import Tree
from sampan.upstream.addresses import Address, is_private
from sampan.upstream.url import Url

HOSTS = "/etc/hosts"
# Endings that no registrar gives out: RFC 6762, RFC 8375, what ICANN keeps back, and Kubernetes' own.
_INSIDE = ("lan", "local", "internal", "intranet", "corp", "home", "home.arpa", "localdomain", "svc")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A name that /etc/hosts gives an address, and the line."""

    address: Address
    line: int


@dataclass(frozen=True, slots=True)
class Nearby:
    """The names of the tree's /etc/hosts; of several lines the first counts."""

    pinned: Mapping[str, Pinned] = field(default_factory=dict)

    def is_near(self, url: Url) -> bool:
        """Whether it is on this machine or in its own network, by its name alone: nothing is asked."""
        if url.address is not None:
            return is_private(url.address)
        if url.host in self.pinned:
            return is_private(self.pinned[url.host].address)
        return "." not in url.host or url.host.endswith(tuple(f".{ending}" for ending in _INSIDE))


def nearby(tree: Tree) -> Nearby:
    """As the tree's /etc/hosts has it."""
    found: dict[str, Pinned] = {}
    for number, line in enumerate(tree.file(HOSTS).text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        address = _address(words[0]) if words else None
        for name in words[1:] if address is not None else ():
            assert address is not None
            found.setdefault(name.lower().rstrip("."), Pinned(address, number))
    return Nearby(found)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
