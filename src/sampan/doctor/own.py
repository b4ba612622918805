"""sampan's own configuration: whether there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.words import sentence


async def check_configuration(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Without one, the registries themselves are all that is looked at."""
    if scene.config_file is None:
        yield Finding(
            "NOT_CONFIGURED",
            "sampan.toml",
            sentence("there is none: the registries themselves are asked, and no mirror is known"),
            "note",
            hint=sentence("find the mirrors that work from here, and have it written"),
            command=("sampan", "init"),
        )
