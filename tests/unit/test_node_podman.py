"""containers/image: what no golden tree shows. Certificates, a file that two runtimes share, questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.oci import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.crio import Crio
from sampan.runtimes.plan import make_plan
from sampan.runtimes.podman import Podman
from sampan.runtimes.podman.files import read_in_use
from sampan.runtimes.podman.planning import DROP_IN
from sampan.runtimes.podman.status import in_force
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Hop, Route, Wanted
from sampan.secret import Secret
from scripted import Scripted

ORIGIN = Hop("https://registry-1.docker.io", origin=True)
ALPINE = Reference.parse("alpine:3")
ACTIVE = Installed(Version(1, 30), {"version": "crio version 1.30.0", "active": "active"})


def wanted(*hops: Hop) -> Wanted:
    return Wanted((Route("docker.io", (*hops, ORIGIN)),))


def test_certificates_lie_where_these_programs_look_by_the_mirrors_host_and_port(tmp_path: Path) -> None:
    own = Hop("https://a.example:5000", ca="CA", client_cert="CERT", client_key=Secret("KEY"))
    both = Hop("https://b.example", client_cert="CERT AND KEY")
    plan = Podman().plan(Tree(tmp_path), Installed(), wanted(own, both))
    found = {change.path: (change.after, change.mode, change.secret) for change in plan.changes}
    directory = "/etc/containers/certs.d"
    assert found.pop(DROP_IN)[1:] == (0o644, False)
    assert found == {
        f"{directory}/a.example:5000/sampan.crt": (b"CA", 0o644, False),
        f"{directory}/a.example:5000/sampan.cert": (b"CERT", 0o644, False),
        f"{directory}/a.example:5000/sampan.key": (b"KEY", 0o600, True),
        f"{directory}/b.example/sampan.cert": (b"CERT AND KEY", 0o600, True),
        f"{directory}/b.example/sampan.key": (b"CERT AND KEY", 0o600, True),
    }


def test_two_runtimes_that_share_a_file_both_have_their_steps(tmp_path: Path) -> None:
    podman = Installed(Version(5), {"version": "podman version 5.0.0", "active": "active"})
    plan, _ = make_plan(
        Tree(tmp_path), [(Podman(), podman), (Crio(), ACTIVE)], wanted(Hop("https://m.example"))
    )
    assert [change.path for change in plan.changes] == [DROP_IN]
    assert [run.step.command for run in plan.steps] == [
        ("systemctl", "try-restart", "podman.service"),
        ("systemctl", "reload", "crio.service"),
    ]
    assert [each.runtime for each in plan.plans if each.changes] == ["podman", "crio"]
    again, _ = make_plan(
        Tree(tmp_path).changed(plan.changes),
        [(Podman(), podman), (Crio(), ACTIVE)],
        wanted(Hop("https://m.example")),
    )
    assert (again.changes, again.steps) == ((), ())


def test_one_that_does_not_run_is_not_reloaded(tmp_path: Path) -> None:
    stopped = Installed(Version(1, 30), {"version": "crio version 1.30.0"})
    (step,) = Crio().plan(Tree(tmp_path), stopped, wanted(Hop("https://m.example"))).steps
    assert (step.kind, step.command) == ("none", ())
    assert Crio().verify(Scripted(), stopped, ALPINE) == ()
    assert Crio().settle(Scripted(), Tree(tmp_path), stopped) == ()


def test_crio_is_checked_by_a_pull_that_leaves_nothing_behind() -> None:
    machine = Scripted({"inspecti": 1})
    assert Crio().verify(machine, ACTIVE, ALPINE) == ()
    assert [command[3] for command in machine.ran] == ["inspecti", "pull", "rmi"]
    machine = Scripted()
    assert Crio().verify(machine, ACTIVE, ALPINE) == ()
    assert [command[3] for command in machine.ran] == ["inspecti", "pull"], "it was there before"
    (finding,) = Crio().verify(Scripted({"pull": 1}), ACTIVE, ALPINE)
    assert (finding.code, finding.message) == ("PULL_FAILS", f"crictl pull {ALPINE} fails: so it is")


def test_crio_that_ends_at_the_reload_or_refuses_its_files_is_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert Crio().settle(Scripted(), tree, ACTIVE) == ()
    (finding,) = Crio().settle(Scripted({"is-active": 3}), tree, ACTIVE)
    assert finding.code == "CRIO_SILENT"
    (tmp_path / "etc/containers").mkdir(parents=True)
    (tmp_path / "etc/containers/registries.conf").write_text("[[registry\n")
    (finding,) = Crio().settle(Scripted(), tree, ACTIVE)
    assert finding.code == "REGISTRIES_CONF_INVALID"


def test_podman_that_is_not_there_is_not_asked(tmp_path: Path) -> None:
    machine = Scripted(output=json.dumps({"registries": {}}))
    assert Podman().settle(machine, Tree(tmp_path), Installed()) == ()
    assert Podman().verify(machine, Installed(), ALPINE) == ()
    assert machine.ran == []


@pytest.mark.parametrize("merged", [False, True])
@given(
    text=st.sampled_from(
        ["registries = { search = 1 }", "registry = [1]", "unqualified-search-registries = 1"]
    )
    | st.text(alphabet='[]registry."=\n docker.io/mirrolctn#12', max_size=200),
    data=st.binary(max_size=60),
)
def test_any_file_is_read_or_told_and_never_raises(
    merged: bool, text: str, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    (path / "etc/containers/registries.conf.d").mkdir(parents=True, exist_ok=True)
    (path / "etc/containers/registries.conf").write_bytes(text.encode())
    (path / "etc/containers/registries.conf.d/a.conf").write_bytes(data)
    for runtime in (Podman(), Crio()):
        assert runtime.status(Tree(path), Installed()).runtime == runtime.name
    assert len(read_in_use(Tree(path), "/root", merged=merged).read) == 2


def test_the_mirrors_of_a_blocked_registry_are_asked_and_it_is_not(tmp_path: Path) -> None:
    mine = tmp_path / "etc/containers/registries.conf"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        '[[registry]]\nlocation = "quay.io"\nblocked = true\n[[registry.mirror]]\nlocation = "a.lan/quay"\n'
    )
    (quay,) = in_force(read_in_use(Tree(tmp_path), "/root", merged=False))
    assert (quay.registry, quay.hosts) == ("quay.io", ("https://a.lan/quay",))
