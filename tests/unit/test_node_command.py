"""``sampan node`` as people and scripts meet it, on trees of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_cases import listing
from ordinary import as_nobody, open_directory
from sampan.cli import main

Captured = pytest.CaptureFixture[str]
DAEMON_JSON = "etc/docker/daemon.json"
CONFIG = '[registry."docker.io"]\nmirrors = [{ url = "https://mirror.example" }]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    (path / "etc" / "docker").mkdir(parents=True)
    (path / DAEMON_JSON).write_text('{\n  "registry-mirror": ["x"]\n}\n')
    (tmp_path / "sampan.toml").write_text(CONFIG)
    return path


def run(root: Path, *words: str) -> int:
    return main(["node", *words, "--root", str(root), "--config", str(root.parent / "sampan.toml")])


def test_every_command_shows_an_example_first(capsys: Captured) -> None:
    for words in (["node"], ["node", "status"], ["node", "plan"], ["node", "apply"], ["node", "revert"]):
        assert main([*words, "--help"]) == 0
        assert capsys.readouterr().out.startswith("Example:\n  ")


def test_status_names_the_file_what_is_in_force_and_what_is_dead(root: Path, capsys: Captured) -> None:
    assert run(root, "status") == 0
    shown = capsys.readouterr().out
    assert "docker: version unknown" in shown
    assert "docker.io: https://registry-1.docker.io" in shown
    assert "dead: /etc/docker/daemon.json:2: registry-mirror is ignored" in shown
    assert run(root, "status", "--runtime", "docker@28.5", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["runtimes"]
    assert found["version"] == "28.5.0"
    assert found["findings"][0]["code"] == "DOCKER_KEY_SINGULAR"
    assert found["files"] == [{"path": "/etc/docker/daemon.json", "read": True, "written_by": None}]


@pytest.mark.row("F5")
def test_plan_shows_a_diff_and_changes_nothing(root: Path, capsys: Captured) -> None:
    before = listing(root, times=True)
    assert run(root, "plan") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("--- /etc/docker/daemon.json\n+++ /etc/docker/daemon.json\n@@")
    assert '+    "https://mirror.example"\n' in shown.out
    assert "step: docker: reload by systemctl reload docker.service (not run now)" in shown.err
    assert run(root, "apply", "--dry-run") == 0
    assert capsys.readouterr() == shown
    assert listing(root, times=True) == before
    assert not (root / "var").exists()


def test_apply_then_nothing_to_change_then_revert(root: Path, capsys: Captured) -> None:
    before = listing(root, times=True)
    assert run(root, "apply") == 0
    assert "snapshot 1" in capsys.readouterr().err
    assert "https://mirror.example" in (root / DAEMON_JSON).read_text()
    assert run(root, "status") == 0
    assert "written by sampan" in capsys.readouterr().out
    assert run(root, "apply") == 0
    assert "nothing to change" in capsys.readouterr().err
    assert run(root, "revert", "--dry-run") == 0
    assert '-    "https://mirror.example"\n' in capsys.readouterr().out
    assert run(root, "revert", "--list", "--json") == 0
    (snapshot,) = json.loads(capsys.readouterr().out)["snapshots"]
    assert (snapshot["number"], snapshot["state"]) == (1, "applied")
    assert run(root, "revert") == 0
    assert listing(root, times=True) == before
    capsys.readouterr()
    assert run(root, "revert") == 0
    assert "nothing to revert" in capsys.readouterr().err


def test_revert_to_a_number_takes_the_later_ones_with_it(root: Path, capsys: Captured) -> None:
    before = listing(root, times=True)
    for port in (5051, 5052, 5053):
        assert run(root, "apply", "--via", f"http://127.0.0.1:{port}") == 0
    assert run(root, "revert", "2") == 0
    assert ":5051" in (root / DAEMON_JSON).read_text()
    assert run(root, "revert", "2") == 2
    assert "no snapshot 2" in capsys.readouterr().err
    assert run(root, "revert", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"reverted": [1]}
    assert listing(root, times=True) == before


def test_a_plan_that_is_no_longer_the_one_shown_is_refused(root: Path, capsys: Captured) -> None:
    assert run(root, "plan", "--json") == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    (root / DAEMON_JSON).write_text('{\n  "debug": true\n}\n')
    assert run(root, "apply", "--plan", shown["plan"]) == 7
    assert "the plan is" in capsys.readouterr().err
    assert "debug" in (root / DAEMON_JSON).read_text()
    assert run(root, "plan", "--json") == 0
    now = json.loads(capsys.readouterr().out)["plan"]
    assert run(root, "apply", "--plan", now) == 0


def test_a_file_that_does_not_parse_is_refused_with_its_line(root: Path, capsys: Captured) -> None:
    (root / DAEMON_JSON).write_text('{\n  "debug": true // on\n}\n')
    for command in ("plan", "apply"):
        assert run(root, command) == 7
        assert "refused: docker: /etc/docker/daemon.json:2:" in capsys.readouterr().err
    assert run(root, "plan", "--json") == 7
    (refused,) = json.loads(capsys.readouterr().out)["refused"]
    assert refused["runtime"] == "docker"


def test_what_was_edited_since_is_shown_and_kept_unless_forced(root: Path, capsys: Captured) -> None:
    before = listing(root, times=True)
    assert run(root, "apply") == 0
    file = root / DAEMON_JSON
    file.write_text(file.read_text().replace("{", '{\n  "debug": true,', 1))
    capsys.readouterr()
    assert run(root, "revert") == 7
    shown = capsys.readouterr()
    assert '+  "debug": true,' in shown.out
    assert "hint: --force" in shown.err
    assert run(root, "revert", "--force") == 0
    assert listing(root, times=True) == before


def test_a_tree_without_runtimes_and_a_root_that_is_none(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "sampan.toml").write_text(CONFIG)
    (tmp_path / "empty").mkdir()
    for command in ("status", "plan", "apply"):
        assert run(tmp_path / "empty", command) == 3
        assert "no container runtime" in capsys.readouterr().err
    assert run(tmp_path / "none", "plan") == 2
    assert "no such directory" in capsys.readouterr().err
    assert run(tmp_path / "empty", "plan", "--runtime", "podmann") == 7


def test_who_is_not_root_sees_the_plan_and_is_told_what_is_needed() -> None:
    with open_directory() as place:
        root = place / "root"
        (root / "etc" / "docker").mkdir(parents=True)
        (place / "sampan.toml").write_text(CONFIG)
        root.chmod(0o555)
        said = as_nobody(lambda: print("exit code", run(root, "apply")))
        assert '+    "https://mirror.example"\n' in said
        assert "error: this user may not keep snapshots" in said
        assert "hint: run it as root" in said
        assert "exit code 7" in said
        assert list(root.rglob("*.json")) == []
        root.chmod(0o755)


def test_the_service_comes_first_and_is_told_of_once_it_is_there(root: Path, capsys: Captured) -> None:
    for name, text in (("opt/sampan/bin/sampan", "#!/usr/bin/python3\n"), ("etc/sampan/sampan.toml", CONFIG)):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    before = listing(root, times=True)
    assert run(root, "plan") == 0
    assert "sampan.service" not in capsys.readouterr().out
    assert run(root, "plan", "--service", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [change["path"] for change in shown["changes"]] == [
        "/etc/systemd/system/sampan.service",
        "/etc/docker/daemon.json",
    ]
    assert shown["steps"][0]["command"] == ["systemctl", "enable", "--now", "sampan.service"]
    assert run(root, "apply", "--service") == 0
    capsys.readouterr()
    assert run(root, "status") == 0
    assert "  file /etc/systemd/system/sampan.service, written by sampan\n" in capsys.readouterr().out
    assert run(root, "apply", "--service") == 0
    assert "nothing to change" in capsys.readouterr().err
    assert run(root, "revert") == 0
    assert listing(root, times=True) == before


def test_a_service_that_could_not_start_is_refused_with_what_is_missing(root: Path, capsys: Captured) -> None:
    assert run(root, "apply", "--service") == 7
    shown = capsys.readouterr().err
    assert "refused: sampan: /opt/sampan/bin/sampan: no sampan is installed for the whole machine" in shown
    assert "hint: python3 -m venv /opt/sampan" in shown
