"""Requests a second, as wrk counts them: kept connections, one thread, for a second or two."""

from __future__ import annotations

import re

from bench.client import ACCEPT
from interop import peers
from interop.processes import run

CONNECTIONS = 8
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.+)")


def requests_per_second(url: str, *, seconds: int) -> float:
    """Raises RuntimeError when a single answer was an error."""
    said = run([peers.program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", ACCEPT, url])
    if (failed := _FAILED.search(said)) is not None:
        raise RuntimeError(f"{url}: {failed[0]}")
    found = _RATE.search(said)
    assert found is not None, said
    return float(found[1])
