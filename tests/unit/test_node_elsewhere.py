"""What is not this machine's to edit: the documents and commands, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.oci import Reference
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Installed, Plan
from sampan.runtimes.elsewhere import ELSEWHERE
from sampan.runtimes.microk8s import CERTS, MicroK8s
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Gateway, Hop, Route, Wanted
from sampan.runtimes.yaml_text import parse
from sampan.secret import Secret
from scripted import Scripted

HUB = Hop("https://registry-1.docker.io", origin=True)
SAMPAN = Hop("http://10.0.0.9:5050", gateway=Gateway())
ALPINE = Reference.parse("alpine:3")
HOSTS_TOML = """\
# Written by sampan node; sampan node revert removes it.
server = "https://registry-1.docker.io"

[host."http://10.0.0.9:5050"]
capabilities = ["pull", "resolve"]

[host."https://m.example/v2/docker.io"]
capabilities = ["pull", "resolve"]
override_path = true
"""


def plan(name: str, *routes: Route) -> Plan:
    found = RUNTIMES[name].plan(Tree(Path("/nonexistent")), Installed(), Wanted(routes))
    assert found.changes == ()
    assert found.steps == ()
    return found


def hub(*hops: Hop) -> Route:
    return Route("docker.io", (*hops, HUB))


def test_kind_gets_a_hosts_toml_for_every_node_and_a_patch_for_old_ones() -> None:
    first, second = plan("kind", hub(SAMPAN, Hop("https://m.example", "docker.io"))).advice
    assert first.document == HOSTS_TOML
    (command,) = first.commands
    assert command == (
        'for node in $(kind get nodes); do docker exec "$node" mkdir -p /etc/containerd/certs.d/docker.io; '
        'docker cp DOCUMENT "$node":/etc/containerd/certs.d/docker.io/hosts.toml; done'
    )
    patch = parse((second.document or "").encode()).table
    assert patch["kind"] == "Cluster"
    assert 'config_path = "/etc/containerd/certs.d"' in patch["containerdConfigPatches"][0]


def test_minikube_gets_files_that_it_copies_and_a_flag_for_docker() -> None:
    found = plan("minikube", hub(SAMPAN, Hop("https://m.example", "docker.io"), Hop("https://n.example")))
    first, second = found.advice
    assert first.commands[0].endswith("~/.minikube/files/etc/containerd/certs.d/docker.io/hosts.toml")
    (command,) = second.commands
    flags = "--registry-mirror=http://10.0.0.9:5050 --registry-mirror=https://n.example"
    assert command == f"minikube start --container-runtime=docker {flags}"
    assert "host.minikube.internal" in found.notes[-1]


def test_talos_gets_a_patch_and_paths_are_written_out_for_all_endpoints_or_for_none() -> None:
    every = Route("*", (Hop("https://all.example"), Hop("https://m.example", "{registry}")))
    ghcr = Route("ghcr.io", (SAMPAN, Hop("https://10.0.0.8", insecure=True)))
    found = plan("talos", hub(SAMPAN, Hop("https://m.example", "docker.io")), ghcr, every)
    (advice,) = found.advice
    assert advice.document == (
        "machine:\n"
        "  registries:\n"
        "    mirrors:\n"
        "      docker.io:\n"
        "        endpoints:\n"
        "          - http://10.0.0.9:5050/v2\n"
        "          - https://m.example/v2/docker.io\n"
        "        overridePath: true\n"
        "      ghcr.io:\n"
        "        endpoints:\n"
        "          - http://10.0.0.9:5050\n"
        "          - https://10.0.0.8\n"
        "        skipFallback: true\n"
        "      '*':\n"
        "        endpoints:\n"
        "          - https://all.example\n"
        "    config:\n"
        "      10.0.0.8:\n"
        "        tls:\n"
        "          insecureSkipVerify: true\n"
    )
    assert advice.commands == ("talosctl patch machineconfig --nodes NODES --patch @DOCUMENT",)
    assert found.notes == ("*: https://m.example/{registry} is left out: Talos cannot say it as it is meant",)


def test_cri_dockerd_is_dockers_matter() -> None:
    (advice,) = plan("cri-dockerd", hub(SAMPAN)).advice
    assert advice.commands == ("sampan node plan --runtime docker",)


@pytest.mark.parametrize("name", ["kind", "minikube", "talos"])
def test_no_document_holds_a_secret_or_the_loopback_of_this_machine(name: str) -> None:
    secret = Hop("https://a.example", username="robot", password=Secret("hunter2"))
    header = Hop("https://b.example", headers={"X": "hunter2"})
    certified = Hop("https://c.example", ca="CA")
    local = Hop("http://127.0.0.1:5050")
    found = plan(name, hub(secret, header, certified, local))
    assert [advice.document for advice in found.advice] == []
    reasons = " ".join(found.notes)
    assert "hunter2" not in reasons
    assert [word in reasons for word in ("wants a secret", "certificates on each node", "loopback")] == [
        True
    ] * 3


@pytest.mark.parametrize("runtime", ELSEWHERE, ids=lambda runtime: runtime.name)
def test_nothing_is_run_for_what_is_elsewhere(runtime: object, tmp_path: Path) -> None:
    assert runtime in ELSEWHERE
    each = next(known for known in ELSEWHERE if known is runtime)
    assert each.settle(Scripted(), Tree(tmp_path), Installed()) == ()
    assert each.verify(Scripted(), Installed(), ALPINE) == ()
    assert not each.detect(Tree(tmp_path))


def test_microk8s_pulls_with_its_own_files_and_leaves_nothing_behind(tmp_path: Path) -> None:
    running = Installed(None, {"version": "MicroK8s v1.30.4 revision 7167", "active": "active"})
    machine, name = Scripted(), str(ALPINE)
    assert MicroK8s().verify(machine, running, ALPINE) == ()
    assert [command[3] for command in machine.ran] == ["ls", "pull", "rm"]
    assert machine.ran[1] == ("microk8s", "ctr", "images", "pull", "--hosts-dir", CERTS, name)
    machine = Scripted(output=f"{name}\n")
    assert MicroK8s().verify(machine, running, ALPINE) == ()
    assert [command[3] for command in machine.ran] == ["ls", "pull"]
    (finding,) = MicroK8s().verify(Scripted({"pull": 1}), running, ALPINE)
    assert finding.code == "PULL_FAILS"
    (finding,) = MicroK8s().settle(Scripted({"is-active": 3}), Tree(tmp_path), running)
    assert finding.code == "MICROK8S_SILENT"
    assert MicroK8s().settle(Scripted(), Tree(tmp_path), running) == ()
    assert MicroK8s().settle(Scripted(), Tree(tmp_path), Installed()) == ()
