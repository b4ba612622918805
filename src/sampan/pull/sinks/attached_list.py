"""The list of what is attached to a manifest, for registries that keep none themselves: an index under a tag.

Pure. Guarantees that nothing which stands in such a list is lost when something is added: the list belongs to
all who ever attached something. Rules: the distribution spec, "Referrers Tag Schema".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from sampan.errors import InvalidManifest
from sampan.oci.manifest import OCI_INDEX, Index, Manifest, parse_manifest
from sampan.pull.sinks.describe import Json, descriptor_json

AnyManifest = Manifest | Index


def entry_of(manifest: AnyManifest) -> Json:
    """``manifest`` as such a list has it: with its type as an artifact, and its annotations."""
    kind = manifest.artifact_type
    if kind is None and isinstance(manifest, Manifest):
        kind = manifest.config.media_type
    described = manifest.descriptor
    return descriptor_json(replace(described, artifact_type=kind, annotations=manifest.annotations))


def entries_of(index: Index) -> list[Json]:
    """What a list has, as it is written there."""
    listed: list[Json] = json.loads(index.raw)["manifests"]
    return listed


def list_with(raw: bytes | None, entries: Iterable[Json]) -> bytes | None:
    """The list ``raw`` (None: there is none yet) with ``entries`` at its end; None when it has them all.

    Raises InvalidManifest for what is no list: it is somebody's, and not replaced.
    """
    there: list[object] = []
    if raw is not None:
        parsed = parse_manifest(raw)
        if not isinstance(parsed, Index):
            raise InvalidManifest("something else than a list of what is attached stands under its tag")
        there = list(json.loads(raw)["manifests"])
    known = {_digest(entry) for entry in there}
    new = [entry for entry in entries if _digest(entry) not in known]
    if not new and raw is not None:
        return None
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*there, *new]}).encode()


def _digest(entry: object) -> object:
    return entry.get("digest") if isinstance(entry, dict) else None
