"""Which IP addresses may be dialled: the guard against being sent into somebody's own network.

Guarantee: an address passes as public only if it is globally reachable unicast, whatever it is
wrapped in (IPv4-mapped, 6to4, NAT64, Teredo). It knows nothing of names; it is asked with the very
address that is about to be dialled, so a name that resolves twice differently gains nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = IPv4Address | IPv6Address

# What a machine in a cloud asks for its credentials. No configuration opens these.
METADATA = frozenset(ip_address(a) for a in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200"))

# What `private = true` opens.
_PRIVATE_V4 = tuple(
    IPv4Network(n)
    for n in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
    )
)
_PRIVATE_V6 = tuple(IPv6Network(n) for n in ("::1/128", "fc00::/7", "fe80::/10"))

# What nothing opens: no registry can be there. 198.18.0.0/15 is not among them: where registries are
# blocked, many machines run a proxy that answers every name with an address of that range and carries
# what is sent there; nobody's services live in it.
_UNUSABLE_V4 = tuple(
    IPv4Network(n)
    for n in (
        "0.0.0.0/8",  # "this network": Linux takes 0.0.0.0 for loopback
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation, as the two below
        "198.51.100.0/24",
        "203.0.113.0/24",
        "192.88.99.0/24",  # 6to4 relays, retired
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")  # all that IANA gave out; the rest is reserved or special
_UNUSABLE_V6 = tuple(IPv6Network(n) for n in ("2001:db8::/32", "2001:10::/28", "3fff::/20", "100::/64"))
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_IPV4_COMPATIBLE = IPv6Network("::/96")


def is_metadata(address: Address) -> bool:
    """Whether ``address`` is a cloud's metadata service, in any wrapping."""
    return any(a in METADATA for a in (address, *_inner(address)))


def is_private(address: Address) -> bool:
    """Whether ``private = true`` is what opens ``address``: loopback, RFC 1918, 100.64/10, link-local,
    ULA, and what maps to them. False for public addresses, and for those that nothing opens.
    """
    if is_metadata(address):
        return False
    return any(_plainly_private(a) for a in (address, *_inner(address)))


def may_dial(address: Address, *, private: bool) -> bool:
    """Whether a host may be dialled at ``address``; ``private``: it is configured to be private."""
    if is_metadata(address):
        return False
    if private and is_private(address):
        return True
    return _plainly_public(address) and all(_plainly_public(a) for a in _inner(address))


def _plainly_private(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _PRIVATE_V4)
    return any(address in network for network in _PRIVATE_V6)


def _plainly_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in (*_PRIVATE_V4, *_UNUSABLE_V4))
    if address.ipv4_mapped is not None or address in _NAT64:
        return True  # as public as the IPv4 address inside
    return address in _GLOBAL_V6 and not any(address in network for network in _UNUSABLE_V6)


def _inner(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address delivers to."""
    if isinstance(address, IPv4Address):
        return
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo
    elif address in _NAT64 or address in _NAT64_LOCAL or (address in _IPV4_COMPATIBLE and int(low) > 1):
        yield low
