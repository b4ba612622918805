"""Where pulls are measured: images as files, a home for each run, and the check that all of it arrived."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.stock import Files, Image


@contextlib.contextmanager
def scratch(directory: Path, name: str) -> Iterator[Path]:
    """A directory that is gone afterwards, so that disks do not fill."""
    made = Path(tempfile.mkdtemp(prefix=name, dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextlib.contextmanager
def files(directory: Path) -> Iterator[Files]:
    """An empty registry as files."""
    with scratch(directory, "files") as home:
        yield Files(home / "root")


def check_arrived(home: Path, image: Image) -> None:
    """Raises RuntimeError unless every layer is somewhere below ``home``, in its size. That the bytes are
    right is what the tests show."""
    sizes = {path.name: path.stat().st_size for path in home.rglob("*") if path.is_file()}
    for layer in image.layers:
        if sizes.get(layer.digest.partition(":")[2]) != layer.size_bytes:
            raise RuntimeError(f"{layer.digest} is not below {home}")


def make_durable(home: Path) -> None:
    """Returns when all files below ``home`` are on the disk."""
    for path in home.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
