"""Programs as children: their words, their end, and that nobody waits for what may never come."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sampan.child import GIVEN_BYTES_MAX, Child, Exit, TooMuchSaid

ENVIRON = {"PATH": "/usr/bin:/bin"}
DEATH_TIMEOUT_SECONDS = 5  # of what was killed


def child(
    script: str, *, given: int | bytes = b"", said_bytes_max: int = 1000, hears_errors: bool = True
) -> Child:
    return Child(
        ["sh", "-c", script],
        environ=ENVIRON,
        given=given,
        said_bytes_max=said_bytes_max,
        hears_errors=hears_errors,
    )


async def exit_of(one: Child) -> Exit:
    async with one:
        return await one.ended()


class Told:
    """A named pipe into which a script writes the numbers of its processes, once they run."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self._files: list[int] = []

    def __str__(self) -> str:
        return str(self._path)

    async def processes(self) -> list[int]:
        """As files, each readable once its process has ended."""
        numbers = (await asyncio.to_thread(self._path.read_text)).split()
        self._files += [os.pidfd_open(int(number)) for number in numbers]
        return self._files

    def close(self) -> None:
        """Nothing runs on after the test."""
        for file in self._files:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(file, signal.SIGKILL)
            os.close(file)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path / "told")
    yield told
    told.close()


def is_gone(process: int) -> bool:
    return bool(select.select([process], [], [], DEATH_TIMEOUT_SECONDS)[0])


def runs(process: int) -> bool:
    return not select.select([process], [], [], 0)[0]


async def test_what_it_says_and_how_it_ends_is_told() -> None:
    assert await exit_of(child("echo out; echo cause >&2; exit 3")) == Exit(3, b"out\n", b"cause\n")
    assert await exit_of(child("kill -9 $$")) == Exit(-signal.SIGKILL, b"")


async def test_errors_that_nobody_wants_go_nowhere() -> None:
    assert await exit_of(child("yes | head -c 5000 >&2; echo done", hears_errors=False)) == Exit(0, b"done\n")


async def test_it_gets_what_it_is_given_and_then_the_end() -> None:
    given = b"x" * GIVEN_BYTES_MAX
    assert (await exit_of(child("wc -c", given=given))).output.strip() == str(len(given)).encode()
    assert (await exit_of(child("exec true", given=given))).code == 0, "it need not read it"
    with pytest.raises(ValueError, match="too many to be given at once"):
        child("cat", given=given + b"x")


async def test_what_is_said_in_many_pieces_comes_whole() -> None:
    script = "yes 0123456 | head -c 1000000; yes 89 | head -c 300000 >&2"
    ended = await exit_of(child(script, said_bytes_max=10**6))
    assert (ended.output, ended.errors) == (b"0123456\n" * 125_000, b"89\n" * 100_000)


@pytest.mark.parametrize("script", ["yes", "yes >&2", "exec >&-; yes >&2", "head -c 1001 /dev/zero"])
async def test_it_may_not_say_too_much(script: str) -> None:
    with pytest.raises(TooMuchSaid, match="more than 1000 bytes"):
        await exit_of(child(script))
    assert len((await exit_of(child("head -c 1000 /dev/zero"))).output) == 1000


async def test_none_of_our_files_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    await exit_of(child("echo x", given=b"y"))
    with pytest.raises(TooMuchSaid):
        await exit_of(child("yes", given=b"y"))
    with pytest.raises(FileNotFoundError):
        Child(["/nowhere/ctr"], environ=ENVIRON, given=b"y", said_bytes_max=1)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("times", [1, 3])
async def test_one_that_is_given_up_is_gone_with_all_that_it_started(told: Told, times: int) -> None:
    waiting = asyncio.create_task(exit_of(child(f"sleep 1000 & echo $$ $! > {told}; wait")))
    itself, started = await told.processes()
    for _ in range(times):
        waiting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not runs(itself)
    assert is_gone(started)


async def test_one_whose_outputs_are_full_is_gone_when_it_is_left(told: Told) -> None:
    async with child(f"echo $$ > {told}; exec yes", said_bytes_max=10**9):
        (itself,) = await told.processes()
    assert not runs(itself)


async def test_a_daemon_that_holds_its_outputs_keeps_nobody_waiting(told: Told) -> None:
    async with child(f"setsid sh -c 'echo $PPID $$ > {told}; exec sleep 1000' & wait"):
        itself, daemon = await told.processes()
    assert not runs(itself)
    assert runs(daemon), "it has left the session: it is not ours to end"


async def test_what_an_ended_one_left_goes_when_it_holds_the_outputs_and_is_given_up(told: Told) -> None:
    waiting = asyncio.create_task(exit_of(child(f"sleep 1000 & echo $$ $! > {told}")))
    itself, other = await told.processes()
    assert is_gone(itself)
    assert runs(other)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert is_gone(other)


async def test_what_an_ended_one_left_lives_on_when_nobody_had_to_wait_for_it(told: Told) -> None:
    ended = asyncio.create_task(exit_of(child(f"sleep 1000 > /dev/null 2>&1 & echo $! > {told}")))
    (other,) = await told.processes()
    assert (await ended).code == 0
    assert runs(other)
