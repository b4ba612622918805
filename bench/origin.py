"""The upstream of every party: nginx over the stock's files, with the headers of a registry.

Its access log is the judge of what was fetched: one line an answer, with the bytes of its body.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.stock import MANIFEST_TYPE, Stock
from interop import peers
from interop.processes import Process, answers, free_port, running

LOGGED_WITHIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """``netloc`` is ``127.0.0.1:port``."""

    netloc: str
    log: Path
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def sent_bytes(self, path: str) -> int:
        """Of bodies at ``path``, by all answers so far that have ended."""
        self._settle()
        lines = (line.split() for line in self.log.read_text().splitlines())
        return sum(int(size) for method, asked, size in lines if method == "GET" and asked == path)

    def forget(self) -> None:
        """Count from here."""
        self._settle()
        self.log.write_text("")

    def _settle(self) -> None:
        """nginx writes a line once it sees the end of a request: wait until no line comes any more."""
        deadline, size = time.monotonic() + LOGGED_WITHIN_SECONDS, -1
        while size != (size := self.log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.2)


@contextlib.contextmanager
def origin(directory: Path, stock: Stock) -> Iterator[Origin]:
    """The stock on a free loopback port."""
    home = directory / "origin"
    home.mkdir()
    netloc = f"127.0.0.1:{free_port()}"
    log = home / "access.log"
    (home / "nginx.conf").write_text(_configuration(home, netloc, log, stock))
    command: list[str | Path] = [peers.program("nginx"), "-p", home, "-c", home / "nginx.conf"]
    with running("origin", command, directory=home, ready=lambda: answers(f"http://{netloc}/v2/")) as process:
        yield Origin(netloc, log, process)


def _configuration(home: Path, netloc: str, log: Path, stock: Stock) -> str:
    temporary = "\n  ".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
user root;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  log_format counted '$request_method $uri $body_bytes_sent';
  access_log {log} counted;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  root {stock.root};
  {temporary}
  server {{
    listen {netloc};
    add_header Docker-Distribution-Api-Version registry/2.0;
    location = /v2/ {{ default_type application/json; return 200 '{{}}'; }}
    location ~ /manifests/ {{
      default_type {MANIFEST_TYPE};
      add_header Docker-Content-Digest {stock.manifest.digest};
    }}
    location ~ /blobs/(?<digest>sha256:[0-9a-f]+)$ {{
      default_type application/octet-stream;
      add_header Docker-Content-Digest $digest;
    }}
  }}
}}
"""
