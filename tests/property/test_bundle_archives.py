"""Whatever stands in the documents of an archive: images that can be followed, or our own refusal."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from carrying import LAYOUT, Bundled, layout_files, tar_of
from sampan.bundle.carried import Carried
from sampan.bundle.stock import Stock
from sampan.errors import SampanError
from sampan.testing import ManualClock, image, index

NAME = "docker.io/library/alpine:3"
MADE = index("library/alpine", "3", [image("library/alpine")])
FILES = layout_files({NAME: MADE})
ENTRY = json.loads(FILES["index.json"])["manifests"][0]
BUNDLE = Bundled({NAME: MADE}).volumes()[0]

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from([NAME, ENTRY["digest"], ENTRY["mediaType"], "../x", "a.json", f"{'1' * 64}/layer.tar"]),
)  # fmt: skip
KEYS = st.sampled_from(
    ["schemaVersion", "mediaType", "manifests", "digest", "size", "annotations", "layers", "config", "rootfs",
     "Config", "RepoTags", "Layers", "io.containerd.image.name", "diff_ids", "os", "architecture", "platform",
     "org.opencontainers.image.ref.name", "x"]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
ENTRIES = st.lists(st.dictionaries(KEYS, VALUES, max_size=4).map(lambda more: {**ENTRY, **more}), max_size=3)
INDEXES = VALUES | ENTRIES.map(lambda entries: {"schemaVersion": 2, "manifests": entries})


def look(raw: bytes) -> None:
    """Everything that is done before the first blob is read; any error but ours is the test's failure."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "images.tar")
        path.write_bytes(raw)
        try:
            carried = Carried.opened([path])
        except SampanError:
            return
        try:
            for one in carried.images:
                try:
                    wanted = carried.wanted(one, None)
                except SampanError:
                    continue
                assert all(carried.manifest(manifest.digest) for manifest in wanted.manifests)
            Stock.of(carried, ManualClock()).age_seconds()
        except SampanError:
            pass
        finally:
            carried.close()


@given(INDEXES)
def test_any_index_is_followed_or_refused(document: object) -> None:
    look(tar_of({**FILES, "index.json": json.dumps(document).encode()}.items()))


@given(VALUES, st.binary(max_size=200))
def test_any_list_of_docker_is_followed_or_refused(document: object, config: bytes) -> None:
    files = {
        "a.json": config,
        f"{'1' * 64}/layer.tar": b"layer",
        "manifest.json": json.dumps(document).encode(),
    }
    look(tar_of(files.items()))


@given(st.binary(max_size=100), VALUES)
def test_any_version_of_a_layout_is_taken_or_refused(raw: bytes, document: object) -> None:
    for data in (raw, json.dumps(document).encode(), LAYOUT):
        look(tar_of({**FILES, "oci-layout": data}.items()))


@given(st.data())
def test_a_bundle_with_other_bytes_is_the_same_or_refused(data: st.DataObject) -> None:
    raw = bytearray(BUNDLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 6000))
        raw[at] = data.draw(st.integers(0, 255))
    look(bytes(raw))
