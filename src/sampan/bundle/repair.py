"""Volumes made anew from the others: those that are lost, and those that are damaged.

Guarantees that a repaired volume has its name only after all of it was checked against the list of contents,
and that a damaged file is replaced in one step, or left as it was.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sampan.bundle.finish import write_at, writing
from sampan.bundle.reading import Stop, Told
from sampan.bundle.recovered import Recovered
from sampan.bundle.rows import ROW_BYTES
from sampan.bundle.target import PARTIAL
from sampan.bundle.verify import Verification, verify
from sampan.bundle.volume_set import VolumeSet
from sampan.errors import BundleDamaged, BundleIncomplete, UsageError
from sampan.pull.sinks.files import disk_errors, sync_directory


def needs_repair(found: Verification) -> tuple[int, ...]:
    """The data volumes that are lost, or of which something is wrong."""
    volumes = found.volumes
    damaged = {damage.file for damage in found.damages}
    wrong = [number for number, path in volumes.data.items() if path in damaged]
    return tuple(sorted({*volumes.missing, *wrong}))


def repair(found: Verification, directory: Path, *, told: Told, stop: threading.Event) -> list[Path]:
    """Make what needs it anew, in ``directory``; the files. ``told`` and ``stop`` as in
    :func:`~sampan.bundle.verify.verify`.

    Raises BundleIncomplete when there is nothing to repair from, BundleDamaged when more is lost than the
    recovery volumes make up for, SinkError for the disk.
    """
    volumes, made = found.volumes, list[Path]()
    if volumes.is_directory:
        raise UsageError("a directory has no recovery volumes", hint="copy it again")
    numbers = needs_repair(found)
    if numbers and not volumes.recovery:
        raise BundleIncomplete(
            f"no recovery volume is here, and volumes {', '.join(map(str, numbers))} need one",
            hint="name the files called recovery as well; they are made by sampan bundle create --parity N",
        )
    for number in numbers:
        path = directory / _name(volumes, number)
        growing = path.with_name(f"{path.name}{PARTIAL}")
        with disk_errors(path):
            try:
                _write(volumes, number, growing, told, stop)
                _check(volumes, number, growing, told, stop)
                os.replace(growing, path)
                sync_directory(directory)
            except BaseException:
                growing.unlink(missing_ok=True)
                raise
        made.append(path)
    return made


def _write(volumes: VolumeSet, number: int, growing: Path, told: Told, stop: threading.Event) -> None:
    size = volumes.contents.volumes[number - 1]
    with closing(Recovered(volumes)) as recovered, writing(growing) as descriptor:
        os.ftruncate(descriptor, 0)
        for start in range(0, size, ROW_BYTES):
            if stop.is_set():
                raise Stop
            data = recovered.read(number, start, start + ROW_BYTES)
            write_at(descriptor, data, start)
            told(len(data))


def _check(volumes: VolumeSet, number: int, path: Path, told: Told, stop: threading.Event) -> None:
    """The new volume by itself: the parts of split blobs have digests of their own."""
    alone = replace(volumes, data={number: path}, recovery={}, unreadable={}, signatures={})
    if verify(alone, told=told, stop=stop).damages:
        raise BundleDamaged(
            f"volume {number} was made anew, and is not what the list of contents says",
            hint="a recovery volume is damaged: copy it again, or bring another one",
        )


def _name(volumes: VolumeSet, number: int) -> str:
    """That of the damaged file; for a lost one as its sisters are called, as far as they tell."""
    if number in volumes.data:
        return volumes.data[number].name
    count = len(volumes.contents.volumes)
    for other, path in volumes.data.items():
        mark = f".{other:0{len(str(count))}}-of-{count}."
        if mark in path.name:
            return path.name.replace(mark, f".{number:0{len(str(count))}}-of-{count}.")
    return f"volume.{number:0{len(str(count))}}-of-{count}.tar"
