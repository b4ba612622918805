"""A pull's memory does not grow with the image: two gigabytes through a real process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from interop.processes import run, surroundings
from sampan.testing import FakeRegistry, ServerThread, file_layer, image

MIB = 1024 * 1024
LAYER_BYTES = 2048 * MIB
MEMORY_BYTES_MAX = 200 * MIB
PULL_SECONDS_MAX = 300.0  # some 5 s on two quiet cores

# The command, and after it what the kernel says of its process.
PULL = """
import sys
from pathlib import Path
from sampan.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in status if line.startswith("VmHWM:")))
sys.exit(code)
"""


@pytest.mark.row("X7")
def test_a_layer_of_two_gigabytes_from_three_hosts_needs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", LAYER_BYTES)  # a hole: it takes no room on the disk
    large = image("library/large", "1", layers=[file_layer(tmp_path / "zeros")])
    hosts = [FakeRegistry(f"host{number}") for number in range(3)]
    with ServerThread(*hosts):
        for host in hosts:
            host.add(large)
        (tmp_path / "sampan.toml").write_text(
            f'[store]\npath = "{tmp_path}/store"\n[registry."docker.io"]\n'
            f'mirrors = {json.dumps([host.url for host in hosts])}\norigin = "never"\n'
        )
        command: list[str | Path] = [sys.executable, "-c", PULL, "pull", "--config", tmp_path / "sampan.toml"]
        said = run(
            [*command, "--to", "store", "large:1"],
            timeout_seconds=PULL_SECONDS_MAX,
            environment=surroundings(HOME=str(tmp_path)),
        )
    digest, _, peak = said.rstrip().rpartition("\n")
    assert digest == f"docker.io/library/large:1@{large.digest}"
    stored = tmp_path / "store/blobs/sha256" / large.layers[0].digest.removeprefix("sha256:")
    assert stored.stat().st_size == LAYER_BYTES
    stored.unlink()  # pytest keeps the directories of three runs
    assert int(peak.split()[1]) * 1024 < MEMORY_BYTES_MAX, peak
