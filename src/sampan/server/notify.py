"""What systemd is told of a server: that it is ready, reads its configuration anew, ends.

The protocol of sd_notify(3), a datagram each. Guarantees that a supervisor who is not there, or does not
listen, costs the server nothing but a line in its log.
"""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass

SEND_SECONDS_MAX = 1.0  # systemd reads within microseconds; its queue is full only when it hangs

_log = logging.getLogger("sampan.server")


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Whoever started the server and waits for word at ``address``, the value of $NOTIFY_SOCKET: a path, or
    with ``@`` before it a name that is none. None: nobody."""

    address: str | None = None

    def ready(self, url: str) -> None:
        """It serves at ``url``, by the configuration that it has: after a start, and after a reload."""
        self._say("READY=1", f"STATUS=serving at {url}")

    def reloading(self) -> None:
        """It reads its configuration anew; :meth:`ready` says when that is over."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It takes no more requests, and ends when those under way are answered."""
        self._say("STOPPING=1", "STATUS=answering what is under way")

    def _say(self, *lines: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(SEND_SECONDS_MAX)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warning("cannot tell the supervisor %s: %s", lines[0], error.strerror or error)
