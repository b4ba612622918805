"""What a server is told before it starts: where it listens, who may ask, and its limits.

Guarantees that a server open to other machines asks for a login, unless its owner said in so many words
that anyone may use it. Reading configuration files is not done here.
"""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass, field

from sampan.errors import ConfigError

LOG_FORMATS = ("text", "json", "none")

# Each costs a file descriptor or two and some 20 KiB. A node keeps a handful open during a pull.
CONNECTIONS_MAX = 2048
# From a connection's first byte, or the end of an answer, to the end of the next request's head: what a
# slow or silent client is given. Clients of registries send a head in one packet.
REQUEST_HEAD_SECONDS = 30.0
# containerd gives up after this long without a byte; a client that takes none for as long is gone too.
STALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``port`` 0: any free one. ``instance`` names this process in the loop header.

    Raises :class:`ConfigError` for a combination that must not run.
    """

    host: str = "127.0.0.1"
    port: int = 5050
    tls_cert: str | None = None
    tls_key: str | None = None
    htpasswd: str | None = None
    anonymous: bool = False
    log_format: str = "text"
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    connections_max: int = CONNECTIONS_MAX
    request_head_seconds: float = REQUEST_HEAD_SECONDS
    stall_seconds: float = STALL_SECONDS

    def __post_init__(self) -> None:
        if not (is_loopback(self.host) or self.htpasswd or self.anonymous):
            raise ConfigError(
                f"server.listen {self.host}:{self.port} is open to other machines, but nobody must log in",
                hint="set server.htpasswd, or server.anonymous = true if anyone may use it",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("server.tls_cert and server.tls_key go together: one of them is missing")
        if len(self.instance) < 8:  # it is looked for in a header: a short one could be found by chance
            raise ConfigError("the instance's name is too short")
        if self.log_format not in LOG_FORMATS:
            raise ConfigError(f"unknown log format {self.log_format!r}, expected one of {LOG_FORMATS}")


def is_loopback(host: str) -> bool:
    """Is ``host`` a name or an address that only this machine can reach? An empty one is every address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
