"""A RegistryClient with short patience, for tests against fakes on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sampan.clock import Clock
from sampan.errors import HostError
from sampan.upstream.budget import Budget
from sampan.upstream.client import RegistryClient
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.dialer import Patience
from sampan.upstream.host import Host
from sampan.upstream.login import Credentials
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.transport import Transport
from standstill import LoopClock

SHORT_SECONDS = 0.1
HASTY = Patience(connect_seconds=SHORT_SECONDS, tls_seconds=SHORT_SECONDS, proxy_seconds=SHORT_SECONDS)
ALPINE = "library/alpine"


@asynccontextmanager
async def client_for(
    *hosts: Host,
    credentials: Credentials | None = None,
    clock: Clock | None = None,
    proxies: ProxySettings | None = None,
    patience: Patience | None = None,
    short_seconds: float = 2.0,
    small_seconds: float = 5.0,
    budget: Budget | None = None,
) -> AsyncIterator[RegistryClient]:
    clock = clock or LoopClock()
    client = RegistryClient(
        Transport(hosts, proxies=proxies, instance_id="me", patience=patience or Patience()),
        credentials=credentials or CredentialFiles((), environment={}, clock=clock),
        clock=clock,
        first_byte_seconds=short_seconds,
        blob_first_byte_seconds=short_seconds,
        read_seconds=short_seconds,
        small_seconds=small_seconds,
        budget=budget,
    )
    try:
        yield client
    finally:
        await client.close()


def said(error: HostError) -> str:
    """``Class outcome``, as the tables of the tests have it."""
    return f"{type(error).__name__} {error.outcome}"
