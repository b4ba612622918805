"""The hosts that the runtimes of a scene ask for a reference, as hosts that can be looked at.

A mirror that stands in a runtime's files alone is on the way of an image as much as one of sampan.toml. What
cannot be looked at as the runtime asks it (a path that is not below ``/v2``, a login of its own) is left out:
the replay of the chain asks it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.doctor.chain.contract import Chain, Entry
from sampan.doctor.chain.entry_hosts import Hosts
from sampan.doctor.chain.plans import chains_of
from sampan.doctor.contract import Scene
from sampan.errors import ConfigError
from sampan.oci.reference import Reference
from sampan.upstream.host import Host

_ROOT = "/v2"


def asked_hosts(scene: Scene) -> dict[Reference, list[Host]]:
    """By reference, in the order of the runtimes and of their files; each once. It reads files."""
    found: dict[Reference, list[Host]] = {reference: [] for reference in scene.references}
    hosts = Hosts(scene.tree)
    for _, reference, chain in chains_of(scene):
        known = found[reference]
        for host in _hosts(chain, hosts):
            if not any(_is_same(host, each) for each in known):
                known.append(host)
    return found


def is_known(host: Host, others: list[Host]) -> bool:
    """Whether one of ``others`` is at the same place."""
    return any(_is_same(host, each) for each in others)


def _is_same(one: Host, other: Host) -> bool:
    return (one.url, one.prefix) == (other.url, other.prefix)


def _hosts(chain: Chain, hosts: Hosts) -> Iterator[Host]:
    for entry in chain.entries:
        prefix = _prefix(chain, entry)
        if prefix is None or entry.login is not None or entry.may_be_http:
            continue
        try:
            yield hosts.looked_at(entry, prefix, chain.proxies)
        except ConfigError:
            continue  # the replay says so


def _prefix(chain: Chain, entry: Entry) -> str | None:
    """What stands before the repository; None: it is asked in a way that no look has."""
    path = entry.path.rstrip("/")
    if path != _ROOT and (not path.startswith(f"{_ROOT}/") or path.endswith(_ROOT)):
        return None
    prefix = path.removeprefix(_ROOT).strip("/")
    if entry.repository is None:
        return prefix
    before = entry.repository.removesuffix(chain.reference.repository)
    return None if before == entry.repository else before.strip("/")
