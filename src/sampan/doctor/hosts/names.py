"""What resolvers say of a host's name: this machine's, and each nameserver by itself.

It asks nobody but the nameservers that it is given; none is built in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from sampan.doctor.contract import Answer
from sampan.runtimes.tree import Tree
from sampan.upstream.nameserver import Nameserver, NameserverError, is_nameserver

RESOLV_CONF = "/etc/resolv.conf"
NAMESERVERS_MAX = 3  # as many as the C library reads


class Asker(Protocol):
    """A nameserver that can be asked."""

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Those of ``name``. Raises NameserverError."""
        ...


def nameservers_of(tree: Tree) -> tuple[Nameserver, ...]:
    """Those that the tree's resolv.conf names, in its order."""
    lines = [line.split() for line in tree.file(RESOLV_CONF).text.splitlines()]
    named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return tuple(Nameserver(address) for address in named if is_nameserver(address))[:NAMESERVERS_MAX]


async def ask_all(nameservers: Sequence[Asker], name: str) -> tuple[Answer, ...]:
    """What each says of ``name``. Nobody is asked for an address, nor for a name of this machine."""
    if _is_address(name) or name == "localhost" or name.endswith(".localhost"):
        return ()
    return tuple(await asyncio.gather(*(_ask(server, name) for server in nameservers)))


async def _ask(server: Asker, name: str) -> Answer:
    try:
        return Answer(str(server), await server.addresses(name))
    except NameserverError as error:
        return Answer(str(server), problem=str(error))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
