"""kind, minikube, Talos and cri-dockerd: nothing of theirs is a file of this machine that sampan may edit.

What decides:

* A node of **kind** is a container with containerd, whose hosts.toml files are read at every pull. Images of
  nodes before kind 0.27 read them only when a cluster was made with the patch that is among the documents.
* **minikube** copies ``~/.minikube/files`` into its node at every start, and makes all else anew there. Its
  Docker has mirrors by ``--registry-mirror`` alone, when a cluster is made, and for docker.io.
* **Talos** has no shell and no files to edit: ``talosctl`` takes a patch, and no reboot is needed.
* **cri-dockerd** has no registries of its own: Docker pulls for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sampan.oci.reference import DOCKER_HUB, Reference
from sampan.runtimes.contract import Advice, Finding, Installed, Machine, Plan, Status
from sampan.runtimes.elsewhere.documents import hosts_tomls, talos_patch
from sampan.runtimes.hosts_toml import FILE_NAME
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Hop, Wanted, is_loopback
from sampan.words import sentence

CERTS = "/etc/containerd/certs.d"
KIND_PATCH = f"""\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  - |-
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "{CERTS}"
"""
_KIND_COPY = (
    'for node in $(kind get nodes); do docker exec "$node" mkdir -p {directory}; '
    'docker cp DOCUMENT "$node":{directory}/{file}; done'
)
Advised = tuple[tuple[Advice, ...], tuple[str, ...]]  # and notes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """``programs``: names of what leaves a trace; ``advise``: what a person is to do."""

    name: str
    programs: tuple[str, ...]
    version_question: tuple[str, ...]
    advise: Callable[[Wanted], Advised]

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {"version": self.version_question}

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        places = ("/usr/bin", "/usr/local/bin", "/snap/bin")
        return any(tree.exists(f"{place}/{program}") for place in places for program in self.programs)

    def status(self, tree: Tree, installed: Installed) -> Status:  # noqa: ARG002 - nothing of it is in the tree
        """Where to look instead."""
        message = sentence("its registries are not files of this machine: sampan node plan says what to do")
        return Status(
            self.name, installed.version, findings=(Finding("NOT_OF_THIS_MACHINE", message, "note"),)
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:  # noqa: ARG002 - see above
        """Documents and commands, and no change."""
        advice, notes = self.advise(wanted)
        return Plan(self.name, notes=tuple(dict.fromkeys(notes)), advice=advice)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:  # noqa: ARG002
        """Nothing was changed."""
        return ()

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:  # noqa: ARG002
        """Nothing can be pulled from here."""
        return ()


def _kind(wanted: Wanted) -> Advised:
    documents = hosts_tomls(wanted)
    advice = [
        Advice(
            sentence(
                "for every node of a kind cluster: {certs}/{name}/{file_name}",
                certs=CERTS,
                name=name,
                file_name=FILE_NAME,
            ),
            (_KIND_COPY.format(directory=f"{CERTS}/{name}", file=FILE_NAME),),
            text,
        )
        for name, text in documents.texts.items()
    ]
    if advice:
        title = sentence("for a new cluster whose node image is older than kind 0.27")
        advice.append(Advice(title, ("kind create cluster --config DOCUMENT",), KIND_PATCH))
    return tuple(advice), documents.notes


def _minikube(wanted: Wanted) -> Advised:
    documents = hosts_tomls(wanted)
    files = "~/.minikube/files" + CERTS
    advice = [
        Advice(
            sentence(
                "for a minikube with containerd: {files}/{name}/{file_name}",
                files=files,
                name=name,
                file_name=FILE_NAME,
            ),
            (f"install -D -m 644 DOCUMENT {files}/{name}/{FILE_NAME}", "minikube stop && minikube start"),
            text,
        )
        for name, text in documents.texts.items()
    ]
    route = wanted.route(DOCKER_HUB)
    mirrors = [hop.base for hop in route.mirrors if _is_plain(hop)] if route is not None else []
    if mirrors:
        flags = " ".join(f"--registry-mirror={url}" for url in mirrors)
        title = sentence("for a new minikube with Docker, which has mirrors of docker.io alone")
        advice.append(Advice(title, (f"minikube start --container-runtime=docker {flags}",)))
    reach = sentence(
        "the node reaches this machine as host.minikube.internal: --via http://host.minikube.internal:5050"
    )
    return tuple(advice), (*documents.notes, reach)


def _is_plain(hop: Hop) -> bool:
    """Whether Docker in a node can use it: by its address alone."""
    return not (
        hop.prefix or hop.username or hop.headers or hop.ca or hop.client_cert or is_loopback(hop.netloc)
    )


def _talos(wanted: Wanted) -> Advised:
    documents = talos_patch(wanted)
    command = "talosctl patch machineconfig --nodes NODES --patch @DOCUMENT"
    advice = [
        Advice(sentence("for every node of Talos, without a reboot"), (command,), t)
        for t in documents.texts.values()
    ]
    return tuple(advice), documents.notes


def _cri_dockerd(wanted: Wanted) -> Advised:
    names = ", ".join(route.registry for route in wanted.routes)
    title = sentence("Docker pulls for it: its mirrors of {names} are Docker's", names=names)
    return (Advice(title, ("sampan node plan --runtime docker",)),), ()


ELSEWHERE = (
    Elsewhere("kind", ("kind",), ("kind", "version"), _kind),
    Elsewhere("minikube", ("minikube",), ("minikube", "version", "--short"), _minikube),
    Elsewhere("talos", ("talosctl",), ("talosctl", "version", "--client", "--short"), _talos),
    Elsewhere("cri-dockerd", ("cri-dockerd",), ("cri-dockerd", "--version"), _cri_dockerd),
)
