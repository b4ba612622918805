"""Files of a case, where a program looks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from interop.engines import ENGINES


def lay(place: Path, files: Mapping[str, str]) -> None:
    """``files`` below ``place``; a name that ends in a slash is a directory."""
    for name, text in files.items():
        path = place / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(text)


def with_store(daemon_json: str, engine: str) -> str:
    """daemon.json with the image store of that engine."""
    return json.dumps({"features": {"containerd-snapshotter": ENGINES[engine][1]}, **json.loads(daemon_json)})
