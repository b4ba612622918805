"""The vocabulary: what registries and their clients talk about, as values without any input or output."""

from sampan.oci.digest import Digest, new_hasher
from sampan.oci.distribution import ByteRange, Kind, Registries, Target, parse_target
from sampan.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference, familiar

__all__ = [
    "ByteRange",
    "Descriptor",
    "Digest",
    "Index",
    "Kind",
    "Manifest",
    "Platform",
    "Reference",
    "Registries",
    "Target",
    "familiar",
    "new_hasher",
    "parse_manifest",
    "parse_target",
]
