"""Which hosts are tried: those of the configuration, and those of the catalogue beside them.

It decides nothing about what comes of it, and dials nobody.
"""

from __future__ import annotations

from sampan.config.settings import Config
from sampan.doctor.catalogue import Catalogue
from sampan.doctor.hosts.trial import Candidate, distinct
from sampan.errors import RegistryUnknown
from sampan.oci.reference import Reference


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
    config: Config, catalogue: Catalogue, reference: Reference, *, everything: bool
) -> tuple[Candidate, ...]:
    """Those that may be asked for ``reference``: the configured ones, and with ``everything`` those of the
    catalogue too, each host once. Raises RegistryUnknown when there are none."""
    registry = reference.registry
    found = distinct((*configured(config, registry), *listed(catalogue, registry)))
    wanted = [each for each in found if everything or each.configured]
    asked = tuple(each for each in wanted if each.host.repository_for(reference.repository) is not None)
    if wanted and not asked:
        hint = "allow and repositories of its mirrors name others: widen them, or try more hosts with --all"
        raise RegistryUnknown(f"no host may be asked for {reference.name}", hint=hint)
    if not asked:
        raise RegistryUnknown(
            f"no host of {registry} is configured",
            hint=f'add [registry."{registry}"] to sampan.toml, or try those of the catalogue with --all',
        )
    return asked
