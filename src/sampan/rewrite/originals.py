"""What a pod's images were called before they were redirected: an annotation of the pod for each.

The webhook, the policies and Airflow all keep them under these keys. It guarantees that no key is made which
Kubernetes would refuse a pod for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ORIGINAL = "original-image.sampan.dev/"  # and the container's name
ORIGINAL_OF_VOLUME = "original-volume-image.sampan.dev/"  # and the name of a volume that is an image
# The name's part of an annotation's key.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)


def annotation_key(name: str, *, is_volume: bool = False) -> str | None:
    """The key for the container or the volume ``name``; None when no annotation can have such a name."""
    if _NAME.fullmatch(name) is None:
        return None
    return (ORIGINAL_OF_VOLUME if is_volume else ORIGINAL) + name


def with_originals(
    annotations: Mapping[str, str] | None, originals: Mapping[str | None, str]
) -> dict[str, str]:
    """``annotations`` and ``originals``, references by key. Where there was one already the new one counts:
    whoever redirects again was given another image since."""
    return dict(annotations or {}) | {key: image for key, image in originals.items() if key is not None}
