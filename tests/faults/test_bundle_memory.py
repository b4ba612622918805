"""The memory of a bundle's commands does not grow with what is in it: two gigabytes in real processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interop.processes import run, surroundings
from pulling import AMD64, Machine
from sampan.testing import FakeRegistry, ServerThread, file_layer, image

MIB = 1024 * 1024
LAYER_BYTES = 2048 * MIB
MEMORY_BYTES_MAX = 200 * MIB
SECONDS_MAX = 300.0  # some 20 s on two quiet cores

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


def peak_bytes(machine: Machine, *words: str) -> int:
    command: list[str | Path] = [sys.executable, "-c", MEASURED, "bundle", *words]
    config = machine.directory / "sampan.toml"
    said = run(
        command,
        timeout_seconds=SECONDS_MAX,
        environment=surroundings(HOME=str(machine.directory), SAMPAN_CONFIG=str(config)),
    )
    return int(said.rstrip().rpartition("\n")[2].split()[1]) * 1024


@pytest.mark.parametrize(
    "volumes", [(), ("--volume-size", "600MiB", "--parity", "1")], ids=["file", "volumes"]
)
def test_two_gigabytes_are_packed_verified_and_repaired_in_little_memory(
    tmp_path: Path, volumes: tuple[str, ...]
) -> None:
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", LAYER_BYTES)  # a hole: it takes no room on the disk
    large = image("library/large", "1", layers=[file_layer(tmp_path / "zeros")])
    host = FakeRegistry("host")
    with ServerThread(host):
        host.add(large)
        machine = Machine(tmp_path, host.url)
        peaks = {
            "create": peak_bytes(
                machine, "create", "-o", str(tmp_path / "large.tar"), *AMD64, *volumes, "large:1"
            )
        }
    files = sorted(map(str, tmp_path.glob("large*.tar")))
    assert len(files) == (5 if volumes else 1)
    peaks["verify"] = peak_bytes(machine, "verify", *files)
    if volumes:
        Path(files[1]).unlink()
        peaks["repair"] = peak_bytes(machine, "repair", *(name for name in files if name != files[1]))
    for name in files:
        Path(name).unlink()  # pytest keeps the directories of three runs
    assert all(peak < MEMORY_BYTES_MAX for peak in peaks.values()), peaks
