"""``sampan init`` as a person meets it: on a terminal, where it asks."""

from __future__ import annotations

import errno
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hosts_place import LATEST, Place
from hosts_place import place as place  # a fixture
from sampan.testing import FakeRegistry
from sampan.testing.thread import ServerThread

FILE = "sampan.toml"
SECONDS_MAX = 30.0


def on_a_terminal(words: Sequence[str], answer: str) -> tuple[int, str]:
    """What ``sampan WORDS`` does where a person sits, who answers ``answer``."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sampan.cli", *words], stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    said, answered, deadline = "", False, time.monotonic() + SECONDS_MAX
    try:
        while time.monotonic() < deadline:
            if not select.select([main], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(main, 4096).decode("utf-8", "replace")
            except OSError as error:
                if error.errno != errno.EIO:  # the other end is closed
                    raise
                break
            said += piece
            if "[Y/n]" in said and not answered:
                answered = bool(os.write(main, f"{answer}\n".encode()))
        return process.wait(SECONDS_MAX), said
    finally:
        process.kill()
        process.wait()
        os.close(main)


@pytest.mark.parametrize(("answer", "is_written"), [("", True), ("y", True), ("n", False)])
def test_on_a_terminal_it_asks(place: Place, answer: str, is_written: bool) -> None:
    origin = FakeRegistry()
    origin.add(LATEST)
    with ServerThread(origin):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        code, said = on_a_terminal(["init", "--catalogue", catalogue, "-o", FILE], answer)
    assert code == 0
    assert "Write this to sampan.toml?" in said
    assert Path(FILE).exists() == is_written
