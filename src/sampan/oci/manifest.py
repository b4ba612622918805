"""Manifests: the JSON at a registry's manifests endpoint, an image's or an index of several.

Guarantees that a :class:`Manifest` or :class:`Index` has a known type, that type and structure agree, and
that every descriptor in it has a digest that can be checked and a size. The bytes are parsed once and kept
as they came: their digest is their name, so nothing here ever writes them anew. Whether they are the bytes
that somebody asked for is the caller's question, as is how deep an index may nest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.errors import InvalidDigest, InvalidManifest, printable
from sampan.oci.digest import Digest
from sampan.oci.document import Document, nothing, parse_document
from sampan.oci.platform import Platform as Platform  # descriptors have one: found here too

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_SCHEMA_1 = frozenset(
    (
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    )
)

INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
# One line: some mirrors read only the first of several Accept lines. Schema 1 is not asked for, so
# registries that still hold it convert or refuse instead of answering with it.
ACCEPT = ", ".join(MANIFEST_TYPES)

MANIFEST_BYTES_MAX = 4 * 1024 * 1024  # inclusive: the distribution spec asks registries for this much
DESCRIPTORS_MAX = 2000  # in one list; the largest images seen have some 130 layers
INDEX_DEPTH_MAX = 4  # for callers that follow an index into an index
SIZE_BYTES_MAX = 2**63 - 1  # sizes are int64 in the image spec
_MEDIA_TYPE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What content is, its digest and its size in bytes: enough to fetch it from anyone.

    ``annotations`` and ``urls`` are as a stranger wrote them: never printed, never dialled unchecked.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=nothing, repr=False, hash=False)
    artifact_type: str | None = None
    urls: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: one config and layers, maybe none. Equal when type and digest are."""

    raw: bytes = field(repr=False, compare=False)
    media_type: str
    digest: Digest
    config: Descriptor = field(compare=False)
    layers: tuple[Descriptor, ...] = field(compare=False)
    subject: Descriptor | None = field(default=None, compare=False)
    annotations: Mapping[str, str] = field(default_factory=nothing, repr=False, compare=False)
    artifact_type: str | None = field(default=None, compare=False)

    @property
    def size(self) -> int:
        """Of the manifest itself, in bytes."""
        return len(self.raw)

    @property
    def references(self) -> tuple[Descriptor, ...]:
        """The config and the layers, each digest once, in their order: what must be had to run it."""
        return _once(self.config, *self.layers)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size, artifact_type=self.artifact_type)


@dataclass(frozen=True, slots=True)
class Index:
    """An index (Docker: manifest list): manifests, usually one a platform. Equal when type and digest are."""

    raw: bytes = field(repr=False, compare=False)
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...] = field(compare=False)
    subject: Descriptor | None = field(default=None, compare=False)
    annotations: Mapping[str, str] = field(default_factory=nothing, repr=False, compare=False)
    artifact_type: str | None = field(default=None, compare=False)

    @property
    def size(self) -> int:
        """Of the index itself, in bytes."""
        return len(self.raw)

    @property
    def references(self) -> tuple[Descriptor, ...]:
        """The manifests, each digest once, in their order."""
        return _once(*self.manifests)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size, artifact_type=self.artifact_type)

    def select(self, platform: Platform) -> Descriptor | None:
        """The manifest that suits ``platform`` best, the first of equals; None: there is none for it."""
        suited = [
            (preference, entry)
            for entry in self.manifests
            if entry.platform is not None and (preference := platform.preference(entry.platform)) is not None
        ]
        return min(suited, key=lambda pair: pair[0])[1] if suited else None


def parse_manifest(
    raw: bytes, *, media_type: str | None = None, algorithm: str = "sha256"
) -> Manifest | Index:
    """``raw`` as what it is. Raises :class:`InvalidManifest`, naming the place in the JSON.

    The ``mediaType`` inside decides, for mirrors send wrong Content-Types for right manifests. Without one
    the structure decides, and ``media_type`` (the Content-Type) only tells Docker's form from OCI's.
    ``algorithm`` is that of the digest asked for.
    """
    if len(raw) > MANIFEST_BYTES_MAX:
        raise InvalidManifest(f"a manifest has at most {MANIFEST_BYTES_MAX} bytes, got {len(raw)}")
    document = parse_document(raw)
    kind = _media_type_of(document, media_type)
    digest = Digest.of(raw, algorithm)
    subject = document.optional_document("subject")
    common = (
        None if subject is None else _descriptor(subject),
        document.mapping("annotations"),
        _artifact_type(document),
    )
    if kind in INDEX_TYPES:
        return Index(raw, kind, digest, _descriptors(document, "manifests"), *common)
    config = _descriptor(document.document("config"))
    return Manifest(raw, kind, digest, config, _descriptors(document, "layers"), *common)


