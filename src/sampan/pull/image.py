"""What an image's config says of the machine that it is made for.

An image without an index tells it nowhere else. It guarantees that a config which is no config is nobody's
platform, never an error: the digest vouches for the bytes, not for their sense.
"""

from __future__ import annotations

import json

from sampan.oci.manifest import DOCKER_CONFIG, OCI_CONFIG
from sampan.oci.platform import Platform

CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)  # any other config is an artifact's, and runs nowhere


def platform_of_config(raw: bytes) -> Platform | None:
    """The platform that the config names; None when it names none."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    system, architecture, variant = (document.get(key) for key in ("os", "architecture", "variant"))
    if not (isinstance(system, str) and system and isinstance(architecture, str) and architecture):
        return None
    return Platform(system, architecture, variant if isinstance(variant, str) else "")
