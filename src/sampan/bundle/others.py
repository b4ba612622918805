"""What other programs read in a volume: ``oci-layout``, ``index.json``, Docker's ``manifest.json``.

Guarantees that they name an image only where all of it that is packed is in this very volume, so that a
program which follows them finds it. Pure; how an image is described is :mod:`sampan.pull.sinks.describe`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from sampan.bundle.layout import blob_name
from sampan.bundle.survey import Surveyed
from sampan.errors import UsageError
from sampan.oci.digest import Digest
from sampan.pull.sinks.describe import LAYOUT, REFERENCE_NAME, Described, Json, describe, index_json

LAYOUT_NAME = "oci-layout"  # the last member: it vouches for the others


def describe_all(images: Iterable[Surveyed]) -> Sequence[tuple[Surveyed, Described]]:
    """Each image as others name it. Raises UsageError when two would have one name."""
    names: dict[object, Surveyed] = {}
    described = []
    for image in images:
        entry = describe(image.wanted)
        before = names.setdefault(_name(entry.entry), image)
        if before is image:
            described.append((image, entry))
        elif before.wanted.root.digest != image.wanted.root.digest:
            raise UsageError(
                f"{before.wanted.reference} and {image.wanted.reference} would have one name in the bundle",
                hint="pack them into two bundles",
            )
    return described


def files_for_others(
    images: Sequence[tuple[Surveyed, Described]], packed: frozenset[Digest]
) -> Mapping[str, bytes]:
    """The members of a volume that has ``images`` whole, and ``packed`` of all digests; in their order."""
    files: dict[str, bytes] = {}
    for _, described in images:
        for digest, raw in described.manifests.items():
            if digest not in packed:  # an index of ours
                files[blob_name(digest)] = raw
    files["index.json"] = index_json([described.entry for _, described in images])
    docker: list[Json] = [described.docker for _, described in images if described.docker is not None]
    if docker:  # an empty list would make containerd take it for Docker's
        files["manifest.json"] = json.dumps(docker).encode()
    files[LAYOUT_NAME] = LAYOUT
    return files


def _name(entry: Json) -> object:
    annotations = entry["annotations"]
    assert isinstance(annotations, dict)
    return annotations[REFERENCE_NAME]
