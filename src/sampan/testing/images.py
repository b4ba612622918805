"""Small valid images, made from seeds: the same call gives the same bytes on every machine.

Layers are tar archives of exactly the size asked for, so that real runtimes unpack them; configs name
the layers' diff IDs. The module knows nothing of sampan's own parsers: what tests them must not share
their mistakes.
"""

from __future__ import annotations

import gzip
import json
import random
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.testing.body import Body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TAR_BYTES_MIN = 2048  # one header, one block, two blocks that end the archive
CREATED, LONG_BEFORE = "2024-01-01T00:00:00Z", "2022-01-01T00:00:00Z"
RANDOM_BYTES = 1024 * 1024  # made at a time: the generator cannot make 256 MiB at once

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with their digest (``sha256:…``) and media type: a manifest or a blob."""

    body: Body
    media_type: str
    digest: str

    @classmethod
    def of(cls, data: bytes | Body, media_type: str, algorithm: str = "sha256") -> Content:
        body = Body.of(data) if isinstance(data, bytes) else data
        return cls(body, media_type, body.digest(algorithm))

    @property
    def size(self) -> int:
        """In bytes."""
        return self.body.size

    def read(self) -> bytes:
        """All of it, in memory."""
        return self.body.read()

    def descriptor(self, **more: object) -> dict[str, object]:
        """The descriptor of it as JSON, with ``more`` fields such as ``platform``."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer before it is in an image: its bytes, whether they are gzip, its diff ID."""

    body: Body
    diff_id: str
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image manifest with its config and layers, or an index with its ``images``."""

    repository: str
    tag: str | None
    manifest: Content
    config: Content | None = None
    layers: tuple[Content, ...] = ()
    images: tuple[Image, ...] = ()
    platform: str = "linux/amd64"

    @property
    def digest(self) -> str:
        """The digest of the manifest or index that the tag names."""
        return self.manifest.digest

    @property
    def raw(self) -> bytes:
        """The bytes of that manifest or index."""
        return self.manifest.read()

    @property
    def manifests(self) -> tuple[Content, ...]:
        """The manifest, and for an index those that it lists, at any depth."""
        return (self.manifest, *(content for child in self.images for content in child.manifests))

    @property
    def blobs(self) -> tuple[Content, ...]:
        """Every blob, each once: configs first."""
        configs = (self.config,) if self.config else ()
        found = (*configs, *self.layers, *(content for child in self.images for content in child.blobs))
        return tuple({content.digest: content for content in found}.values())


def seeded(seed: int) -> random.Random:
    """A generator whose numbers are the same for the same seed."""
    return random.Random(seed)  # noqa: S311 (test data has no secrets)


def random_bytes(seed: int, size_bytes: int) -> bytes:
    """Bytes that do not compress; the same for the same seed and size."""
    return b"".join(_random_pieces(seeded(seed), size_bytes))


def random_layer(seed: int, size_bytes: int, *, compressed: bool = False) -> Layer:
    """A layer with one file ``data-SEED`` of random bytes.

    The tar archive has exactly ``size_bytes`` (below 2 KiB: random bytes that are no archive);
    ``compressed`` wraps it in gzip, which makes it a little longer.
    """
    plain = b"".join(_tar_pieces(seed, size_bytes))
    diff_id = Body.of(plain).digest()
    return Layer(Body.of(gzip.compress(plain, 1, mtime=0) if compressed else plain), diff_id, compressed)


def random_layer_file(path: Path, seed: int, size_bytes: int) -> Layer:
    """The same layer as :func:`random_layer` gives, uncompressed, written to ``path`` and served from it."""
    with open(path, "wb") as file:
        file.writelines(_tar_pieces(seed, size_bytes))
    return file_layer(path)


def file_layer(path: Path) -> Layer:
    """An uncompressed layer whose bytes are the file at ``path``."""
    body = Body.of_file(path)
    return Layer(body, body.digest())


def image(
    repository: str,
    tag: str | None = None,
    *,
    layers: Sequence[Layer] | None = None,
    seed: int = 1,
    platform: str = "linux/amd64",
    docker: bool = False,
    algorithm: str = "sha256",
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
    created: str = CREATED,
) -> Image:
    """An image; without ``layers`` it has one of 4 KiB made from ``seed``.

    ``docker``: Docker's media types instead of OCI's. ``algorithm``: of every digest in it. ``created``: when
    its config says that it was built.
    """
    chosen = [random_layer(seed, 4096)] if layers is None else layers
    config = Content.of(
        _json(_config(chosen, platform, seed, created)), DOCKER_CONFIG if docker else OCI_CONFIG, algorithm
    )
    contents = [Content.of(layer.body, _layer_type(layer, docker=docker), algorithm) for layer in chosen]
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [content.descriptor() for content in contents],
    }
    manifest = _manifest(document, algorithm, annotations=annotations, subject=subject)
    return Image(repository, tag, manifest, config, tuple(contents), platform=platform)


def index(
    repository: str,
    tag: str | None = None,
    images: Sequence[Image] = (),
    *,
    docker: bool = False,
    algorithm: str = "sha256",
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
) -> Image:
    """An index of ``images``; without any, of one for linux/amd64 and one for linux/arm64/v8."""
    children = tuple(images) or tuple(
        image(repository, seed=number, platform=platform, docker=docker, algorithm=algorithm)
        for number, platform in enumerate(("linux/amd64", "linux/arm64/v8"), start=1)
    )
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [
            child.manifest.descriptor(platform=platform_json(child.platform)) for child in children
        ],
    }
    manifest = _manifest(document, algorithm, annotations=annotations, subject=subject)
    return Image(repository, tag, manifest, images=children)


def artifact(
    subject: Image, artifact_type: str, payload: bytes = b"signature", tag: str | None = None
) -> Image:
    """A referrer of ``subject``, as signatures and software bills are stored ("Guidelines for Artifact
    Usage" of the image spec).
    """
    config = Content.of(b"{}", OCI_EMPTY)
    layer = Content.of(payload, "application/octet-stream")
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    }
    manifest = _manifest(document, "sha256", annotations=None, subject=subject)
    return Image(subject.repository, tag, manifest, config, (layer,))


def older(newer: Image) -> Image:
    """Another well-formed image under the same names: what a mirror has that stopped looking upstream."""
    seed = len(newer.raw) + 1_000_000
    return image(newer.repository, newer.tag, seed=seed, platform=newer.platform, created=LONG_BEFORE)


def platform_json(platform: str) -> dict[str, str]:
    """``linux/arm64/v8`` as the spec's platform object."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _config(layers: Sequence[Layer], platform: str, seed: int, created: str) -> dict[str, object]:
    return {
        "created": created,
        **platform_json(platform),
        "config": {"Cmd": ["/bin/true"], "Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": "sampan.testing"} for _ in layers],
    }


