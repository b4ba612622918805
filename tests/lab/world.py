"""A world: a machine with its runtimes, a network that treats it badly, and the doctor as a person calls it.

    def a_mirror_says_502(world: World) -> None:
        world.containerd("1.6", hosts={"docker.io": [A]})
        world.spoil(faults.status(502), "a.lan")
        world.block()

A world that nobody has touched is healthy: every registry has the image, every name leads where it should.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.case import CERTS, NEW, OLD, one_layer
from lab.containerd import CONTAINERDS, Containerd, containerd
from lab.docker import DOCKERS, Docker, docker
from lab.laying import lay, with_store
from lab.machine import Machine, machine
from lab.network import HUB, Network
from lab.podman import Podman, podman
from sampan.testing import Match, faults
from sampan.testing.fault import Fault
from sampan.testing.images import Image

DOCTOR_SECONDS_MAX = 60.0
FULL_BYTES = 8 * 1024 * 1024  # containerd starts with it, and no image fits
SAMPAN_TOML = "/etc/sampan/sampan.toml"
SEED = 7


@dataclass(frozen=True)
class Diagnosis:
    """What ``sampan doctor --json`` said, and its exit code."""

    code: int
    document: Mapping[str, Any]
    errors: str

    @property
    def first(self) -> tuple[str, str] | None:
        """Code and subject of what is named first; None: the machine is healthy."""
        verdict = self.document["verdict"]
        return None if verdict is None else (verdict["code"], verdict["subject"])

    @property
    def codes(self) -> set[str]:
        """Of all that was found."""
        return {finding["code"] for finding in self.findings}

    @property
    def findings(self) -> list[dict[str, Any]]:
        """All, in the order in which they are to be mended, with what comes of each behind it."""
        found: list[dict[str, Any]] = []
        for each in self.document["findings"]:
            found += [each, *each["explains"]]
        return found

    def __str__(self) -> str:
        lines = [f"{f['level']} {f['code']} {f['subject']}: {f['what']}" for f in self.findings]
        return "\n".join([f"exit {self.code}", *lines, self.errors])


@dataclass(eq=False)
class World:
    """Built by calls, each of which says one thing about it; :meth:`doctor` is asked last."""

    machine: Machine
    network: Network
    logs: Path
    stack: contextlib.ExitStack
    image: Image
    reference: str = "alpine:3"
    environment: dict[str, str] = field(default_factory=dict)

    # -- the network -----------------------------------------------------------------------------

    def spoil(self, fault: Fault, *names: str, on: Match | None = None) -> None:
        """These hosts, or all, answer so."""
        self.network.spoil(fault, *names, on=on)

    def block(self, *names: str) -> None:
        """These, or Docker Hub itself, refuse connections."""
        for name in names or (HUB,):
            self.network.block(name)

    def hole(self, name: str) -> None:
        """What is sent to ``name`` vanishes: its address has no way back, and nobody says so."""
        address = f"44.129.0.{len(name)}"
        self.name(name, address)
        run = self.machine.namespace.run
        run("ip", "link", "add", "hole", "type", "veth", "peer", "name", "bottom")
        for device in ("hole", "bottom"):
            run("ip", "link", "set", device, "up", "arp", "off")
        run("ip", "route", "add", f"{address}/32", "dev", "hole")

    def unit(self, name: str, environment: Mapping[str, str]) -> None:
        """A drop-in of its unit, with this environment."""
        lines = "".join(f"Environment={key}={value}\n" for key, value in environment.items())
        self.file(f"/etc/systemd/system/{name}.service.d/proxy.conf", f"[Service]\n{lines}")

    def name(self, name: str, *addresses: str) -> None:
        """What the nameserver says of ``name``: nothing more, nothing less."""
        from sampan.testing.dns import NXDOMAIN

        self.network.nameserver.say(name, list(addresses) or NXDOMAIN)

    # -- the machine -----------------------------------------------------------------------------

    def clock(self, offset: str) -> None:
        """The doctor's clock is off by that, as faketime writes it."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        self.environment |= {"LD_PRELOAD": str(library), "FAKETIME": offset}

    def date(self, *names: str) -> None:
        """These hosts say what time it is, as all real ones do."""
        now = formatdate(usegmt=True)
        for name in names:
            self.network[name].script(faults.header("Date", now))

    def fill(self, path: str) -> None:
        """A file system of its own at ``path``, without room."""
        self.machine.run("mkdir", "-p", path)
        self.machine.run("mount", "-t", "tmpfs", "-o", f"size={FULL_BYTES}", "tmpfs", path)

    def is_younger(self, path: str) -> None:
        """That file was changed a minute after all that runs was started."""
        later = time.time() + 60
        os.utime(self.machine.path(path), (later, later))

    def sampan(self, text: str) -> None:
        """sampan.toml."""
        self.machine.write(SAMPAN_TOML, text)

    def file(self, path: str, text: str) -> None:
        """Any other file."""
        self.machine.write(path, text)

    def containerd(
        self,
        version: str = "2.1",
        *,
        hosts: Mapping[str, Sequence[str] | str] | None = None,
        registry: str | None = None,
        config: str | None = None,
        loads: bool = True,
        starts: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Containerd:
        """containerd, running. ``hosts``: registry -> URLs, or the text of its hosts.toml; ``registry``: the
        keys of the CRI's registry table; ``config``: all of config.toml."""
        number, plugin = (3, NEW) if version.startswith("2") else (2, OLD)
        keys = f'config_path = "{CERTS}"' if registry is None else registry.replace("PLUGIN", plugin)
        text = config or f'version = {number}\n[plugins."{plugin}".registry]\n{keys}\n'
        made = self.stack.enter_context(containerd(CONTAINERDS[version], self.machine, self.logs))
        files = {f"certs.d/{name}/hosts.toml": _hosts_toml(urls) for name, urls in (hosts or {}).items()}
        made.lay({"config.toml": text, **files})
        if starts:
            made.start(whole=loads, environment=environment)
        return made

    def docker(self, version: str = "28.5", files: Mapping[str, str] | None = None) -> Docker:
        """Docker Engine, running, with these files below /etc/docker."""
        made = self.stack.enter_context(docker(DOCKERS[version], self.machine, self.logs))
        daemon = with_store((files or {}).get("daemon.json", "{}"), DOCKERS[version])
        lay(self.machine.path("/etc/docker"), {**(files or {}), "daemon.json": daemon})
        made.start()
        return made

    def podman(self, registries: str) -> Podman:
        """podman with this registries.conf."""
        made = self.stack.enter_context(podman(self.machine))
        made.configure(registries)
        return made

    # -- the doctor ------------------------------------------------------------------------------

    def doctor(self, *words: str) -> Diagnosis:
        """``sampan doctor REFERENCE --json`` there, as a person has it."""
        command = [sys.executable, "-m", "sampan", "doctor", self.reference, "--json", *words]
        done = self.machine.run(*command, seconds=DOCTOR_SECONDS_MAX, **self.environment)
        assert done.stdout, done.stderr
        return Diagnosis(done.returncode, json.loads(done.stdout), done.stderr)

    def from_program(self, name: str) -> Match:
        """Requests of a program that calls itself so."""
        return Match(when=lambda request: name in request.headers.get("user-agent", ""))

    @property
    def strangers(self) -> str:
        """The authority of unknown.lan, which the machine does not know."""
        return self.network.strangers.cert_pem.bytes().decode()

    @cached_property
    def layer(self) -> Match:
        """Requests for the image's layer."""
        return Match(digest=self.image.layers[0].digest)


def _hosts_toml(urls: Sequence[str] | str) -> str:
    if isinstance(urls, str):
        return urls
    return "".join(f'[host."{url}"]\n  capabilities = ["pull", "resolve"]\n' for url in urls)


@contextlib.contextmanager
def world(network: Network) -> Iterator[World]:
    """A healthy one, on a machine of its own."""
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(machine(network.authority))
        stack.enter_context(network.open(found))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        image = one_layer(SEED)
        network.renew(image)
        made = World(found, network, logs, stack, image)
        made.sampan("")
        yield made
