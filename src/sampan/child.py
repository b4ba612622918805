"""Another program, run as our child: what it says, how it ends, and that it is gone.

Guarantees that nobody waits for it longer than wanted: when its ``async with`` is left before it has ended,
it is killed with all that it started in its session, and our ends of its pipes are closed, whoever still
holds the others. What it leaves behind when it ends by itself, a daemon say, lives on. Nothing is known here
of what it says.

asyncio's own processes cannot promise that: their ``wait`` waits for the pipes as well (as of Python 3.11),
for ever when a daemon holds one, or when so much came through it that asyncio has stopped to read it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

READ_BYTES = 64 * 1024  # what a pipe holds
GIVEN_BYTES_MAX = 4096  # a pipe takes so much at once, though nobody reads yet


class TooMuchSaid(ValueError):
    """A program said more than was wanted."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended: ``code`` is 0 for success, negative for a signal; and what it said."""

    code: int
    output: bytes
    errors: bytes = b""


class Child:
    """``async with Child(command, ...) as child: exit = await child.ended()``

    ``given``: its standard input, the number of a file or a few bytes (``GIVEN_BYTES_MAX``).
    ``said_bytes_max``: how much it may say, on each of its outputs; what is an error goes nowhere unless
    ``hears_errors``. To be made where an event loop runs. Raises OSError when the program cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        given: int | bytes,
        said_bytes_max: int,
        hears_errors: bool = True,
    ) -> None:
        self._over = asyncio.Event()  # it has ended and its outputs have, or it has said too much
        self._exited = asyncio.Event()
        self._process = process = _start(
            command, environ, given, subprocess.PIPE if hears_errors else subprocess.DEVNULL
        )
        outputs = filter(None, (process.stdout, process.stderr))
        self._ears = [_Ear(file, said_bytes_max, self._look) for file in outputs]
        told = (asyncio.get_running_loop(), process.pid, self._exits)
        threading.Thread(target=_await_exit, args=told, name=f"child {process.pid}", daemon=True).start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for ear in self._ears:
            ear.close()
        self.kill()
        cancelled = None
        while not self._exited.is_set():  # not given up when cancelled: who was killed is gone in a moment
            try:
                await self._exited.wait()
            except asyncio.CancelledError as again:
                cancelled = again
        self._process.wait()
        if cancelled is not None:
            raise cancelled

    async def ended(self) -> Exit:
        """When it has ended, and nobody holds its outputs any more. Raises TooMuchSaid."""
        await self._over.wait()
        for ear in self._ears:
            if ear.is_full:
                raise TooMuchSaid(f"it says more than {ear.bytes_max} bytes")
        return Exit(self._process.wait(), *(bytes(ear.said) for ear in self._ears))

    def kill(self) -> None:
        """With all that it started and that has not left its session; nothing if :meth:`ended` has told."""
        if self._process.returncode is None:  # till then its number, and its group's, is nobody else's
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _exits(self) -> None:
        self._exited.set()
        self._look()

    def _look(self) -> None:
        is_silent = not any(ear.is_open for ear in self._ears)
        if (self._exited.is_set() and is_silent) or any(ear.is_full for ear in self._ears):
            self._over.set()


class _Ear:
    """What comes out of ``file``, until that ends or more than ``bytes_max`` came."""

    def __init__(self, file: IO[bytes], bytes_max: int, changed: Callable[[], None]) -> None:
        self.bytes_max = bytes_max
        self.said = bytearray()
        self.is_open = True
        self._file = file
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._hear)

    @property
    def is_full(self) -> bool:
        """Whether more came than is wanted."""
        return len(self.said) > self.bytes_max

    def _hear(self) -> None:
        try:
            piece = os.read(self._file.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        self.said += piece
        if not piece or self.is_full:
            self.close()
            self._changed()

    def close(self) -> None:
        """Whatever else is said goes nowhere."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._file.fileno())
            self._file.close()


def _start(
    command: Sequence[str], environ: Mapping[str, str], given: int | bytes, errors: int
) -> subprocess.Popen[bytes]:
    stdin = given if isinstance(given, int) else _filled(given)
    try:
        return subprocess.Popen(  # noqa: S603 - whoever calls knows the words
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=dict(environ),
            start_new_session=True,  # so that what it starts can be ended with it
        )
    finally:
        if stdin != given:
            os.close(stdin)


def _filled(data: bytes) -> int:
    """The reading end of a pipe with ``data`` in it, and then its end."""
    if len(data) > GIVEN_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes are too many to be given at once")
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(data)
    return reading


def _await_exit(loop: asyncio.AbstractEventLoop, pid: int, tell: Callable[[], None]) -> None:
    """In a thread, for a program may run for long. The child is left to be waited for: until then nobody
    else gets its number."""
    with suppress(ChildProcessError):  # a SIGCHLD that is ignored: it is gone all the same
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(RuntimeError):  # the loop was closed: nobody asks any more
        loop.call_soon_threadsafe(tell)
