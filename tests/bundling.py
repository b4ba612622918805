"""``sampan bundle`` as a process, with the machine of :mod:`pulling`; and bundles made in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pulling import Machine
from rig import Rig
from sampan.bundle.create import Outcome, create
from sampan.bundle.inventory import inventory_of, render_inventory
from sampan.bundle.order import Order, Subtracted
from sampan.bundle.packing import Stamp
from sampan.bundle.signature import UNSIGNED
from sampan.bundle.target import Target
from sampan.bundle.transfer import Pours, Supply
from sampan.oci import Digest, Platform, Reference
from sampan.pull.events import Event

AMD64 = Platform("linux", "amd64")
STAMP = Stamp("sampan 0", "2026-01-31T12:00:00Z")


class BundleMachine(Machine):
    """Its commands are ``sampan bundle …``."""

    def command(self, *words: str) -> list[str]:
        if words[0] == "--json":  # of a pull that is started: behind the name of what is done
            words = (words[1], words[0], *words[2:])
        return [sys.executable, "-W", "error", "-m", "sampan", "bundle", *words]

    def bundle(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """To its end, whatever that is."""
        return self.pull(*words, given=given)


@dataclass
class Bundles:
    """Bundles made by one mirror, and every event of it. ``nodes``: runtimes that are asked first."""

    rig: Rig
    events: list[Event] = field(default_factory=list)
    nodes: Sequence[Pours] = ()
    sign: Callable[[Digest], bytes] = lambda _: UNSIGNED

    async def __call__(
        self,
        output: Path | str,
        *references: str,
        platforms: Sequence[Platform] | None = (AMD64,),
        referrers: bool = False,
        without: Sequence[Subtracted] = (),
        volume_bytes: int = 0,
        parity: int = 0,
        keep: bool = False,
    ) -> Outcome:
        order = Order(
            tuple(map(Reference.parse, references)),
            None if platforms is None else tuple(platforms),
            referrers,
            tuple(without),
            volume_bytes,
            parity,
        )
        supply = Supply(self.rig.mirror, self.events.append, keep=keep, nodes=self.nodes)
        target = Target.parse(str(output))
        return await create(supply, target, order, stamp=STAMP, sign=self.sign)


def held(*digests: str | Digest) -> Subtracted:
    """An inventory of these, whatever their sizes."""
    blobs = [(Digest.parse(str(digest)), 1) for digest in digests]
    inventory = inventory_of(blobs, of="the far side", by="a test", at="2026-01-31T12:00:00Z")
    return Subtracted(inventory, Digest.of(render_inventory(inventory)))
