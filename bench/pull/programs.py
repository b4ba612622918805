"""The programs that pull, each as it is told to bring an image from hosts into a home of its own.

It guarantees that none of them reads a configuration of this machine, and that each knows only the hosts
that it was given. What they need beside (a policy, a daemon) is there before they are timed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.stock import MIB, REPOSITORY, TAG
from interop import peers
from interop.containerd import containerd

Command = Sequence[str | Path]
Pull = Callable[[str], Command]  # of a tag; given again, it goes on from what the first left
FETCH_BUFFER_BYTES = 32 * MIB  # a layer in pieces of that size; 4 MiB was slower on loopback


class Program(Protocol):
    """``mirrors``: whether it can be told of several hosts; else it takes the first."""

    @property
    def name(self) -> str: ...
    @property
    def mirrors(self) -> bool: ...
    def ready(self, home: Path, hosts: Sequence[str]) -> AbstractContextManager[Pull]:
        """Everything is there but the image. ``hosts`` are ``address:port``, plain HTTP, in order."""


@dataclass(frozen=True, slots=True)
class Sampan:
    """``sink``: ``oci`` for a layout, or ``store``."""

    sink: str = "oci"
    mirrors: bool = True

    @property
    def name(self) -> str:
        return f"sampan --to {self.sink}"

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        urls = json.dumps([f"http://{host}" for host in hosts])  # which TOML reads too
        (home / "sampan.toml").write_text(
            f'[store]\npath = "{home}/store"\n[registry."docker.io"]\nmirrors = {urls}\norigin = "never"\n'
        )
        sampan = Path(sys.executable).with_name("sampan")
        sink = f"oci:{home}/out" if self.sink == "oci" else self.sink
        words: list[str | Path] = [sampan, "pull", "--config", home / "sampan.toml", "--to", sink]
        yield lambda tag: [*words, f"{REPOSITORY}:{tag}"]


@dataclass(frozen=True, slots=True)
class Skopeo:
    name: str = "skopeo copy"
    mirrors: bool = True

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        (home / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        first, *others = hosts
        mirrors = [f'[[registry.mirror]]\nlocation = "{host}"\ninsecure = true' for host in others]
        lines = ['[[registry]]\nprefix = "docker.io"', f'location = "{first}"\ninsecure = true', *mirrors]
        # Mirrors are asked before the location itself, so the first host is named once more as one.
        lines[2:2] = [f'[[registry.mirror]]\nlocation = "{first}"\ninsecure = true'] if others else []
        (home / "registries.conf").write_text("\n".join(["unqualified-search-registries = []", *lines]))
        (home / "registries.d").mkdir(exist_ok=True)
        words: list[str | Path] = [peers.program("skopeo"), "--policy", home / "policy.json"]
        words += ["--registries-conf", home / "registries.conf", "--registries.d", home / "registries.d"]
        words += ["--tmpdir", home, "copy", "--preserve-digests"]  # or it compresses layers
        yield lambda tag: [*words, f"docker://docker.io/{REPOSITORY}:{tag}", f"oci:{home}/out:{tag}"]


@dataclass(frozen=True, slots=True)
class Crane:
    name: str = "crane pull"
    mirrors: bool = False

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        words: list[str | Path] = [peers.program("crane"), "pull", "--insecure", "--format=oci"]
        yield lambda tag: [*words, f"{hosts[0]}/{REPOSITORY}:{tag}", home / "out"]


@dataclass(frozen=True, slots=True)
class Oras:
    name: str = "oras cp"
    mirrors: bool = False

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        words: list[str | Path] = [
            peers.program("oras"),
            "cp",
            "--no-tty",
            "--from-plain-http",
            "--to-oci-layout",
        ]
        yield lambda tag: [*words, f"{hosts[0]}/{REPOSITORY}:{tag}", f"{home}/out:{tag}"]


@dataclass(frozen=True, slots=True)
class Ctr:
    """`ctr content fetch`: into containerd's content store, nothing unpacked."""

    name: str = "ctr content fetch"
    mirrors: bool = True

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        with containerd("containerd-2", home) as runtime:
            runtime.use("docker.io", [f"http://{host}" for host in hosts])
            words = [*_ctr(runtime.socket), "content", "fetch", "--hosts-dir", runtime.hosts_directory]
            yield lambda tag: [*words, f"docker.io/{REPOSITORY}:{tag}"]


@dataclass(frozen=True, slots=True)
class ParallelCtr:
    """`ctr images pull`, by the transfer service with its parallel fetch of one layer: the service would
    unpack an image too, so it is given the same layers under media types that it does not know."""

    name: str = "ctr, parallel fetch"
    mirrors: bool = True

    @contextlib.contextmanager
    def ready(self, home: Path, hosts: Sequence[str]) -> Iterator[Pull]:
        more = (
            '[plugins."io.containerd.transfer.v1.local"]\n'
            f"max_concurrent_downloads = 3\nconcurrent_layer_fetch_buffer = {FETCH_BUFFER_BYTES}\n"
        )
        with containerd("containerd-2", home, more=more, environment={"NO_PROXY": "*"}) as runtime:
            runtime.use("docker.io", [f"http://{host}" for host in hosts])
            words = [*_ctr(runtime.socket), "images", "pull", "--hosts-dir", runtime.hosts_directory]
            yield lambda tag: [*words, f"docker.io/{REPOSITORY}:{foreign(tag)}"]


PEERS: tuple[Program, ...] = (Skopeo(), Crane(), Oras(), Ctr())


def foreign(tag: str = TAG) -> str:
    """The tag of the same layers as an image that no runtime knows."""
    return f"{tag}-foreign"


def _ctr(socket: Path) -> list[str | Path]:
    return [peers.beside("containerd-2", "ctr"), "--address", socket, "--namespace", "bench"]
