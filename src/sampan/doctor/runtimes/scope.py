"""Mirrors that are for one registry, and an image that is of another.

Docker's ``registry-mirrors`` are for Docker Hub alone in its classic image store, whatever their owner says
they have. Where the other registry is reached that is worth a note, and where it is not it is the reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.contract import Finding, Scene, Seen, Unseen
from sampan.doctor.looks import look_at_all
from sampan.oci.reference import DOCKER_HUB
from sampan.runtimes.contract import InForce
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence

DOCKER = "docker"


async def check_scope(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Images that Docker asks for past all of its mirrors."""
    mirrored = [found for seen in scene.runtimes if (found := _of_hub_alone(seen)) is not None]
    others = dict.fromkeys(r.registry for r in scene.references if r.registry != DOCKER_HUB)
    if not mirrored or not others:
        return
    reports = await look_at_all(scene)
    for registry in others:
        origins = [r for r in reports if r.registry == registry and r.host.role == "origin"]
        yield Finding(
            "DOCKER_MIRRORS_HUB_ALONE",
            DOCKER,
            sentence("its mirrors are not asked for images of {registry}", registry=registry),
            "warning" if any(not report.is_good for report in origins) else "note",
            why=sentence("registry-mirrors are for Docker Hub alone: others are asked themselves"),
            hint=sentence(
                "name a mirror in the image itself (sampan rewrite does), pull by sampan pull, or have "
                "Docker use the containerd image store, which has mirrors for every registry since 28"
            ),
            file=mirrored[0].file,
        )


def _of_hub_alone(seen: Seen) -> InForce | None:
    """The mirrors of docker.io, where there are none of anything else."""
    asked = {each.registry: each for each in seen.status.in_force}
    hub = asked.get(DOCKER_HUB)
    if seen.status.runtime != DOCKER or hub is None or len(hub.hosts) < 2 or EVERY_REGISTRY in asked:
        return None
    return hub if len(asked) == 1 else None
