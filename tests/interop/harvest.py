"""Writes down what real programs print: ``python tests/interop/harvest.py`` makes the golden texts anew.

Run it as root when a program of :mod:`interop.peers` has changed, and read the difference: a text that is not
explained as before shows in ``tests/unit/test_explain_texts.py``.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from interop import images, meanings, peers, registries
from interop.containerd import VERSIONS, containerd
from interop.engines import ENGINES, docker
from interop.meanings import Printed
from interop.sentinel import sentinel

GOLDEN = Path(__file__).parents[1] / "golden" / "explain" / "programs.toml"
HEAD = """# What real programs print, as tests/interop/harvest.py wrote it down. `by`: the program; `when`:
# what was wrong with the host or the file that it was given; `first`: the code of the root cause. Not edited.
"""
LITERAL = "'" * 3
_NUMBERS = re.compile(r"[0-9a-f]{64}|\d+|(?<=/tmp/)\w+|(?<=/dev/shm/)\w+")
_DIRECTORY = re.compile(r"/(?:tmp|dev/shm)/(?:ctd|dkr|hv|tmp)?\w+")


def everything() -> Iterator[Printed]:
    """All situations, on programs started for it."""
    library = images.library()
    yield from meanings.of_containerds_starting()
    yield from meanings.of_dockerds_starting()
    with (
        tempfile.TemporaryDirectory() as scratch,
        registries.docker_registry(Path(scratch), storage=registries.stock(library), read_only=True) as web,
    ):
        for name in VERSIONS:
            with containerd(name) as runtime:
                yield from meanings.of_hosts_files(runtime, library, web.netloc)
                yield from meanings.of_containerd(runtime, library)
        yield from meanings.of_skopeo(Path(scratch), web.netloc)
        yield from meanings.on_the_way(Path(scratch))
        yield from meanings.of_crane(library, Path(scratch))
    for name in ENGINES:
        with docker(name) as engine:
            yield from meanings.of_docker(engine, library)


def main() -> None:
    """Write the file."""
    with sentinel():
        printed = list(everything())
    GOLDEN.write_text(HEAD + "".join(_entry(one) for one in _each_once(printed)))


def _each_once(printed: list[Printed]) -> Iterator[Printed]:
    """Those that differ in more than numbers."""
    seen = set()
    for one in printed:
        shape = (one.by, _NUMBERS.sub("N", one.text))
        if shape not in seen:
            seen.add(shape)
            yield one


def _entry(one: Printed) -> str:
    version = peers.version(one.by.split()[0]) if one.by != "skopeo" else ""
    by = f"{one.by} {version}".strip()
    text = _toml(_DIRECTORY.sub("/tmp/x", one.text))
    lines = (
        "",
        "[[text]]",
        f'when = "{one.when}"',
        f'by = "{by}"',
        f'first = "{one.first}"',
        f"text = {text}",
    )
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """As it is, unless it has what moves a cursor."""
    if text.replace("\n", "").replace("\t", "").isprintable() and LITERAL not in text:
        return f"{LITERAL}\n{text}\n{LITERAL}"
    return json.dumps(text)


if __name__ == "__main__":
    main()
