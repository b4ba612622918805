"""podman and skopeo themselves: what sampan writes is in force at once, and gone after the revert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interop.engines import Podman as Engine
from interop.engines import podman
from interop.hosts import host
from interop.images import Library
from interop.processes import CommandFailed
from interop.registries import Web
from interop.sentinel import Sentinel
from interop.serving import Serving, serving
from node_cases import NOW, Listing, listing
from sampan.config import Config
from sampan.config.node import wanted
from sampan.errors import ApplyFailed
from sampan.oci import Reference
from sampan.runtimes.apply import apply
from sampan.runtimes.contract import Change, Finding, Installed
from sampan.runtimes.examine import ask
from sampan.runtimes.journal import Journal
from sampan.runtimes.machine import SystemMachine
from sampan.runtimes.plan import make_plan
from sampan.runtimes.podman import Podman
from sampan.runtimes.revert import revert
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted

ALPINE = Reference.parse("alpine:3")
ACCEPT_ALL = '{"default": [{"type": "insecureAcceptAnything"}]}\n'
DROP_INS = "etc/containers/registries.conf.d"


@dataclass
class Node:
    """podman's own directory as the root of a machine."""

    engine: Engine
    steps: Steps = field(default_factory=lambda: Steps(None))

    def __post_init__(self) -> None:
        self.machine = SystemMachine(self.engine.environ)
        self.runtime = Podman(str(self.engine.home / "bin" / "podman"))
        (self.engine.home / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (self.engine.home / "etc" / "containers" / "policy.json").write_text(ACCEPT_ALL)
        (self.engine.home / DROP_INS).mkdir()

    @property
    def tree(self) -> Tree:
        return Tree(self.engine.home)

    @property
    def installed(self) -> Installed:
        return ask(self.runtime, self.machine)

    def listing(self) -> Listing:
        return listing(self.engine.home / "etc", times=True)

    def apply(self, what: Wanted, image: Reference = ALPINE) -> Snapshot | None:
        """As the command does: what podman has is looked at, and ``image`` pulled."""
        installed = self.installed
        plan, refused = make_plan(self.tree, [(self.runtime, installed)], what)
        assert not refused
        journal = Journal(self.engine.home)

        def verify() -> tuple[Finding, ...]:
            wrong = self.runtime.settle(self.machine, self.tree, installed)
            return wrong or self.runtime.verify(self.machine, installed, image)

        with journal.locked():
            return apply(journal, plan, self.steps, now=NOW, verify=verify)

    def revert(self) -> None:
        journal = Journal(self.engine.home)
        with journal.locked():
            revert(journal, journal.snapshots()[-1][0], self.steps)


@pytest.fixture
def node(complete: None, way_out: Sentinel) -> Iterator[Node]:
    with podman(own_files=True) as engine:
        yield Node(engine)


@pytest.fixture
def sampan(origin: Web, tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path, [origin.url]) as server:
        yield server


def by(server: Serving) -> Wanted:
    """What that server's own configuration says runtimes are to be told."""
    return wanted(Config.load(str(server.home / "sampan.toml"), environ={}))


def test_the_short_name_alpine_is_pulled_through_sampan_after_apply_and_unknown_after_revert(
    node: Node, sampan: Serving
) -> None:
    before = node.listing()
    with pytest.raises(CommandFailed, match=r"short-name .alpine:3. did not resolve"):
        node.engine("pull", "alpine:3")
    assert node.apply(by(sampan)) is not None
    assert node.engine("images", "--quiet") == "", "what was pulled to check is not left behind"
    assert sampan.stored()
    node.engine("pull", "alpine:3")
    assert "docker.io/library/alpine:3" in node.engine("images", "--format", "{{.Repository}}:{{.Tag}}")
    status = node.runtime.status(node.tree, node.installed)
    assert status.in_force[0].hosts[0] == sampan.url
    assert status.findings == ()
    assert node.apply(by(sampan)) is None
    node.revert()
    assert node.listing() == before
    node.engine("rmi", "alpine:3")
    with pytest.raises(CommandFailed, match=r"short-name .alpine:3. did not resolve"):
        node.engine("pull", "alpine:3")


def test_skopeo_reads_the_same_drop_in(node: Node, sampan: Serving, library: Library) -> None:
    node.apply(by(sampan))
    asked = node.engine.skopeo(
        "inspect", "--no-tags", "--format", "{{.Digest}}", "docker://docker.io/library/busybox:docker"
    )
    assert asked.strip() == library.image("library/busybox:docker").digest
    assert library.image("library/busybox:docker").digest in sampan.stored()


def test_skopeo_alone_is_checked_by_what_it_can_inspect(node: Node, sampan: Serving) -> None:
    node.runtime = Podman("/nonexistent/podman")
    assert set(node.installed.answers) == {"skopeo"}
    assert node.apply(by(sampan)) is not None
    missing = Reference.parse("library/nothing:1")
    (finding,) = node.runtime.verify(node.machine, node.installed, missing)
    assert (finding.code, "nothing" in finding.message) == ("PULL_FAILS", True)


def test_a_sampan_that_is_stopped_does_not_cost_the_pull(
    node: Node, library: Library, tmp_path: Path
) -> None:
    with host("mirror", library.image("library/alpine:3")) as (registry, _, _):
        with serving(tmp_path, [registry.url]) as server:
            assert node.apply(by(server)) is not None
        registry.requests.clear()
        node.engine("pull", "alpine:3")
        assert any("/blobs/" in request.path for request in registry.requests)


def test_what_cannot_be_pulled_afterwards_is_undone_with_the_reason(node: Node, sampan: Serving) -> None:
    before = node.listing()
    with pytest.raises(ApplyFailed, match=r"docker.io/library/nothing:1 cannot be pulled"):
        node.apply(by(sampan), Reference.parse("nothing:1"))
    assert node.listing() == before


def test_what_podman_has_otherwise_than_the_files_and_what_it_refuses_is_told(
    node: Node, sampan: Serving
) -> None:
    node.apply(by(sampan))
    later = node.engine.home / DROP_INS / "zz.conf"
    later.write_text('[[registry]]\nprefix = "docker.io"\nlocation = "127.0.0.1:1"\n')
    seen = node.tree.changed([Change(f"/{DROP_INS}/zz.conf", later.read_bytes(), None)])
    (finding,) = node.runtime.settle(node.machine, seen, node.installed)
    assert (finding.code, finding.message) == (
        "MIRRORS_NOT_IN_FORCE",
        "podman has other mirrors for docker.io",
    )
    assert node.runtime.settle(node.machine, node.tree, node.installed) == ()
    later.write_text("[[registry\n")
    (finding,) = node.runtime.settle(node.machine, node.tree, node.installed)
    assert finding.code == "PODMAN_SILENT"
    assert "zz.conf" in finding.message
    codes = [each.code for each in node.runtime.status(node.tree, node.installed).findings]
    assert codes == ["REGISTRIES_CONF_INVALID"]
