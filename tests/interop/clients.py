"""skopeo and crane: programs that copy images and end.

They read no configuration of the machine: each gets its own, which knows docker.io only as the
mirrors that a test names, and behind them a closed port.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interop import peers
from interop.containerd import CLOSED
from interop.processes import run, surroundings

COPY_TIMEOUT_SECONDS = 60.0


class Skopeo:
    """skopeo, for which docker.io is ``mirrors`` (``host:port`` or ``host:port/path``), plain HTTP."""

    def __init__(self, directory: Path, mirrors: Sequence[str] = ()) -> None:
        self.directory = directory
        lines = [
            "unqualified-search-registries = []",
            '[[registry]]\nprefix = "docker.io"\ninsecure = true',
            f'location = "{CLOSED.removeprefix("http://")}"',
        ]
        lines += [f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true' for mirror in mirrors]
        (directory / "registries.conf").write_text("\n".join(lines) + "\n")
        (directory / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (directory / "registries.d").mkdir(exist_ok=True)

    def copy(
        self, reference: str, into: Path, *words: str, timeout_seconds: float = COPY_TIMEOUT_SECONDS
    ) -> None:
        """Copy ``reference`` ("docker.io/library/alpine:3") into the OCI layout ``into``."""
        copy = ["copy", "--src-tls-verify=false", *words, f"docker://{reference}", f"oci:{into}:copied"]
        self._run(*copy, timeout_seconds=timeout_seconds)

    def inspect(self, name: str, *words: str) -> dict[str, Any]:
        """What ``skopeo inspect`` says of ``name`` ("oci:DIR:REFERENCE", "docker-archive:FILE")."""
        found: dict[str, Any] = json.loads(self._run("inspect", *words, name))
        return found

    def copy_any(self, *words: str) -> None:
        """``skopeo copy WORDS``: from anything to anything."""
        self._run("copy", *words)

    def version(self) -> str:
        return self._run("--version").strip()

    def _run(self, *words: str, timeout_seconds: float = COPY_TIMEOUT_SECONDS) -> str:
        settings: list[str | Path] = ["--policy", self.directory / "policy.json", "--tmpdir", self.directory]
        settings += ["--registries-conf", self.directory / "registries.conf"]
        settings += ["--registries.d", self.directory / "registries.d"]
        environment = surroundings(HOME=str(self.directory), XDG_RUNTIME_DIR=str(self.directory))
        return run(
            [peers.program("skopeo"), *settings, *words],
            timeout_seconds=timeout_seconds,
            environment=environment,
        )


def copied(layout: Path) -> set[str]:
    """The digests of all that an OCI layout holds, after checking that each hashes to its name."""
    found = set()
    for path in (layout / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"{path} is corrupt"
        found.add(f"sha256:{path.name}")
    return found


def crane(*words: str | Path) -> str:
    """Standard output of ``crane WORDS``; plain HTTP where it is loopback."""
    environment = surroundings(HOME="/nonexistent", DOCKER_CONFIG="/nonexistent")
    return run([peers.program("crane"), *words], environment=environment)
