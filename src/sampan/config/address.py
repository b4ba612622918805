"""The address a server listens at: ``127.0.0.1:5050``, ``[::1]:5050``, ``:5050``, ``localhost:5050``.

It guarantees a host without brackets and a port in range. It resolves no names: whether a name other
than ``localhost`` is loopback is not known here, so it counts as not.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from sampan.errors import ConfigError, printable

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]{2,60})\]|(?P<name>[A-Za-z0-9._-]{0,253})):(?P<port>[0-9]{1,5})", re.ASCII
)
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` is empty for every interface; ``port`` 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_everywhere(self) -> bool:
        """Whether it means every interface of the machine."""
        return self.host in {"", "0.0.0.0", "::"}

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        return is_loopback(self.host)


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``. Raises :class:`ConfigError`."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > PORT_MAX or not _is_host(match):
        raise ConfigError(
            f'expected HOST:PORT with a port up to {PORT_MAX}, got "{printable(text, characters_max=80)}"',
            hint='as in "127.0.0.1:5050", "[::1]:5050", or ":5050" for every interface',
        )
    return Address((match["v6"] or match["name"] or "").lower(), int(match["port"]))


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without brackets, is this machine as only it sees itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(match: re.Match[str]) -> bool:
    """Whether brackets hold an IPv6 address, and four numbers are an IPv4 address (not 1.2.3.400)."""
    host = match["v6"] or match["name"]
    if match["v6"] is None and not re.fullmatch(r"[0-9.]+", host):
        return True
    try:
        return ipaddress.ip_address(host).version == (6 if match["v6"] else 4)
    except ValueError:
        return False
