"""Bundles against archives of the same image: made cold from a registry, made of what is there, and loaded.

A bundle is verified as it is made and as it is loaded, and is on the disk when the program ends; the others'
files are made durable after they have ended, which is measured beside. Loading is into stores: sampan's own,
containerd's, a layout of skopeo's; nobody unpacks, for the layers are random bytes.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.origin import origin
from bench.pull.ground import files, make_durable, scratch
from bench.pull.process import Ended, Running
from bench.pull.programs import Command, Skopeo
from bench.stage import Stage
from bench.stock import MIB, REPOSITORY, TAG, Image
from bench.table import Bound, Row
from interop import peers
from interop.containerd import containerd

LAYERS_BYTES = (256 * MIB, 64 * MIB, 32 * MIB, 16 * MIB)
SIZE = "368 MiB"
WARM_UP_ROUNDS = 1
ROUNDS_MAX = 3
WANTED = Bound("at least", 1.0)
NAME = f"docker.io/{REPOSITORY}:{TAG}"
PLATFORM = ("--platform", "linux/amd64")


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one run, in MB/s of the image: until the program ended, and until all was on the disk."""

    rate: float
    durable_rate: float


Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class Party:
    """``prepare`` brings a home to where the run is timed; it gives the command."""

    name: str
    prepare: Callable[[Path, str], contextlib.AbstractContextManager[Command]]


def measure(stage: Stage) -> list[Row]:
    """Each against its peers; the bounds are on skopeo and ctr alike."""
    samples: Samples = {party.name: [] for party in PARTIES}
    with files(stage.directory) as made:
        layers = [made.random(size) for size in LAYERS_BYTES]
        image = made.image(TAG, layers)
        with origin(made.root.parent / "origin", made.root, [image]) as host:
            for number in range(WARM_UP_ROUNDS + min(stage.rounds, ROUNDS_MAX)):
                for party in PARTIES:
                    sample = _sample(stage, party, host.netloc, image)
                    if number >= WARM_UP_ROUNDS:
                        samples[party.name].append(sample)
    return _rows(samples)


def _sample(stage: Stage, party: Party, netloc: str, image: Image) -> Sample:
    with scratch(stage.directory, "bundle") as home, party.prepare(home, netloc) as command:
        ended = _run(command, home)
        began = time.perf_counter()
        make_durable(home)
        durable = ended.seconds + time.perf_counter() - began
    megabytes = image.size_bytes / 1e6
    return Sample(megabytes / ended.seconds, megabytes / durable)


def _run(command: Command, home: Path) -> Ended:
    running = Running(command, home)
    ended = running.wait()
    if ended.code:
        raise RuntimeError(f"{command[0]} ended with {ended.code}: {(home / 'words').read_text()[-1000:]}")
    return ended


def _rows(samples: Samples) -> list[Row]:
    rows = []
    for ours, theirs, wanted in COMPARED:
        what = f"{ours}, {SIZE}"
        mine, others = samples[ours], samples[theirs]
        rates = [each.rate for each in mine], [each.rate for each in others]
        durable = [each.durable_rate for each in mine], [each.durable_rate for each in others]
        rows.append(Row(what, theirs, "MB/s", *rates, bound=wanted))
        if ours != VERIFY.name:  # it writes nothing
            rows.append(Row(f"{what}, until it is on the disk", theirs, "MB/s", *durable))
    return rows


# -- who does what -----------------------------------------------------------------------------------


def _sampan(home: Path, netloc: str, *words: str | Path) -> Command:
    (home / "sampan.toml").write_text(
        f'[store]\npath = "{home}/store"\n[registry."docker.io"]\n'
        f'mirrors = {json.dumps([f"http://{netloc}"])}\norigin = "never"\n'
    )
    return [Path(sys.executable).with_name("sampan"), *words, "--config", home / "sampan.toml"]


def _create(home: Path, netloc: str) -> Command:
    return _sampan(home, netloc, "bundle", "create", "-o", home / "out.tar", *PLATFORM, f"{REPOSITORY}:{TAG}")


