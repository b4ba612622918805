"""kill -9 while a blob comes from three hosts at once, ten times: no piece on disk is asked for again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rig import ALPINE, assert_store_is_sound
from sampan.oci import Digest
from sampan.store import DiskStore
from sampan.store.spans import Spans
from sampan.testing import FakeRegistry, Image, Match, Request, ServerThread, faults, image, random_layer

MIB = 1024 * 1024
SIZE = 33 * MIB
KILLS = 10
BYTES_PER_SECOND = 12 * MIB  # of each host
IN_FLIGHT_BYTES = 3 * MIB  # what may be lost at a kill: in the kernel and in memory, of three connections
ROOT = Path(__file__).parents[1]


def start(store: Path, layer: Digest, hosts: list[FakeRegistry]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "faults.bring_layer", str(store), str(layer)]
        + [host.url for host in hosts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(store.parent)},
    )


def kill_when_there(process: subprocess.Popen[str], count_bytes: int) -> None:
    """When so many are on disk; they are said to be."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        for line in process.stdout:
            if int(line) >= count_bytes:
                process.kill()
                return
        raise AssertionError(f"it ended before that: {process.stderr.read()}")


def on_disk(path: Path, layer: Digest, content: bytes) -> Spans:
    """The pieces that the next run will find, each found to be right."""
    store = DiskStore(path)
    ingest = store.ingest(layer, len(content))
    assert ingest.resumable
    data = ingest.path.read_bytes()
    kept = ingest.spans
    assert all(data[start:stop] == content[start:stop] for start, stop in kept)
    ingest.suspend()
    store.close()
    return kept


def asked_for(request: Request) -> tuple[int, int]:
    first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1 if last else SIZE


@pytest.mark.slow
@pytest.mark.row("X1")
def test_after_ten_kills_no_piece_on_disk_was_asked_for_again(tmp_path: Path) -> None:
    alpine: Image = image(ALPINE, "3", layers=[random_layer(1, SIZE)])
    layer, content = Digest.parse(alpine.layers[0].digest), alpine.layers[0].read()
    hosts = [FakeRegistry(f"host{number}", host=f"127.0.0.{number + 2}") for number in range(3)]
    for host in hosts:
        host.add(alpine)
        host.script(faults.bandwidth(BYTES_PER_SECOND), on=Match(kind="blob"))
    kept, with_holes, helpers, seen = Spans(), 0, set[str](), [0, 0, 0]

    def check_requests() -> None:
        for index, host in enumerate(hosts):
            new, seen[index] = host.requests[seen[index] :], len(host.requests)
            for request in new:
                if request.kind == "blob":
                    helpers.add(host.name)
                    assert not kept.overlap(*asked_for(request)), f"{asked_for(request)} of {list(kept)}"

    with ServerThread(*hosts):
        for number in range(1, KILLS + 1):
            wanted = SIZE * number // (KILLS + 1)
            kill_when_there(start(tmp_path / "store", layer, hosts), wanted)
            check_requests()
            kept = on_disk(tmp_path / "store", layer, content)
            assert kept.total >= wanted, "what was said to be on disk is there"
            with_holes += not kept.is_prefix
        with start(tmp_path / "store", layer, hosts) as process:
            said, errors = process.communicate()
        assert process.returncode == 0, errors
        assert said.splitlines()[-1] == str(SIZE)
        check_requests()
    assert with_holes, "no kill met pieces"
    assert helpers == {host.name for host in hosts}
    sent = sum(request.bytes_sent for host in hosts for request in host.requests if request.kind == "blob")
    assert sent <= SIZE + KILLS * IN_FLIGHT_BYTES
    assert assert_store_is_sound(tmp_path / "store") == 2
