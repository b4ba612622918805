"""Which layers a runtime has already, from what it tells of its images. Pure.

Guarantees that a layer counts as held only where the runtime will find it by itself: Docker's classic store
knows a layer by all that lies below it (its chain of diff IDs), podman's by the digest of its blob.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sampan.errors import InvalidDigest
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor


def held_in_chains(
    layers: Sequence[Descriptor], diff_ids: Sequence[str], chains: Iterable[Sequence[str]]
) -> frozenset[Digest]:
    """Those of ``layers``, whose contents are ``diff_ids``, that lie as deep in one of ``chains``: the diff
    IDs of an image that is there, from the lowest up. None when the two are not as many."""
    if len(layers) != len(diff_ids):
        return frozenset()
    height = max((_common(diff_ids, chain) for chain in chains), default=0)
    needed = {layer.digest for layer in layers[height:]}  # the same blob may come again further up
    return frozenset(layer.digest for layer in layers[:height]) - needed


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """From the lowest up, how many are the same."""
    height = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        height += 1
    return height


def digests_in_storage(raw: bytes) -> frozenset[Digest]:
    """The blobs of a ``layers.json`` of containers/storage, as they were before they were unpacked; none for
    text that is something else."""
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError):
        return frozenset()
    listed = entries if isinstance(entries, list) else []
    whole = [entry for entry in listed if isinstance(entry, dict) and not _is_incomplete(entry)]
    texts = [entry.get(key) for entry in whole for key in ("compressed-diff-digest", "diff-digest")]
    return frozenset(filter(None, map(_digest, texts)))


def _is_incomplete(entry: dict[str, object]) -> bool:
    """A layer that was being unpacked when podman was killed; it is dropped when podman comes across it."""
    flags = entry.get("flags")
    return isinstance(flags, dict) and bool(flags.get("incomplete"))


def _digest(text: object) -> Digest | None:
    try:
        return Digest.parse(text) if isinstance(text, str) else None
    except InvalidDigest:
        return None
