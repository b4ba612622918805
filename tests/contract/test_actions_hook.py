"""``sampan actions-hook`` between a runner and its hook: what the hook gets, and whose exit code counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rewrite_table
from rewrite_table import Row
from sampan.rewrite.actions import rewrite_hook

MIRRORS = "docker.io=https://m.daocloud.io/docker.io"
REGISTRY = {"username": "foo", "password": "bar", "serverUrl": "https://index.docker.io/v1"}
PREPARE: dict[str, Any] = {
    "command": "prepare_job",
    "responseFile": "/runner/_work/_temp/response.json",
    "state": {},
    "args": {
        "container": {"image": "node:20", "createOptions": "--cpus 1", "registry": REGISTRY},
        "services": [
            {"contextName": "redis", "image": "redis", "portMappings": ["6379:6379/tcp"]},
            {"contextName": "own", "image": "ghcr.io/own/db:1"},
        ],
    },
}
STEP: dict[str, Any] = {
    "command": "run_container_step",
    "responseFile": None,
    "state": {"jobPod": "x"},
    "args": {
        "image": "super/linter:v7",
        "dockerfile": None,
        "entryPoint": "tail",
        "entryPointArgs": ["node:14.16"],
    },
}


def run(
    said: bytes, *hook: str, directory: Path, mirrors: str = MIRRORS
) -> subprocess.CompletedProcess[bytes]:
    environ = {"HOME": str(directory), "PATH": os.environ["PATH"], "SAMPAN_MIRRORS": mirrors}
    command = [sys.executable, "-W", "error", "-m", "sampan", "actions-hook", *hook]
    return subprocess.run(
        command, input=said, capture_output=True, cwd=directory, env=environ, timeout=60, check=False
    )


def test_the_job_and_its_services_are_redirected_and_nothing_else_changes(tmp_path: Path) -> None:
    done = run(json.dumps(PREPARE).encode(), "cat", directory=tmp_path)
    expected = json.loads(json.dumps(PREPARE))
    expected["args"]["container"]["image"] = "m.daocloud.io/docker.io/library/node:20"
    expected["args"]["services"][0]["image"] = "m.daocloud.io/docker.io/library/redis"
    assert json.loads(done.stdout) == expected
    assert b"redis is pulled as m.daocloud.io/docker.io/library/redis" in done.stderr
    assert b"bar" not in done.stderr


def test_an_action_in_a_container_is_redirected() -> None:
    document = json.loads(json.dumps(STEP))
    rewrite_hook(document, rewrite_table.rules("one-variable"))
    assert document["args"]["image"] == "m.daocloud.io/docker.io/super/linter:v7"
    assert document["args"]["entryPointArgs"] == ["node:14.16"]


def test_the_name_that_the_proposal_has_for_the_job_is_understood() -> None:
    document: dict[str, Any] = {"args": {"jobContainer": {"image": "node:20"}}}
    rewrite_hook(document, rewrite_table.rules("one-variable"))
    assert document["args"]["jobContainer"]["image"] == "m.daocloud.io/docker.io/library/node:20"


@pytest.mark.parametrize("row", rewrite_table.rows(), ids=str)
def test_the_table(row: Row) -> None:
    document: dict[str, Any] = {"args": {"services": [{"image": row.reference}]}}
    rewrite_hook(document, rewrite_table.rules(row.group))
    assert document["args"]["services"][0]["image"] == row.result


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        5,
        {},
        {"args": None},
        {"args": []},
        {"args": {"image": None, "services": "x"}},
        {"args": {"services": [None, {"image": 5}]}},
    ],
)
def test_what_names_no_image_stays(document: Any) -> None:
    assert rewrite_hook(document, rewrite_table.rules("one-variable")) == []


@pytest.mark.parametrize("said", [b"", b"not JSON", b"\xff", json.dumps({"command": "cleanup_job"}).encode()])
def test_what_is_not_understood_reaches_the_hook_byte_for_byte(tmp_path: Path, said: bytes) -> None:
    assert run(said, "cat", directory=tmp_path).stdout == said


def test_a_bad_configuration_does_not_stop_the_job(tmp_path: Path) -> None:
    said = json.dumps(PREPARE).encode()
    done = run(said, "cat", directory=tmp_path, mirrors="nonsense")
    assert (done.returncode, done.stdout) == (0, said)
    assert b"sampan: images are left as they are: " in done.stderr


def test_the_hooks_own_words_and_its_exit_code_are_kept(tmp_path: Path) -> None:
    done = run(b"{}", "sh", "-c", 'cat >/dev/null; echo "$1"; exit 7', "sh", "--config", directory=tmp_path)
    assert (done.returncode, done.stdout) == (7, b"--config\n")


def test_a_hook_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run(b"{}", "./none.js", directory=tmp_path)
    assert done.returncode == 2
    assert b"error: cannot start the hook ./none.js" in done.stderr
