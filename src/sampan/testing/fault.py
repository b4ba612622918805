"""A fault: it turns the right answer into the wrong one and does nothing else.

Which requests meet it is its ``on``, which a script may narrow. The faults themselves are in
:mod:`sampan.testing.faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sampan.testing.match import Match
from sampan.testing.wire import Reply, Request

Change = Callable[[Request, Reply], Reply]
WITH_BODY = Match(method="GET")  # what is wrong with a body shows in no answer to HEAD


@dataclass(frozen=True, slots=True)
class Fault:
    """A named way to spoil the right answer of the requests that ``on`` means."""

    name: str
    change: Change
    on: Match = field(default_factory=Match)

    def joined(self, other: Fault) -> Fault:
        """Both: first this one, then ``other``, for the requests that this one means."""

        def change(request: Request, reply: Reply) -> Reply:
            return other.change(request, self.change(request, reply))

        return replace(self, name=f"{self.name}, {other.name}", change=change)
