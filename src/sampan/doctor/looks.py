"""All hosts of all references, looked at: what checks of the machine conclude from.

Whom sampan.toml names, and whom the runtimes of the machine ask by their own files: both are on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.doctor.aside import aside
from sampan.doctor.chain.failures import PLAIN_HTTP, Met, in_go
from sampan.doctor.chain.hosts import Asked, asked_hosts, is_known
from sampan.doctor.contract import HostReport, Scene
from sampan.oci.reference import Reference


async def look_at_all(scene: Scene) -> Sequence[HostReport]:
    """One report a host and reference, whoever else asks for it too."""
    asked = await aside(asked_hosts, scene.visible)
    looks = []
    for reference in scene.references:
        hosts = list(scene.hosts_for(reference.registry))
        looks += [scene.probe.look(host, reference) for host in hosts]
        looks += [
            _look(scene, each, reference) for each in asked[reference] if not is_known(each.host, hosts)
        ]
    return await asyncio.gather(*looks)


async def _look(scene: Scene, asked: Asked, reference: Reference) -> HostReport:
    """As its runtime would connect: without TLS where it turns out to have none, and that is allowed."""
    report = await scene.probe.look(asked.host, reference)
    error = report.error
    if asked.plain is None or error is None or in_go(error, Met(asked.host.base)) != PLAIN_HTTP:
        return report
    return await scene.probe.look(asked.plain, reference)
