"""Reading an OCI image layout from a directory into images that a fake registry can hold.

Blobs are served from the files of the layout. Nothing is verified: a wrong layout makes a wrong registry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sampan.testing.body import Body
from sampan.testing.images import DOCKER_LIST, OCI_INDEX, Content, Image

if TYPE_CHECKING:
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"  # annotation of the image spec


def read_layout(directory: Path, repository: str) -> tuple[Image, ...]:
    """The images of a layout, as ``repository``, tagged with their ref names."""
    top = json.loads((directory / "index.json").read_bytes())
    return tuple(_image(directory, repository, descriptor) for descriptor in top["manifests"])


def _image(directory: Path, repository: str, descriptor: dict[str, object]) -> Image:
    manifest = _content(directory, descriptor)
    document = json.loads(manifest.read())
    annotations = descriptor.get("annotations") or {}
    tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    if manifest.media_type in (OCI_INDEX, DOCKER_LIST):
        held = [child for child in document["manifests"] if _path(directory, child).exists()]
        children = tuple(_image(directory, repository, child) for child in held)
        return Image(repository, tag, manifest, images=children)
    layers = tuple(_content(directory, layer) for layer in document["layers"])
    return Image(repository, tag, manifest, _content(directory, document["config"]), layers)


def _content(directory: Path, descriptor: dict[str, object]) -> Content:
    body = Body.of_file(_path(directory, descriptor))
    return Content(body, str(descriptor["mediaType"]), str(descriptor["digest"]))


def _path(directory: Path, descriptor: dict[str, object]) -> Path:
    algorithm, _, encoded = str(descriptor["digest"]).partition(":")
    return directory / "blobs" / algorithm / encoded
