"""Work done by a user who may do little, though root runs the tests."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

NOBODY = 65534


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory whose way from / everybody may go."""
    with tempfile.TemporaryDirectory(prefix="sampan-open-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


def as_nobody(work: Callable[[], object]) -> str:
    """What ``work``, in a process of such a user, printed on both outputs. What it raises fails the test."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _child(work, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, said
    return said


def _child(work: Callable[[], object], writing: int) -> None:
    code, said = 99, io.StringIO()
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        sys.stdout = sys.stderr = said
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # whatever it is, the child must not go on as a test
        traceback.print_exc(file=said)
    finally:
        os.write(writing, said.getvalue().encode()[:60_000])
        os._exit(code)
