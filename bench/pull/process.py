"""One run of a program: begun, watched, waited for; its time is that of the whole process.

It guarantees that the program is gone in the end, and that the wait itself adds nothing to the time: the
kernel wakes us when the process ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.pull.programs import Command
from interop.processes import surroundings

TIMEOUT_SECONDS = 150.0  # 200 MB at 50 Mbit/s take 34
WATCH_SECONDS = 0.01
WORDS_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """``cpu_seconds``: user and system time of the process, not of a daemon that it asked."""

    code: int
    seconds: float
    cpu_seconds: float


class Running:
    """A program on its way."""

    def __init__(self, command: Command, home: Path) -> None:
        self._words = home / "words"
        self._began = time.perf_counter()
        with self._words.open("ab") as output:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                cwd=home,
                env=surroundings(HOME=str(home), NO_PROXY="*"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.perf_counter() - self._began

    def ended(self, within_seconds: float) -> bool:
        """Whether it is over, after waiting for that so long."""
        handle = os.pidfd_open(self.popen.pid)
        try:
            over = bool(select.select([handle], [], [], within_seconds)[0])
        finally:
            os.close(handle)
        return over

    def watch(self, seen: Callable[[], bool]) -> bool:
        """Wait until ``seen()``; False: it ended before. Raises RuntimeError when neither comes."""
        while not self.ended(WATCH_SECONDS):
            if seen():
                return True
            self._check_time()
        return False

    def wait(self) -> Ended:
        """How it ended. Raises RuntimeError when it does not, in time."""
        over = self.ended(max(TIMEOUT_SECONDS - self.seconds, 0.0))
        seconds = self.seconds
        if not over:
            self._check_time()
        _, status, usage = os.wait4(self.popen.pid, 0)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        return Ended(self.popen.returncode, seconds, usage.ru_utime + usage.ru_stime)

    def peak_memory_bytes(self) -> int:
        """The most that it has held so far, as the kernel counts it; 0 once it is over."""
        try:
            status = Path(f"/proc/{self.popen.pid}/status").read_text()
        except OSError:
            return 0
        found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(found[0].split()[1]) * 1024 if found else 0

    def words(self) -> str:
        """The end of what it wrote."""
        return self._words.read_bytes()[-WORDS_BYTES:].decode(errors="replace")

    def _check_time(self) -> None:
        if self.seconds > TIMEOUT_SECONDS:
            raise RuntimeError(f"{self.popen.args!r} did not end in {TIMEOUT_SECONDS:.0f} s:\n{self.words()}")


@contextlib.contextmanager
def begun(command: Command, home: Path) -> Iterator[Running]:
    """``command`` with ``home`` as its home and its directory; killed if it is not over in the end."""
    running = Running(command, home)
    try:
        yield running
    finally:
        if running.popen.poll() is None:
            running.popen.kill()
            running.popen.wait()


def done(command: Command, home: Path) -> Ended:
    """``command`` to its end. Raises RuntimeError with its words when it fails."""
    with begun(command, home) as running:
        ended = running.wait()
        if ended.code:
            raise RuntimeError(f"{running.popen.args!r} ended with {ended.code}:\n{running.words()}")
    return ended
