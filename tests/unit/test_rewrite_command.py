"""``sampan rewrite`` as people and scripts meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sampan.cli import main

Captured = pytest.CaptureFixture[str]
CONFIG = """
[registry."docker.io"]
mirrors = ["https://m.lan"]
[registry."ghcr.io"]
[rewrite.fields]
Thing = ["spec.img"]
"""
POD = (
    "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: nginx:1.27  # web\n  - image: ghcr.io/a/b\n"
)
NEW_POD = POD.replace("nginx", "m.lan/library/nginx")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "sampan.toml").write_text(CONFIG)
    root = tmp_path / "tree"
    (root / "deploy").mkdir(parents=True)
    (root / "deploy/pod.yaml").write_text(POD)
    (root / "Dockerfile").write_text("FROM alpine:3 AS a\nFROM a\nFROM scratch\nFROM x:$V\n")
    return root


def run(root: Path, *words: str) -> int:
    return main(["rewrite", "--config", str(root.parent / "sampan.toml"), *words])


def piped(root: Path, text: str, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "sampan", "rewrite", *words]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("SAMPAN_")} | environ
    return subprocess.run(
        command, input=text.encode(), capture_output=True, check=False, cwd=root.parent, env=variables
    )


# -- references -----------------------------------------------------------------------------------


def test_each_reference_is_printed_as_it_becomes(tree: Path, capsys: Captured) -> None:
    assert run(tree, "alpine:3", "ghcr.io/a/b:1", "${X}", "m.lan/library/a") == 0
    shown = capsys.readouterr()
    assert shown.out == "m.lan/library/alpine:3\nghcr.io/a/b:1\n${X}\nm.lan/library/a\n"
    assert shown.err == ""


def test_references_come_from_standard_input_without_comments_and_empty_lines(tree: Path) -> None:
    done = piped(tree, "# all of them\nalpine\n\n  nginx:1  \r\n", "redis", "-")
    assert done.stdout == b"m.lan/library/redis\nm.lan/library/alpine\nm.lan/library/nginx:1\n"
    assert (done.returncode, done.stderr) == (0, b"")


def test_references_as_json_have_their_reason(tree: Path, capsys: Captured) -> None:
    assert run(tree, "--json", "alpine", "ghcr.io/a/b") == 0
    assert json.loads(capsys.readouterr().out) == {
        "references": [
            {"reference": "alpine", "result": "m.lan/library/alpine", "changed": True, "reason": "rewritten"},
            {"reference": "ghcr.io/a/b", "result": "ghcr.io/a/b", "changed": False, "reason": "no-rule"},
        ]
    }


def test_a_reference_that_is_none_is_told_and_the_others_are_done(tree: Path, capsys: Captured) -> None:
    assert run(tree, "Alpine", "alpine", "") == 2
    shown = capsys.readouterr()
    assert shown.out == "Alpine\nm.lan/library/alpine\n\n"
    assert "error: invalid reference 'Alpine': repository name must be lowercase" in shown.err
    assert "hint: write alpine" in shown.err


def test_check_prints_the_references_that_would_change(tree: Path, capsys: Captured) -> None:
    assert run(tree, "--check", "ghcr.io/a/b", "alpine") == 1
    assert capsys.readouterr().out == "m.lan/library/alpine\n"
    assert run(tree, "--check", "ghcr.io/a/b") == 0


def test_one_variable_is_enough_of_a_configuration(tree: Path) -> None:
    (tree.parent / "sampan.toml").unlink()
    done = piped(tree, "", "alpine", SAMPAN_MIRRORS="docker.io=https://m.daocloud.io/docker.io", HOME="/none")
    assert done.stdout == b"m.daocloud.io/docker.io/library/alpine\n"


def test_without_any_mirror_it_is_said_that_nothing_is_redirected(tree: Path, capsys: Captured) -> None:
    (tree.parent / "sampan.toml").write_text("")
    assert run(tree, "alpine") == 0
    shown = capsys.readouterr()
    assert shown.out == "alpine\n"
    assert "nothing is redirected" in shown.err
    assert "hint: SAMPAN_MIRRORS=" in shown.err


# -- files ----------------------------------------------------------------------------------------


def test_one_file_is_printed_with_its_images_rewritten(tree: Path, capsys: Captured) -> None:
    assert run(tree, "--files", str(tree / "deploy/pod.yaml")) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (NEW_POD, "")
    assert (tree / "deploy/pod.yaml").read_text() == POD


def test_standard_input_goes_to_standard_output_to_the_byte(tree: Path) -> None:
    text = "\ufeff" + POD.replace("\n", "\r\n")
    done = piped(tree, text, "--files", "-")
    assert done.stdout == ("\ufeff" + NEW_POD.replace("\n", "\r\n")).encode()
    assert (done.returncode, done.stderr) == (0, b"")


def test_standard_input_that_is_broken_gives_nothing_and_says_where(tree: Path) -> None:
    done = piped(tree, POD + "---\na: [\n", "--files", "-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"error: standard input:8: not YAML: " in done.stderr


def test_check_lists_what_would_change_and_exits_1(tree: Path, capsys: Captured) -> None:
    assert run(tree, "--files", "--check", str(tree)) == 1
    shown = capsys.readouterr()
    assert shown.out == (
        f"{tree}/Dockerfile:1: alpine:3 -> m.lan/library/alpine:3\n"
        f"{tree}/deploy/pod.yaml:5: nginx:1.27 -> m.lan/library/nginx:1.27\n"
    )
    assert shown.err == (
        "2 files, 4 images: 2 rewritten, 1 without a rule, 1 with variables, left; 2 files would change\n"
    )
    assert (tree / "deploy/pod.yaml").read_text() == POD


def test_in_place_writes_what_changes_and_a_second_time_nothing(tree: Path, capsys: Captured) -> None:
    assert run(tree, "--in-place", str(tree)) == 0
    assert "2 files written" in capsys.readouterr().err
    assert (tree / "deploy/pod.yaml").read_text() == NEW_POD
    assert (tree / "Dockerfile").read_text().startswith("FROM m.lan/library/alpine:3 AS a\nFROM a\n")
    written = (tree / "Dockerfile").stat().st_mtime_ns
    assert run(tree, "--files", "--in-place", str(tree)) == 0
    shown = capsys.readouterr()
    assert (shown.out, (tree / "Dockerfile").stat().st_mtime_ns) == ("", written)
    assert run(tree, "--files", "--check", str(tree)) == 0


def test_diff_shows_lines_and_goes_with_check_or_in_place(tree: Path, capsys: Captured) -> None:
    path = tree / "deploy/pod.yaml"
    assert run(tree, "--diff", str(path)) == 0
    diff = capsys.readouterr().out
    assert "-  - image: nginx:1.27  # web\n+  - image: m.lan/library/nginx:1.27  # web\n" in diff
    assert run(tree, "--diff", "--check", str(path)) == 1
    assert capsys.readouterr().out == diff
    assert run(tree, "--diff", "--in-place", str(path)) == 0
    assert capsys.readouterr().out == diff
    assert path.read_text() == NEW_POD


def test_list_shows_images_as_they_stand_and_needs_no_mirror(tree: Path, capsys: Captured) -> None:
    (tree.parent / "sampan.toml").write_text("")
    assert run(tree, "--list", str(tree)) == 0
    shown = capsys.readouterr()
    assert shown.out == (
        f"{tree}/Dockerfile:1: alpine:3\n{tree}/Dockerfile:4: x:$V\n"
        f"{tree}/deploy/pod.yaml:5: nginx:1.27\n{tree}/deploy/pod.yaml:6: ghcr.io/a/b\n"
    )
    assert shown.err == "2 files, 4 images\n"


def test_a_broken_file_is_told_with_its_line_and_the_others_are_done(tree: Path, capsys: Captured) -> None:
    broken = tree / "deploy/broken.yaml"
    broken.write_text(POD + "  - image: [\n")
    assert run(tree, "--in-place", str(tree)) == 2
    shown = capsys.readouterr()
    assert f"error: {broken}:7: not YAML: " in shown.err
    assert "2 files written; 1 file not done" in shown.err
    assert broken.read_text() == POD + "  - image: [\n"
    assert (tree / "deploy/pod.yaml").read_text() == NEW_POD
    assert sorted(path.name for path in broken.parent.iterdir()) == ["broken.yaml", "pod.yaml"]


def test_files_as_json_have_images_and_errors(tree: Path, capsys: Captured) -> None:
    (tree / "broken.yaml").write_text("a: [\n")
    assert run(tree, "--files", "--json", "--in-place", str(tree)) == 2
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    by_name = {Path(file["file"]).name: file for file in document["files"]}
    assert by_name["broken.yaml"]["error"]["line"] == 1
    assert by_name["broken.yaml"]["images"] == []
    assert by_name["pod.yaml"]["written"] is True
    assert by_name["pod.yaml"]["images"][0] == {
        "line": 5,
        "reference": "nginx:1.27",
        "result": "m.lan/library/nginx:1.27",
        "changed": True,
        "reason": "rewritten",
    }


def test_fields_of_the_configuration_are_looked_at(tree: Path, capsys: Captured) -> None:
    path = tree / "thing.yaml"
    path.write_text("apiVersion: x/v1\nkind: Thing\nspec: {img: nginx, other: nginx}\n")
    assert run(tree, "--files", str(path)) == 0
    assert "{img: m.lan/library/nginx, other: nginx}" in capsys.readouterr().out


def test_a_kind_may_be_said(tree: Path, capsys: Captured) -> None:
    path = tree / "ci.yaml"
    path.write_text("image: ruby\n")
    assert run(tree, "--files", "--check", str(path)) == 0
    assert run(tree, "--files", "--as", "gitlab", str(path)) == 0
    assert capsys.readouterr().out == "image: m.lan/library/ruby\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to rewrite"),
        (["--files"], "nothing to rewrite"),
        (["--files", "TREE"], "several files cannot be printed as one"),
        (["--files", "TREE/Dockerfile", "TREE/deploy/pod.yaml"], "several files cannot be printed as one"),
        (["--list", "--check", "TREE"], "--list shows what there is"),
        (["--files", "--check", "--in-place", "TREE"], "--check and --in-place exclude each other"),
        (["--in-place", "-"], "standard input cannot be written in place"),
        (["--files", "--check", "TREE/none"], "no such file or directory"),
        (["--as", "helm", "TREE/Dockerfile"], "--as: no such kind: helm"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tree: Path, words: list[str], message: str, capsys: Captured
) -> None:
    assert run(tree, *(word.replace("TREE", str(tree)) for word in words)) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
