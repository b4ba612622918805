"""The story that sampan began with: a mirror that knows every image and delivers none of its blobs.

containerd knows docker.io only as sampan. sampan has mirror A, which answers manifests and says 502
to every blob, and mirror B, a healthy docker-registry; the origin cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.containerd import Containerd
from interop.cri import CriError
from interop.hosts import host
from interop.images import Image, Library
from interop.registries import Web
from interop.serving import Serving, serving
from sampan.testing import FakeRegistry, Match, faults

pytestmark = pytest.mark.interop

FAULTY_REQUESTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Story:
    image: Image
    broken: FakeRegistry
    mirror: Serving


@pytest.fixture
def broken(library: Library) -> Iterator[FakeRegistry]:
    """Mirror A."""
    with host("a", library.image("library/alpine:3")) as (registry, _, _):
        registry.script(faults.status(502), on=Match(kind="blob"))
        yield registry


@pytest.fixture
def story(broken: FakeRegistry, library: Library, origin: Web, tmp_path: Path) -> Iterator[Story]:
    with serving(tmp_path, [broken.url, origin.url]) as mirror:
        yield Story(library.image("library/alpine:3"), broken, mirror)


@pytest.mark.parametrize("spelling", ["alpine:3", "docker.io/alpine:3", "docker.io/library/alpine:3"])
def test_every_spelling_of_the_name_pulls_at_the_first_try(
    runtime: Containerd, story: Story, spelling: str
) -> None:
    runtime.use("docker.io", [story.mirror.url])
    assert runtime.cri.pull(spelling) == story.image.config_digest()
    assert set(story.image.digests()) <= set(runtime.content())
    assert story.broken.count(fault_met=True) <= FAULTY_REQUESTS_MAX
    assert set(story.image.digests()) <= story.mirror.stored()


def test_ctr_pulls_though_it_does_not_add_library(runtime: Containerd, story: Story) -> None:
    runtime.use("docker.io", [story.mirror.url])
    assert runtime.ctr_pull("docker.io/alpine:3") == story.image.digest
    assert story.broken.count(fault_met=True) <= FAULTY_REQUESTS_MAX


def test_without_sampan_that_mirror_alone_is_the_end_of_the_pull(
    runtime: Containerd, broken: FakeRegistry
) -> None:
    runtime.use("docker.io", [broken.url])
    with pytest.raises(CriError, match="502 Bad Gateway"):
        runtime.cri.pull("alpine:3")
