"""What a reference needs for some platforms: which manifests, and then which blobs.

Guarantees that every manifest and blob is listed once, and that a platform which an index does not have is
told with those that it has. Pure: :func:`closure` asks for manifests by yielding their descriptors, and
whoever drives it decides where they come from. It fetches nothing and reads no blob.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass

from sampan.errors import InvalidManifest, PlatformMissing, printable
from sampan.oci.digest import Digest
from sampan.oci.manifest import INDEX_DEPTH_MAX, INDEX_TYPES, Descriptor, Index, Manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference, familiar

MANIFESTS_MAX = 2000  # of one reference, indexes in indexes included: real ones have a few dozen
ATTESTATION_TYPE = "vnd.docker.reference.type"  # BuildKit's annotation on what describes another entry
UNKNOWN = Platform("unknown", "unknown")  # and the platform that it writes there

AnyManifest = Manifest | Index
Steps = Generator[tuple[Descriptor, ...], Sequence[AnyManifest], "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that ``reference`` needs, and nothing else.

    ``manifests``: the root first, each once; indexes stand before what they list. ``blobs``: configs
    first, each once. ``chosen``: the image manifests as the index describes them, with their platforms;
    the root's own descriptor when it is no index. ``platforms``: theirs; empty when no index tells.
    """

    reference: Reference
    root: AnyManifest
    manifests: tuple[AnyManifest, ...]
    blobs: tuple[Descriptor, ...]
    chosen: tuple[Descriptor, ...]
    platforms: tuple[Platform, ...]

    @property
    def images(self) -> tuple[Manifest, ...]:
        """The image manifests alone, in the order of ``chosen``."""
        return tuple(manifest for manifest in self.manifests if isinstance(manifest, Manifest))

    @property
    def configs(self) -> tuple[Descriptor, ...]:
        """The configs of the images, each once."""
        return _once([image.config for image in self.images])

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The blobs that are no configs."""
        configs = {config.digest for config in self.configs}
        return tuple(blob for blob in self.blobs if blob.digest not in configs)

    @property
    def is_complete(self) -> bool:
        """Whether all that any of the manifests names is here: with some platforms left out it is not."""
        present = {manifest.digest for manifest in self.manifests}
        return all(
            entry.digest in present
            for manifest in self.manifests
            if isinstance(manifest, Index)
            for entry in manifest.references
        )

    @property
    def size_bytes(self) -> int:
        """Of all manifests and blobs together."""
        return sum(part.size for part in (*self.manifests, *self.blobs))


def closure(
    reference: Reference,
    root: AnyManifest,
    platforms: Sequence[Platform] | None,
    *,
    only: Container[Digest] | None = None,
) -> Steps:
    """Yields descriptors of manifests that are needed, wants them sent back in the same order, and
    returns the :class:`Wanted`. ``platforms`` None: all that there are, attestations included. ``only``:
    an index counts as if it listed none but these.

    Raises PlatformMissing with what there is, InvalidManifest for an index that nests too deep.
    """
    if isinstance(root, Manifest):
        return Wanted(reference, root, (root,), root.references, (root.descriptor,), ())
    indexes, entries = yield from _expand(root, only)
    chosen = _choose(reference, entries, platforms)
    images = yield chosen
    for entry, image in zip(chosen, images, strict=True):
        if isinstance(image, Index):
            raise InvalidManifest(f"{entry.digest} is an index where {root.digest} says an image")
    found = tuple(image for image in images if isinstance(image, Manifest))
    blobs = _once(
        [*(image.config for image in found), *(blob for image in found for blob in image.references)]
    )
    named = [entry.platform for entry in chosen if entry.platform not in (None, UNKNOWN)]
    return Wanted(
        reference, root, (*indexes, *found), blobs, chosen, tuple(dict.fromkeys(filter(None, named)))
    )


def _expand(
    root: Index, only: Container[Digest] | None
) -> Generator[tuple[Descriptor, ...], Sequence[AnyManifest], tuple[list[Index], tuple[Descriptor, ...]]]:
    """The root and the indexes below it, each once, and all entries of theirs that are no indexes."""
    indexes, level, entries = [root], [root], list[Descriptor]()
    for _ in range(INDEX_DEPTH_MAX):
        listed = _once([entry for index in level for entry in index.references])
        listed = tuple(entry for entry in listed if only is None or entry.digest in only)
        entries += [entry for entry in listed if entry.media_type not in INDEX_TYPES]
        seen = {index.digest for index in indexes}
        nested = tuple(e for e in listed if e.media_type in INDEX_TYPES and e.digest not in seen)
        if len(indexes) + len(nested) + len(entries) > MANIFESTS_MAX:
            raise InvalidManifest(f"{root.digest} lists more than {MANIFESTS_MAX} manifests")
        if not nested:
            return indexes, _once(entries)
        level = [_as_index(manifest, root) for manifest in (yield nested)]
        indexes += level
    raise InvalidManifest(f"{root.digest} nests indexes more than {INDEX_DEPTH_MAX} deep")


def _as_index(manifest: AnyManifest, root: Index) -> Index:
    if isinstance(manifest, Manifest):
        raise InvalidManifest(f"{manifest.digest} is no index where {root.digest} says that it is")
    return manifest


def _choose(
    reference: Reference, entries: Sequence[Descriptor], platforms: Sequence[Platform] | None
) -> tuple[Descriptor, ...]:
    """For each platform the entry that suits it best, each entry once; all of them for None.

    An index that tells no platforms at all (of artifacts, of charts) cannot be chosen from: all of it.
    """
    if platforms is None or all(entry.platform is None for entry in entries):
        return tuple(entries)
    best = [(platform, _best(entries, platform)) for platform in platforms]
    missing = [platform for platform, entry in best if entry is None]
    if missing:
        raise platform_missing(reference, missing, [e.platform for e in entries if not is_attestation(e)])
    return _once([entry for _, entry in best if entry is not None])


def _best(entries: Sequence[Descriptor], platform: Platform) -> Descriptor | None:
    """The first of those that suit best; none for what only describes another entry."""
    suited = [
        (preference, entry)
        for entry in entries
        if entry.platform is not None and not is_attestation(entry)
        if (preference := platform.preference(entry.platform)) is not None
    ]
    return min(suited, key=lambda pair: pair[0])[1] if suited else None


def is_attestation(entry: Descriptor) -> bool:
    """Whether this entry of an index is BuildKit's note about another one, and no image."""
    return entry.platform == UNKNOWN and ATTESTATION_TYPE in entry.annotations


def platform_missing(
    reference: Reference, missing: Sequence[Platform], there_are: Sequence[Platform | None]
) -> PlatformMissing:
    """The error that names ``missing`` and lists what there is instead."""
    wanted = ", ".join(printable(str(platform)) for platform in missing)
    names = sorted({printable(str(platform)) for platform in there_are if platform and str(platform)})
    return PlatformMissing(
        f"{reference} has nothing for {wanted}; there is: {', '.join(names) or 'none with a name'}",
        hint=f"sampan pull --platform {names[0] if names else 'all'} {familiar(reference)}",
    )


def _once(descriptors: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """In their order, each digest once."""
    seen: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        seen.setdefault(descriptor.digest, descriptor)
    return tuple(seen.values())
