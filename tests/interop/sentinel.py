"""A proxy that refuses everything and remembers who asked: the proof that tests stay on loopback.

Every program of the interop tests is told to use it for all that is not loopback. It guarantees
that whatever would have left this machine by HTTP is refused, and is in :attr:`Sentinel.asked`.
"""

from __future__ import annotations

import contextlib
import os
import socketserver
import threading
from collections.abc import Iterator

REQUEST_LINE_BYTES_MAX = 4096
READ_TIMEOUT_SECONDS = 5


class Sentinel(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; ``asked`` holds the first line of each request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Refuse)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Refuse(socketserver.StreamRequestHandler):
    timeout = READ_TIMEOUT_SECONDS

    def handle(self) -> None:
        line = self.rfile.readline(REQUEST_LINE_BYTES_MAX)
        assert isinstance(self.server, Sentinel)
        self.server.asked.append(line.decode("latin-1").strip())
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def sentinel() -> Iterator[Sentinel]:
    """A running sentinel, which :func:`interop.processes.surroundings` names to all programs."""
    with Sentinel() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        os.environ["SAMPAN_TEST_SENTINEL"] = server.url
        try:
            yield server
        finally:
            del os.environ["SAMPAN_TEST_SENTINEL"]
            server.shutdown()
            thread.join()
