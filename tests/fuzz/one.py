"""One target under libFuzzer, by atheris, in a process of its own: ``one.py TARGET [OPTION…] [DIRECTORY…]``.

TARGET is a name of ``fuzz/targets.py``, or ``MODULE:FUNCTION`` of any other module. Options and directories
are libFuzzer's.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

MEMORY_BYTES_MAX = 400 * 1024 * 1024  # beyond what is there when it begins; the corpus is in it as well
PROCESSOR_SECONDS_MAX = 1.0  # for one input of a few KiB: some take milliseconds when they are traced


def bounded(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        began = time.process_time()
        target(data)
        took = time.process_time() - began
        if took > PROCESSOR_SECONDS_MAX:
            raise AssertionError(f"{len(data)} bytes took {took:.1f} s of processor time")

    return run


def bound_memory() -> None:
    """What asks for more gets a MemoryError: libFuzzer's limit does not see what is given back at once."""
    status = Path("/proc/self/status").read_text("ascii")
    limit = int(status.partition("VmSize:")[2].split()[0]) * 1024 + MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    name, *options = sys.argv[1:]
    module, _, function = name.rpartition(":")
    with atheris.instrument_imports(include=["sampan"]):
        target = getattr(importlib.import_module(module or "fuzz.targets"), function)
    atheris.Setup([sys.argv[0], *options], bounded(target))
    bound_memory()
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
