"""Which images an archive holds, and what they are called there.

Guarantees that a name is a canonical reference or none at all: what other programs write beside an image may
be half a name, and then the image has none here. The list of contents of a bundle stands above what is
written beside it for other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sampan.bundle.archive import ANEW, INDEX, LAYOUT, Archive
from sampan.bundle.docker_archive import made_of
from sampan.errors import InvalidBundle, InvalidManifest, InvalidReference, UsageError, printable
from sampan.oci.digest import Digest
from sampan.oci.document import parse_document
from sampan.oci.manifest import MANIFEST_TYPES, OCI_MANIFEST, Descriptor, Index, parse_manifest
from sampan.oci.reference import Reference, familiar
from sampan.pull.sinks.describe import CONTAINERD_NAME, REFERENCE_NAME

LAYOUT_VERSION = "1.0.0"
_TAG_ALONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Named:
    """An image of an archive. ``reference``: None when it has no name there; ``tag``: what it has instead of
    one, maybe. ``root``: its manifest or index. ``manifests``: the ones that were kept of it, None: those
    that are there; ``needs``: all of it as a bundle's list has it, of others it is not known yet.
    ``attached``: it is no image but something that is attached to one."""

    reference: Reference | None
    root: Descriptor
    tag: str = ""
    manifests: frozenset[Digest] | None = None
    needs: tuple[Digest, ...] = ()
    attached: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """What an archive holds. ``made``: manifests that are not in it, but were made of it; ``members``: where
    the blobs are that are not under the names of a layout."""

    images: tuple[Named, ...]
    made: Mapping[Digest, bytes] = field(default_factory=dict)
    members: Mapping[Digest, str] = field(default_factory=dict)


def names_in(archive: Archive) -> Names:
    """The images of ``archive``. Raises BundleError for one that contradicts itself."""
    if archive.head is not None:
        return Names(tuple(_of_bundle(archive)))
    if archive.kind == "docker":
        return _of_docker(archive)
    return Names(tuple(_of_layout(archive)))


def renamed(named: Named, reference: Reference) -> Named:
    """The image under the name ``reference``, which may lack a tag that the archive knows."""
    if reference.tag is None and reference.digest is None:
        reference = Reference(reference.registry, reference.repository, named.tag or "latest")
    return Named(reference, named.root)


def _of_bundle(archive: Archive) -> Iterator[Named]:
    assert archive.head is not None
    contents = archive.head.contents
    packed = {blob.digest: blob for blob in contents.blobs}
    for image in contents.images:
        root = packed[image.root]
        yield Named(
            image.reference,
            Descriptor(root.media_type, root.digest, root.size),
            manifests=frozenset(image.manifests),
            needs=image.needs,
            attached=image.attached_to is not None,
        )


def _of_layout(archive: Archive) -> Iterator[Named]:
    """Each manifest that index.json lists; one that is listed under several names comes several times."""
    try:
        version = parse_document(archive.documents[LAYOUT]).text("imageLayoutVersion")
        if version != LAYOUT_VERSION:
            raise InvalidBundle(f"{archive.name} is a layout of version {printable(version)}", hint=ANEW)
        index = parse_manifest(archive.documents[INDEX])
    except InvalidManifest as error:
        raise InvalidBundle(f"{archive.name} is refused: {INDEX}: {error.message}", hint=ANEW) from error
    if not isinstance(index, Index):
        raise InvalidBundle(f"{archive.name} is refused: {INDEX} is no index", hint=ANEW)
    for entry in index.manifests:
        if entry.media_type not in MANIFEST_TYPES:
            continue  # an artifact of another kind; nobody would find it by a name
        name = entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REFERENCE_NAME) or ""
        reference = _reference(name)
        tag = name if reference is None and _TAG_ALONE.fullmatch(name) else ""
        yield Named(reference, Descriptor(entry.media_type, entry.digest, entry.size), tag)


def _of_docker(archive: Archive) -> Names:
    images: list[Named] = []
    made: dict[Digest, bytes] = {}
    members: dict[Digest, str] = {}
    for image in made_of(archive):
        digest = Digest.of(image.raw)
        made[digest] = image.raw
        members |= image.blobs
        root = Descriptor(OCI_MANIFEST, digest, len(image.raw))
        images += [Named(_reference(name), root) for name in image.names or ("",)]
    return Names(tuple(images), made, members)


def _reference(name: str) -> Reference | None:
    """``name`` when it says a repository and a tag or digest. An image ID is none of both."""
    if ":" not in name.rpartition("/")[2] or name.startswith(("sha256:", "sha512:")):
        return None
    try:
        return Reference.parse(name, default_tag=None)
    except InvalidReference:
        return None


def check_names(images: Iterable[Named]) -> None:
    """Raises UsageError when two of ``images`` would be one."""
    seen: dict[Reference, Digest] = {}
    for image in images:
        if image.reference is None:
            continue
        if seen.setdefault(image.reference, image.root.digest) != image.root.digest:
            raise UsageError(
                f"{familiar(image.reference)} means two images in these files",
                hint="load the files one after the other: the last one counts",
            )
