"""The tags under which something is attached to a digest."""

from __future__ import annotations

import pytest

from sampan.oci import Digest
from sampan.oci.attached import attached_tags, is_attached


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_tags_of_a_digest_are_recognised_and_are_tags(algorithm: str) -> None:
    digest = Digest.of(b"", algorithm)
    stem = f"{algorithm}-{digest.hex[:64]}"  # longer digests are cut there: "Referrers Tag Schema"
    assert attached_tags(digest) == (stem, f"{stem}.sig", f"{stem}.att", f"{stem}.sbom")
    assert all(is_attached(tag) for tag in attached_tags(digest))


@pytest.mark.parametrize("tag", ["3", "latest", "sha256-0", f"sha256-{'0' * 65}", f"md5-{'0' * 64}", ".sig"])
def test_other_tags_are_not(tag: str) -> None:
    assert not is_attached(tag)
