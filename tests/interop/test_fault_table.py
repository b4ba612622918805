"""The rows of the table of 26 faults that change bytes, with a large layer, for each containerd.

It must arrive each time, the bad host must hardly be troubled, and the store must hold no wrong byte. All 26
rows, with small layers, are in test_fault_orders.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fault_table import FAULTED_MAX
from interop.containerd import VERSIONS, containerd
from interop.hosts import host
from interop.images import Library
from interop.registries import Web
from interop.serving import serving
from sampan.testing import FAULT_TABLE

pytestmark = pytest.mark.interop

ROWS = dict(FAULT_TABLE)
CHANGE_BYTES = (
    "blob 200 HTML",
    "blob truncated",
    "blob empty",
    "blob reset",
    "blob bit flipped",
    "blob 10 bytes short",
    "blob stalls",
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("row", CHANGE_BYTES)
def test_a_large_layer_arrives_though_the_first_host_spoils_it(
    row: str, version: str, library: Library, origin: Web, tmp_path: Path
) -> None:
    image = library.image("library/big:64m")
    with host("bad", image) as (bad, content, thread):
        thread.call(lambda: ROWS[row](bad, content))
        with serving(tmp_path, [bad.url, origin.url]) as mirror:
            with containerd(version) as runtime:
                runtime.use("docker.io", [mirror.url])
                assert runtime.cri.pull(f"docker.io/{image.reference}") == image.config_digest()
                assert set(image.digests()) <= set(runtime.content())
                assert runtime.corrupt() == []
            assert set(image.digests()) <= mirror.stored()
        faulted = [f"{one.method} {one.target}" for one in bad.faulted]
        assert faulted, "the test is worth nothing: nobody met the fault"
        assert len(faulted) <= FAULTED_MAX, faulted
