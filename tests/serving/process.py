"""``sampan serve`` as a process on a free port of loopback, its log read line by line."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDS_SECONDS = 20.0


class Served:
    """A running ``sampan serve`` whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []

    def wait_for(self, words: str) -> str:
        """The next line of the log that holds ``words``."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} is not in the log: {''.join(self.log)}")

    def url(self) -> str:
        """Where it serves, once it does."""
        return self.wait_for("serving at").partition("serving at ")[2].split()[0]

    def status(self, url: str, path: str) -> int:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(ENDS_SECONDS)


@contextmanager
def serve(directory: Path, *args: str, **environ: str) -> Iterator[Served]:
    command = [sys.executable, "-W", "error", "-m", "sampan", "serve", "--listen", "127.0.0.1:0"]
    environment = {"HOME": str(directory), "PATH": os.environ["PATH"], **environ}
    process = subprocess.Popen(
        [*command, *args], stderr=subprocess.PIPE, text=True, cwd=directory, env=environment
    )
    try:
        yield Served(process)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def write(directory: Path, text: str) -> Path:
    file = directory / "sampan.toml"
    file.write_text(f'[store]\npath = "store"\n{text}')
    return file


def registry_is_served(served: Served, url: str, registry: str) -> bool:
    """Is the registry configured? Its only host is a closed port, so nothing is ever found."""
    return served.status(url, f"/v2/a/b/manifests/1?ns={registry}") != 404


CLOSED = 'mirrors = ["http://127.0.0.1:1"]\norigin = "never"\n'
