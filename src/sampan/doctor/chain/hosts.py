"""The hosts that the runtimes of a scene ask for a reference, as hosts that can be looked at.

A mirror that stands in a runtime's files alone is on the way of an image as much as one of sampan.toml. What
cannot be looked at as the runtime asks it (a path that is not below ``/v2``, a login of its own) is left out:
the replay of the chain asks it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sampan.doctor.chain.contract import Chain, Entry
from sampan.doctor.chain.entry_hosts import Hosts
from sampan.doctor.chain.plans import chains_of
from sampan.doctor.contract import Scene
from sampan.errors import ConfigError
from sampan.oci.reference import Reference
from sampan.upstream.host import Host

_ROOT = "/v2"


@dataclass(frozen=True, slots=True)
class Asked:
    """A host that a runtime asks; ``plain``: the same without TLS, which it tries when the first has none."""

    host: Host
    plain: Host | None = None


def asked_hosts(scene: Scene) -> dict[Reference, list[Asked]]:
    """By reference, in the order of the runtimes and of their files; each once. It reads files."""
    found: dict[Reference, list[Asked]] = {reference: [] for reference in scene.references}
    hosts = Hosts(scene.tree)
    for _, reference, chain in chains_of(scene):
        known = found[reference]
        for asked in _asked(chain, hosts):
            if not is_known(asked.host, [each.host for each in known]):
                known.append(asked)
    return found


def is_known(host: Host, others: Sequence[Host]) -> bool:
    """Whether one of ``others`` is at the same place."""
    return any((host.url, host.prefix) == (other.url, other.prefix) for other in others)


def _asked(chain: Chain, hosts: Hosts) -> Iterator[Asked]:
    for entry in chain.entries:
        prefix = _prefix(chain, entry)
        passed = entry.unusable is not None or (entry.is_origin and chain.blocked is not None)
        if prefix is None or passed or entry.login is not None:
            continue
        plain = entry.by_http() if _may_be_http(chain, entry) else None
        try:
            yield Asked(
                hosts.looked_at(entry, prefix, chain.proxies),
                None if plain is None else hosts.looked_at(plain, prefix, chain.proxies),
            )
        except ConfigError:
            continue  # the replay says so


def _may_be_http(chain: Chain, entry: Entry) -> bool:
    """Whether nobody can say before by which scheme it is asked."""
    either = entry.may_be_http or (chain.family == "containers-image" and entry.insecure)
    return either and entry.scheme == "https"


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
