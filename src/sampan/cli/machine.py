"""This machine, as :mod:`sampan.pull.detect` asks about it: sockets, programs, containerd's own file.

It only looks: nothing is dialled and nothing run, so the answers are quick and change nothing.
"""

from __future__ import annotations

import shutil
import stat
import tomllib
from pathlib import Path

CONTAINERD_CONFIG = Path("/etc/containerd/config.toml")
CRI_PLUGINS = {"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"}


class Machine:
    """The :class:`~sampan.pull.detect.Probe` of the machine that this runs on."""

    def has_socket(self, path: Path) -> bool:
        """Whether a socket lies there."""
        try:
            return stat.S_ISSOCK(path.stat().st_mode)
        except OSError:
            return False

    def has_program(self, name: str) -> bool:
        """Whether it is found on the PATH."""
        return shutil.which(name) is not None

    def has_cri(self, socket: Path) -> bool:  # noqa: ARG002 - the protocol's
        """By its file: the CRI is on unless it is disabled there, as Docker's packages do it."""
        try:
            document = tomllib.loads(CONTAINERD_CONFIG.read_text())
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False
        disabled = document.get("disabled_plugins", [])
        return not (isinstance(disabled, list) and CRI_PLUGINS.intersection(map(str, disabled)))
