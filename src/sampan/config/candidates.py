"""Which hosts are tried: those of the configuration, and those of the catalogue beside them.

It decides nothing about what comes of it, and dials nobody.
"""

from __future__ import annotations

from sampan.config.settings import Config
from sampan.doctor.catalogue import Catalogue
from sampan.doctor.hosts.trial import Candidate, distinct
from sampan.errors import RegistryUnknown


def configured(config: Config, registry: str) -> tuple[Candidate, ...]:
    """The hosts of ``registry`` that are configured, in their order."""
    return tuple(Candidate(host, configured=True) for host in config.hosts_for(registry) or ())


def listed(catalogue: Catalogue, registry: str) -> tuple[Candidate, ...]:
    """The mirrors of ``registry`` that anybody can ask, the dead ones last; then its origin, where the
    catalogue knows an image to ask it for."""
    entries = sorted(catalogue.for_registry(registry), key=lambda entry: entry.state == "dead")
    hosts = [(entry, entry.host_for(registry)) for entry in entries if entry.can_be_asked]
    found = distinct(Candidate(host, entry) for entry, host in hosts if host is not None)
    sample = catalogue.samples.get(registry)
    if sample is None:
        return found
    return (*(each for each in found if each.host.name != sample.origin.name), Candidate(sample.origin))


def candidates(
    config: Config, catalogue: Catalogue, registry: str, *, everything: bool
) -> tuple[Candidate, ...]:
    """The configured ones, and with ``everything`` those of the catalogue too, each host once. Raises
    RegistryUnknown when there are none."""
    ours = configured(config, registry)
    found = distinct((*ours, *listed(catalogue, registry)))
    if not everything:
        found = tuple(each for each in found if each.configured)
    if not found:
        raise RegistryUnknown(
            f"no host of {registry} is configured",
            hint=f'add [registry."{registry}"] to sampan.toml, or try those of the catalogue with --all',
        )
    return found
