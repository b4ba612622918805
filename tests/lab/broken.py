"""Broken worlds as functions, each with the cause that the doctor has to name first.

@broken("HOST_FAILS", "a.lan")
def the_only_mirror_says_502(world: World) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.world import World

Build = Callable[[World], None]


@dataclass(frozen=True)
class Broken:
    """``code`` and ``subject`` of the first finding; ``words``: options of the command. ``code`` None: the
    world is healthy."""

    name: str
    code: str | None
    subject: str | None
    build: Build
    words: tuple[str, ...] = ()


_FOUND: dict[str, list[Broken]] = {}


def broken(code: str | None, subject: str | None = None, *words: str) -> Callable[[Build], Build]:
    """Marks a function that builds such a world."""

    def mark(build: Build) -> Build:
        name = build.__name__.replace("_", " ")
        _FOUND.setdefault(build.__module__, []).append(Broken(name, code, subject, build, words))
        return build

    return mark


def worlds_of(module: str) -> list[Broken]:
    """Those of a module, in their order."""
    return _FOUND[module]


def said(case: Broken) -> str:
    """Its name, for pytest."""
    return case.name
