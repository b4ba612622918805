"""Made images are real ones: archives that unpack, digests that fit, the same bytes every time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from sampan.testing import (
    Body,
    artifact,
    image,
    index,
    older,
    random_bytes,
    random_layer,
    random_layer_file,
)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert random_layer(7, 50_000) == random_layer(7, 50_000)
    assert random_layer(7, 50_000) != random_layer(8, 50_000)
    assert random_bytes(1, 2_500_000)[:1_000_000] == random_bytes(1, 1_000_000)
    assert image("a/b", "1").digest == "sha256:" + hashlib.sha256(image("a/b", "1").raw).hexdigest()


@pytest.mark.parametrize("size_bytes", [2048, 2049, 400_000, 3_000_001])
def test_a_layer_is_an_archive_of_exactly_the_size_asked_for(size_bytes: int) -> None:
    data = random_layer(3, size_bytes).body.read()
    assert len(data) == size_bytes
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive.getmembers()
    assert (member.name, member.isfile()) == ("data-3", True)
    assert 0 <= size_bytes - member.size - 1536 < 512


@pytest.mark.parametrize("size_bytes", [0, 1, 2047])
def test_a_layer_too_small_for_an_archive_is_just_bytes(size_bytes: int) -> None:
    assert random_layer(3, size_bytes).body.size == size_bytes


def test_a_compressed_layer_names_the_digest_of_what_is_inside() -> None:
    layer = random_layer(3, 10_000, compressed=True)
    assert layer.diff_id == Body.of(gzip.decompress(layer.body.read())).digest()
    made = image("a/b", layers=[layer])
    assert made.layers[0].media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert image("a/b", layers=[layer], docker=True).layers[0].media_type.endswith(".tar.gzip")


def test_a_layer_in_a_file_is_the_same_as_one_in_memory(tmp_path: Path) -> None:
    filed, held = random_layer_file(tmp_path / "layer", 3, 70_000), random_layer(3, 70_000)
    assert filed.body.read() == held.body.read()
    assert filed.diff_id == held.diff_id


def test_an_image_names_its_config_and_layers_and_the_config_their_contents() -> None:
    layers = [random_layer(1, 5000), random_layer(2, 6000)]
    made = image("a/b", "1", layers=layers, platform="linux/arm64/v8", annotations={"k": "v"})
    document = json.loads(made.raw)
    assert document["annotations"] == {"k": "v"}
    assert [one["digest"] for one in document["layers"]] == [layer.diff_id for layer in layers]
    assert [blob.digest for blob in made.blobs] == [
        document["config"]["digest"],
        *(one.diff_id for one in layers),
    ]
    assert made.config is not None
    config = json.loads(made.config.read())
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]


def test_an_index_names_its_images_and_their_platforms() -> None:
    made = index("a/b", "1")
    document = json.loads(made.raw)
    assert [one["platform"]["architecture"] for one in document["manifests"]] == ["amd64", "arm64"]
    assert [one["digest"] for one in document["manifests"]] == [child.digest for child in made.images]
    assert len(made.manifests) == 3
    assert len(made.blobs) == 4


def test_dockers_own_media_types_can_be_had() -> None:
    made = index("a/b", "1", docker=True)
    assert made.manifest.media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert (
        json.loads(made.images[0].raw)["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    )


def test_an_artifact_points_at_its_subject() -> None:
    subject = image("a/b", "1")
    made = artifact(subject, "application/x.signature", b"signed")
    assert json.loads(made.raw)["subject"]["digest"] == subject.digest
    assert (made.repository, made.tag, made.layers[0].read()) == ("a/b", None, b"signed")


def test_an_older_image_has_the_same_names_and_other_content() -> None:
    newer = image("a/b", "1", platform="linux/arm64")
    old = older(newer)
    assert (old.repository, old.tag, old.platform) == ("a/b", "1", "linux/arm64")
    assert not {blob.digest for blob in old.blobs} & {blob.digest for blob in newer.blobs}


def test_a_body_is_cut_and_joined_across_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"0123456789")
    body = Body.of(b"abc") + Body.of_file(path) + Body.of(b"xyz")
    assert body.size == 16
    whole = body.read()
    for start, stop in ((0, 16), (2, 4), (3, 13), (5, 6), (12, 15), (15, 99), (16, 20), (4, 4)):
        assert body.slice(start, stop).read() == whole[start:stop]
    assert list(body.pieces(4)) == [b"abc", b"0123", b"4567", b"89", b"xyz"]
