"""Lists that clients may ask for in parts: tags by page, referrers by type.

Pure functions from what the mirror gave to the JSON of the distribution spec. A page is never longer than
the list, whatever number a client sends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sampan.oci.distribution import parse_page_size


def page_of_tags(tags: Sequence[str], *, n: str | None, last: str | None) -> tuple[list[str], bool]:
    """The tags after ``last``, at most ``n`` of them, in order; and whether there are more.

    ``n`` and ``last`` are as the client wrote them: nonsense counts as absent. ``n=0`` is an empty page
    that is the last one (distribution spec, Listing Tags).
    """
    ordered = sorted(set(tags))
    after = [tag for tag in ordered if tag > last] if last else ordered
    size = parse_page_size(n)
    if size is None:
        return after, False
    return after[:size], 0 < size < len(after)


def tags_document(repository: str, tags: Sequence[str]) -> bytes:
    """The spec's JSON for a list of tags."""
    return json.dumps({"name": repository, "tags": list(tags)}).encode("ascii")


def filter_referrers(raw: bytes, artifact_type: str) -> bytes:
    """The index ``raw`` with only those descriptors whose ``artifactType`` is the one asked for."""
    index = json.loads(raw)
    index["manifests"] = [
        entry for entry in index.get("manifests", []) if entry.get("artifactType") == artifact_type
    ]
    return json.dumps(index).encode("ascii")
