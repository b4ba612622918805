"""Where the references of a bundle come from: files, logs, what runtimes list; and whether it is the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bundling import held
from sampan.bundle.contents import Asked
from sampan.bundle.from_files import Left, images_in_files, images_in_text
from sampan.bundle.from_log import pulled_since
from sampan.bundle.from_node import docker_images, images_in_table, podman_images
from sampan.bundle.order import Order, check_same
from sampan.bundle.target import Target
from sampan.errors import BundleExists, UsageError
from sampan.oci import Digest, Platform, Reference
from sampan.rewrite.fields import Fields
from sampan.rewrite.tree import sources

POD = """
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  initContainers: [{name: i, image: "busybox:1"}]
  containers:
  - {name: one, image: alpine:3}
  - {name: two, image: "{{ .Values.image }}"}
"""
LOG = """\
2026-01-30T23:59:59Z INFO pull docker.io/library/old:1 by 10.0.0.1 (containerd/1.7): ok, 5 requests
2026-01-31T00:00:00Z INFO pull docker.io/library/alpine:3 by 10.0.0.1 (containerd/1.7): ok, 5 requests
Jan 31 08:00:00 node sampan[7]: 2026-01-31T08:00:00Z INFO pull ghcr.io/a/b:1 by ::1 as joe (x): ok, 1 requests
2026-01-31T09:00:00Z INFO pull docker.io/library/broken:1 by 10.0.0.1: failed, 5 requests, 5 failed
2026-01-31T09:00:00Z WARNING GET /v2/ from 10.0.0.1: 401, log in
2026-01-31T09:00:01Z INFO pull docker.io/library/alpine:3 by 10.0.0.9 (docker): ok, 5 requests
"""
DAY = datetime(2026, 1, 31, tzinfo=UTC)


def names(found: object) -> list[str]:
    assert isinstance(found, list)
    return [str(one) for one in found]


def test_images_are_found_in_files_and_what_is_none_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "Dockerfile").write_text("FROM golang:1 AS build\nFROM scratch\nCOPY --from=build /a /\n")
    found = list(images_in_files(sources([tmp_path]), Fields()))
    assert [str(one) for one in found if isinstance(one, Reference)] == [
        "docker.io/library/golang:1",
        "docker.io/library/busybox:1",
        "docker.io/library/alpine:3",
    ]
    assert [left.place for left in found if isinstance(left, Left)] == [f"{tmp_path}/pod.yaml:9"]


def test_a_file_that_is_broken_is_an_error_with_its_line() -> None:
    with pytest.raises(UsageError, match="standard input:2: "):
        list(images_in_text("a: 1\n  b: 2\n", None, Fields(), "standard input"))


def test_a_log_tells_what_was_pulled_well_since_a_day_each_once() -> None:
    found = [str(one) for one in pulled_since(LOG.splitlines(), DAY)]
    assert found == ["docker.io/library/alpine:3", "ghcr.io/a/b:1"]


def test_a_log_in_json_tells_the_same() -> None:
    def line(name: str, outcome: str = "ok", logger: str = "sampan.pull") -> str:
        entry = {"time": "2026-01-31T08:00:00Z", "logger": logger, "name": name, "outcome": outcome}
        return "2026-01-31 node " + json.dumps(entry)

    digest = Digest.of(b"x")
    lines = [
        line("docker.io/library/alpine:3"),
        line("docker.io/library/broken:1", outcome="failed"),
        line("docker.io/library/other:1", logger="sampan.request"),
        line(f"docker.io/library/pinned@{digest}"),
        line("docker.io/library/listed"),
        line("NOT A NAME:1"),
        '{"logger": "sampan.pull", "time": 7}',
        '{"logger": "sampan.pull", ',
        "{" * 70_000,
    ]
    found = [str(one) for one in pulled_since(lines, DAY)]
    assert found == ["docker.io/library/alpine:3", f"docker.io/library/pinned@{digest}"]


def test_the_table_of_ctr_gives_tags_with_their_digests_and_digests_without_tags() -> None:
    tagged, pinned = Digest.of(b"1"), Digest.of(b"2")
    table = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        f"docker.io/library/alpine:3 application/x {tagged} 3.5 MiB linux/amd64 -\n"
        f"docker.io/library/alpine@{tagged} application/x {tagged} 3.5 MiB linux/amd64 -\n"
        f"{Digest.of(b'id')} application/x {tagged} 3.5 MiB linux/amd64 io.cri-containerd.image=managed\n"
        f"registry.k8s.io/pause@{pinned} application/x {pinned} 300 KiB linux/amd64 -\n"
        "odd\n"
    )
    assert [str(one) for one in images_in_table(table)] == [
        f"docker.io/library/alpine:3@{tagged}",
        f"registry.k8s.io/pause@{pinned}",
    ]


def test_docker_gives_tags_with_the_digest_of_their_repository_and_digests_without_tags() -> None:
    one, two, three = (str(Digest.of(text)) for text in (b"1", b"2", b"3"))
    node = docker_images(
        [
            {"RepoTags": ["alpine:3", "lan:5000/a:1"], "RepoDigests": [f"alpine@{one}", f"lan:5000/a@{two}"]},
            {"RepoTags": ["<none>:<none>"], "RepoDigests": [f"redis@{three}"]},
            {"RepoTags": ["mine:1"], "RepoDigests": []},
            {"RepoTags": None, "RepoDigests": ["<none>@<none>"]},
            {},
        ]
    )
    assert [str(one) for one in node.images] == [
        f"docker.io/library/alpine:3@{one}",
        f"lan:5000/a:1@{two}",
        f"docker.io/library/redis@{three}",
    ]
    assert [left.place for left in node.left] == ["docker: mine:1"]


def test_podman_gives_names_with_their_digest_and_tells_what_was_built_there() -> None:
    digest = str(Digest.of(b"1"))
    node = podman_images(
        [
            {"Names": ["docker.io/library/alpine:3", "quay.io/a/b:1"], "Digest": digest},
            {"Names": ["localhost/mine:1"], "Digest": digest},
            {"Names": ["docker.io/library/odd:1"]},
            {"Names": None, "Digest": digest},
        ]
    )
    names = [str(one) for one in node.images]
    assert names == [f"docker.io/library/alpine:3@{digest}", f"quay.io/a/b:1@{digest}"]
    assert [left.place for left in node.left] == [
        "podman: localhost/mine:1",
        "podman: docker.io/library/odd:1",
    ]


# -- the order, and the place ----------------------------------------------------------------------


def order(*names: str, **more: object) -> Order:
    return Order(tuple(map(Reference.parse, names)), (Platform("linux", "amd64"),), **more)  # type: ignore[arg-type]


def test_what_all_places_have_need_not_be_carried() -> None:
    one, both = Digest.of(b"1"), Digest.of(b"2")
    assert order("a", without=(held(one, both), held(both))).held == {both}
    assert order("a").held == frozenset()


def test_references_in_another_order_are_the_same_order() -> None:
    check_same(order("a:1", "b:1").asked, order("b:1", "a:1").asked, Path("x.partial"))


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (order("a:1", "b:1").asked, "now with docker.io/library/b:1"),
        (
            order("b:1", "c:1").asked,
            "now without docker.io/library/a:1, now with docker.io/library/b:1 and 1 more",
        ),
        (order("a:1", referrers=True).asked, "with or without what is attached"),
        (order("a:1", volume_bytes=7).asked, "another volume size"),
        (order("a:1", without=(held(Digest.of(b"1")),)).asked, "another inventory"),
        (order("a:1", parity=1).asked, "another number of recovery volumes"),
        (Asked(("docker.io/library/a:1",), None), "other platforms"),
    ],
)
def test_another_order_is_refused_with_what_differs(now: Asked, said: str) -> None:
    with pytest.raises(BundleExists) as caught:
        check_same(order("a:1").asked, now, Path("x.partial"))
    assert f"x.partial was begun for something else: {said}" in caught.value.message
    assert "rm -r x.partial" in (caught.value.hint or "")


def test_a_directory_is_named_with_a_slash_or_is_one(tmp_path: Path) -> None:
    assert Target.parse("images/").is_directory
    assert Target.parse(str(tmp_path)).is_directory
    assert not Target.parse("images.tar").is_directory


@pytest.mark.parametrize("text", ["", "/", "x.partial", "x.partial/"])
def test_some_names_are_no_place_for_a_bundle(text: str) -> None:
    with pytest.raises(UsageError, match="not a name for a bundle"):
        Target.parse(text)
