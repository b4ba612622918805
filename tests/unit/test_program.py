"""Programs that are run to their end: their words, their input, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from pathlib import Path
from typing import BinaryIO

import pytest

from sampan.errors import SinkError, SinkUnavailable, StoreError
from sampan.pull.sinks.program import SAID_BYTES_MAX, find_program, refused, run_program

ENVIRON = {"PATH": "/usr/bin:/bin"}
DEATH_TIMEOUT_SECONDS = 5  # of what was killed
LARGE = bytes(1024 * 1024)  # more than a pipe holds


async def test_a_programs_words_and_code_come_back() -> None:
    ended = await run_program(["sh", "-c", "echo out; echo cause >&2; exit 3"], environ=ENVIRON)
    assert (ended.code, ended.output, ended.words) == (3, "out\n", "cause")


async def test_a_program_that_says_nothing_is_known_by_its_code() -> None:
    assert (await run_program(["sh", "-c", "exit 9"], environ=ENVIRON)).words == "exit code 9"


async def test_control_characters_of_a_program_are_not_passed_on() -> None:
    ended = await run_program(["printf", r"\033[2Jred"], environ=ENVIRON)
    assert "\033" not in ended.words


async def test_a_program_gets_what_is_fed_and_then_the_end() -> None:
    ended = await run_program(["wc", "-c"], environ=ENVIRON, feed=lambda pipe: _all(pipe, LARGE))
    assert ended.output.strip() == str(len(LARGE))


async def test_a_program_gets_only_the_environment_that_it_is_given() -> None:
    assert (await run_program(["/usr/bin/env"], environ={"A": "1"})).output == "A=1\n"


async def test_a_program_that_stops_reading_tells_why_itself() -> None:
    command = ["sh", "-c", "echo no space left on device >&2; exit 1"]
    ended = await run_program(command, environ=ENVIRON, feed=lambda pipe: _all(pipe, LARGE))
    assert (ended.code, ended.words) == (1, "no space left on device")


async def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    def breaks_off(pipe: BinaryIO) -> None:
        _all(pipe, b"half")
        raise StoreError("vanished")

    command = ["sh", "-c", "cat > got; echo whole > verdict"]
    with pytest.raises(StoreError, match="vanished"):
        await run_program(["env", "-C", str(tmp_path), *command], environ=ENVIRON, feed=breaks_off)
    assert not (tmp_path / "verdict").exists()


async def test_a_cancelled_program_is_gone_with_its_children_and_its_feeder_has_ended(tmp_path: Path) -> None:
    started, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(pipe: BinaryIO) -> None:
        loop.call_soon_threadsafe(started.set)
        try:
            while True:
                pipe.write(LARGE)
        finally:
            loop.call_soon_threadsafe(ended.set)

    pids = tmp_path / "pids"
    os.mkfifo(pids)
    command = ["sh", "-c", f"sleep 1000 & echo $$ $! > {pids}; cat > /dev/null"]
    running = asyncio.create_task(run_program(command, environ=ENVIRON, feed=endless))
    told = await asyncio.to_thread(pids.read_text)
    processes = [os.pidfd_open(int(pid)) for pid in told.split()]
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await ended.wait()
    assert len(processes) == 2
    for process in processes:  # readable once it has ended
        assert select.select([process], [], [], DEATH_TIMEOUT_SECONDS)[0]
        os.close(process)


async def test_a_daemon_that_holds_the_input_of_an_ended_program_does_not_keep_its_feeder(
    tmp_path: Path,
) -> None:
    def endless(pipe: BinaryIO) -> None:
        while True:
            pipe.write(LARGE)

    os.mkfifo(tmp_path / "pid")
    script = f"exec 3<&0; setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000' <&3 & wait"
    running = asyncio.create_task(run_program(["sh", "-c", script], environ=ENVIRON, feed=endless))
    daemon = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    os.kill(daemon, signal.SIGKILL)


async def test_a_program_that_says_more_than_anybody_reads_is_ended() -> None:
    with pytest.raises(SinkUnavailable, match=f"yes was ended: it says more than {SAID_BYTES_MAX} bytes"):
        await run_program(["yes"], environ=ENVIRON)


async def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(SinkUnavailable, match="sleep did not end within 0 s"):
        await run_program(["sleep", "1000"], environ=ENVIRON, timeout_seconds=0.01)


async def test_a_program_that_cannot_be_started_is_told() -> None:
    with pytest.raises(SinkUnavailable, match="cannot start /nowhere/ctr: No such file") as caught:
        await run_program(["/nowhere/ctr"], environ=ENVIRON, feed=lambda pipe: _all(pipe, b""))
    assert caught.value.exit_code == 7


def test_a_program_is_found_on_the_path_that_is_given(tmp_path: Path) -> None:
    program = tmp_path / "ctr"
    program.write_text("#!/bin/sh\n")
    assert find_program("ctr", {"PATH": str(tmp_path)}) is None  # not executable
    program.chmod(0o755)
    assert find_program("ctr", {"PATH": str(tmp_path)}) == program
    assert find_program("ctr", {"PATH": "/nowhere"}, more=[str(tmp_path)]) == program


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("write /var/lib/x: no space left on device", 6),
        ("mkdir /x: Read-only file system", 6),
        ("unrecognized image format", 7),
    ],
)
def test_a_full_disk_is_told_from_a_runtime_that_refuses(words: str, code: int) -> None:
    error = refused("containerd did not take x", words)
    assert isinstance(error, SinkError)
    assert error.exit_code == code
    assert words in error.message


def _all(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(data)
