"""Run inside a network namespace that has only loopback: start the mirror, ask it, print what came.

Not a test by itself: :mod:`faults.test_everything_down` runs it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from interop.processes import surroundings
from interop.serving import serving


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(
            Path(directory),
            ["https://mirror.example", "https://192.0.32.8"],
            environment=surroundings(NO_PROXY="*"),
        ) as mirror,
    ):
        answers = []
        for _ in range(2):
            status, _, body = mirror.get("/v2/library/alpine/manifests/3?ns=docker.io")
            answers.append([status, json.loads(body)])
        print(json.dumps(answers))


if __name__ == "__main__":
    main()
