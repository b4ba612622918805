"""Bundles for tests, made by the page that describes the format: whoever reads them must not need who packs
them. Also archives as other programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from sampan.bundle.contents import Asked, Blob, Contents, Elsewhere, File, Place, render_contents
from sampan.bundle.contents import Image as Listed
from sampan.bundle.head import Volume, render_head
from sampan.bundle.layout import END, blob_name, head_bytes, members, padding_bytes, part_name
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.testing.images import Content, Image
from tars import END as TAR_END
from tars import entry, written

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
CONTAINERD_NAME = "io.containerd.image.name"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"

Where = Callable[[Content], Sequence[tuple[int, int]]]
"""The volumes that a blob goes into, each with how many bytes of it: one, or several for a split one."""


def in_one_volume(content: Content) -> list[tuple[int, int]]:
    return [(1, content.size)]


@dataclass(slots=True)
class Bundled:
    """``images`` by their names. ``without``: digests that are elsewhere. ``where``: see :data:`Where`."""

    images: Mapping[str, Image]
    without: Collection[str] = ()
    where: Where = in_one_volume
    only: Mapping[str, Collection[str]] = field(default_factory=dict)  # platforms that are kept, by name
    attached: Mapping[str, str] = field(default_factory=dict)
    parity: int = 0

    def volumes(self, sign: Callable[[Digest], bytes] = lambda _: b"{}") -> list[bytes]:
        """The bytes of each data volume, in order."""
        contents, raw = self.contents()
        bundle = Digest.of(raw)
        data = {content.digest: content.read() for content in self._contents()}
        data |= {str(file.digest): self._documents()[file.name] for file in contents.files}
        made = []
        for number in range(1, len(contents.volumes) + 1):
            volume = Volume(format="sampan-volume", version=1, bundle=bundle, kind="data", number=number)
            tar = render_head(raw, volume, sign(bundle))
            for member in members(contents, number, len(raw)):
                tar += member.header + _part(contents, member.name, data, number)
                tar += bytes(padding_bytes(member.size))
            made.append(tar + END)
        return made

    def contents(self) -> tuple[Contents, bytes]:
        """The list, and its bytes."""
        blobs = [self._blob(content) for content in self._contents()]
        count = max(place.volume for blob in blobs for place in blob.places)
        documents = self._documents()
        files = [
            File(name, volume, 0, len(raw), Digest.of(raw))
            for volume in range(1, count + 1)
            for name, raw in documents.items()
        ]
        contents = Contents(
            format="sampan-bundle",
            version=1,
            created_by="sampan test",
            created_at="2026-01-01T00:00:00Z",
            asked=Asked(tuple(sorted(self.images)), volume_bytes=0, parity=self.parity),
            images=tuple(self._listed(name, image) for name, image in self.images.items()),
            blobs=tuple(blobs),
            elsewhere=tuple(
                Elsewhere(Digest.parse(c.digest), c.size) for c in self._all() if c.digest in self.without
            ),
            files=tuple(files),
            volumes=(0,) * count,
        )
        size = len(render_contents(contents)) + 24 * (len(blobs) + len(files) + count + 2)
        return (contents := _placed(contents, size)), render_contents(contents).ljust(size)

    def part(self, contents: Contents, name: str, volume: int = 1) -> bytes:
        """What the member ``name`` holds."""
        data = {content.digest: content.read() for content in self._contents() if content.size < 2**30}
        data |= {str(file.digest): self._documents()[file.name] for file in contents.files}
        return _part(contents, name, data, volume)

    def _all(self) -> list[Content]:
        kept = [self._kept(name, image) for name, image in self.images.items()]
        found = [content for manifests, blobs in kept for content in (*manifests, *blobs)]
        return list({content.digest: content for content in found}.values())

    def _contents(self) -> list[Content]:
        return [content for content in self._all() if content.digest not in self.without]

    def _kept(self, name: str, image: Image) -> tuple[list[Content], list[Content]]:
        """Manifests and blobs."""
        platforms = self.only.get(name)
        children = [one for one in image.images if platforms is None or one.platform in platforms]
        if not image.images:
            return [image.manifest], list(image.blobs)
        manifests = [image.manifest, *(content for child in children for content in child.manifests)]
        blobs = {content.digest: content for child in children for content in child.blobs}
        return manifests, list(blobs.values())

    def _listed(self, name: str, image: Image) -> Listed:
        manifests, blobs = self._kept(name, image)
        subject = self.attached.get(name)
        return Listed(
            Reference.parse(name),
            tuple(Digest.parse(content.digest) for content in manifests),
            tuple(Digest.parse(content.digest) for content in blobs),
            attached_to=Reference.parse(subject) if subject else None,
        )

    def _blob(self, content: Content) -> Blob:
        digest = Digest.parse(content.digest)
        kind = content.media_type if "manifest" in content.media_type or "index" in content.media_type else ""
        places = self.where(content)
        if len(places) == 1:
            return Blob(digest, content.size, places[0][0], 0, media_type=kind)
        data, start, parts = content.read(), 0, []
        for volume, size in places:
            parts.append(Place(volume, 0, size, Digest.of(data[start : start + size])))
            start += size
        return Blob(digest, content.size, parts=tuple(parts))

    def _documents(self) -> dict[str, bytes]:
        return {"index.json": index_json(self.images), "oci-layout": LAYOUT}


def _part(contents: Contents, name: str, data: Mapping[str, bytes], volume: int) -> bytes:
    for blob in contents.blobs:
        if name == blob_name(blob.digest):
            return data[str(blob.digest)]
        start = 0
        for number, part in enumerate(blob.parts, start=1):
            if name == part_name(blob, number):
                return data[str(blob.digest)][start : start + part.size]
            start += part.size
    file = next(file for file in contents.files if (file.name, file.volume) == (name, volume))
    return data[str(file.digest)]


def _placed(contents: Contents, size: int) -> Contents:
    offsets, ends = {}, []
    for volume in range(1, len(contents.volumes) + 1):
        end = head_bytes(size)
        for member in members(contents, volume, size):
            offsets[volume, member.name] = member.offset
            end = member.stop
        ends.append(end + len(END))

    def at(blob: Blob) -> Blob:
        if not blob.parts:
            return replace(blob, offset=offsets[blob.volume, blob_name(blob.digest)])
        names = [
            f"{blob_name(blob.digest)}.part-{n}-of-{len(blob.parts)}" for n in range(1, len(blob.parts) + 1)
        ]
        parts = [replace(p, offset=offsets[p.volume, n]) for p, n in zip(blob.parts, names, strict=True)]
        return replace(blob, parts=tuple(parts))

    files = tuple(replace(file, offset=offsets[file.volume, file.name]) for file in contents.files)
    return replace(contents, blobs=tuple(map(at, contents.blobs)), files=files, volumes=tuple(ends))


# -- as other programs write them ------------------------------------------------------------------


def index_json(images: Mapping[str, Image]) -> bytes:
    entries = [
        image.manifest.descriptor(annotations={CONTAINERD_NAME: name, REFERENCE_NAME: name})
        for name, image in images.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def layout_files(images: Mapping[str, Image]) -> dict[str, bytes]:
    """The members of an OCI layout."""
    contents = [content for image in images.values() for content in (*image.manifests, *image.blobs)]
    blobs = {f"blobs/{content.digest.replace(':', '/')}": content.read() for content in contents}
    return {"oci-layout": LAYOUT, **blobs, "index.json": index_json(images)}


def layout_tar(images: Mapping[str, Image]) -> bytes:
    """As ``skopeo copy oci-archive:`` and ``ctr image export`` write one."""
    return written(layout_files(images))


def docker_tar(images: Mapping[str, Image], *, legacy: bool = True) -> bytes:
    """As ``docker save`` writes one up to version 24: a layer once, and a link from its other places."""
    tar, entries = b"", []
    seen: dict[str, str] = {}
    for number, (name, image) in enumerate(images.items(), start=1):
        assert image.config is not None
        config = f"{image.config.digest.removeprefix('sha256:')}.json"
        if config not in seen:
            tar += entry(config, image.config.read())
            seen[config] = config
        layers = []
        for depth, layer in enumerate(image.layers):
            folder = Digest.of(f"{number} {depth}".encode()).hex
            if legacy:
                tar += entry(f"{folder}/", type=b"5") + entry(f"{folder}/VERSION", b"1.0")
            if layer.digest in seen:
                tar += entry(f"{folder}/layer.tar", type=b"2", linkname=f"../{seen[layer.digest]}/layer.tar")
            else:
                tar += entry(f"{folder}/layer.tar", layer.read())
                seen[layer.digest] = folder
            layers.append(f"{folder}/layer.tar")
        entries.append({"Config": config, "RepoTags": [name], "Layers": layers})
    return tar + entry("manifest.json", json.dumps(entries).encode()) + TAR_END


def tar_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Members in this order, names as they are, honest or not."""
    return b"".join(entry(name, data) for name, data in files) + TAR_END
