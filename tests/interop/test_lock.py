"""Real runtimes behind a sampan under a lock: what it holds is pulled, what it lacks is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.containerd import Containerd
from interop.cri import CriError
from interop.images import Library
from interop.registries import Web
from interop.serving import serving
from sampan.oci import Digest

pytestmark = pytest.mark.interop

ENTRY = """version = 1

[image."docker.io/library/alpine:3"]
digest = "{digest}"
media_type = "application/vnd.oci.image.index.v1+json"
size = 1
groups = []
hosts = []
resolved_at = "2026-11-23T12:00:00Z"
"""


def test_a_locked_tag_is_pulled_and_another_is_refused(
    runtime: Containerd, origin: Web, library: Library, tmp_path: Path
) -> None:
    image = library.image("library/alpine:3")
    lock = tmp_path / "sampan.lock"
    lock.write_text(ENTRY.format(digest=image.digest))
    with serving(tmp_path, [origin.url], more=f'[tags]\nlock = "{lock}"\n') as mirror:
        runtime.use("docker.io", [mirror.url])
        assert runtime.cri.pull("docker.io/library/alpine:3") == image.config_digest()
        with pytest.raises(CriError) as caught:
            runtime.cri.pull("docker.io/library/busybox:docker")
        assert "403 Forbidden" in str(caught.value)
        status, _, body = mirror.get("/v2/library/busybox/manifests/docker?ns=docker.io")
        assert (status, b'"DENIED"' in body) == (403, True)
        assert b"docker.io/library/busybox:docker is not in the lock" in body


def test_a_lock_that_is_wrong_serves_nothing_else(
    runtime: Containerd, origin: Web, library: Library, tmp_path: Path
) -> None:
    lock = tmp_path / "sampan.lock"
    lock.write_text(ENTRY.format(digest=Digest.of(b"nobody has this")))
    with serving(tmp_path, [origin.url], more=f'[tags]\nlock = "{lock}"\n') as mirror:
        runtime.use("docker.io", [mirror.url])
        with pytest.raises(CriError):
            runtime.cri.pull("docker.io/library/alpine:3")
