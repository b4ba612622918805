"""The memory of a load, and of serving, does not grow with what is in the bundle: two gigabytes."""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

import pytest

from bundling import BundleMachine
from carrying import Bundled
from interop.processes import run, surroundings
from sampan.bundle.head import Volume, render_head
from sampan.bundle.layout import END, members, padding_bytes
from sampan.oci import Digest
from sampan.testing import file_layer, image
from serving.process import serve

MIB = 1024 * 1024
LAYER_BYTES = 2048 * MIB
MEMORY_BYTES_MAX = 200 * MIB
SECONDS_MAX = 300.0  # some 5 s on two quiet cores
LARGE = "docker.io/library/large:1"

# The command, and after it what the kernel says of its process.
MEASURED = """
import sys
from pathlib import Path
from sampan.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in status if line.startswith("VmHWM:")))
sys.exit(code)
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Of one layer of zeros, which is a hole in the file."""
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", LAYER_BYTES)
    bundled = Bundled({LARGE: image("library/large", "1", layers=[file_layer(tmp_path / "zeros")])})
    contents, raw = bundled.contents()
    path = tmp_path / "images.tar"
    volume = Volume(format="sampan-volume", version=1, bundle=Digest.of(raw), kind="data", number=1)
    with path.open("wb") as file:
        file.write(render_head(raw, volume, b"{}"))
        for member in members(contents, 1, len(raw)):
            file.write(member.header)
            if member.size == LAYER_BYTES:
                file.seek(member.size + padding_bytes(member.size), os.SEEK_CUR)
            else:
                file.write(bundled.part(contents, member.name) + bytes(padding_bytes(member.size)))
        file.write(END)
    return path


@pytest.mark.parametrize("to", ["store", "oci-archive:{}/copy.tar"])
def test_a_load_of_two_gigabytes_needs_little_memory(tmp_path: Path, bundle: Path, to: str) -> None:
    machine = BundleMachine(tmp_path, "http://127.0.0.1:1")
    words = ["bundle", "load", "--to", to.format(tmp_path), str(bundle)]
    config = str(machine.directory / "sampan.toml")
    said = run(
        [sys.executable, "-c", MEASURED, *words],
        timeout_seconds=SECONDS_MAX,
        environment=surroundings(HOME=str(tmp_path), SAMPAN_CONFIG=config),
    )
    digest, _, peak = said.rstrip().rpartition("\n")
    assert digest.startswith(f"{LARGE}@sha256:")
    assert int(peak.split()[1]) * 1024 < MEMORY_BYTES_MAX, peak


def test_serving_two_gigabytes_needs_little_memory(tmp_path: Path, bundle: Path) -> None:
    layer = file_layer(tmp_path / "zeros")
    with serve(tmp_path, "--bundle", str(bundle)) as served:
        connection = http.client.HTTPConnection(served.url().removeprefix("http://"), timeout=SECONDS_MAX)
        connection.request("GET", f"/v2/library/large/blobs/{layer.diff_id}")
        with connection.getresponse() as response:
            assert response.status == 200
            count = 0
            while data := response.read(MIB):
                count += len(data)
        connection.close()
        assert count == LAYER_BYTES
        status = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) * 1024 < MEMORY_BYTES_MAX, peak
