"""What an object's images were called before they were redirected, kept in one annotation of it.

The annotation's value is a JSON object from place to reference: a container's name, or ``volume/NAME`` for
an image that is mounted as a volume. It guarantees that a value which is not ours is not trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

ORIGINALS = "sampan/original-images"


def read_originals(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """The references by place; empty when there are none, or none that can be read."""
    try:
        found = json.loads((annotations or {}).get(ORIGINALS, "{}"))
    except (ValueError, TypeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {place: reference for place, reference in found.items() if isinstance(reference, str)}


def with_originals(annotations: Mapping[str, str] | None, originals: Mapping[str, str]) -> dict[str, str]:
    """``annotations`` and ``originals``. Of a place that is there already the new one counts: whoever
    redirects again was given another image since."""
    merged = read_originals(annotations) | dict(originals)
    return dict(annotations or {}) | {ORIGINALS: json.dumps(merged, separators=(",", ":"), sort_keys=True)}
