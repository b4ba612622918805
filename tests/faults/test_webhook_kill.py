"""Webhooks as processes that are killed, or get another certificate: pods are admitted, and none wrongly."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
import trustme

from webhook_process import RULES, ApiServer, serve, write_certificate

REWRITTEN = "m.daocloud.io/docker.io/library/alpine:3"
CLIENTS = 4
ADMISSIONS = 150


class Load:
    """Threads that have pods admitted, each by every webhook in turn."""

    def __init__(self, ports: list[int], authority: trustme.CA) -> None:
        self.seen: dict[int, list[str]] = {port: [] for port in ports}
        self.errors: list[Exception] = []
        self.ignored = dict.fromkeys(ports, 0)
        self._started = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(ports, authority)) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        assert self._started.wait(30)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)

    def _run(self, ports: list[int], authority: trustme.CA) -> None:
        servers = {port: ApiServer(port, authority) for port in ports}
        try:
            for _ in range(ADMISSIONS):
                for port, server in servers.items():
                    self.seen[port].append(server.admit())
                if len(self.seen[ports[0]]) > CLIENTS * 10:
                    self._started.set()
        except Exception as error:  # noqa: BLE001  (told by the test)
            self.errors.append(error)
        finally:
            self._started.set()
            for port, server in servers.items():
                self.ignored[port] += server.ignored
                server.close()


def prepare(directory: Path) -> trustme.CA:
    authority = trustme.CA()
    write_certificate(directory, authority)
    (directory / "sampan.toml").write_text(RULES)
    return authority


@pytest.mark.row("X8")
def test_one_of_two_is_killed_under_load_and_every_pod_is_admitted(tmp_path: Path) -> None:
    authority = prepare(tmp_path)
    with serve(tmp_path) as killed, serve(tmp_path) as other:
        load = Load([killed.port, other.port], authority)
        load.start()
        killed.process.send_signal(signal.SIGKILL)
        load.join()
    assert load.errors == []
    assert load.ignored[other.port] == 0
    assert load.seen[other.port] == [REWRITTEN] * (CLIENTS * ADMISSIONS)
    assert load.ignored[killed.port] > 0
    assert set(load.seen[killed.port]) == {REWRITTEN, "alpine:3"}


@pytest.mark.row("X8")
def test_one_that_is_told_to_stop_answers_what_it_has_begun(tmp_path: Path) -> None:
    authority = prepare(tmp_path)
    with serve(tmp_path) as stopped, serve(tmp_path) as other:
        load = Load([stopped.port, other.port], authority)
        load.start()
        assert stopped.end(signal.SIGTERM) == 0
        load.join()
    assert load.errors == []
    assert load.seen[other.port] == [REWRITTEN] * (CLIENTS * ADMISSIONS)


@pytest.mark.row("X8")
def test_the_next_one_is_as_good_as_the_one_that_was_killed(tmp_path: Path) -> None:
    authority = prepare(tmp_path)
    for _ in range(3):
        with serve(tmp_path) as served:
            api = ApiServer(served.port, authority)
            assert api.admit() == REWRITTEN
            api.close()
            assert served.end(signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.row("X8")
def test_a_new_certificate_is_found_without_being_told(tmp_path: Path) -> None:
    prepare(tmp_path)
    with serve(tmp_path) as served:
        another = trustme.CA()
        write_certificate(tmp_path, another)
        served.wait_for("a new certificate is shown from now on")
        api = ApiServer(served.port, another)
        assert api.admit() == REWRITTEN
        api.close()
