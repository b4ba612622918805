"""Runs ``sampan bundle load`` on archives that were named on standard input, one after the other, in this one
process; and prints how each ended, then what it took at the most: see :func:`attempted` of test_archives.py.

    {"file": "…", "words": ["--to", "store"]}      a line of input
    {"code": 8, "error": "…", "store": ["…"]}      a line of output; at the end {"peak_bytes": …}
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

from sampan.cli.program import main

KIB = 1024


def attempt(file: str, words: list[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory, "store")
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(["bundle", "load", "--to", "store", "--store", str(store), *words, file])
        left = [path.relative_to(store) for path in store.rglob("*") if path.is_file()]
        content = [str(path) for path in left if path.parts[0] in ("blobs", "ingest", "tags", "pieces")]
        return {"code": code, "error": said.getvalue(), "store": content, "opened": store.exists()}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(attempt(asked["file"], asked["words"])), flush=True)
# Not ru_maxrss: that counts what stood here before exec as well, which is a copy of the tests' own process.
status = Path("/proc/self/status").read_text("ascii")
peak = int(status.partition("VmHWM:")[2].split()[0]) * KIB
print(json.dumps({"peak_bytes": peak}), flush=True)
