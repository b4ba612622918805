"""Looks at hosts: what each of them does for an image, in at most eight requests and twelve seconds.

Guarantees that a look is made once, however many ask for it, and that it ends in a report whatever the host
does. What is asked in which order is :mod:`sampan.doctor.hosts.look`'s to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.clock import Clock
from sampan.doctor.contract import HostReport
from sampan.doctor.hosts.look import REQUESTS_MAX, Look
from sampan.doctor.hosts.names import Asker, ask_all
from sampan.doctor.hosts.notes import Notes
from sampan.errors import SampanError, TimedOut, Unreachable
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.upstream.client import RegistryClient
from sampan.upstream.dialer import Names
from sampan.upstream.host import Host
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.trail import TRAIL, Trail

LOOK_SECONDS = 12.0  # one host, all of it

Key = tuple[Host, str, str, str]


class HostProbe:
    """The :class:`~sampan.doctor.contract.Probe` on the network. Lives on one event loop; :meth:`close` ends
    what is under way, and the client.

    ``names``: what ``client`` makes addresses of names with. ``nameservers``: who else is asked for them
    when a host cannot be reached. ``platform``: whose image is asked for.
    """

    def __init__(
        self,
        client: RegistryClient,
        names: Names,
        clock: Clock,
        platform: Platform,
        *,
        proxies: ProxySettings | None = None,
        nameservers: Sequence[Asker] = (),
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._client = client
        self._names = names
        self._clock = clock
        self._platform = platform
        self._proxies = proxies or ProxySettings()
        self._nameservers = tuple(nameservers)
        self._look_seconds = look_seconds
        self._looks: dict[Key, asyncio.Task[HostReport]] = {}

    async def look(self, host: Host, reference: Reference) -> HostReport:
        """What ``host`` does for ``reference``. Raises nothing but what cancels it."""
        key = (host, reference.registry, reference.repository, reference.object)
        task = self._looks.get(key)
        if task is None:
            task = self._looks[key] = asyncio.create_task(self._look(host, reference))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Nobody looks any more."""
        for task in self._looks.values():
            task.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)
        await self._client.close()

    async def _look(self, host: Host, reference: Reference) -> HostReport:
        proxied = bool(host.proxy) or self._proxies.proxy_for(host.base) is not None
        notes = Notes(host, reference, Trail(host.base, REQUESTS_MAX), self._clock)
        TRAIL.set(notes.trail)  # of this look's own task
        try:
            async with asyncio.timeout(self._look_seconds):
                await Look(notes, self._client, self._platform, None if proxied else self._names).run()
                if notes.is_in_doubt and not proxied:
                    notes.answers += await ask_all(self._nameservers, host.base.host)
        except TimeoutError:
            seconds = f"{self._look_seconds:g}"
            notes.fail(
                notes.part, TimedOut(f"{host.name}: not done after {seconds} s in all", outcome="slow")
            )
        except SampanError as error:  # a certificate of the host's settings
            notes.fail(notes.part, Unreachable(f"{host.name}: {error.message}", outcome="tls"))
        return notes.report()
