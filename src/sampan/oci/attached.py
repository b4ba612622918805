"""Tags that name what is attached to another manifest: signatures, attestations, bills of materials.

Such a tag carries the digest of its subject in its own name, so it never says what an image means, and it
moves whenever somebody signs again. Guarantees only the recognition and the spelling; it reads no content.
Sources: cosign's "Signature Specification"; the distribution spec's "Referrers Tag Schema".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.oci.digest import Digest

# The referrers tag schema cuts the digits of longer digests at 64; cosign writes all of a sha256.
ENCODED_CHARACTERS_MAX = 64
SUFFIXES = (".sig", ".att", ".sbom")
_ATTACHED = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?")


def is_attached(tag: str) -> bool:
    """Whether ``tag`` belongs to the manifest that its name spells: ``sha256-<hex>``, with ``.sig`` or so."""
    return _ATTACHED.fullmatch(tag) is not None


def is_list(tag: str) -> bool:
    """Whether ``tag`` is one under which a list of referrers stands: ``sha256-<hex>`` alone."""
    return is_attached(tag) and not tag.endswith(SUFFIXES)


def attached_tags(digest: Digest) -> tuple[str, ...]:
    """The tags under which something may be attached to ``digest``; the fallback of referrers first."""
    stem = f"{digest.algorithm}-{digest.hex[:ENCODED_CHARACTERS_MAX]}"
    return (stem, *(stem + suffix for suffix in SUFFIXES))