def _media_type_of(document: Document, content_type: str | None) -> str:
    """The type that ``document`` has by its own word or, failing that, by its structure."""
    named = document.optional_text("mediaType") or None  # Go writes an absent type as ""
    is_index = _is_index(document)
    _refuse_schema_1(document, named)
    if named is None:
        hinted = (content_type or "")[:256].partition(";")[0].strip().lower()
        docker = hinted in (DOCKER_LIST, DOCKER_MANIFEST)
        named = (
            (DOCKER_LIST if is_index else DOCKER_MANIFEST)
            if docker
            else (OCI_INDEX if is_index else OCI_MANIFEST)
        )
    if named not in MANIFEST_TYPES:
        document.refuse("mediaType", f"not a type of manifest: {printable(named, characters_max=100)}")
    if (named in INDEX_TYPES) != is_index:
        document.refuse(
            "mediaType",
            f"{named} contradicts the structure, which is {'an index' if is_index else 'no index'}",
        )
    return named


def _refuse_schema_1(document: Document, named: str | None) -> None:
    if named in _SCHEMA_1 or "fsLayers" in document or document.integer("schemaVersion") == 1:
        raise InvalidManifest(
            "an image in Docker's schema 1, which no current runtime can run",
            hint="ask its owner to build or push it again",
        )
    if (version := document.integer("schemaVersion")) != 2:
        document.refuse("schemaVersion", f"expected 2, got {version}")


def _is_index(document: Document) -> bool:
    """By structure alone. A document that could be read as both is an attack (CVE-2021-41190)."""
    if "manifests" in document:
        for key in ("layers", "config"):
            if key in document:
                document.refuse(key, "must not stand beside manifests")
        return True
    if not any(key in document for key in ("layers", "config", "fsLayers")):
        raise InvalidManifest("neither a manifest nor an index: no config and layers, no manifests")
    return False


def _descriptors(document: Document, key: str) -> tuple[Descriptor, ...]:
    return tuple(_descriptor(entry) for entry in document.documents(key, count_max=DESCRIPTORS_MAX))


def _descriptor(document: Document) -> Descriptor:
    """One descriptor; its ``data`` is ignored, for it need not be what the digest says."""
    platform = document.optional_document("platform")
    return Descriptor(
        _checked_media_type(document, "mediaType", document.text("mediaType")),
        _digest(document),
        _size(document),
        None if platform is None else _platform(platform),
        document.mapping("annotations"),
        _artifact_type(document),
        document.texts("urls"),
    )


def _digest(document: Document) -> Digest:
    try:
        return Digest.parse(document.text("digest"))
    except InvalidDigest as error:
        raise InvalidManifest(f"{document.path}.digest: {error.message}", hint=error.hint) from error


def _size(document: Document) -> int:
    size = document.integer("size")
    if not 0 <= size <= SIZE_BYTES_MAX:
        document.refuse("size", f"expected 0 to {SIZE_BYTES_MAX}, got {size}")
    return size


def _artifact_type(document: Document) -> str | None:
    text = document.optional_text("artifactType")
    return _checked_media_type(document, "artifactType", text) if text else None


def _checked_media_type(document: Document, key: str, text: str) -> str:
    """Loosely: artifacts invent types, with parameters too. But it goes into headers, so ASCII and short."""
    if _MEDIA_TYPE.fullmatch(text) is None:
        document.refuse(key, f"not a media type: {printable(text, characters_max=60)!r}")
    return text


def _platform(document: Document) -> Platform:
    return Platform(
        document.optional_text("os") or "",
        document.optional_text("architecture") or "",
        document.optional_text("variant") or "",
        document.optional_text("os.version") or "",
        document.texts("os.features"),
    )


def _once(*descriptors: Descriptor) -> tuple[Descriptor, ...]:
    seen: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        seen.setdefault(descriptor.digest, descriptor)
    return tuple(seen.values())
