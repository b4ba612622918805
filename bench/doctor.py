"""The doctor's full run where hosts swallow what is sent to them: three of them, and one that answers.

It runs in a network of its own, with loopback alone, so that this machine's runtimes and nameservers are
looked at and nothing leaves it. Twice: this machine, and a tree whose containerd is told of those hosts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.stage import Stage
from bench.table import Bound, Row
from interop import peers
from sampan.testing import BlackHole, FakeRegistry, ServerThread, image, random_layer

LIMIT_SECONDS = 20.0
HOLES = 3
ANSWERED = (0, 5)  # of the doctor itself: nothing found, or something
CONFIG = (
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
)
APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def measure(stage: Stage) -> list[Row]:
    """Against the time that it may take."""
    machine, tree, well = [], [], []
    for _ in range(stage.rounds):
        seconds = _apart()
        machine.append(seconds["machine"])
        tree.append(seconds["tree"])
        well.append(seconds["well"])
    limit = [LIMIT_SECONDS] * stage.rounds
    bound = Bound("less than", 1)
    return [
        Row("doctor, three black holes", "its limit", "s", machine, limit, bound),
        Row("doctor of a tree, three black holes", "its limit", "s", tree, limit, bound),
        Row("doctor, hosts that answer", "its limit", "s", well, limit, bound),
    ]


def _apart() -> dict[str, float]:
    """What :func:`main` says in a network of its own."""
    if os.geteuid() != 0:
        raise peers.PeerMissing("a network of one's own needs root")
    command = [*APART, sys.executable, "-m", "bench.doctor"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Seconds of each run, as JSON."""
    good = FakeRegistry("good")
    good.add(image("library/alpine", "3", layers=[random_layer(seed=1, size_bytes=100_000)]))
    holes = [BlackHole(host=f"127.0.0.{number}") for number in range(2, 2 + HOLES)]
    with ServerThread(good, *holes), tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        urls = [*(hole.url for hole in holes), good.url]
        tree = _tree(place / "tree", urls)
        seconds = {
            "machine": _seconds(place, urls),
            "tree": _seconds(place, urls, "--root", str(tree), "--runtime", "containerd@1.7.27"),
            "well": _seconds(place, urls[-1:]),
        }
    print(json.dumps(seconds))


def _tree(root: Path, urls: list[str]) -> Path:
    certs = root / "etc/containerd/certs.d/docker.io"
    certs.mkdir(parents=True)
    (root / "etc/containerd/config.toml").write_text(CONFIG)
    tables = "".join(f'[host."{url}"]\ncapabilities = ["pull", "resolve"]\n' for url in urls)
    (certs / "hosts.toml").write_text(f'server = "{urls[-1]}"\n{tables}')
    return root


def _seconds(place: Path, urls: list[str], *words: str) -> float:
    mirrors = ", ".join(f'"{url}"' for url in urls)
    config = place / "sampan.toml"
    config.write_text(f'[registry."docker.io"]\nmirrors = [{mirrors}]\norigin = "never"\n')
    program = Path(sys.executable).with_name("sampan")
    began = time.monotonic()
    command: list[str | Path] = [program, "doctor", "alpine:3", "--json", "--config", config, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in ANSWERED:
        raise RuntimeError(done.stderr)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
