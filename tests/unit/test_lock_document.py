"""A lock as a value: one way to be written, and what renewing it changes."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sampan.config.lockfile import parse_lock
from sampan.lock import Lock, Locked
from sampan.lock.document import PlatformManifest
from sampan.oci import Digest, Reference

AMD, ARM = Digest.of(b"amd"), Digest.of(b"arm")
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def locked(name: str = "alpine:3", content: str = "a", **more: object) -> Locked:
    image = Locked(
        Reference.parse(name),
        Digest.of(content.encode()),
        "application/vnd.oci.image.index.v1+json",
        100,
        {"linux/arm64/v8": PlatformManifest(ARM, 500), "linux/amd64": PlatformManifest(AMD, 400)},
        ("one.example",),
        ("example",),
        NOON,
    )
    return replace(image, **more)  # type: ignore[arg-type]  # the fields' own types


def test_a_lock_is_sorted_and_one_fact_stands_on_a_line() -> None:
    text = Lock().renewed([locked("quay.io/a/b:1"), locked("alpine:3")]).text()
    assert text == Lock().renewed([locked("alpine:3"), locked("quay.io/a/b:1")]).text()
    assert text.index('[image."docker.io/library/alpine:3"]') < text.index('[image."quay.io/a/b:1"]')
    assert text.index('"linux/amd64" = ') < text.index('"linux/arm64/v8" = ')
    assert 'resolved_at = "2026-11-23T12:00:00Z"\n' in text
    assert f'"linux/amd64" = {{ digest = "{AMD}", size = 400 }}\n' in text
    assert tomllib.loads(text)["version"] == 2


def test_what_is_written_is_read_back() -> None:
    lock = Lock().renewed([locked(), locked("quay.io/a/b:1", platforms={})])
    assert parse_lock(lock.text(), "sampan.lock") == lock


def test_a_lock_without_sizes_is_read_and_gains_them_when_it_is_renewed() -> None:
    new = Lock((locked(),))
    old = new.text().replace("version = 2", "version = 1")
    for digest, size in ((AMD, 400), (ARM, 500)):
        old = old.replace(f'{{ digest = "{digest}", size = {size} }}', f'"{digest}"')
    read = parse_lock(old, "sampan.lock")
    assert read.digests == new.digests
    assert {one.digest: one.size for one in read.images[0].platforms.values()} == {AMD: None, ARM: None}
    assert parse_lock(read.text(), "sampan.lock") == read
    assert read.renewed(new.images) == new


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_name_of_a_host_breaks_the_file(host: str, platform: str) -> None:
    lock = Lock((locked(hosts=(host,), platforms={platform: PlatformManifest(AMD, 0)}),))
    assert parse_lock(lock.text(), "sampan.lock") == lock


def test_the_same_content_keeps_its_time_and_its_witnesses() -> None:
    before = Lock((locked(hosts=("one.example", "two.example"), groups=("example", "other")),))
    assert before.renewed([locked(resolved_at=LATER)]) == before


def test_a_new_group_among_the_witnesses_is_written_down() -> None:
    after = Lock((locked(),)).renewed([locked(groups=("example", "other"), resolved_at=LATER)])
    assert (after.images[0].groups, after.images[0].resolved_at) == (("example", "other"), LATER)


def test_new_content_replaces_the_old_and_leaves_all_others() -> None:
    before = Lock().renewed([locked(), locked("nginx:1")])
    after = before.renewed([locked(content="b", resolved_at=LATER)])
    assert [str(image.reference) for image in after.images] == [
        "docker.io/library/alpine:3",
        "docker.io/library/nginx:1",
    ]
    assert (after.images[0].digest, after.images[1]) == (Digest.of(b"b"), before.images[1])


def test_a_mirror_finds_digests_by_registry_repository_and_tag() -> None:
    assert Lock((locked(),)).digests == {("docker.io", "library/alpine", "3"): Digest.of(b"a")}
