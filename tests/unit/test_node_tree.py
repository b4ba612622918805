"""A tree is read within its root alone, whatever lies in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ordinary import as_nobody, open_directory
from sampan.errors import PlanMismatch
from sampan.runtimes.contract import Change
from sampan.runtimes.tree import FILE_BYTES_MAX, Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    (path / "etc" / "d").mkdir(parents=True)
    (path / "etc" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return path


def test_a_file_a_directory_and_what_is_absent(root: Path) -> None:
    tree = Tree(root)
    assert tree.file("/etc/file").data == b"inside"
    assert tree.file("/etc/d").state == "directory"
    assert tree.file("/etc/none").state == tree.file("/none/none").state == "absent"
    assert tree.file("/etc/none").editable() is None
    assert tree.directory("/etc").names == ("d", "file")
    assert not tree.directory("/none").exists
    assert tree.exists("/etc/d")
    assert not tree.exists("/etc/none")


@pytest.mark.parametrize(
    "target", ["../../secret", "/../secret", "../../../../../../../../etc/passwd", "none", "link", "/none/x"]
)
def test_a_link_that_leads_out_or_nowhere_is_no_file(root: Path, target: str) -> None:
    (root / "etc" / "link").symlink_to(target)
    file = Tree(root).file("/etc/link")
    assert (file.state, file.data) == ("outside", None)
    assert file.problem is not None
    with pytest.raises(PlanMismatch):
        file.editable()


@pytest.mark.parametrize("target", ["file", "/etc/file", "../etc/d/../file", "other"])
def test_a_link_within_is_read_but_not_edited(root: Path, target: str) -> None:
    (root / "etc" / "other").symlink_to("/etc/file")
    (root / "etc" / "link").symlink_to(target)
    file = Tree(root).file("/etc/link")
    assert (file.data, file.real, file.problem) == (b"inside", "/etc/file", None)
    with pytest.raises(PlanMismatch, match="is a symbolic link to /etc/file"):
        file.editable()


def test_directories_that_are_links_are_followed_within(root: Path) -> None:
    (root / "etc" / "current").symlink_to("d")
    (root / "etc" / "d" / "x").write_text("x")
    file = Tree(root).file("/etc/current/x")
    assert (file.editable(), file.real) == (b"x", "/etc/d/x")
    assert Tree(root).file("/etc/current/none").real == "/etc/d/none"
    assert Tree(root).directory("/etc/current").names == ("x",)


def test_what_is_no_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "etc" / "pipe")
    assert Tree(root).file("/etc/pipe").state == "special"


def test_a_huge_file_is_told_and_not_read(root: Path) -> None:
    with (root / "etc" / "huge").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert Tree(root).file("/etc/huge").state == "too-large"
    with (root / "etc" / "huge").open("wb") as file:
        file.truncate(FILE_BYTES_MAX)
    assert Tree(root).file("/etc/huge").state == "file"


def test_what_may_not_be_read_is_told() -> None:
    with open_directory() as root:
        (root / "file").write_text("inside")
        (root / "file").chmod(0o600)
        (root / "closed").mkdir(0o700)

        def look() -> None:
            file = Tree(root).file("/file")
            assert file.state == "unreadable"
            assert file.problem is not None
            assert file.problem.hint == "run as root"
            assert Tree(root).directory("/closed").problem is not None
            assert Tree(root).file("/closed/x").state == "unreadable"

        if os.geteuid() != 0:
            (root / "file").chmod(0)
            (root / "closed").chmod(0)
        as_nobody(look)
        (root / "closed").chmod(0o700)


def test_a_file_in_the_place_of_a_directory_is_told(root: Path) -> None:
    assert Tree(root).file("/etc/file/below").state == "unreadable"
    assert not Tree(root).directory("/etc/file").exists


def test_a_tree_after_changes_has_them_in_files_and_directories(root: Path) -> None:
    tree = Tree(root).changed(
        [Change("/etc/file", b"inside", None), Change("/etc/new/deep", None, b"new"), Change("/x", None, b"")]
    )
    assert tree.file("/etc/file").state == "absent"
    assert tree.file("/etc/new/deep").editable() == b"new"
    assert tree.directory("/etc").names == ("d", "new")
    assert tree.directory("/etc/new").names == ("deep",)
    assert "x" in tree.directory("/").names
    assert (root / "etc" / "file").exists()
