"""Lists of contents made by hand: a bundle of one image, and bytes for every blob of it."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.bundle.contents import FORMAT, VERSION, Asked, Blob, Contents, Elsewhere, File, Image
from sampan.bundle.head import Volume, render_head
from sampan.bundle.layout import END, members, padding_bytes, placed
from sampan.bundle.packing import padded
from sampan.bundle.signature import UNSIGNED
from sampan.oci import Digest, Reference
from sampan.oci.manifest import OCI_MANIFEST

MANIFEST, CONFIG, LAYER = b"a manifest", b"a config", b"a layer" * 1000
LIST_BYTES = 4096  # as long as each list here is filled up to
REFERENCE = Reference.parse("alpine:3")
BODIES = {Digest.of(body): body for body in (MANIFEST, CONFIG, LAYER, b"{}")}


def contents_of(
    *,
    blobs: Sequence[Blob] | None = None,
    elsewhere: Sequence[Elsewhere] = (),
    images: Sequence[Image] | None = None,
    files: Sequence[File] | None = None,
    volumes: Sequence[int] = (0,),
    asked: Asked | None = None,
) -> Contents:
    """A list with places that its sizes make; one of one image of one layer unless said otherwise."""
    manifest, config, layer = map(Digest.of, (MANIFEST, CONFIG, LAYER))
    contents = Contents(
        format=FORMAT,
        version=VERSION,
        created_by="a test",
        created_at="2026-01-31T12:00:00Z",
        asked=asked or Asked((str(REFERENCE),)),
        images=tuple(images) if images is not None else (Image(REFERENCE, (manifest,), (config, layer)),),
        blobs=tuple(blobs) if blobs is not None else whole_blobs(),
        elsewhere=tuple(elsewhere),
        files=tuple(files) if files is not None else (File("index.json", 1, 0, 2, Digest.of(b"{}")),),
        volumes=tuple(volumes),
    )
    return placed(contents, LIST_BYTES)


def whole_blobs() -> tuple[Blob, ...]:
    return (
        Blob(Digest.of(MANIFEST), len(MANIFEST), volume=1, media_type=OCI_MANIFEST),
        Blob(Digest.of(CONFIG), len(CONFIG), volume=1),
        Blob(Digest.of(LAYER), len(LAYER), volume=1),
    )


def volume_bytes(contents: Contents, number: int = 1, signature: bytes = UNSIGNED) -> bytes:
    """A whole volume of it, put together member by member."""
    raw = padded(contents, LIST_BYTES)
    volume = Volume(
        format="sampan-volume", version=VERSION, bundle=Digest.of(raw), kind="data", number=number
    )
    parts = [render_head(raw, volume, signature)]
    for member in members(contents, number, LIST_BYTES):
        body = BODIES[member.digest]
        parts += [member.header, body, bytes(padding_bytes(len(body)))]
    return b"".join([*parts, END])
