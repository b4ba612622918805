"""Runs commands that were named on standard input, one after the other, in this one process; and prints how
each ended, then what it took at the most: see :func:`ended` of commands.py.

    ["pull", "a//b"]                                      a line of input
    {"code": 2, "out": "", "error": "…", "made": []}      a line of output; at the end {"peak_bytes": …}
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from sampan.cli.program import main

KIB = 1024


class Pipe(io.TextIOWrapper):
    """What a command writes, as text or as bytes."""

    def __init__(self) -> None:
        self.all = io.BytesIO()
        super().__init__(self.all, "utf-8", newline="")

    @property
    def text(self) -> str:
        self.flush()
        return self.all.getvalue().decode()


def attempt(words: list[str]) -> dict[str, object]:
    before = set(Path().rglob("*"))
    out, said = Pipe(), Pipe()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
        code = main(words)
    made = sorted(str(path) for path in set(Path().rglob("*")) - before)
    return {"code": code, "out": out.text, "error": said.text, "made": made}


for line in sys.stdin:
    print(json.dumps(attempt(json.loads(line))), flush=True)
# Not ru_maxrss: that counts what stood here before exec as well, which is a copy of the tests' own process.
status = Path("/proc/self/status").read_text("ascii")
print(json.dumps({"peak_bytes": int(status.partition("VmHWM:")[2].split()[0]) * KIB}), flush=True)
