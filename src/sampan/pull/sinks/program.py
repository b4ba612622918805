"""Another program, run to its end, perhaps fed by a stream of ours.

Guarantees that the program and what it started are gone when :func:`run_program` ends, that a stream which
breaks off on our side is never taken for a whole one (the program is ended before its input is closed), and
that the program's own words come back, cleaned. It knows nothing of images.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from sampan.errors import SinkError, SinkUnavailable, printable

SHORT_TIMEOUT_SECONDS = 30.0  # for what only asks or renames: on idle machines 50 ms
FEED_TIMEOUT_SECONDS = 3600.0  # for a whole image, unpacked on the slowest disk that people still use
WORDS_CHARACTERS_MAX = 600  # of what a program said, in a message
NO_SPACE = ("no space left on device", "disk quota exceeded", "read-only file system")

# Where programs are when the environment does not say.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Feed = Callable[[BinaryIO], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: ``code`` is 0 for success, negative for a signal."""

    code: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """The last that it said about what went wrong, on one line."""
        lines = [line.strip() for line in (self.errors or self.output).splitlines() if line.strip()]
        return (
            printable(" ".join(lines[-2:]), characters_max=WORDS_CHARACTERS_MAX) or f"exit code {self.code}"
        )


def find_program(name: str, environ: Mapping[str, str], *, more: Sequence[str] = ()) -> Path | None:
    """The executable ``name`` on the ``PATH`` of ``environ``, or in one of the directories ``more``."""
    path = os.pathsep.join([environ.get("PATH") or DEFAULT_PATH, *more])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


async def run_program(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    feed: Feed | None = None,
    timeout_seconds: float = SHORT_TIMEOUT_SECONDS,
) -> Ended:
    """``command`` to its end; ``feed`` writes its standard input, in a thread.

    Raises SinkUnavailable when it cannot be started or takes too long, and whatever ``feed`` raises.
    """
    reading, writing = os.pipe() if feed else (None, None)
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL if reading is None else reading,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,  # so that its children can be ended with it
        )
    except OSError as error:
        _close(writing)
        raise SinkUnavailable(f"cannot start {command[0]}: {error.strerror}") from error
    finally:
        _close(reading)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _attend(process, writing, feed)
    except TimeoutError:
        name = Path(command[0]).name
        raise SinkUnavailable(f"{name} did not end within {timeout_seconds:.0f} s") from None


async def _attend(process: asyncio.subprocess.Process, writing: int | None, feed: Feed | None) -> Ended:
    telling = asyncio.create_task(process.communicate())
    try:
        if feed is not None and writing is not None:
            await _pour(process, writing, feed)
        output, errors = await asyncio.shield(telling)
    finally:
        _end(process)
        await outlast(telling)
    code = process.returncode
    return Ended(
        code if code is not None else -1, output.decode(errors="replace"), errors.decode(errors="replace")
    )


async def _pour(process: asyncio.subprocess.Process, writing: int, feed: Feed) -> None:
    """Feed in a thread; whatever ends this, the thread has ended before the pipe is closed."""
    pipe = os.fdopen(writing, "wb")
    pouring = asyncio.create_task(asyncio.to_thread(_write, feed, pipe))
    try:
        await asyncio.shield(pouring)
    except BrokenPipeError:
        return  # it stopped reading, and says itself why
    except BaseException:
        _end(process)  # first: a tar that ends early must not look like one that ends
        await outlast(pouring)
        raise
    finally:
        with contextlib.suppress(OSError):
            pipe.close()


async def outlast(task: asyncio.Task[T]) -> None:
    """Until ``task`` has ended, however it ends: why we wait for it is the error that is told."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # otherwise asyncio tells of it as one that nobody has seen


def _write(feed: Feed, pipe: BinaryIO) -> None:
    feed(pipe)
    pipe.flush()


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def refused(what: str, words: str) -> SinkError:
    """The error for a runtime that did not take an image: of its disk, or of itself."""
    if any(phrase in words.lower() for phrase in NO_SPACE):
        return SinkError(
            f"{what}: {words}", hint="make room where the runtime keeps its images, and pull again"
        )
    return SinkUnavailable(f"{what}: {words}")
