"""The table of 26 faults: containerd pulls through sampan from a bad host and, behind it, a good one.

By itself containerd gets the right image 14 times of 26, skopeo 10 times. Behind sampan it must
arrive each time, the bad host must hardly be troubled, and the store must hold no wrong byte.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from interop.containerd import VERSIONS, containerd
from interop.hosts import host
from interop.images import Image, Library
from interop.registries import Web
from interop.serving import first_host, serving
from sampan.testing import FAULT_TABLE

pytestmark = pytest.mark.interop

ROWS = dict(FAULT_TABLE)
LOGINS = {"realm refused", "realm says 403"}
FAULTY_REQUESTS_MAX = 3
FAULTY_LOGIN_REQUESTS_MAX = 6  # a request without a token, and another to the realm
NEVER_MET = {"connection refused", "stale tag"}  # no request arrives; nobody asks it what a tag means
ASKED_AGAIN = {"HEAD 405"}  # HEAD only confirms what is known: the fault is met at the second pull
NEVER_FRESH = '[tags]\nfresh_for = "0s"\n'
CHANGE_BYTES = (
    "blob 200 HTML",
    "blob truncated",
    "blob empty",
    "blob reset",
    "blob bit flipped",
    "blob 10 bytes short",
    "blob stalls",
)


@pytest.mark.parametrize(("row", "version"), list(zip(ROWS, itertools.cycle(VERSIONS), strict=False)))
def test_the_right_image_arrives_whatever_the_first_host_does(
    row: str, version: str, library: Library, origin: Web, tmp_path: Path
) -> None:
    _pull_past(row, version, library.image("library/alpine:3"), origin, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("row", CHANGE_BYTES)
def test_a_large_layer_arrives_though_the_first_host_spoils_it(
    row: str, version: str, library: Library, origin: Web, tmp_path: Path
) -> None:
    _pull_past(row, version, library.image("library/big:64m"), origin, tmp_path)


def _pull_past(row: str, version: str, image: Image, origin: Web, tmp_path: Path) -> None:
    with host("bad", image) as (bad, content, thread):
        thread.call(lambda: ROWS[row](bad, content))
        more = NEVER_FRESH if row in ASKED_AGAIN else ""
        with serving(tmp_path, [first_host(row, bad.url), origin.url], more=more) as mirror:
            with containerd(version) as runtime:
                runtime.use("docker.io", [mirror.url])
                for _ in range(2 if row in ASKED_AGAIN else 1):
                    assert runtime.cri.pull(f"docker.io/{image.reference}") == image.config_digest()
                assert set(image.digests()) <= set(runtime.content())
                assert runtime.corrupt() == []
            assert set(image.digests()) <= mirror.stored()
        faulted = [f"{one.method} {one.target}" for one in bad.faulted]
        assert faulted or row in NEVER_MET, "the test is worth nothing: nobody met the fault"
        assert len(faulted) <= (FAULTY_LOGIN_REQUESTS_MAX if row in LOGINS else FAULTY_REQUESTS_MAX), faulted
        assert bad.requests or row == "connection refused"
