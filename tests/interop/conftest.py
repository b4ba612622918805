"""What the interop tests stand on: real images, a healthy origin, and fresh runtimes.

A test whose program is not on this machine is skipped with the reason, or fails where ``CI`` is
set. Each test also asserts that no program tried to leave this machine.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from interop import images, peers, processes, registries
from interop.clients import Skopeo
from interop.containerd import VERSIONS, Containerd, containerd
from interop.images import Library
from interop.nodes import Node, node
from interop.registries import Web
from interop.sentinel import Sentinel, sentinel
from lab.network import Network


@pytest.fixture(scope="session")
def way_out() -> Iterator[Sentinel]:
    with sentinel() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(way_out: Sentinel) -> Iterator[None]:
    way_out.asked.clear()
    yield
    assert not way_out.asked, f"a program tried to leave this machine: {way_out.asked}"


@pytest.fixture(scope="session")
def complete() -> None:
    """That every peer is there."""
    absent = peers.missing()
    if absent:
        words = f"not on this machine: {', '.join(absent)} (python tests/interop/peers.py install)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


@pytest.fixture(scope="session")
def library(complete: None) -> Library:
    """All images, as files."""
    return images.library()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interop")


@pytest.fixture(scope="session")
def origin(library: Library, scratch: Path, way_out: Sentinel) -> Iterator[Web]:
    """docker-registry with all images; healthy, plain HTTP, read-only."""
    with registries.docker_registry(scratch, storage=registries.stock(library), read_only=True) as web:
        yield web


@pytest.fixture(scope="session")
def network(complete: None) -> Network:
    """The fakes of the lab, and their authority; each world or recording makes them well again."""
    return Network()


@pytest.fixture(params=VERSIONS)
def runtime(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Containerd]:
    """A containerd with an empty store; the test runs once for each version."""
    with containerd(request.param) as running:
        yield running


@pytest.fixture(scope="module", params=VERSIONS)
def machine(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Node]:
    """A machine of its own for each containerd, which the tests of a module have one after the other."""
    with node(request.param) as running:
        yield running


@pytest.fixture
def skopeo(origin: Web, tmp_path: Path) -> Skopeo:
    """skopeo with the healthy origin as the mirror of docker.io."""
    return Skopeo(tmp_path, [origin.netloc])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(process.name, process.words()) for process in processes.alive]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("real programs")
    for name in (peer.name for peer in peers.UNPACKED):
        try:
            terminalreporter.line(f"{name}: {peers.version(name)}")
        except peers.PeerMissing as error:
            terminalreporter.line(f"{name}: {error}")
