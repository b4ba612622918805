"""A machine whose programs end as a test wrote down: for what runtimes run, and make of the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sampan.runtimes.contract import Answer


def nobody_waits() -> None:
    raise AssertionError("nobody waits here")


@dataclass
class Scripted:
    """Each command ends as ``codes`` says of one of its words (0 unless named), and is noted in ``ran``.
    ``during``: what happens while somebody waits."""

    codes: Mapping[str, int] = field(default_factory=dict)
    output: str = ""
    during: Callable[[], None] = nobody_waits
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        self.ran.append(tuple(command))
        code = next((code for word, code in self.codes.items() if word in command), 0)
        return Answer(code, self.output, "so it is")

    def wait(self, seconds: float) -> None:
        self.during()
