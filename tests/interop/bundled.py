"""Bundles made from hosts that misbehave, of the library's images and of one with an attestation."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from interop.images import Library
from interop.processes import run, surroundings
from sampan.testing import FakeRegistry, Image, Match, ServerThread, faults, image
from sampan.testing.images import Content, platform_json
from sampan.testing.layout import read_layout

ATTESTED = "library/attested:1"
ZSTD = ("library/busybox:oci-zstd", "library/debian:oci-zstd")
PLAIN = ("library/alpine:3", "library/busybox:docker", "library/debian:docker", "library/debian:oci-gzip")
MANY = (*PLAIN, *ZSTD, ATTESTED)
CREATE_SECONDS_MAX = 240.0


@dataclass(frozen=True, slots=True)
class Packing:
    """``sampan bundle`` with the mirrors ``urls`` of docker.io, in ``directory``."""

    directory: Path
    urls: Sequence[str]

    def __call__(self, *words: str | Path, environ: dict[str, str] | None = None) -> str:
        """Standard output of ``sampan bundle WORDS``."""
        config = self.directory / "sampan.toml"
        config.write_text(
            f'[store]\npath = "{self.directory}/store"\n[registry."docker.io"]\n'
            f'mirrors = {json.dumps(list(self.urls))}\norigin = "never"\n'
        )
        command: list[str | Path] = [sys.executable, "-m", "sampan", "bundle", *words]
        environment = {**surroundings(HOME=str(self.directory), SAMPAN_CONFIG=str(config)), **(environ or {})}
        return run(command, environment=environment, timeout_seconds=CREATE_SECONDS_MAX)


@contextmanager
def faulty_hosts(library: Library) -> Iterator[list[str]]:
    """The URLs of three hosts with all images: one cuts every blob, one lies about some, one is right."""
    hosts = [FakeRegistry("cuts"), FakeRegistry("lies"), FakeRegistry("right")]
    for host in hosts:
        for one in everything(library):
            host.add(one)
    hosts[0].script(faults.truncated(), on=Match(kind="blob"))
    hosts[1].script(faults.flipped_bit(), on=Match(kind="blob"))
    with ServerThread(*hosts):
        yield [host.url for host in hosts]


def everything(library: Library) -> Iterator[Image]:
    """The library's images, and the one with an attestation."""
    for one in read_layout(library.directory, "library"):
        repository, _, tag = (one.tag or "").rpartition(":")
        yield renamed(one, repository, tag)
    yield attested()


def renamed(one: Image, repository: str, tag: str | None) -> Image:
    children = tuple(renamed(child, repository, None) for child in one.images)
    return replace(one, repository=repository, tag=tag, images=children)


def attested() -> Image:
    """An index as BuildKit writes it: two platforms, and for one of them a note about it."""
    repository, _, tag = ATTESTED.partition(":")
    machines = [image(repository, platform=p, seed=n) for n, p in enumerate(("linux/amd64", "linux/arm64"))]
    note = image(repository, platform="unknown/unknown", seed=9)
    entries = [
        *(m.manifest.descriptor(platform=platform_json(m.platform)) for m in machines),
        note.manifest.descriptor(
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": machines[0].digest,
            },
        ),
    ]
    media_type = "application/vnd.oci.image.index.v1+json"
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    top = Content.of(json.dumps(document, indent=2).encode(), media_type)
    return Image(repository, tag, top, images=(*machines, note))


def named(reference: str) -> str:
    return f"docker.io/{reference}"
