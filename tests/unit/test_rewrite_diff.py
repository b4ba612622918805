"""The diff of a rewriting, as git itself applies it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sampan.rewrite import Rules, Target
from sampan.rewrite.diff import unified_diff
from sampan.rewrite.documents import Kind, rewrite_text
from sampan.rewrite.tree import decode, encode, kind_of

RULES = Rules({"docker.io": (Target("m.lan"),), "*": (Target("m.lan", "{registry}/"),)})
GOLDEN = Path(__file__).parents[1] / "golden" / "rewrite" / "input"
FILES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file())


def diff_of(text: str) -> str:
    return unified_diff("f", text, rewrite_text(text, RULES, Kind.DOCKERFILE))


def test_a_diff_shows_the_lines_that_change_with_three_around_them() -> None:
    text = "".join(f"# {i}\n" for i in range(1, 6)) + "FROM a\n" + "".join(f"# {i}\n" for i in range(6, 12))
    assert diff_of(text) == (
        "--- a/f\n+++ b/f\n@@ -3,7 +3,7 @@\n # 3\n # 4\n # 5\n"
        "-FROM a\n+FROM m.lan/library/a\n # 6\n # 7\n # 8\n"
    )


def test_changes_far_from_each_other_are_apart_and_near_ones_together() -> None:
    lines = ["FROM a", *["#"] * 6, "FROM b", *["#"] * 7, "FROM c"]
    hunks = [line for line in diff_of("\n".join(lines) + "\n").splitlines() if line.startswith("@@")]
    assert hunks == ["@@ -1,11 +1,11 @@", "@@ -13,4 +13,4 @@"]


def test_a_file_that_ends_without_a_line_feed_is_told_so() -> None:
    assert diff_of("FROM a").endswith(
        "-FROM a\n\\ No newline at end of file\n+FROM m.lan/library/a\n\\ No newline at end of file\n"
    )


def test_nothing_changed_is_an_empty_diff() -> None:
    assert diff_of("FROM scratch\n") == ""


@pytest.mark.parametrize("name", FILES)
def test_git_makes_the_same_of_it(name: str, tmp_path: Path) -> None:
    kind = kind_of(GOLDEN / name)
    before = decode((GOLDEN / name).read_bytes(), kind)
    edited = rewrite_text(before, RULES, kind)
    if not edited.changes:
        assert unified_diff("f", before, edited) == ""
        return
    (tmp_path / "f").write_bytes(encode(before))
    command = ["git", "apply", "--unsafe-paths", "--whitespace=nowarn", "-"]
    patch = encode(unified_diff("f", before, edited))
    done = subprocess.run(command, input=patch, capture_output=True, cwd=tmp_path, check=False)
    assert done.stderr == b""
    assert (tmp_path / "f").read_bytes() == encode(edited.text)
