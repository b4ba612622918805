"""Which chains there are in a scene: one a runtime that we know the procedure of, and a reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sampan.doctor.chain import containerd_walk, docker_walk, podman_walk
from sampan.doctor.chain.containerd_plan import containerd_chain
from sampan.doctor.chain.contract import Chain, Walk
from sampan.doctor.chain.docker_plan import docker_chain
from sampan.doctor.chain.podman_plan import podman_chain
from sampan.doctor.contract import Scene, Seen
from sampan.doctor.daemon_proxies import as_go_reads, proxied_of
from sampan.doctor.daemons import running_of
from sampan.errors import ConfigError
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.tree import Tree
from sampan.upstream.proxies import ProxySettings

CHAINS = {
    "containerd": containerd_chain,
    "docker": docker_chain,
    "podman": podman_chain,
    "crio": podman_chain,
}
_WALKS = {
    "containerd": containerd_walk.walk,
    "docker": docker_walk.walk,
    "containers-image": podman_walk.walk,
}
_RESOLV_CONF = "/etc/resolv.conf"


def chains_of(scene: Scene) -> Iterator[tuple[Seen, Reference, Chain]]:
    """Each runtime with what it does for each reference, which may read it in its own way. It reads files."""
    proxies = _proxies(scene)
    nameserver = nameserver_of(scene.tree)
    runtimes = _there(scene)
    docker = any(seen.runtime.name == "docker" for seen in runtimes)
    for seen in runtimes:
        plan, name = CHAINS.get(seen.runtime.name), seen.runtime.name
        for reference in scene.references if plan is not None else ():
            assert plan is not None
            chain = plan(scene.tree, seen.installed, reference)
            if chain.is_off and docker:
                continue  # Docker's package switches the CRI off, and needs none
            proxied = proxies.get(name, ProxySettings())
            yield seen, reference, replace(chain, runtime=name, proxies=proxied, nameserver=nameserver)


def _there(scene: Scene) -> Sequence[Seen]:
    """Those whose programs answer, where any do: /etc/docker alone is no Docker, and podman reads it too."""
    answering = [seen for seen in scene.runtimes if seen.installed.answers]
    return answering or scene.runtimes


def walk_of(chain: Chain, platform: Platform, *, layers_max: int | None = None) -> Walk:
    """Its procedure."""
    return _WALKS[chain.family](chain, platform, layers_max=layers_max)


def _proxies(scene: Scene) -> dict[str, ProxySettings]:
    """Those of each daemon; what runs without one has those of whoever runs it."""
    found: dict[str, ProxySettings] = {}
    for name in (seen.runtime.name for seen in scene.runtimes):
        daemons = running_of(scene.tree, [name]) if name != "podman" else ()
        try:
            found[name] = (
                proxied_of(scene.tree, daemons[0]).settings if daemons else as_go_reads(scene.environ)
            )
        except ConfigError:
            continue  # the check of proxies says so
    return found


def nameserver_of(tree: Tree) -> str:
    """The first that resolv.conf names; Go asks this machine where there is none."""
    for line in tree.file(_RESOLV_CONF).text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    return "127.0.0.1"
