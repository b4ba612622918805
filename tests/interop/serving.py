"""``sampan serve`` as its users run it: a process with a configuration file, on a free loopback port.

Its store is fresh, and its origin is a closed port unless a test gives another: only the mirrors
that a test names can have an image.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.containerd import CLOSED
from interop.processes import Process, answers, free_port, running

Mirror = str | Mapping[str, object]  # a URL, or the table that stands for one in sampan.toml


@dataclass(frozen=True, slots=True)
class Serving:
    """A running mirror; ``netloc`` is ``127.0.0.1:port``."""

    netloc: str
    home: Path
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def stored(self) -> set[str]:
        """The digests of the store, after checking that every file of it hashes to its name."""
        found = set()
        for path in (self.home / "store" / "blobs").glob("sha256/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"{path} holds wrong bytes"
            found.add(f"sha256:{path.name}")
        return found

    @property
    def store(self) -> Path:
        return self.home / "store"

    def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (names in lower case) and body of a GET, whatever the status."""
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()
        finally:
            connection.close()

    def peak_memory_bytes(self) -> int:
        """The most that the process ever held, as the kernel counts it."""
        status = Path(f"/proc/{self.process.popen.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def serving(
    directory: Path,
    mirrors: Sequence[Mirror],
    *,
    origin_url: str = CLOSED,
    more: str = "",
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
    max_size: str = "50GiB",
    within: Sequence[str] = (),
) -> Iterator[Serving]:
    """``sampan serve`` with these mirrors of docker.io and a store of that size; ``more`` is put behind that
    in sampan.toml.

    With ``home``, what an earlier one left there is gone on with.
    """
    home = home or Path(tempfile.mkdtemp(prefix="sampan", dir=directory))
    netloc = f"127.0.0.1:{free_port()}"
    (home / "sampan.toml").write_text(configuration(home, netloc, mirrors, origin_url, max_size) + more)
    command = [*within, sys.executable, "-m", "sampan.cli", "serve", "--config", str(home / "sampan.toml")]
    with running(
        "sampan",
        command,
        directory=home,
        ready=lambda: answers(f"http://{netloc}/readyz"),
        environment=environment,
    ) as process:
        yield Serving(netloc, home, process)


def first_host(row: str, url: str) -> Mirror:
    """How the bad host of a row of the fault table stands in sampan.toml.

    An old tag looks just like a new one. Who may be behind must not resolve; its blobs are as good as any.
    """
    return {"url": url, "capabilities": ["pull"]} if row == "stale tag" else url


def configuration(
    home: Path, netloc: str, mirrors: Sequence[Mirror], origin_url: str, max_size: str = "50GiB"
) -> str:
    """The text of sampan.toml."""
    return f"""
[server]
listen = "{netloc}"

[store]
path = "{home}/store"
max_size = "{max_size}"

[registry."docker.io"]
mirrors = [{", ".join(map(_inline, mirrors))}]
origin = "last"
origin_url = "{origin_url}"
"""


def _inline(value: object) -> str:
    """A value as TOML has it on one line; strings, numbers and lists are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
