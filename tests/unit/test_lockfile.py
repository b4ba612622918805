"""``sampan.lock`` read and replaced; what is wrong with it is told with its line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.lockfile import parse_lock, read_lock, write_lock
from sampan.errors import ConfigError, StoreError
from sampan.lock import Lock, Locked
from sampan.lock.document import PlatformManifest
from sampan.oci import Digest, Reference

A, B = Digest.of(b"a"), Digest.of(b"b")
ALPINE = Locked(
    Reference.parse("alpine:3"),
    A,
    "application/vnd.oci.image.manifest.v1+json",
    100,
    {"linux/amd64": PlatformManifest(B, 40)},
    ("one.example",),
    ("example",),
    datetime(2026, 11, 23, tzinfo=UTC),
)
LOCK = Lock((ALPINE,))
GOOD = LOCK.text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 2", "version = 3", "sampan.lock:3: version: expected 2, got 3"),
        ("version = 2\n", "", "version: expected 2, got 0"),
        (f'"{A}"', '"sha256:12"', 'sampan.lock:6: image."docker.io/library/alpine:3".digest: '),
        ("size = 100", 'size = "100"', "size: expected a whole number, got a string"),
        ("size = 100", "size = -1", "sampan.lock:8: "),
        ("size = 100", "siez = 100", "siez: expected a key of"),
        ("2026-11-23T00:00:00Z", "yesterday", 'resolved_at: expected a time as "2026-01-31T12:00:00Z"'),
        ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00", "resolved_at: expected a time"),
        ("alpine:3", "alpine", "sampan.lock:5: "),
        ("alpine:3", "Alpine:3", "repository name must be lowercase"),
        ("[image.", "[image", "sampan.lock:5:"),
        ("[image", "[[image", "sampan.lock:5:"),
        ("size = 40 }", 'size = "40" }', "size: expected a whole number, got a string"),
        ("size = 40 }", "size = -1 }", 'platforms."linux/amd64".size: expected a size in bytes, got -1'),
        (", size = 40 }", " }", "size"),
        (
            f'{{ digest = "{B}"',
            '{ digest = "sha256:12"',
            'sampan.lock:14: image."docker.io/library/alpine:3"',
        ),
        (f'{{ digest = "{B}", size = 40 }}', "40", 'platforms."linux/amd64": expected'),
    ],
)
def test_what_is_wrong_with_a_lock_is_told_with_its_line(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_lock(GOOD.replace(old, new), "sampan.lock")
    assert message in caught.value.message


def test_one_image_under_two_names_is_refused() -> None:
    twice = GOOD + GOOD.partition("version = 2\n")[2].replace("docker.io/library/", "")
    with pytest.raises(ConfigError) as caught:
        parse_lock(twice, "sampan.lock")
    assert "expected each image once, got docker.io/library/alpine:3 under two names" in caught.value.message


def test_a_lock_that_is_not_there_is_told_with_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_lock(tmp_path / "sampan.lock")
    assert "no such file" in caught.value.message
    assert "sampan lock create" in (caught.value.hint or "")


def test_a_lock_is_replaced_whole_and_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "sampan.lock"
    assert write_lock(path, LOCK)
    first = path.stat()
    assert not write_lock(path, LOCK)
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    path.chmod(0o600)
    assert write_lock(path, Lock())
    assert (path.stat().st_mode & 0o777, os.listdir(tmp_path)) == (0o600, ["sampan.lock"])
    assert path.stat().st_ino != first.st_ino


def test_a_lock_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "sampan.lock"
    link.symlink_to("real/images.lock")
    assert write_lock(link, LOCK)
    assert link.is_symlink()
    assert read_lock(tmp_path / "real/images.lock") == LOCK


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        write_lock(tmp_path / "no/such/directory/sampan.lock", LOCK)
    assert "cannot write the lock" in caught.value.message
    (tmp_path / "sampan.lock").mkdir()
    with pytest.raises(StoreError):
        write_lock(tmp_path / "sampan.lock", LOCK)
    assert os.listdir(tmp_path) == ["sampan.lock"]


def test_the_configuration_names_a_lock_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "images.lock").write_text(GOOD)
    name = str(tmp_path / "sampan.toml")
    config = Config.parse('[tags]\nlock = "images.lock"\n', name=name, environ={})
    assert (config.tags.lock, config.tags.lock_path) == (LOCK, tmp_path / "images.lock")


def test_a_bad_lock_is_a_mistake_of_the_configuration_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "images.lock").write_text(GOOD.replace("size = 100", "size = -1"))
    name = str(tmp_path / "sampan.toml")
    with pytest.raises(ConfigError) as caught:
        Config.parse('[tags]\nlock = "images.lock"\n', name=name, environ={})
    assert f"{name}:2: tags.lock: {tmp_path}/images.lock:8: " in caught.value.message


def test_a_lock_that_is_about_to_be_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "sampan.toml").write_text('[tags]\nlock = "images.lock"\n')
    with pytest.raises(ConfigError):
        Config.load(tmp_path / "sampan.toml", {})
    config = Config.load(tmp_path / "sampan.toml", {}, locked=False)
    assert (config.tags.lock, config.tags.lock_path) == (None, tmp_path / "images.lock")


def test_a_lock_of_the_command_line_stands_above_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "images.lock").write_text(GOOD)
    config = Config.parse("", environ={}).with_lock(tmp_path / "images.lock")
    assert config.tags.lock == LOCK
    assert config.hosts_for("docker.io")
