"""sampan's own service: what no golden tree and no systemd shows."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from sampan.errors import NodeError
from sampan.oci import Reference
from sampan.runtimes.contract import Installed, Step
from sampan.runtimes.service import Service
from sampan.runtimes.service.unit import PATH, PROGRAMS, STORE, UNIT, port, shipped
from sampan.runtimes.snapshot import RunStep
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from scripted import Scripted

NOTHING = Wanted(())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in ((PROGRAMS[0], "#!/usr/bin/python3\n"), ("/etc/sampan/sampan.toml", "")):
        (tmp_path / name.lstrip("/")).parent.mkdir(parents=True)
        (tmp_path / name.lstrip("/")).write_text(text)
    return tmp_path


def test_the_unit_is_shipped_with_the_package_and_names_what_the_code_does() -> None:
    text = shipped()
    assert resources.files("sampan.runtimes.service").joinpath(UNIT).is_file()
    assert f"ExecStart={PROGRAMS[0]} serve --config /etc/sampan/sampan.toml --store {STORE}\n" in text
    assert f"StateDirectory={STORE.removeprefix('/var/lib/')}\n" in text


def test_a_new_unit_is_enabled_and_started_and_stopped_before_it_goes(root: Path) -> None:
    plan = Service().plan(Tree(root), Installed(), NOTHING)
    (change,), (step,) = plan.changes, plan.steps
    assert change.interim == change.after, "a revert stops it while it is there"
    assert step.command == ("systemctl", "enable", "--now", UNIT)
    assert step.back == ("systemctl", "disable", "--now", UNIT)


@pytest.mark.parametrize(("answers", "back"), [({"active": ""}, "restart"), ({}, "stop")])
def test_a_unit_that_was_there_runs_again_after_a_revert_if_it_did(
    root: Path, answers: dict[str, str], back: str
) -> None:
    (root / PATH.lstrip("/")).parent.mkdir(parents=True)
    (root / PATH.lstrip("/")).write_text("[Service]\n")
    first, second = Service().plan(Tree(root), Installed(None, answers), NOTHING).steps
    assert (first.command, first.back) == (("systemctl", "daemon-reload"), ())
    assert (second.command, second.back) == (("systemctl", "restart", UNIT), ("systemctl", back, UNIT))


def test_one_that_does_not_run_is_told_with_the_last_words_of_its_log(root: Path) -> None:
    tree = Tree(root)
    assert Service().settle(Scripted(), tree, Installed()) == ()
    machine = Scripted({"is-active": 3}, output="error: address already\nin use\n")
    (finding,) = Service().settle(machine, tree, Installed())
    assert finding.message == "it does not run: error: address already in use"
    (root / PATH.lstrip("/")).parent.mkdir(parents=True)
    (root / PATH.lstrip("/")).write_text(shipped())
    (finding,) = Service().status(tree, Installed(None, {"systemd": "systemd 252"})).findings
    assert (finding.code, finding.level) == ("SERVICE_STOPPED", "warning")
    assert Service().status(tree, Installed(None, {"systemd": "", "active": ""})).findings == ()
    assert Service().verify(Scripted(), Installed(), Reference.parse("alpine:3")) == ()
    assert not Service().detect(tree)


def test_without_systemd_it_is_refused_before_anything_is_written() -> None:
    run = RunStep("sampan", Step("start", "", ("systemctl", "enable", "--now", UNIT)))
    with pytest.raises(NodeError, match="sampan must start, and there is no systemd here"):
        Steps(Scripted(), has_systemd=False).check([run])


@pytest.mark.parametrize(
    ("listen", "number"),
    [("127.0.0.1:5050", 5050), ("[::1]:80", 80), ("x", 0), ("x:", 0), ("x:٣", 0), ("x:999999", 0)],
)
def test_a_port_is_read_or_is_none(listen: str, number: int) -> None:
    assert port(listen) == number
