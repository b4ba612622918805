"""``sampan serve`` as a process: signals, reloads, and why it does not start."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from serving.process import CLOSED, ENDS_SECONDS, registry_is_served, serve, write


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    file = write(tmp_path, "")
    with serve(tmp_path) as served:
        line = served.wait_for("serving at")
        url = line.partition("serving at ")[2].split()[0]
        assert f"by {file.name}, store store" in line
        assert served.status(url, "/readyz") == 200
        assert served.end(number) == 0
    assert (tmp_path / "store/oci-layout").exists()


@pytest.mark.row("F1", "F4")
def test_a_bad_configuration_at_sighup_is_told_and_the_old_one_kept(tmp_path: Path) -> None:
    write(tmp_path, f'[registry."one.example"]\n{CLOSED}')
    with serve(tmp_path) as served:
        url = served.wait_for("serving at").partition("serving at ")[2].split()[0]
        assert registry_is_served(served, url, "one.example")

        write(tmp_path, f'[registry."two.example"]\n{CLOSED}orign = "last"\n')
        served.process.send_signal(signal.SIGHUP)
        line = served.wait_for("the old one is kept")
        assert 'sampan.toml:6: registry."two.example".orign: expected a key of' in line
        assert 'did you mean "origin"?' in line
        assert registry_is_served(served, url, "one.example")
        assert not registry_is_served(served, url, "two.example")

        write(tmp_path, f'[registry."two.example"]\n{CLOSED}')
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("configuration loaded")
        assert registry_is_served(served, url, "two.example")
        assert not registry_is_served(served, url, "one.example")
        assert served.end(signal.SIGTERM) == 0


def test_the_lock_is_read_again_at_sighup_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    lock, tag = tmp_path / "sampan.lock", "/v2/a/b/manifests/1?ns=one.example"
    lock.write_text("version = 1\n")
    write(tmp_path, f'[registry."one.example"]\n{CLOSED}[tags]\nlock = "sampan.lock"\n')
    with serve(tmp_path) as served:
        url = served.wait_for("serving at").partition("serving at ")[2].split()[0]
        assert served.status(url, tag) == 403

        lock.write_text('version = 1\n[image."one.example/a/b:1"]\ndigest = "1"\n')
        served.process.send_signal(signal.SIGHUP)
        assert "sampan.lock:2: " in served.wait_for("the old one is kept")
        assert served.status(url, tag) == 403

        write(tmp_path, f'[registry."one.example"]\n{CLOSED}')
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("configuration loaded")
        assert served.status(url, tag) == 503
        assert served.end(signal.SIGTERM) == 0


def test_what_needs_a_new_start_is_told_at_sighup(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    with serve(tmp_path) as served:
        served.wait_for("serving at")
        file.write_text('[store]\npath = "elsewhere"\n')
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("store.path has changed: it is taken up at the next start")
        served.wait_for("configuration loaded")
        assert served.end(signal.SIGTERM) == 0
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_may_be_json(tmp_path: Path) -> None:
    with serve(tmp_path, "--log-format", "json", "--store", "content") as served:
        line = json.loads(served.wait_for("serving at"))
        assert "by the built-in configuration, store content" in str(line)
        assert served.end(signal.SIGTERM) == 0


def test_an_address_in_use_is_told_with_a_hint(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serve(tmp_path, "--listen", f"127.0.0.1:{port}", "--store", "content") as served:
            line = served.wait_for("error: ")
            assert line.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
            served.wait_for("hint: ")
            assert served.process.wait(ENDS_SECONDS) == 2


@pytest.mark.row("D3")
def test_a_store_that_cannot_be_written_is_told_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "content").write_text("a file")
    with serve(tmp_path, "--store", "content") as served:
        assert "content" in served.wait_for("error: ")
        served.wait_for("hint: ")
        assert served.process.wait(ENDS_SECONDS) == 6
