"""Room where images go: bytes, names, and whether anything may be written there at all.

A file system is asked for its own numbers, in a thread: one that is gone (NFS) never answers, and is told as
unseen. Places on one file system are told together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.daemons import DAEMONS
from sampan.runtimes.contract import Level
from sampan.runtimes.place import below
from sampan.words import Text, sentence

MIB, GIB = 1024 * 1024, 1024 * 1024 * 1024
FULL_BYTES = 100 * MIB  # hardly any image fits
LOW_BYTES = 2 * GIB  # one of the larger images does not, unpacked
FULL_NAMES, LOW_NAMES = 1_000, 50_000  # an unpacked image has some ten thousand files
KUBELET = "/var/lib/kubelet"
KUBELET_SHARE = 0.15  # imagefs.available, by default: below it images and pods are evicted
ANSWER_SECONDS = 2.0
STAGING = "/var/tmp"  # noqa: S108 - where podman and skopeo put a layer before it is unpacked


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has: ``bytes_free`` and ``names_free`` for people who are not root; None: it does
    not count names."""

    device: int
    bytes_free: int
    bytes_all: int
    names_free: int | None
    is_read_only: bool


async def check_disk(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Whether there is room, where the tree is this machine."""
    if scene.machine is None:
        return
    kubelet = scene.tree.exists(KUBELET)
    places = list(dict.fromkeys(await aside(_places, scene)))
    spaces = await asyncio.gather(*(_space(below(scene.tree.root, path)) for path in places))
    known: dict[int, tuple[Space, list[str]]] = {}
    for path, space in zip(places, spaces, strict=True):
        if isinstance(space, Space):
            known.setdefault(space.device, (space, []))[1].append(path)
        else:
            yield _unseen(path, space)
    for space, paths in known.values():
        finding = judge_space(paths, space, kubelet=kubelet)
        if finding is not None:
            yield finding


def _unseen(path: str, error: PermissionError | None) -> Unseen:
    if error is not None:
        return Unseen("disk", sentence("{path}: what is left there", path=path), sentence("run as root"))
    what = sentence("{path}: its file system does not answer", path=path)
    return Unseen("disk", what, sentence("a network file system that is gone keeps daemons waiting"))


def judge_space(paths: list[str], space: Space, *, kubelet: bool) -> Finding | None:
    """What is wrong with the file system that has ``paths``; None: nothing."""
    shown = ", ".join(paths)
    if space.is_read_only:
        hint = sentence("the kernel makes one read-only when its disk fails: dmesg says so")
        return _finding("DISK_READ_ONLY", "error", sentence("{paths}: read-only", paths=shown), hint)
    if space.bytes_free < FULL_BYTES:
        what = sentence("{paths}: {free} are free", paths=shown, free=_size(space.bytes_free))
        return _finding("DISK_FULL", "error", what)
    if space.names_free is not None and space.names_free < FULL_NAMES:
        what = sentence("{paths}: room for {names} more files", paths=shown, names=space.names_free)
        return _finding("DISK_FULL", "error", what)
    return _low(shown, space, kubelet=kubelet)


def _low(shown: str, space: Space, *, kubelet: bool) -> Finding | None:
    if space.names_free is not None and space.names_free < LOW_NAMES:
        what = sentence("{paths}: room for {names} more files", paths=shown, names=space.names_free)
        return _finding("DISK_LOW", "warning", what)
    if space.bytes_free < LOW_BYTES:
        what = sentence("{paths}: {free} are free", paths=shown, free=_size(space.bytes_free))
        return _finding("DISK_LOW", "warning", what)
    if kubelet and space.bytes_free < KUBELET_SHARE * space.bytes_all:
        share = f"{100 * space.bytes_free / space.bytes_all:.0f}"
        what = sentence(
            "{paths}: {share} % are free, and the kubelet evicts below 15 %", paths=shown, share=share
        )
        return _finding("DISK_LOW", "warning", what)
    return None


def _finding(code: str, level: Level, what: Text, hint: Text | None = None) -> Finding:
    why = sentence("a pull that finds no room fails at its end, when its layers are unpacked")
    return Finding(
        code, "disk", what, level, why=why, hint=hint or sentence("remove images that nobody uses")
    )


def _places(scene: Scene) -> list[str]:
    """Where images go, as they are in the tree."""
    runtimes = [seen.status.runtime for seen in scene.runtimes]
    roots = [daemon.root(scene.tree) for daemon in DAEMONS if daemon.runtime in runtimes]
    staging = [STAGING] if "podman" in runtimes else []
    return [*roots, *staging, *([] if scene.store is None else [scene.store])]


async def _space(path: str) -> Space | PermissionError | None:
    """Of the file system where ``path`` is or would be; None: it does not answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await aside(_ask, path)
    except TimeoutError:
        return None
    except PermissionError as error:
        return error


def _ask(path: str) -> Space:
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    told, where = os.statvfs(place), place.stat()
    return Space(
        where.st_dev,
        told.f_bavail * told.f_frsize,
        told.f_blocks * told.f_frsize,
        told.f_favail if told.f_files else None,
        bool(told.f_flag & os.ST_RDONLY),
    )


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number // MIB} MiB"