@contextlib.contextmanager
def create(home: Path, netloc: str) -> Iterator[Command]:
    yield _create(home, netloc)


@contextlib.contextmanager
def create_of_store(home: Path, netloc: str) -> Iterator[Command]:
    _run(_sampan(home, netloc, "pull", "--to", "store", *PLATFORM, f"{REPOSITORY}:{TAG}"), home)
    make_durable(home)
    yield _create(home, netloc)


@contextlib.contextmanager
def verify(home: Path, netloc: str) -> Iterator[Command]:
    _run(_create(home, netloc), home)
    yield _sampan(home, netloc, "bundle", "verify", home / "out.tar")


@contextlib.contextmanager
def load(home: Path, netloc: str) -> Iterator[Command]:
    _run(_create(home, netloc), home)
    yield _sampan(
        home, netloc, "bundle", "load", "--to", "store", "--store", home / "other", home / "out.tar"
    )


@contextlib.contextmanager
def skopeo_archive(home: Path, netloc: str) -> Iterator[Command]:
    with Skopeo().ready(home, [netloc]) as pull:
        *words, source, _ = pull(TAG)
        yield [*words, source, f"oci-archive:{home}/out.tar:{NAME}"]


@contextlib.contextmanager
def skopeo_load(home: Path, netloc: str) -> Iterator[Command]:
    with skopeo_archive(home, netloc) as command:
        _run(command, home)
        make_durable(home)
        *words, _, archive = command
        yield [*words, archive, f"oci:{home}/loaded:{TAG}"]


@contextlib.contextmanager
def ctr_export(home: Path, netloc: str) -> Iterator[Command]:
    with _with_image(home, netloc) as ctr:
        yield [*ctr, "images", "export", *PLATFORM, home / "out.tar", NAME]


@contextlib.contextmanager
def ctr_import(home: Path, netloc: str) -> Iterator[Command]:
    with _with_image(home, netloc) as ctr:
        _run([*ctr, "images", "export", *PLATFORM, home / "out.tar", NAME], home)
        make_durable(home)
        *words, _, namespace = ctr
        # Another namespace has to be given all of it anew.
        yield [
            *words,
            "--namespace",
            f"{namespace}-other",
            "images",
            "import",
            "--no-unpack",
            home / "out.tar",
        ]


@contextlib.contextmanager
def sha256sum(home: Path, netloc: str) -> Iterator[Command]:
    _run(_create(home, netloc), home)
    yield ["sha256sum", home / "out.tar"]


@contextlib.contextmanager
def _with_image(home: Path, netloc: str) -> Iterator[Sequence[str | Path]]:
    """``ctr`` of a containerd that has the image, not unpacked."""
    with containerd("containerd-2", home) as runtime:
        runtime.use("docker.io", [f"http://{netloc}"])
        ctr: list[str | Path] = [peers.beside("containerd-2", "ctr"), "--address", runtime.socket]
        ctr += ["--namespace", "bench"]
        _run([*ctr, "content", "fetch", "--hosts-dir", runtime.hosts_directory, NAME], home)
        make_durable(home)
        yield ctr


CREATE, OF_STORE = Party("bundle create", create), Party("bundle create, of the store", create_of_store)
VERIFY, LOAD = Party("bundle verify", verify), Party("bundle load", load)
ARCHIVE, EXPORT = Party("skopeo copy to oci-archive", skopeo_archive), Party("ctr image export", ctr_export)
COPY, IMPORT = Party("skopeo copy of an oci-archive", skopeo_load), Party("ctr image import", ctr_import)
SHA256SUM = Party("sha256sum", sha256sum)
PARTIES = (CREATE, ARCHIVE, OF_STORE, EXPORT, LOAD, COPY, IMPORT, VERIFY, SHA256SUM)
COMPARED: Sequence[tuple[str, str, Bound | None]] = (
    (CREATE.name, ARCHIVE.name, WANTED),
    (OF_STORE.name, EXPORT.name, WANTED),
    (LOAD.name, COPY.name, WANTED),
    (LOAD.name, IMPORT.name, WANTED),
    (VERIFY.name, SHA256SUM.name, None),
)
