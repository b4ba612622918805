"""Which manifests and blobs a reference needs: indexes, platforms, attestations, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from sampan.errors import InvalidManifest, PlatformMissing
from sampan.oci import Digest, Index, Manifest, Platform, Reference, parse_manifest
from sampan.oci.manifest import OCI_INDEX
from sampan.pull.closure import MANIFESTS_MAX, Wanted, closure
from sampan.pull.image import platform_of_config
from sampan.testing import image, index, random_layer
from sampan.testing.images import Image

ALPINE = Reference.parse("alpine:3")
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


class Shelf:
    """Manifests by digest, and in which rounds they were asked for."""

    def __init__(self, *images: Image) -> None:
        self._raw = {content.digest: content.read() for each in images for content in each.manifests}
        self.rounds: list[list[str]] = []

    def add(self, raw: bytes) -> dict[str, object]:
        """Keep ``raw`` too; a descriptor of it."""
        digest = str(Digest.of(raw))
        self._raw[digest] = raw
        return {"mediaType": json.loads(raw)["mediaType"], "digest": digest, "size": len(raw)}

    def get(self, digest: str) -> Manifest | Index:
        return parse_manifest(self._raw[digest])

    def wanted(self, root: str, platforms: Sequence[Platform] | None) -> Wanted:
        steps = closure(ALPINE, self.get(root), platforms)
        try:
            asked = next(steps)
            while True:
                self.rounds.append([str(entry.digest) for entry in asked])
                asked = steps.send([self.get(str(entry.digest)) for entry in asked])
        except StopIteration as stop:
            value: Wanted = stop.value
            return value


def index_of(*entries: dict[str, object]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def with_attestation() -> tuple[Shelf, str, Image, Image]:
    """An index as BuildKit writes it: an image and a note about it."""
    made, note = image("library/alpine"), image("library/alpine", seed=7, platform="unknown/unknown")
    shelf = Shelf(made, note)
    raw = index_of(
        made.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"}),
        note.manifest.descriptor(
            platform={"os": "unknown", "architecture": "unknown"}, annotations=ATTESTATION
        ),
    )
    return shelf, str(shelf.add(raw)["digest"]), made, note


def digests(blobs: Sequence[object]) -> list[str]:
    return [str(getattr(blob, "digest", blob)) for blob in blobs]


def test_an_image_without_an_index_needs_its_config_and_its_layers() -> None:
    alpine = image("library/alpine", "3", layers=[random_layer(1, 4096), random_layer(2, 4096)])
    wanted = Shelf(alpine).wanted(alpine.digest, [AMD64])
    assert digests(wanted.manifests) == [alpine.digest]
    assert digests(wanted.blobs) == digests(alpine.blobs)
    assert digests(wanted.configs) == [str(alpine.config and alpine.config.digest)]
    assert digests(wanted.layers) == digests(alpine.layers)
    assert wanted.is_complete
    assert wanted.platforms == ()


def test_a_layer_that_stands_twice_is_wanted_once() -> None:
    layer = random_layer(1, 4096)
    alpine = image("library/alpine", "3", layers=[layer, layer])
    assert len(Shelf(alpine).wanted(alpine.digest, [AMD64]).blobs) == 2


def test_of_an_index_only_the_chosen_platform_is_fetched() -> None:
    alpine = index("library/alpine", "3")
    shelf = Shelf(alpine)
    wanted = shelf.wanted(alpine.digest, [ARM64])
    arm = alpine.images[1]
    assert digests(wanted.manifests) == [alpine.digest, arm.digest]
    assert digests(wanted.blobs) == digests(arm.blobs)
    assert [str(platform) for platform in wanted.platforms] == ["linux/arm64/v8"]
    assert shelf.rounds == [[arm.digest]]
    assert not wanted.is_complete


def test_the_root_keeps_its_bytes() -> None:
    alpine = index("library/alpine", "3")
    assert Shelf(alpine).wanted(alpine.digest, [AMD64]).root.raw == alpine.raw


def test_several_platforms_come_in_the_order_asked_for_configs_first() -> None:
    alpine = index("library/alpine", "3")
    wanted = Shelf(alpine).wanted(alpine.digest, [ARM64, AMD64])
    assert [str(platform) for platform in wanted.platforms] == ["linux/arm64/v8", "linux/amd64"]
    configs = [each.config.digest for each in reversed(alpine.images) if each.config]
    assert digests(wanted.blobs)[:2] == configs
    assert wanted.is_complete


def test_two_names_of_one_platform_choose_it_once() -> None:
    alpine = index("library/alpine", "3")
    wanted = Shelf(alpine).wanted(alpine.digest, [ARM64, Platform("linux", "arm64", "v8")])
    assert len(wanted.chosen) == 1


def test_a_missing_platform_is_told_with_those_there_are() -> None:
    alpine = index("library/alpine", "3")
    with pytest.raises(PlatformMissing, match="nothing for linux/s390x") as caught:
        Shelf(alpine).wanted(alpine.digest, [AMD64, Platform("linux", "s390x")])
    assert "there is: linux/amd64, linux/arm64/v8" in caught.value.message
    assert caught.value.exit_code == 3
    assert caught.value.hint == "sampan pull --platform linux/amd64 alpine:3"


def test_an_older_variant_is_taken_where_the_newest_is_not() -> None:
    images = [image("library/alpine", seed=n, platform=f"linux/arm/v{n}") for n in (5, 6)]
    arm = index("library/alpine", "3", images)
    wanted = Shelf(arm).wanted(arm.digest, [Platform("linux", "arm", "v7")])
    assert digests(wanted.chosen) == [images[1].digest]


def test_an_attestation_comes_only_with_all() -> None:
    shelf, root, made, note = with_attestation()
    assert digests(shelf.wanted(root, [AMD64]).chosen) == [made.digest]
    wanted = shelf.wanted(root, None)
    assert digests(wanted.chosen) == [made.digest, note.digest]
    assert wanted.platforms == (AMD64,)
    assert wanted.is_complete


def test_an_attestation_is_no_platform_that_there_is() -> None:
    shelf, root, _, _ = with_attestation()
    with pytest.raises(PlatformMissing, match=r"there is: linux/amd64$"):
        shelf.wanted(root, [Platform("unknown", "unknown")])


def test_an_index_in_an_index_is_followed() -> None:
    inner = index("library/alpine")
    shelf = Shelf(inner)
    outer = str(shelf.add(index_of(inner.manifest.descriptor()))["digest"])
    wanted = shelf.wanted(outer, [AMD64])
    assert digests(wanted.manifests) == [outer, inner.digest, inner.images[0].digest]


def test_an_index_that_names_no_platforms_is_wanted_whole() -> None:
    charts = [image("charts/one", seed=1), image("charts/one", seed=2)]
    shelf = Shelf(*charts)
    root = str(shelf.add(index_of(*(each.manifest.descriptor() for each in charts)))["digest"])
    assert len(shelf.wanted(root, [AMD64]).images) == 2


@pytest.mark.row("32")
def test_indexes_that_nest_too_deep_are_refused() -> None:
    shelf = Shelf()
    entry = shelf.add(index_of())
    for _ in range(6):
        entry = shelf.add(index_of(entry))
    with pytest.raises(InvalidManifest, match="nests indexes"):
        shelf.wanted(str(entry["digest"]), None)


@pytest.mark.row("32")
def test_indexes_that_together_list_too_much_are_refused() -> None:
    shelf = Shelf()
    one = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2}
    lists = [
        shelf.add(index_of(*({**one, "digest": str(Digest.of(b"%d %d" % (n, m)))} for m in range(1500))))
        for n in range(2)
    ]
    with pytest.raises(InvalidManifest, match=str(MANIFESTS_MAX)):
        shelf.wanted(str(shelf.add(index_of(*lists))["digest"]), None)


def test_an_index_where_an_image_was_promised_is_refused() -> None:
    inner = index("library/alpine")
    shelf = Shelf(inner)
    entry = inner.manifest.descriptor(platform={"os": "linux", "architecture": "amd64"})
    entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    with pytest.raises(InvalidManifest, match="is an index where"):
        shelf.wanted(str(shelf.add(index_of(entry))["digest"]), [AMD64])


def test_an_image_where_an_index_was_promised_is_refused() -> None:
    made = image("library/alpine")
    shelf = Shelf(made)
    entry = {**made.manifest.descriptor(), "mediaType": OCI_INDEX}
    with pytest.raises(InvalidManifest, match="is no index where"):
        shelf.wanted(str(shelf.add(index_of(entry))["digest"]), [AMD64])


@pytest.mark.parametrize(
    ("raw", "platform"),
    [
        (b'{"os":"linux","architecture":"arm64","variant":"v8"}', Platform("linux", "arm64", "v8")),
        (b'{"os":"linux","architecture":"amd64","variant":7}', AMD64),
        (b'{"os":"linux"}', None),
        (b'{"os":"","architecture":""}', None),
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_config_tells_its_platform_or_nothing(raw: bytes, platform: Platform | None) -> None:
    assert platform_of_config(raw) == platform
