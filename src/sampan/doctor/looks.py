"""All hosts of all references, looked at: what checks of the machine conclude from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.doctor.contract import HostReport, Scene


async def look_at_all(scene: Scene) -> Sequence[HostReport]:
    """One report a host and reference, whoever else asks for it too."""
    looks = [
        scene.probe.look(host, reference)
        for reference in scene.references
        for host in scene.hosts_for(reference.registry)
    ]
    return await asyncio.gather(*looks)
