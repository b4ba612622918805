"""Another program, run to its end, perhaps fed by a stream of ours.

Guarantees that :func:`run_program` ends within its time, that the program is gone then, with what it started
unless it ended by itself, that a stream which breaks off on our side is never taken for a whole one (the
program is ended before its input is closed), and that its own words come back, cleaned. It knows nothing of
images.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from sampan.child import Child, TooMuchSaid
from sampan.errors import SinkError, SinkUnavailable, printable

SHORT_TIMEOUT_SECONDS = 30.0  # for what only asks or renames: on idle machines 50 ms
FEED_TIMEOUT_SECONDS = 3600.0  # for a whole image, unpacked on the slowest disk that people still use
SAID_BYTES_MAX = 16 * 1024 * 1024  # a node with a hundred thousand blobs lists 7 MiB
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

    Raises SinkUnavailable when it cannot be started, takes too long or says too much, and whatever ``feed``
    raises.
    """
    name = Path(command[0]).name
    reading, writing = os.pipe() if feed else (None, None)
    try:
        child = Child(
            [*map(str, command)],
            environ=environ,
            given=b"" if reading is None else reading,
            said_bytes_max=SAID_BYTES_MAX,
        )
    except OSError as error:
        _close(writing)
        raise SinkUnavailable(f"cannot start {command[0]}: {error.strerror}") from error
    finally:
        _close(reading)
    try:
        async with asyncio.timeout(timeout_seconds), child:
            if feed is not None and writing is not None:
                await _pour(child, writing, feed)
            told = await child.ended()
    except TimeoutError:
        raise SinkUnavailable(f"{name} did not end within {timeout_seconds:.0f} s") from None
    except TooMuchSaid as error:
        raise SinkUnavailable(f"{name} was ended: {error}") from None
    return Ended(told.code, told.output.decode(errors="replace"), told.errors.decode(errors="replace"))


async def _pour(child: Child, writing: int, feed: Feed) -> None:
    """Feed in a thread; whatever ends this, the thread has ended before the pipe is closed."""
    pipe = _FeedPipe(writing)
    pouring = asyncio.create_task(asyncio.to_thread(feed, cast("BinaryIO", pipe)))
    try:
        await asyncio.shield(pouring)
    except BrokenPipeError:
        return  # it stopped reading, and says itself why
    except BaseException:
        child.kill()  # first: a tar that ends early must not look like one that ends
        pipe.cut()
        await outlast(pouring)
        raise
    finally:
        pipe.close()


class _FeedPipe:
    """The writing end of a program's input: a file to those who write, until it is cut. The program's death
    ends a write only where nobody else holds the reading end: a daemon that it started, say."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._cut = os.eventfd(0, os.EFD_CLOEXEC)
        self._waiting = select.poll()
        self._waiting.register(descriptor, select.POLLOUT)
        self._waiting.register(self._cut, select.POLLIN)
        os.set_blocking(descriptor, False)

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            ready = [descriptor for descriptor, _ in self._waiting.poll()]
            if self._cut in ready:
                raise BrokenPipeError("the program was ended")
            view = view[os.write(self._descriptor, view) :]
        return len(data)

    def cut(self) -> None:
        """Whoever writes stops."""
        os.eventfd_write(self._cut, 1)

    def close(self) -> None:
        """Nobody may write any more."""
        os.close(self._descriptor)
        os.close(self._cut)


async def outlast(task: asyncio.Task[T]) -> None:
    """Until ``task`` has ended, however it ends: why we wait for it is the error that is told."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # otherwise asyncio tells of it as one that nobody has seen


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
