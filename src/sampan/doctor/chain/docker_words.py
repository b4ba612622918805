"""What Docker's daemon makes of an error of its containerd image store, before a person sees it.

Pure. The words of the store itself are :mod:`.words`'; where a registry said why, the daemon says only that.
"""

from __future__ import annotations

from sampan.doctor.chain.contract import Chain
from sampan.doctor.chain.words import NOT_FOUND, Denied, Failed
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference, familiar


def as_docker(error: Failed, chain: Chain, platform: Platform) -> str:
    """``error`` as ``docker pull`` shows it."""
    if error.said:
        return f"error from registry: {error.said}"
    if isinstance(error, Denied):
        short = familiar(Reference(chain.reference.registry, chain.reference.repository))
        return f"pull access denied for {short}, repository does not exist or may require 'docker login'"
    if "no match for platform" in error.text:
        none = f"no matching manifest for {platform} in the manifest list entries"
        return f"{none}: no match for platform in manifest: {NOT_FOUND}"
    commit, colon, reason = error.text.partition(": unexpected commit digest")
    if colon:
        return f"{commit}: commit failed: unexpected commit digest{reason}"
    return f"unknown: {error.text}" if error.has_status else error.text
