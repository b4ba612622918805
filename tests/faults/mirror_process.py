"""A real `sampan serve` process with hosts on loopback, and the plain HTTP client that asks it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.processes import Process, answers, free_port, running, surroundings
from sampan.oci import Digest

READ_BYTES = 256 * 1024
CLIENT_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Serving:
    """``url`` of the mirror, its process, and the directory of its store."""

    url: str
    process: Process
    store: Path

    @property
    def netloc(self) -> str:
        return self.url.removeprefix("http://")

    def peak_memory_bytes(self) -> int:
        """The most that the process ever held, as the kernel counts it."""
        status = Path(f"/proc/{self.process.popen.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def get(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Reply:
        """One request, its whole answer in memory."""
        connection = http.client.HTTPConnection(self.netloc, timeout=CLIENT_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


def config_text(port: int, store: Path, mirrors: Sequence[str], *, more: str = "") -> str:
    """A sampan.toml with these mirrors of docker.io and no origin. A mirror is a URL or a TOML table."""
    listed = ", ".join(m if m.startswith("{") else f'"{m}"' for m in mirrors)
    return (
        f'[server]\nlisten = "127.0.0.1:{port}"\n[store]\npath = "{store}"\n'
        f'[registry."docker.io"]\nmirrors = [{listed}]\norigin = "never"\n{more}\n'
    )


@contextlib.contextmanager
def serving(
    directory: Path, mirrors: Sequence[str], *, more: str = "", port: int | None = None, name: str = "sampan"
) -> Iterator[Serving]:
    """`sampan serve`, ready, with its configuration, store and log in ``directory``."""
    chosen = port or free_port()
    store = directory / "store"
    config = directory / f"{name}.toml"
    config.write_text(config_text(chosen, store, mirrors, more=more))
    url = f"http://127.0.0.1:{chosen}"
    command = [sys.executable, "-W", "error", "-m", "sampan", "serve", "--config", str(config)]
    with running(
        name,
        command,
        directory=directory,
        ready=lambda: answers(f"{url}/readyz"),
        environment=surroundings(HOME=str(directory)),
    ) as process:
        yield Serving(url, process, store)


async def download(
    netloc: str, path: str, *, stop_after: int | None = None, bytes_per_second: float | None = None
) -> tuple[int, Digest | None]:
    """GET without holding the body: (bytes read, their sha256). ``stop_after``: leave after as many
    bytes; ``bytes_per_second``: read no faster. Raises IncompleteReadError on a cut."""
    host, _, port = netloc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=READ_BYTES)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        size = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
        if status != 200:
            raise AssertionError(f"{status}: {await reader.read(2000)!r}")
        return await _drain(reader, size if stop_after is None else stop_after, size, bytes_per_second)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _drain(
    reader: asyncio.StreamReader, wanted: int, size: int, bytes_per_second: float | None
) -> tuple[int, Digest | None]:
    import hashlib

    hasher, done = hashlib.sha256(), 0
    while done < wanted:
        data = await reader.read(READ_BYTES if bytes_per_second is None else 1024)
        if not data:
            raise asyncio.IncompleteReadError(b"", wanted - done)
        hasher.update(data)
        done += len(data)
        if bytes_per_second is not None:
            await asyncio.sleep(len(data) / bytes_per_second)
    return done, Digest("sha256", hasher.hexdigest()) if done == size else None
