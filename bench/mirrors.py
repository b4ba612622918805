"""How long it takes to know what forty hosts can do, of which half are dead in one way or another.

One process of the command, its start included; all hosts are on loopback, in this one. There is no peer
that does this: it is measured against what is asked of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

from bench.pull.ground import scratch
from bench.stage import Stage
from bench.table import Bound, Row
from sampan.doctor.hosts.look import REQUESTS_MAX
from sampan.testing import (
    BlackHole,
    ClosedPort,
    FakeRegistry,
    Fault,
    Match,
    Silence,
    faults,
    image,
    random_layer,
)
from sampan.testing.thread import ServerThread

SECONDS_WANTED = 10.0
ALIVE = 20
LAYER_BYTES = 2 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
BLOB = Match(kind="blob")
# What is wrong with a host that answers, and what that is to be called.
ILL: Sequence[tuple[str, Fault, Match]] = (
    ("HOST_NOT_A_REGISTRY", faults.page(), Match()),
    ("HOST_NOT_A_REGISTRY", faults.page(), BLOB),
    ("HOST_FAILS", faults.status(502), Match()),
    ("HOST_FAILS", faults.status(503), BLOB),
    ("HOST_SILENT", faults.silence(), Match(kind="manifest")),
    ("HOST_STALLS", faults.stalls(100), BLOB),
    ("HOST_ALLOW_LIST", faults.denied(), Match(kind="manifest")),
    ("HOST_RATE_LIMITED", faults.rate_limited("60"), Match()),
    ("HOST_TOKEN_BLOCKED", faults.bearer_at("http://127.0.0.1:1/token"), Match()),
    ("HOST_CDN_BLOCKED", faults.redirect_to("http://127.0.0.1:1"), BLOB),
)
# What is wrong with one where nobody answers, how many of those there are, and their scheme.
DEAD = (
    ("HOST_REFUSES", ClosedPort, 3, "http"),
    ("HOST_BLACK_HOLED", BlackHole, 4, "http"),
    ("HOST_SILENT", Silence, 2, "http"),
    ("HOST_TLS_CUT", Silence, 1, "https"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """Forty URLs, what each kind is to be called and how often, and the registries among them."""

    urls: tuple[str, ...]
    called: Counter[str | None]
    registries: tuple[FakeRegistry, ...]


def measure(stage: Stage) -> list[Row]:
    """``sampan mirrors test`` over the field."""
    with scratch(stage.directory, "mirrors") as home, field() as ground:
        configure(home, ground.urls)
        seconds = [_once(home, ground) for _ in range(stage.rounds)]
    name = f"mirrors test, {len(ground.urls)} hosts, {len(ground.urls) - ALIVE} dead"
    wanted = [SECONDS_WANTED] * len(seconds)
    return [Row(name, "wanted", "s", seconds, wanted, Bound("less than", 1))]


@contextlib.contextmanager
def field() -> Iterator[Field]:
    """All hosts, for as long as the block lasts."""
    held = image("library/alpine", "latest", layers=[random_layer(1, LAYER_BYTES)])
    registries = [FakeRegistry(f"host {n}", host=f"127.0.1.{n + 1}") for n in range(ALIVE + len(ILL))]
    for registry in registries:
        registry.add(held)
    for registry, (_, fault, on) in zip(registries[ALIVE:], ILL, strict=True):
        registry.script(fault, on=on)
    nowhere = [(kind(), scheme) for _, kind, count, scheme in DEAD for _ in range(count)]
    called = Counter[str | None]([code for code, _, _ in ILL])
    called.update({None: ALIVE})
    for code, _, count, _ in DEAD:
        called[code] += count
    with ServerThread(*registries, *(place for place, _ in nowhere)):
        urls = [registry.url for registry in registries]
        urls += [f"{scheme}://{place.netloc}" for place, scheme in nowhere]
        yield Field(tuple(urls), called, tuple(registries))


def configure(home: Path, urls: Sequence[str]) -> None:
    mirrors = ", ".join(map(json.dumps, urls))
    (home / "sampan.toml").write_text(f'[registry."docker.io"]\nmirrors = [{mirrors}]\norigin = "never"\n')


def _once(home: Path, ground: Field) -> float:
    """Seconds of one run, whose findings must be the right ones and whose requests no more than promised."""
    for registry in ground.registries:
        registry.requests.clear()
    program = str(Path(sys.executable).with_name("sampan"))
    command = [program, "--config", str(home / "sampan.toml"), "mirrors", "test", "--json"]
    began = time.perf_counter()
    done = run(command, capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
    seconds = time.perf_counter() - began
    called = Counter(host["code"] for host in json.loads(done.stdout)["hosts"])
    if called != ground.called:
        raise RuntimeError(f"wrong diagnoses: {called - ground.called} in place of {ground.called - called}")
    most = max(len(registry.requests) for registry in ground.registries)
    if most > REQUESTS_MAX:
        raise RuntimeError(f"{most} requests to one host")
    return seconds
