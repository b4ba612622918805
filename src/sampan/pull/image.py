"""What an image's config says: the machine that it is made for, and what its layers are when unpacked.

It guarantees that a config which is no config says nothing, and is never an error: the digest vouches for
the bytes, not for their sense.
"""

from __future__ import annotations

import json

from sampan.oci.manifest import DOCKER_CONFIG, OCI_CONFIG
from sampan.oci.platform import Platform

CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)  # any other config is an artifact's, and runs nowhere


def platform_of_config(raw: bytes) -> Platform | None:
    """The platform that the config names, which an image without an index tells nowhere else; None when it
    names none."""
    document = _object(raw)
    system, architecture, variant = (document.get(key) for key in ("os", "architecture", "variant"))
    if not (isinstance(system, str) and system and isinstance(architecture, str) and architecture):
        return None
    return Platform(system, architecture, variant if isinstance(variant, str) else "")


def diff_ids_of_config(raw: bytes) -> tuple[str, ...]:
    """The digests of the unpacked layers, from the lowest up; empty when it names none."""
    rootfs = _object(raw).get("rootfs")
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _object(raw: bytes) -> dict[str, object]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
