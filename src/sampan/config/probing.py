"""Who looks at hosts, out of a configuration: with its logins, its proxies and its certificates.

It guarantees, as :mod:`sampan.config.build` does, that nothing is dialled before the first look. It stands
apart from there because a mirror needs none of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.clock import Clock
from sampan.config.build import build_credentials, configured_hosts
from sampan.config.settings import Config
from sampan.doctor.hosts.names import Asker
from sampan.doctor.hosts.probe import HostProbe
from sampan.oci.platform import Platform
from sampan.upstream.client import RegistryClient
from sampan.upstream.dialer import Names, Patience, Resolver
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.transport import Transport

# Whoever looks at forty hosts is not patient with each: one that is silent for so long is called silent.
FIRST_BYTE_SECONDS = 4.0
READ_SECONDS = 4.0
SMALL_SECONDS = 8.0
PATIENCE = Patience(tls_seconds=4.0)
LOOKUPS_MAX = 100  # names at one time: those of dead hosts must not keep the others waiting for a turn


def build_probe(
    config: Config,
    clock: Clock,
    platform: Platform,
    *,
    nameservers: Sequence[Asker] = (),
    names: Names | None = None,
) -> HostProbe:
    """Who looks at hosts, those of ``config`` or any other. ``nameservers`` are asked beside this machine's
    resolver when a host cannot be reached; ``names`` stands in for that resolver. The caller closes it.

    Raises :class:`ConfigError` when a certificate or a proxy of a host cannot be used.
    """
    proxies, names = (
        ProxySettings.from_environment(config.environ),
        names or Resolver(lookups_max=LOOKUPS_MAX),
    )
    client = RegistryClient(
        Transport(configured_hosts(config), proxies=proxies, names=names, patience=PATIENCE),
        credentials=build_credentials(config, clock),
        clock=clock,
        first_byte_seconds=FIRST_BYTE_SECONDS,
        blob_first_byte_seconds=FIRST_BYTE_SECONDS,
        read_seconds=READ_SECONDS,
        small_seconds=SMALL_SECONDS,
    )
    return HostProbe(client, names, clock, platform, proxies=proxies, nameservers=nameservers)
