"""The machine that this runs on: its programs, each with a limit on its time and on what it may say."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from sampan.errors import printable, redact
from sampan.runtimes.contract import Answer

QUESTION_SECONDS_MAX = 15.0  # a daemon that is busy starting answers within that
OUTPUT_BYTES_MAX = 4 * 1024 * 1024  # docker info and containerd config dump have some 10 KiB
WORDS_CHARACTERS_MAX = 400
_MORE_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class SystemMachine:
    """The :class:`~sampan.runtimes.contract.Machine` that is real. ``environ`` is what programs inherit."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = dict.fromkeys([*filter(None, environ.get("PATH", "").split(os.pathsep)), *_MORE_PATH])
        self._environ = {**environ, "PATH": os.pathsep.join(path), "LC_ALL": "C"}

    def run(self, command: Sequence[str], *, timeout_seconds: float = QUESTION_SECONDS_MAX) -> Answer:
        """See :class:`~sampan.runtimes.contract.Machine`: ``command`` to its end, or to its limit."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - the words are ours, or the configuration's
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=self._environ,
                    start_new_session=True,  # so that what it started can be ended with it
                )
            except OSError as error:
                return Answer(None, words=f"{command[0]}: {(error.strerror or str(error)).lower()}")
            try:
                code = process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                return Answer(None, words=f"no end after {timeout_seconds:.0f} s")
            finally:
                _end(process)
            said, complaints = _text(output), _text(errors)
            return Answer(code, said, _words(complaints or said), complaints)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT_BYTES_MAX).decode("utf-8", "replace")


def _words(text: str) -> str:
    """The last lines, on one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(redact(" ".join(lines[-2:])), characters_max=WORDS_CHARACTERS_MAX)
