"""What is attached to an image is found by every way, once, and not without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rig import ALPINE, HUB, Rig, mirror_of
from sampan.errors import AllHostsFailed, InvalidManifest
from sampan.oci import Manifest, Reference
from sampan.pull import referrers
from sampan.pull.closure import Wanted, closure
from sampan.pull.referrers import attached
from sampan.testing import FakeRegistry, Match, artifact, faults, image, index
from sampan.testing.images import Image

KIND = "application/vnd.example.signature"
THREE = Reference.parse("alpine:3")
NO_ENDPOINT = Match(kind="referrers")


@pytest.fixture
async def origin() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("origin") as registry:
        yield registry


def tag_of(subject: Image, suffix: str = "") -> str:
    return subject.digest.replace(":", "-") + suffix


async def names(rig: Rig) -> list[str]:
    """What is attached to alpine:3, a single image: tags and digests."""
    root = (await rig.mirror.manifest(HUB, ALPINE, "3")).manifest
    assert isinstance(root, Manifest)
    image = Wanted(THREE, root, (root,), root.references, (root.descriptor,), ())
    return [found.reference.tag or str(found.reference.digest) for found in await attached(rig.mirror, image)]


async def test_an_image_with_nothing_attached_has_nothing(tmp_path: Path, origin: FakeRegistry) -> None:
    origin.add(image(ALPINE, "3"))
    async with mirror_of(tmp_path, [origin]) as rig:
        assert await names(rig) == []


async def test_the_tags_of_cosign_are_found(tmp_path: Path, origin: FakeRegistry) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    tags = [tag_of(alpine, suffix) for suffix in (".sig", ".att", ".sbom")]
    for tag in tags:
        origin.add(artifact(alpine, KIND, payload=tag.encode(), tag=tag))
    origin.script(faults.status(404), on=NO_ENDPOINT)
    async with mirror_of(tmp_path, [origin]) as rig:
        assert await names(rig) == tags


async def test_referrers_are_found_by_digest(tmp_path: Path, origin: FakeRegistry) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    made = [origin.add(artifact(alpine, KIND, payload=payload)) for payload in (b"one", b"two")]
    async with mirror_of(tmp_path, [origin]) as rig:
        assert set(await names(rig)) == {one.digest for one in made}


async def test_the_tag_that_stands_in_for_referrers_is_found_with_what_it_lists(
    tmp_path: Path, origin: FakeRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    signature = artifact(alpine, KIND)
    origin.add(index(ALPINE, tag_of(alpine), [signature]))
    origin.script(faults.status(404), on=NO_ENDPOINT)
    async with mirror_of(tmp_path, [origin]) as rig:
        assert await names(rig) == [tag_of(alpine), signature.digest]


async def test_what_is_attached_to_what_is_attached_is_found(tmp_path: Path, origin: FakeRegistry) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    bill = origin.add(artifact(alpine, KIND, payload=b"bill"))
    signature = origin.add(artifact(bill, KIND, payload=b"signature"))
    async with mirror_of(tmp_path, [origin]) as rig:
        assert await names(rig) == [bill.digest, signature.digest]


async def test_what_is_attached_to_one_platform_is_found(tmp_path: Path, origin: FakeRegistry) -> None:
    alpine = origin.add(index(ALPINE, "3"))
    signature = origin.add(artifact(alpine.images[1], KIND))
    async with mirror_of(tmp_path, [origin]) as rig:
        root = (await rig.mirror.manifest(HUB, ALPINE, "3")).manifest
        steps = closure(THREE, root, None)
        entries = next(steps)
        with pytest.raises(StopIteration) as done:
            steps.send([(await rig.mirror.manifest(HUB, ALPINE, e.digest)).manifest for e in entries])
        found = await attached(rig.mirror, done.value.value)
    assert [str(one.root.digest) for one in found] == [signature.digest]
    assert {str(blob.digest) for blob in found[0].blobs} == {blob.digest for blob in signature.blobs}


async def test_a_referrer_that_nobody_has_is_left_out(tmp_path: Path, origin: FakeRegistry) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    signature = origin.add(artifact(alpine, KIND))
    origin.script(faults.status(404), on=Match(digest=signature.digest, kind="manifest"))
    async with mirror_of(tmp_path, [origin]) as rig:
        assert await names(rig) == []


async def test_hosts_that_fail_are_no_proof_that_nothing_is_attached(
    tmp_path: Path, origin: FakeRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    origin.script(faults.status(503), on=Match(tag=tag_of(alpine, ".sig")))
    async with mirror_of(tmp_path, [origin]) as rig:
        with pytest.raises(AllHostsFailed) as caught:
            await names(rig)
    assert caught.value.status == 503


async def test_more_than_anybody_needs_is_refused(
    tmp_path: Path, origin: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referrers, "ATTACHED_MAX", 3)
    alpine = origin.add(image(ALPINE, "3"))
    for number in range(4):
        origin.add(artifact(alpine, KIND, payload=bytes([number])))
    async with mirror_of(tmp_path, [origin]) as rig:
        with pytest.raises(InvalidManifest):
            await names(rig)
