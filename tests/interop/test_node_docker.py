"""Docker Engine itself: what sampan writes is in force after a reload, and gone after the revert."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from interop import peers
from interop.engines import Docker as Engine
from interop.engines import docker
from interop.hosts import host
from interop.images import Library
from interop.sentinel import Sentinel
from node_cases import NOW, Listing, listing
from sampan.errors import ApplyFailed
from sampan.oci import Reference
from sampan.runtimes.apply import apply
from sampan.runtimes.contract import Finding, Installed, Version
from sampan.runtimes.docker import Docker
from sampan.runtimes.examine import ask
from sampan.runtimes.journal import Journal
from sampan.runtimes.machine import SystemMachine
from sampan.runtimes.plan import make_plan
from sampan.runtimes.revert import revert
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Hop, Route, Wanted
from sampan.testing import FakeRegistry

ALPINE = Reference.parse("alpine:3")
HUB = "docker.io"
ENGINES = ["docker-20", "docker-28"]


@dataclass
class Node:
    """The engine's own directory as the root of a machine, on which docker is reloaded by a signal."""

    engine: Engine

    def __post_init__(self) -> None:
        client = peers.program("docker-20").parents[1] / "bin"  # 28's is in a package of its own
        path = f"{client}:{self.engine.environ['PATH']}"
        self.machine = SystemMachine(self.engine.environ | {"PATH": path})
        self.runtime = Docker(f"unix://{self.engine.socket}", patience_seconds=2)
        self.version = Version.find(peers.version(self.engine.name.split()[0]))
        pid = (self.engine.home / "pid").read_text().strip()
        self.steps = Steps(
            self.machine, {"docker": f"kill -HUP {pid}"}, has_systemd=False, settle=self.settle
        )

    @property
    def installed(self) -> Installed:
        return ask(self.runtime, self.machine, self.version)

    @property
    def mirrors(self) -> list[str]:
        found: list[str] = self.engine.get("/info")["RegistryConfig"]["Mirrors"] or []
        return found

    def settle(self, name: str) -> Sequence[Finding]:
        assert name == "docker"
        return self.runtime.settle(self.machine, Tree(self.engine.home), self.installed)

    def listing(self) -> Listing:
        return listing(self.engine.home / "etc", times=True)

    def apply(self, *urls: str, image: Reference | None = None) -> Snapshot | None:
        wanted = Wanted((Route(HUB, (*map(Hop, urls), Hop("https://registry-1.docker.io", origin=True))),))
        installed = self.installed
        plan, refused = make_plan(Tree(self.engine.home), [(self.runtime, installed)], wanted)
        assert not refused
        journal = Journal(self.engine.home)

        def verify() -> tuple[Finding, ...]:
            return () if image is None else self.runtime.verify(self.machine, installed, image)

        with journal.locked():
            return apply(journal, plan, self.steps, now=NOW, verify=verify)

    def revert(self) -> None:
        journal = Journal(self.engine.home)
        with journal.locked():
            revert(journal, journal.snapshots()[-1][0], self.steps)


@pytest.fixture(params=ENGINES)
def node(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Node]:
    with docker(request.param) as engine:
        yield Node(engine)


@pytest.fixture
def mirror(library: Library) -> Iterator[FakeRegistry]:
    with host("mirror", library.image("library/alpine:3")) as (registry, _, _):
        yield registry


def test_mirrors_are_in_force_after_apply_pull_through_them_and_are_gone_after_revert(
    node: Node, mirror: FakeRegistry
) -> None:
    before = node.listing()
    assert node.mirrors == []
    assert node.apply(mirror.url, image=ALPINE) is not None
    assert node.mirrors == [f"{mirror.url}/"]
    assert any("/blobs/" in request.path for request in mirror.requests)
    assert node.engine.tags() == set(), "what was pulled to check is not left behind"
    status = node.runtime.status(Tree(node.engine.home), node.installed)
    assert status.running
    assert status.in_force[0].hosts == (mirror.url, "https://registry-1.docker.io")
    assert status.findings == ()
    assert node.apply(mirror.url) is None
    node.revert()
    assert node.mirrors == []
    assert node.listing() == before


