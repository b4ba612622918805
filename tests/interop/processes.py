"""A real program, running for as long as a ``with`` block lasts.

It guarantees that the program is gone when the block ends: it is ended by the id of the process
that was started here, and only that one, and the kernel ends it should the tests themselves be
killed. What it wrote is in :attr:`Process.log`, and is part of the error when it does not start.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_SECONDS = 20.0  # all of them need well under one, on an idle machine
STOP_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.01

# Below the range from which the kernel takes ports for outgoing connections (32768 and up), so that
# nobody takes the port between finding it and listening on it. Test processes side by side begin at
# different ones.
_PORTS = (20000 + number % 12000 for number in itertools.count(os.getpid() * 97))


class DidNotStart(Exception):
    """The program ended, or did not answer in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """``log`` holds what the program wrote to standard output and standard error."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]

    def words(self, *, bytes_max: int = 4000) -> str:
        """The end of the log, under a headline, for a failing test."""
        text = self.log.read_bytes()[-bytes_max:].decode(errors="replace")
        return f"--- {self.name}: {self.log}\n{text}"

    def kill(self) -> None:
        """End it as a crash would."""
        self.popen.kill()
        self.popen.wait(STOP_TIMEOUT_SECONDS)


alive: list[Process] = []  # for the report of a failing test


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    directory: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """``command``, started in ``directory`` and waited for until ``ready()``; stopped afterwards."""
    assert threading.current_thread() is threading.main_thread(), "the kernel ties it to this thread"
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
            cwd=directory,
            env=dict(environment or surroundings()),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    process = Process(name, log, popen)
    alive.append(process)
    try:
        _wait(process, ready)
        yield process
    finally:
        alive.remove(process)
        _stop(process)


def _wait(process: Process, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not ready():
        if process.popen.poll() is not None:
            raise DidNotStart(f"{process.name} ended with {process.popen.returncode}\n{process.words()}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"{process.name} was not ready in time\n{process.words()}")
        time.sleep(POLL_SECONDS)


def _stop(process: Process) -> None:
    if process.popen.poll() is None:
        process.popen.send_signal(signal.SIGTERM)
        try:
            process.popen.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def surroundings(**more: str) -> dict[str, str]:
    """The environment of every program here: no settings of the person who runs the tests.

    The proxy is a closed port, for everything but loopback: nothing gets out of this machine
    (see :func:`interop.sentinel.sentinel`, which lends its own port for the tests to notice).
    """
    proxy = os.environ.get("SAMPAN_TEST_SENTINEL", "http://127.0.0.1:1")
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "NO_PROXY": "127.0.0.1,localhost,::1",
        **more,
    }


def free_port() -> int:
    """A port on which nobody listens."""
    for _ in range(12000):
        port = next(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no free port on 127.0.0.1")


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with 200: readiness, for :func:`running`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float = 60,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Standard output of a command that ends by itself; raises :class:`CommandFailed`."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env=dict(environment or surroundings()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{Path(command[0]).name} did not end within {timeout_seconds:.0f} s") from None
    if done.returncode:
        raise CommandFailed(
            f"{' '.join(map(str, command))}\nended with {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
    return done.stdout


class CommandFailed(Exception):
    """A program's own words about why it failed."""
