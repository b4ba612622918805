"""Work in a process that is killed before its first system call that matters, its second, and so on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence

import pytest

STEPS = ("open", "pwrite", "fsync", "rename", "unlink", "ftruncate", "utime", "mkdir")


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a process of its own; its pid. It never returns into the test."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001  # whatever it is, the child must not go on as a test
        os._exit(99)


def killed_at_each_step(
    prepare: Callable[[], None], work: Callable[[], None], calls: Sequence[str] = STEPS
) -> Iterator[int]:
    """``work`` in a child that kills itself before its first system call that matters, then before its
    second, and so on until it comes to its end; yields after each death, and after the end."""
    for step in range(1, 1000):
        prepare()
        died = killed_at(step, work, calls)
        yield step
        if not died:
            return
    pytest.fail("it never ends")


def killed_at(step: int, work: Callable[[], None], calls: Sequence[str] = STEPS) -> bool:
    """``work`` in a child that kills itself before its ``step``-th call; whether it came to that."""
    code = ended(in_child(lambda: _work_until(step, work, calls)))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def _work_until(step: int, work: Callable[[], None], calls: Sequence[str]) -> None:
    left = step

    def dying(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return counted

    for name in calls:
        setattr(os, name, dying(getattr(os, name)))
    work()


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
