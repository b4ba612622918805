"""``sampan serve`` again on the same store: it knows whom not to ask."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from sampan.testing import FakeRegistry, Match, faults, image
from sampan.testing.thread import ServerThread
from serving.process import serve, write

REPOSITORY = "library/alpine"


@pytest.mark.parametrize("garbage", [None, b"\x00 no document"])
def test_a_restart_goes_on_with_what_was_known_of_hosts(tmp_path: Path, garbage: bytes | None) -> None:
    bad, good = FakeRegistry("bad"), FakeRegistry("good", host="127.0.0.2")
    for number in range(2):
        good.add(bad.add(image(REPOSITORY, f"t{number}")))
    bad.script(faults.rate_limited("3000"), on=Match(kind="manifest"))
    file = tmp_path / "store/health/hosts.json"
    with ServerThread(bad, good):
        write(tmp_path, f'[registry."docker.io"]\nmirrors = ["{bad.url}", "{good.url}"]\norigin = "never"\n')
        with serve(tmp_path) as served:
            assert served.status(served.url(), f"/v2/{REPOSITORY}/manifests/t0") == 200
            assert served.end(signal.SIGTERM) == 0
        assert json.loads(file.read_bytes())["version"] == 1
        if garbage is not None:
            file.write_bytes(garbage)
        with serve(tmp_path) as served:
            line = served.wait_for("health/hosts.json.bad" if garbage else "as before the restart")
            assert garbage or bad.url in line
            assert served.status(served.url(), f"/v2/{REPOSITORY}/manifests/t1") == 200
            assert served.end(signal.SIGTERM) == 0
    assert len(bad.faulted) == (1 if garbage is None else 2)
    assert json.loads(file.read_bytes())["version"] == 1
