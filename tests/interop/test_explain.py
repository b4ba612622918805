"""``--explain`` asked of real programs: what each prints when something is wrong is explained as that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from explained import explain
from interop import meanings, printing
from interop.containerd import Containerd
from interop.engines import ENGINES, docker
from interop.hosts import as_content, host
from interop.images import Library
from interop.meanings import Printed
from interop.misbehaving import DOCUMENT, WORLDS
from interop.registries import Web
from interop.sentinel import Sentinel
from sampan.doctor.explain.story import remarks
from sampan.testing import faults

pytestmark = pytest.mark.interop


def wrong(printed: Iterable[Printed]) -> list[str]:
    """What is explained as something else, or not at all."""
    found = []
    for one in printed:
        told = [each.entry.code for each in explain(one.text).explained]
        if told[:1] != [one.first]:
            found.append(f"{one.by}, {one.when}: {told}, not {one.first}\n{one.text[-1000:]}")
    return found


def test_what_containerd_says_of_a_host_is_explained(runtime: Containerd, library: Library) -> None:
    assert wrong(meanings.of_containerd(runtime, library)) == []


def test_what_containerd_and_ctr_say_of_their_files_is_explained(
    runtime: Containerd, library: Library, origin: Web, way_out: Sentinel
) -> None:
    assert wrong(meanings.of_hosts_files(runtime, library, origin.netloc)) == []
    way_out.asked.clear()  # a hosts.toml that is ignored leaves the registry itself


def test_what_daemons_say_that_do_not_start_is_explained(complete: None, way_out: Sentinel) -> None:
    assert wrong(meanings.of_containerds_starting()) == []
    assert wrong(meanings.of_dockerds_starting()) == []


@pytest.mark.parametrize("name", ENGINES)
def test_what_docker_says_of_a_host_is_explained(name: str, library: Library, way_out: Sentinel) -> None:
    with docker(name) as engine:
        assert wrong(meanings.of_docker(engine, library)) == []


def test_what_skopeo_and_crane_say_is_explained(library: Library, origin: Web, tmp_path: Path) -> None:
    assert wrong(meanings.of_skopeo(tmp_path, origin.netloc)) == []
    assert wrong(meanings.of_crane(library, tmp_path)) == []
    assert wrong(meanings.on_the_way(tmp_path)) == []


def test_the_origin_story_is_told_of_a_mirror_that_wavers(runtime: Containerd, library: Library) -> None:
    with WORLDS["502 on blobs"](library.image("library/alpine:3")) as url:
        (one,) = explain(f"FATA[0003] pulling image: {printing.by_cri(runtime, url)}").explained
    assert (one.entry.code, one.role, one.facts.status) == ("SERVER_ERROR", "mirror", 502)
    story = " ".join(remarks(one))
    assert f"{url.removeprefix('http://')} (a mirror) was asked for the blob sha256:" in story
    assert "crictl pull alpine:3 and crictl pull docker.io/alpine:3 are the same request" in story
    assert "failed unseen" in story


def test_a_containerd_without_images_keeps_a_damaged_manifest_until_another_image_has_come(
    runtime: Containerd, library: Library
) -> None:
    image = library.image("library/alpine:3")
    with host("bad", image) as (bad, _, _), host("good", image) as (good, _, _):
        bad.script(faults.flipped_bit(), on=DOCUMENT)
        assert "unexpected commit digest" in printing.by_cri(runtime, bad.url)
        for _ in range(5):
            assert "unexpected commit digest" in printing.by_cri(runtime, good.url)
        assert {request.method for request in good.requests} == {"HEAD"}, "nobody is asked for it again"
        good.add(as_content(library.image("library/busybox:docker")))
        runtime.cri.pull("busybox:docker")
        printing.pulled_in_the_end(runtime)
