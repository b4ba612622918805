"""Looks at hosts on loopback, with short patience, and names as a nameserver of the test has them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

from sampan.clock import Clock, SystemClock
from sampan.doctor.contract import HostReport
from sampan.doctor.hosts import HostProbe
from sampan.doctor.hosts.names import Asker
from sampan.oci import Platform, Reference
from sampan.upstream.client import RegistryClient
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.dialer import Names, Patience, Resolver
from sampan.upstream.host import Host
from sampan.upstream.nameserver import Nameserver, NameserverError
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.transport import Transport

ALPINE = Reference.parse("alpine:3")
AMD64 = Platform.parse("linux/amd64")
SHORT_SECONDS = 0.2


class AskedNames:
    """Names as one nameserver has them, in place of this machine's."""

    def __init__(self, server: Nameserver) -> None:
        self._server = server

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[dict[str, str | int]]:
        try:
            found = await self._server.addresses(host)
        except NameserverError as error:
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            {"hostname": host, "host": one, "port": port, "family": of, "proto": 0, "flags": 0}
            for one in found
            if family in (socket.AF_UNSPEC, of := families[ip_address(one).version])
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def looking(
    *hosts: Host,
    names: Names | None = None,
    nameservers: Sequence[Asker] = (),
    clock: Clock | None = None,
    proxies: ProxySettings | None = None,
    look_seconds: float = 12.0,
    short_seconds: float = SHORT_SECONDS,
) -> AsyncIterator[HostProbe]:
    """A probe that waits ``short_seconds`` for whatever keeps it waiting."""
    clock, names = clock or SystemClock(), names or Resolver()
    patience = Patience(short_seconds, short_seconds, short_seconds)
    client = RegistryClient(
        Transport(hosts, names=names, patience=patience, proxies=proxies),
        credentials=CredentialFiles((), environment={}, clock=clock),
        clock=clock,
        first_byte_seconds=short_seconds,
        blob_first_byte_seconds=short_seconds,
        read_seconds=short_seconds,
        small_seconds=1.0,
    )
    probe = HostProbe(
        client, names, clock, AMD64, proxies=proxies, nameservers=nameservers, look_seconds=look_seconds
    )
    try:
        yield probe
    finally:
        await probe.close()


async def look_at(host: Host | str, reference: Reference = ALPINE, **options: object) -> HostReport:
    """What a probe of its own sees of ``host``."""
    host = Host.from_url(host) if isinstance(host, str) else host
    async with looking(host, **options) as probe:  # type: ignore[arg-type] # as it takes them
        return await probe.look(host, reference)


def way(report: HostReport) -> dict[str, str]:
    """The steps of a report and how they went, in their order."""
    return {step.part: step.outcome for step in report.steps}
