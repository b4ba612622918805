"""Whether somebody listens on a unix socket, and if not, what to do about it.

Guarantees that a socket which is absent, closed to us or left behind by a dead daemon is told apart.
"""

from __future__ import annotations

import socket
from pathlib import Path

from sampan.errors import SinkUnavailable

CONNECT_TIMEOUT_SECONDS = 5.0
SOCKET_PATH_BYTES_MAX = 107  # the kernel's, for the name of a unix socket


def probe(path: Path, *, runtime: str, service: str, absent: str) -> None:
    """Raises SinkUnavailable when nobody can be reached at ``path``.

    ``runtime``: in the words of people; ``service``: systemd's name of it; ``absent``: the hint when
    there is no such socket.
    """
    if len(str(path).encode()) > SOCKET_PATH_BYTES_MAX:
        raise SinkUnavailable(f"the path of {runtime}'s socket is too long: {path}")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_TIMEOUT_SECONDS)
            connection.connect(str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise SinkUnavailable(f"{runtime} is not here: no socket {path}", hint=absent) from None
    except PermissionError:
        raise SinkUnavailable(
            f"no permission for {runtime}'s socket {path}",
            hint="run this as root (sudo sampan pull …) or as a member of the group that owns the socket",
        ) from None
    except ConnectionRefusedError:
        raise SinkUnavailable(
            f"{runtime} is not running: nobody listens on {path}", hint=f"sudo systemctl start {service}"
        ) from None
    except OSError as error:
        raise SinkUnavailable(f"cannot reach {runtime} on {path}: {error.strerror or error}") from error
