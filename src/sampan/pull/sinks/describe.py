"""How an image is described in an OCI layout and, beside it, for Docker; shared by layouts and archives.

Pure. Guarantees that what is described is there: an index that names platforms which were not pulled is
left out. ``ctr image import --all-platforms`` and kind follow every entry of an index and fail at the first
that is absent (kind#3795). So with one platform its image manifest stands in index.json itself; with
several, but not all, an index of ours that lists just these (were they entries of index.json, containerd
would give the name to the last alone); and only with all of them the original index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sampan.oci.digest import Digest
from sampan.oci.manifest import OCI_INDEX, Descriptor, Manifest
from sampan.oci.reference import Reference
from sampan.pull.closure import Wanted, is_attestation
from sampan.pull.image import CONFIG_TYPES

CONTAINERD_NAME = "io.containerd.image.name"  # what `ctr image import` and k3s name the image by
REFERENCE_NAME = "org.opencontainers.image.ref.name"  # the same for skopeo, podman and the image spec
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Described:
    """``entry``: of index.json. ``manifests``: the bytes that it leads to; ``docker``: the entry of
    Docker's manifest.json, None for what Docker cannot load."""

    entry: Json
    manifests: Mapping[Digest, bytes]
    docker: Json | None


def describe(wanted: Wanted) -> Described:
    """``wanted`` for an index.json and a manifest.json, under its canonical name."""
    manifests = {manifest.digest: manifest.raw for manifest in wanted.manifests}
    top = descriptor_json(wanted.root.descriptor)
    if not wanted.is_complete:
        manifests = {image.digest: image.raw for image in wanted.images}
        if len(wanted.chosen) == 1:
            top = descriptor_json(wanted.chosen[0])
        else:
            raw = _index_of(wanted.chosen)
            digest = Digest.of(raw)
            manifests[digest] = raw
            top = {"mediaType": OCI_INDEX, "digest": str(digest), "size": len(raw)}
    name = image_name(wanted.reference)
    annotations = {CONTAINERD_NAME: name, REFERENCE_NAME: name}
    return Described({**top, "annotations": annotations}, manifests, _docker(wanted, name))


def image_name(reference: Reference) -> str:
    """The one name under which importers keep the image: with the tag when there is one, for most
    refuse a name that has both, else with the digest."""
    return f"{reference.name}:{reference.tag}" if reference.tag else f"{reference.name}@{reference.digest}"


def loaded_by_docker(wanted: Wanted) -> Manifest | None:
    """The one image that Docker's list names, for a name has one there: the first platform that was asked
    for. None when there is none that could run."""
    notes = {entry.digest for entry in wanted.chosen if is_attestation(entry)}
    runs = [image for image in wanted.images if image.config.media_type in CONFIG_TYPES]
    return next((image for image in runs if image.digest not in notes), None)


def blob_path(digest: Digest) -> str:
    """Where a layout keeps it, below its top."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def index_json(entries: Sequence[Mapping[str, object]]) -> bytes:
    """An index.json of these entries alone."""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _index_of(chosen: Sequence[Descriptor]) -> bytes:
    """The same bytes each time: the order is the one that was asked for."""
    return index_json([descriptor_json(entry) for entry in chosen])


def descriptor_json(descriptor: Descriptor) -> Json:
    """As the image spec writes it, without the fields that are empty."""
    platform = descriptor.platform
    described: Json = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.artifact_type:
        described["artifactType"] = descriptor.artifact_type
    if platform is not None:
        fields: Json = {
            "architecture": platform.architecture,
            "os": platform.os,
            "variant": platform.variant,
            "os.version": platform.os_version,
            "os.features": list(platform.os_features),
        }
        described["platform"] = {key: value for key, value in fields.items() if value}
    if descriptor.annotations:
        described["annotations"] = dict(descriptor.annotations)
    return described


def _docker(wanted: Wanted, name: str) -> Json | None:
    image = loaded_by_docker(wanted)
    if image is None:
        return None
    return {
        "Config": blob_path(image.config.digest),
        "RepoTags": [name] if wanted.reference.tag else [],
        "Layers": [blob_path(layer.digest) for layer in image.layers],
    }