def test_a_reload_that_was_forgotten_and_one_that_did_not_forget_are_told(
    node: Node, mirror: FakeRegistry
) -> None:
    daemon_json = node.engine.home / "etc/docker/daemon.json"
    before = daemon_json.read_text()
    node.apply(mirror.url)
    daemon_json.write_text(before)
    daemon_json.write_text(before.replace("{", '{"labels": ["taken=over"], ', 1))
    node.machine.run(shlex.split(node.steps.commands["docker"]))
    for _ in range(200):
        if "taken=over" in node.engine.get("/info")["Labels"]:
            break
        node.machine.wait(0.05)
    assert node.mirrors == [f"{mirror.url}/"], "the trap that a revert must know"
    (finding,) = node.runtime.status(Tree(node.engine.home), node.installed).findings
    assert finding.code == "MIRRORS_NOT_IN_FORCE"


def test_what_cannot_be_pulled_afterwards_is_undone_with_the_reason(node: Node, mirror: FakeRegistry) -> None:
    before = node.listing()
    missing = Reference.parse("127.0.0.1:1/nothing/there:1")
    with pytest.raises(ApplyFailed, match=r"docker pull 127.0.0.1:1/nothing/there:1 fails: .*refused"):
        node.apply(mirror.url, image=missing)
    assert node.listing() == before
    assert node.mirrors == []


def test_a_mirror_that_this_docker_refuses_is_undone_with_the_reason(node: Node) -> None:
    before = node.listing()
    with pytest.raises(ApplyFailed, match="the running daemon has other mirrors: none, 2 s after"):
        node.apply("https://mirror.example?query")
    assert node.listing() == before
    assert node.mirrors == []


@pytest.fixture
def containerd_store(complete: None, way_out: Sentinel) -> Iterator[Node]:
    with docker("docker-28 containerd store", own_files=True) as engine:
        yield Node(engine)


def test_the_containerd_store_reads_hosts_toml_at_the_next_pull_without_a_reload(
    containerd_store: Node, mirror: FakeRegistry
) -> None:
    node = containerd_store
    before = node.listing()
    assert node.apply(mirror.url, image=ALPINE) is not None
    (file,) = set(node.listing()) - set(before) - {"docker/certs.d", "docker/certs.d/docker.io"}
    assert file == "docker/certs.d/docker.io/hosts.toml"
    assert any("/blobs/" in request.path for request in mirror.requests)
    assert node.mirrors == [], "registry-mirrors has nothing to do with it"
    status = node.runtime.status(Tree(node.engine.home), node.installed)
    assert status.mode == "containerd image store"
    assert status.in_force[0].hosts == (mirror.url, "https://registry-1.docker.io")
    assert status.findings == ()
    assert node.apply(mirror.url) is None
    node.revert()
    assert node.listing() == before
    mirror.requests.clear()
    closed = Wanted((Route(HUB, (Hop("http://127.0.0.1:1"), Hop("http://127.0.0.1:2", origin=True))),))
    plan, _ = make_plan(Tree(node.engine.home), [(node.runtime, node.installed)], closed)
    journal = Journal(node.engine.home)
    with (
        journal.locked(),
        pytest.raises(ApplyFailed, match=r"docker pull docker.io/library/alpine:3 fails: .*refused"),
    ):
        apply(
            journal,
            plan,
            node.steps,
            now=NOW,
            verify=lambda: node.runtime.verify(node.machine, node.installed, ALPINE),
        )
    assert node.listing() == before
    assert mirror.requests == []


def test_registry_mirrors_of_the_containerd_store_are_told_as_overridden_by_hosts_toml(
    containerd_store: Node, mirror: FakeRegistry
) -> None:
    node = containerd_store
    daemon_json = node.engine.home / "etc/docker/daemon.json"
    daemon_json.write_text(
        daemon_json.read_text().replace("{", '{"registry-mirrors": ["http://127.0.0.1:1"], ', 1)
    )
    node.machine.run(shlex.split(node.steps.commands["docker"]))
    for _ in range(200):
        if node.mirrors:
            break
        node.machine.wait(0.05)
    assert node.mirrors == ["http://127.0.0.1:1/"]
    assert node.apply(mirror.url, image=ALPINE) is not None
    assert any("/blobs/" in request.path for request in mirror.requests)
    (finding,) = node.runtime.status(Tree(node.engine.home), node.installed).findings
    assert finding.code == "MIRRORS_OVERRIDDEN"
