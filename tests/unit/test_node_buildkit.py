"""BuildKit: what no golden tree shows. Certificates, what a person is told, restarts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sampan.oci import Reference
from sampan.runtimes.buildkit import BuildKit
from sampan.runtimes.contract import Installed
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Hop, Route, Wanted, is_loopback
from sampan.secret import Secret
from scripted import Scripted

ORIGIN = Hop("https://registry-1.docker.io", origin=True)
RUNNING = Installed(None, {"version": "buildkitd v0.20.0", "active": "active"})
ALPINE = Reference.parse("alpine:3")
CERTIFIED = Hop("https://a.example:5000", ca="CA", client_cert="CERT", client_key=Secret("KEY"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/buildkit").mkdir(parents=True)
    return tmp_path


def wanted(*hops: Hop) -> Wanted:
    return Wanted((Route("docker.io", (*hops, ORIGIN)),))


def test_certificates_are_named_in_the_mirrors_own_table(root: Path) -> None:
    plan = BuildKit().plan(
        Tree(root), Installed(), wanted(CERTIFIED, Hop("https://b.example", client_cert="BOTH"))
    )
    found = {change.path: (change.after, change.mode, change.secret) for change in plan.changes}
    text, mode, _ = found.pop("/etc/buildkit/buildkitd.toml")
    directory = "/etc/buildkit/sampan"
    assert tomllib.loads((text or b"").decode())["registry"] == {
        "docker.io": {"mirrors": ["a.example:5000", "b.example"]},
        "a.example:5000": {
            "ca": [f"{directory}/a.example_5000.ca.pem"],
            "keypair": [
                {"key": f"{directory}/a.example_5000.key.pem", "cert": f"{directory}/a.example_5000.cert.pem"}
            ],
        },
        "b.example": {
            "keypair": [{"key": f"{directory}/b.example.cert.pem", "cert": f"{directory}/b.example.cert.pem"}]
        },
    }
    assert mode == 0o644
    assert found == {
        f"{directory}/a.example_5000.ca.pem": (b"CA", 0o644, False),
        f"{directory}/a.example_5000.cert.pem": (b"CERT", 0o644, False),
        f"{directory}/a.example_5000.key.pem": (b"KEY", 0o600, True),
        f"{directory}/b.example.cert.pem": (b"BOTH", 0o600, True),
    }
    changed = Tree(root).changed(plan.changes)
    assert (
        BuildKit()
        .plan(changed, Installed(), wanted(CERTIFIED, Hop("https://b.example", client_cert="BOTH")))
        .changes
        == ()
    )


def test_people_are_told_a_document_that_needs_no_file_beside_it(root: Path) -> None:
    (root / "etc/passwd").write_text(
        "alice:x:1000:1000::/home/alice:/bin/sh\ncarol:x:1001:1001::/home/carol:/bin/sh\n"
    )
    (root / "home/alice/.docker/buildx").mkdir(parents=True)
    (advice,) = (
        BuildKit().plan(Tree(root), Installed(), wanted(CERTIFIED, Hop("http://10.0.0.5:5050"))).advice
    )
    assert advice.title.startswith("alice: the document is for ~/.docker/buildx/buildkitd.default.toml")
    assert advice.commands == ("install -D -m 644 DOCUMENT ~/.docker/buildx/buildkitd.default.toml",)
    assert tomllib.loads(advice.document or "")["registry"] == {
        "docker.io": {"mirrors": ["10.0.0.5:5050"]},
        "10.0.0.5:5050": {"http": True},
    }
    assert not any(
        change.path.startswith("/home")
        for change in BuildKit().plan(Tree(root), Installed(), wanted()).changes
    )


def test_a_daemon_that_runs_is_restarted_and_one_that_does_not_is_not(root: Path) -> None:
    want = wanted(Hop("https://m.example"))
    steps = [
        BuildKit().plan(Tree(root), installed, want).steps
        for installed in (RUNNING, Installed(None, {"version": "buildkitd v0.20.0"}), Installed())
    ]
    assert [step.command for (step,) in steps] == [
        ("systemctl", "restart", "buildkit.service"),
        (),
        ("systemctl", "restart", "buildkit.service"),
    ]


def test_a_daemon_that_is_gone_after_the_restart_or_says_nothing_is_told(root: Path) -> None:
    assert BuildKit().settle(Scripted(), Tree(root), RUNNING) == ()
    (finding,) = BuildKit().settle(Scripted({"is-active": 3}), Tree(root), RUNNING)
    assert finding.code == "BUILDKIT_SILENT"
    assert BuildKit().settle(Scripted({"is-active": 3}), Tree(root), Installed()) == ()
    assert BuildKit().verify(Scripted(), RUNNING, ALPINE) == ()
    (finding,) = BuildKit().verify(Scripted({"buildctl": 1}), RUNNING, ALPINE)
    assert finding.message == f"no build could pull {ALPINE}: buildctl says so it is"
    assert BuildKit().verify(Scripted({"buildctl": 1}), Installed(), ALPINE) == ()


@pytest.mark.parametrize("host", ["127.0.0.1:5050", "127.9.9.9", "localhost:1/x", "[::1]:5", "localhost"])
def test_loopback_is_seen_in_every_spelling(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("10.0.0.1:5050/docker.io")
    assert not is_loopback("m.example")
