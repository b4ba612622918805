"""The upstream of every party: nginx over files, with the headers of a registry.

Its access log is the judge of what was fetched: one line an answer, with the bytes of its body.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.stock import MANIFEST_TYPE, Image
from interop import peers
from interop.processes import Process, answers, free_port, running

LOGGED_WITHIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """``netloc`` is ``address:port``."""

    netloc: str
    log: Path
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def sent_bytes(self, path: str | None = None) -> int:
        """Of bodies at ``path``, or of all blobs, by all answers so far that have ended."""
        self._settle()
        lines = (line.split() for line in self.log.read_text().splitlines())
        asked = ((where, int(size)) for method, where, size in lines if method == "GET")
        return sum(size for where, size in asked if (where == path if path else "/blobs/" in where))

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
def origin(
    home: Path, root: Path, images: Sequence[Image], *, address: str = "127.0.0.1"
) -> Iterator[Origin]:
    """The files below ``root`` on a free port; ``images`` are those that are asked for by tag."""
    home.mkdir()
    netloc = f"{address}:{free_port()}"
    log = home / "access.log"
    (home / "nginx.conf").write_text(_configuration(home, netloc, log, root, images))
    command: list[str | Path] = [peers.program("nginx"), "-p", home, "-c", home / "nginx.conf"]
    with running("origin", command, directory=home, ready=lambda: answers(f"http://{netloc}/v2/")) as process:
        yield Origin(netloc, log, process)


def _configuration(home: Path, netloc: str, log: Path, root: Path, images: Sequence[Image]) -> str:
    temporary = "\n  ".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    tags = "\n    ".join(
        f"location = {image.manifest_path} {{ default_type {MANIFEST_TYPE}; "
        f"add_header Docker-Content-Digest {image.manifest.digest}; }}"
        for image in images
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
  root {root};
  {temporary}
  server {{
    listen {netloc};
    add_header Docker-Distribution-Api-Version registry/2.0;
    location = /v2/ {{ default_type application/json; return 200 '{{}}'; }}
    location ~ /manifests/(?<digest>sha256:[0-9a-f]+)$ {{
      default_type {MANIFEST_TYPE};
      add_header Docker-Content-Digest $digest;
    }}
    {tags}
    location ~ /blobs/(?<digest>sha256:[0-9a-f]+)$ {{
      default_type application/octet-stream;
      add_header Docker-Content-Digest $digest;
    }}
  }}
}}
"""
