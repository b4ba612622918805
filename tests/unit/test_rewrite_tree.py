"""Files with images: which are looked into below a directory, how they are read, how they are put back."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ordinary import as_nobody, open_directory
from sampan.errors import InvalidDocument, UsageError
from sampan.rewrite.documents import Kind
from sampan.rewrite.tree import decode, read, sources, write


def lay(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x: y\n")


def found(root: Path) -> list[str]:
    return [source.path.relative_to(root).as_posix() for source in sources([root])]


def test_names_that_can_be_manifests_are_looked_into_in_order(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "b.yaml",
        "a.yml",
        "Dockerfile",
        "sub/deep/c.yaml",
        ".github/workflows/x.yml",
        "README.md",
        "x.py",
    )
    assert found(tmp_path) == ["Dockerfile", "a.yml", "b.yaml", ".github/workflows/x.yml", "sub/deep/c.yaml"]


def test_what_nobody_writes_manifests_into_is_left_out(tmp_path: Path) -> None:
    lay(tmp_path, ".git/a.yaml", "node_modules/p/a.yaml", "env/a.yaml", "env/pyvenv.cfg", "kept/a.yaml")
    assert found(tmp_path) == ["kept/a.yaml"]


def test_the_templates_of_a_chart_are_left_out_and_other_templates_are_not(tmp_path: Path) -> None:
    lay(tmp_path, "chart/Chart.yaml", "chart/templates/a.yaml", "chart/values.yaml", "other/templates/b.yaml")
    assert found(tmp_path) == ["chart/Chart.yaml", "chart/values.yaml", "other/templates/b.yaml"]


def test_json_is_looked_into_when_it_can_be_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "pod.json").write_text('{"apiVersion": "v1"}')
    (tmp_path / "package.json").write_text('{"name": "x"}')
    assert found(tmp_path) == ["pod.json"]


def test_links_and_devices_are_not_followed_below_a_directory(tmp_path: Path) -> None:
    lay(tmp_path, "top/a.yaml", "elsewhere/b.yaml")
    (tmp_path / "top/linked.yaml").symlink_to(tmp_path / "elsewhere/b.yaml")
    (tmp_path / "top/folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "top/pipe.yaml")
    assert found(tmp_path / "top") == ["a.yaml"]


def test_a_file_is_looked_into_once_and_whatever_its_name_when_it_is_named(tmp_path: Path) -> None:
    lay(tmp_path, "a.yaml", "notes.txt")
    paths = [tmp_path / "notes.txt", tmp_path / "a.yaml", tmp_path]
    assert [(source.path.name, source.kind) for source in sources(paths)] == [
        ("notes.txt", None),
        ("a.yaml", Kind.YAML),
    ]
    (source,) = sources([tmp_path / "a.yaml"], Kind.GITLAB)
    assert source.kind is Kind.GITLAB


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file or directory: .*none"):
        list(sources([tmp_path / "none"]))


@pytest.mark.parametrize(
    ("data", "message", "line"),
    [
        (b"a: b\n\xff\xfe\n", "expected UTF-8, got the byte 0xff", 2),
        ("a: b".encode("utf-16"), "expected UTF-8, got UTF-16", 1),
    ],
)
def test_a_file_in_another_encoding_is_refused_with_the_line(data: bytes, message: str, line: int) -> None:
    with pytest.raises(InvalidDocument, match=message) as caught:
        decode(data, Kind.YAML)
    assert caught.value.line == line
    assert "UTF-8" in (caught.value.hint or "")


def test_a_file_of_another_user_is_refused() -> None:
    with open_directory() as folder:
        path = folder / "a.yaml"
        path.write_text("a: b\n")
        path.chmod(0)
        said = as_nobody(lambda: refused(lambda: read(path, None)))
    assert said == "cannot read it: permission denied\n"


def test_a_file_is_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old\n")
    path.chmod(0o640)
    before = path.stat()
    with path.open() as reader:
        write(path, "new\r\n")
        assert reader.read() == "old\n"
    after = path.stat()
    assert path.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_is_named_stays_and_its_target_is_written(tmp_path: Path) -> None:
    lay(tmp_path, "real.yaml")
    link = tmp_path / "link.yaml"
    link.symlink_to("real.yaml")
    write(link, "new\n")
    assert link.is_symlink()
    assert (tmp_path / "real.yaml").read_text() == "new\n"


def test_where_nothing_can_be_written_the_file_is_as_it_was() -> None:
    with open_directory() as folder:
        path = folder / "a.yaml"
        path.write_text("x: y\n")
        said = as_nobody(lambda: refused(lambda: write(path, "new\n")))
        assert said == "cannot write it: permission denied\n"
        assert path.read_text() == "x: y\n"
        assert list(folder.iterdir()) == [path]


def refused(work: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        work()
    print(caught.value.message)
