"""What refers to an image as far as the store knows: for when no host can be asked.

Guarantees an index as the distribution spec wants it of the referrers endpoint, of bounded size, in which
each manifest stands once. Pure: it reads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sampan.oci import Index, Manifest, parse_manifest
from sampan.oci.digest import Digest
from sampan.oci.manifest import DESCRIPTORS_MAX, MANIFEST_BYTES_MAX, OCI_INDEX

_HEAD = b'{"schemaVersion":2,"mediaType":"%s","manifests":[' % OCI_INDEX.encode()
_EMPTY = _HEAD + b"]}"
EMPTY_INDEX = Index(_EMPTY, OCI_INDEX, Digest.of(_EMPTY), ())


def referrers_index(found: Iterable[Manifest | Index], listed: Index | None) -> Index:
    """``found``, each with its type and annotations, then what ``listed`` (the index under the tag that
    stands in for the endpoint) has beyond them. What is more than an index may hold is left out."""
    entries = {str(manifest.digest): _entry(manifest) for manifest in found}
    for entry in json.loads(listed.raw)["manifests"] if listed is not None else ():
        entries.setdefault(entry["digest"], entry)
    parts: list[bytes] = []
    room = MANIFEST_BYTES_MAX - len(_EMPTY)
    for entry in list(entries.values())[:DESCRIPTORS_MAX]:
        part = json.dumps(entry).encode()
        room -= len(part) + 1
        if room < 0:
            break
        parts.append(part)
    index = parse_manifest(_HEAD + b",".join(parts) + b"]}", media_type=OCI_INDEX)
    assert isinstance(index, Index)
    return index


def _entry(manifest: Manifest | Index) -> dict[str, Any]:
    """Its descriptor. A manifest without a type has its config's (distribution spec, Listing Referrers)."""
    artifact_type = manifest.artifact_type
    if artifact_type is None and isinstance(manifest, Manifest):
        artifact_type = manifest.config.media_type
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": manifest.size,
    }
    if artifact_type is not None:
        entry["artifactType"] = artifact_type
    if manifest.annotations:
        entry["annotations"] = dict(manifest.annotations)
    return entry
