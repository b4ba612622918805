"""``sampan webhook serve`` as a process: signals, new rules, and why it does not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from webhook_process import RULES, ApiServer, serve, write_certificate

REWRITTEN = "m.daocloud.io/docker.io/library/alpine:3"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    found = trustme.CA()
    write_certificate(tmp_path, found)
    (tmp_path / "sampan.toml").write_text(RULES)
    return found


def test_it_answers_until_a_signal_ends_it(tmp_path: Path, authority: trustme.CA) -> None:
    with serve(tmp_path) as served:
        api = ApiServer(served.port, authority)
        assert api.admit() == REWRITTEN
        assert served.end(signal.SIGTERM) == 0
        assert api.admit() == "alpine:3"
        api.close()


def test_rules_are_loaded_at_sighup_and_bad_ones_told(tmp_path: Path, authority: trustme.CA) -> None:
    with serve(tmp_path) as served:
        (tmp_path / "sampan.toml").write_text("rewrite = 5\n")
        served.process.send_signal(signal.SIGHUP)
        assert "sampan.toml:1" in served.wait_for("the new rules are bad, the old ones are kept")
        api = ApiServer(served.port, authority)
        assert api.admit() == REWRITTEN
        (tmp_path / "sampan.toml").write_text(RULES.replace("m.daocloud.io/docker.io", "harbor.lan/hub"))
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("rules loaded")
        assert api.admit() == "harbor.lan/hub/library/alpine:3"
        api.close()


def test_without_any_rule_it_says_so(tmp_path: Path, authority: trustme.CA) -> None:
    (tmp_path / "sampan.toml").write_text("")
    with serve(tmp_path) as served:
        served.wait_for("there is no rule: every image stays as it is")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cert", "none.crt", "--key", "tls.key"], "error: cannot load the certificate none.crt"),
        (["--cert", "tls.crt", "--key", "tls.crt"], "error: cannot load the certificate tls.crt"),
        (["--cert", "tls.crt", "--key", "tls.key", "--listen", "nowhere"], "error: expected HOST:PORT"),
        (["--cert", "tls.crt"], "error: Missing option"),
    ],
)
def test_what_keeps_it_from_starting_is_told(
    tmp_path: Path, authority: trustme.CA, words: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sampan", "webhook", "serve", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
