"""``sampan serve`` under a supervisor that waits for word on a socket, as systemd does."""

from __future__ import annotations

import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.process import CLOSED, registry_is_served, serve, write

WORD_SECONDS = 20.0


class Supervisor:
    """Listens at ``address``; each word is the datagram's lines."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(WORD_SECONDS)

    def word(self) -> dict[str, str]:
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    with tempfile.TemporaryDirectory(prefix="nfy", dir="/tmp") as directory:  # a socket's path is short
        name = f"@sampan-test-{secrets.token_hex(8)}" if request.param == "abstract" else f"{directory}/s"
        found = Supervisor(name)
        with closing(found.socket):
            yield found


def test_a_supervisor_is_told_of_start_reload_and_end(tmp_path: Path, supervisor: Supervisor) -> None:
    config = write(tmp_path, "")
    with serve(tmp_path, "--config", str(config), NOTIFY_SOCKET=supervisor.address) as served:
        ready = supervisor.word()
        assert ready["READY"] == "1"
        url = ready["STATUS"].removeprefix("serving at ")
        assert served.status(url, "/readyz") == 200, "ready is said when it is"
        before = time.monotonic_ns() // 1000
        config.write_text(config.read_text() + f'[registry."ghcr.io"]\n{CLOSED}')
        served.process.send_signal(signal.SIGHUP)
        word = supervisor.word()
        assert word["RELOADING"] == "1"
        assert before <= int(word["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert supervisor.word()["READY"] == "1"
        assert registry_is_served(served, url, "ghcr.io")
        served.process.send_signal(signal.SIGTERM)
        assert supervisor.word()["STOPPING"] == "1"
        assert served.process.wait(WORD_SECONDS) == 0


def test_a_reload_that_fails_is_over_all_the_same(tmp_path: Path, supervisor: Supervisor) -> None:
    config = write(tmp_path, "")
    with serve(tmp_path, "--config", str(config), NOTIFY_SOCKET=supervisor.address) as served:
        assert supervisor.word()["READY"] == "1"
        config.write_text("[server\n")
        served.process.send_signal(signal.SIGHUP)
        assert supervisor.word()["RELOADING"] == "1"
        assert supervisor.word()["READY"] == "1"
        served.wait_for("the new configuration is bad")


def test_one_that_does_not_start_never_says_that_it_is_ready(tmp_path: Path, supervisor: Supervisor) -> None:
    config = write(tmp_path, "[server]\nnonsense = 1\n")
    with serve(tmp_path, "--config", str(config), NOTIFY_SOCKET=supervisor.address) as served:
        assert served.process.wait(WORD_SECONDS) == 2
    supervisor.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        supervisor.word()


def test_a_supervisor_that_is_not_there_costs_a_line_of_the_log(tmp_path: Path) -> None:
    config = write(tmp_path, "")
    nowhere = str(tmp_path / "none")
    with serve(tmp_path, "--config", str(config), NOTIFY_SOCKET=nowhere) as served:
        url = served.wait_for("serving at ").split("serving at ", 1)[1].split()[0]
        served.wait_for("cannot tell the supervisor READY=1: No such file or directory")
        assert served.status(url, "/readyz") == 200
        assert served.end(signal.SIGTERM) == 0
