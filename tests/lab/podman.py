"""podman on a machine of the lab, at the paths that it has on any machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from interop import peers
from lab.machine import Machine

CONTAINERS = "/etc/containers"


class PodmanError(Exception):
    """What podman says of a pull that fails."""


@dataclass(eq=False)
class Podman:
    """Its program is a script that knows where its parts are; its storage is the usual one."""

    machine: Machine

    @property
    def version(self) -> str:
        """``4.3.1``, as it says itself."""
        return peers.version("podman").partition("+")[0]

    def install(self) -> None:
        """Its programs are where a package puts them."""
        libraries = peers.program("libsubid").parent
        options = f"--conmon {peers.program('conmon')} --cgroup-manager cgroupfs --events-backend file"
        own = f"CONTAINERS_CONF=/etc/containers/containers.conf LD_LIBRARY_PATH={libraries}"
        text = f'#!/bin/sh\nexec env {own} {peers.program("podman")} {options} "$@"\n'
        self.machine.write("/usr/bin/podman", text)
        self.machine.path("/usr/bin/podman").chmod(0o755)
        self.configure("")

    def configure(self, registries: str, **drop_ins: str) -> None:
        """registries.conf, drop-ins by name, and what podman needs beside them."""
        self.machine.write(f"{CONTAINERS}/registries.conf", registries)
        self.machine.write(f"{CONTAINERS}/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self.machine.write(f"{CONTAINERS}/containers.conf", '[engine]\nlock_type = "file"\n')
        self.machine.write(
            f"{CONTAINERS}/storage.conf",
            '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\n'
            'graphroot = "/var/lib/containers/storage"\n',
        )
        for name, text in drop_ins.items():
            self.machine.write(f"{CONTAINERS}/registries.conf.d/{name}.conf", text)

    def pull(self, reference: str) -> None:
        """``podman pull``. Raises PodmanError, without what it says of each try."""
        done = self.machine.run("podman", "pull", "--quiet", reference)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise PodmanError("\n".join(line for line in lines if not line.startswith("time=")))


@contextlib.contextmanager
def podman(machine: Machine) -> Iterator[Podman]:
    made = Podman(machine)
    made.install()
    yield made