def _manifest(
    document: dict[str, object],
    algorithm: str,
    *,
    annotations: Mapping[str, str] | None,
    subject: Image | None,
) -> Content:
    if subject is not None:
        document["subject"] = subject.manifest.descriptor()
    if annotations is not None:
        document["annotations"] = dict(annotations)
    return Content.of(_json(document), str(document["mediaType"]), algorithm)


def _json(document: object) -> bytes:
    """Indented as Docker does it: whoever parses and prints it again changes the digest."""
    return json.dumps(document, indent=3).encode()


def _layer_type(layer: Layer, *, docker: bool) -> str:
    plain = DOCKER_LAYER if docker else OCI_LAYER
    if not layer.compressed:
        return plain
    return f"{plain}.gzip" if docker else f"{plain}+gzip"


def _tar_pieces(seed: int, size_bytes: int) -> Iterator[bytes]:
    generator = seeded(seed)
    if size_bytes < TAR_BYTES_MIN:
        yield from _random_pieces(generator, size_bytes)
        return
    content_bytes = (size_bytes - 512 - 1024) // 512 * 512
    member = tarfile.TarInfo(f"data-{seed}")
    member.size = content_bytes
    yield member.tobuf(tarfile.USTAR_FORMAT)
    yield from _random_pieces(generator, content_bytes)
    yield bytes(size_bytes - 512 - content_bytes)


def _random_pieces(generator: random.Random, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, size_bytes, RANDOM_BYTES):
        yield generator.randbytes(min(RANDOM_BYTES, size_bytes - start))
