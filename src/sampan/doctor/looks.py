"""All hosts of all references, looked at: what checks of the machine conclude from.

Whom sampan.toml names, and whom the runtimes of the machine ask by their own files: both are on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.doctor.aside import aside
from sampan.doctor.chain.hosts import asked_hosts, is_known
from sampan.doctor.contract import HostReport, Scene


async def look_at_all(scene: Scene) -> Sequence[HostReport]:
    """One report a host and reference, whoever else asks for it too."""
    asked = await aside(asked_hosts, scene.visible)
    looks = []
    for reference in scene.references:
        hosts = list(scene.hosts_for(reference.registry))
        hosts += [host for host in asked[reference] if not is_known(host, hosts)]
        looks += [scene.probe.look(host, reference) for host in hosts]
    return await asyncio.gather(*looks)
