"""What a mirror says of its own sources: whether it had something in its store, or from which host.

Only a mirror of ours says so (``X-Sampan-Source``, ``Warning``); of all others nothing is known here. Like
everything that a host says of itself it is for people to read, and decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.errors import printable
from sampan.oci.distribution import MIRROR_SOURCE

if TYPE_CHECKING:
    from sampan.oci.digest import Digest
    from sampan.upstream.host import Host
    from sampan.upstream.response import Response

REMEMBERED_MAX = 10_000  # a pull asks for a few dozen things; a mirror runs for months
SOURCE_CHARACTERS_MAX = 255  # a host's name
STALE = "110"  # the warn-code of RFC 7234, section 5.5.1


@dataclass(frozen=True, slots=True)
class Told:
    """``source``: ``store`` or a host's name; ``stale``: nobody could confirm the tag to that mirror."""

    source: str
    stale: bool = False


class Behind:
    """The last that was told of each digest, by the name of the host that told it."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, Digest], Told] = OrderedDict()

    def note(self, host: Host, digest: Digest, response: Response) -> None:
        """``response`` is the answer of ``host`` when it was asked for ``digest``, or said that it is it."""
        source = response.header(MIRROR_SOURCE)
        if not source:
            return
        stale = (response.header("Warning") or "").startswith(STALE)
        self._told[host.name, digest] = Told(printable(source, characters_max=SOURCE_CHARACTERS_MAX), stale)
        self._told.move_to_end((host.name, digest))
        if len(self._told) > REMEMBERED_MAX:
            self._told.popitem(last=False)

    def of(self, host_name: str, digest: Digest) -> Told | None:
        """What the host of that name said of ``digest``; None: nothing, or it was not asked."""
        return self._told.get((host_name, digest))
