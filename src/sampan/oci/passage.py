"""Which mirrors of ours a request has come through: so that mirrors which lead to each other are found out.

Guarantees that what a client writes there never leaves as anything but a few plain names. A mirror adds its
own name to whatever it asks of hosts; one that finds its own name in what it is asked has been led back to
itself. The names travel from the request that is answered to those that it gives rise to in a variable of the
task, for what lies between need not know.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

LOOP_HEADER = "X-Sampan-Loop"
PASSED_MAX = 8  # mirrors behind mirrors: two are usual, and a circle of more than these is one as well
_NAME = re.compile(r"[0-9A-Za-z-]{1,64}")

PASSED: ContextVar[tuple[str, ...]] = ContextVar("PASSED", default=())


def parse_passed(header: str | None) -> tuple[str, ...]:
    """The names in ``header``, the first ``PASSED_MAX`` of them and one more; what is no name is left out."""
    names = (name.strip() for name in (header or "").split(",", PASSED_MAX + 1))
    return tuple(name for name in names if _NAME.fullmatch(name))[: PASSED_MAX + 1]


def is_circle(passed: tuple[str, ...], instance: str) -> bool:
    """Whether whoever came through ``passed`` has been at ``instance`` before, or will never arrive."""
    return instance in passed or len(passed) > PASSED_MAX


def render_passed(instance: str) -> str:
    """What goes along with a request that ``instance`` makes for the one that it answers now."""
    return ", ".join((*PASSED.get(), instance))
