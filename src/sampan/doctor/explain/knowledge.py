"""The knowledge base: what errors there are, how each is recognised, what it means and what to do about it.

It is ``data/errors/*.toml``, which carries both languages side by side, since a fact and its translation age
together. The order there matters: of several causes that a message may have, the first one is meant.
Guarantees that an entry which is loaded is whole, in every language.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from sampan.doctor.explain.pattern import Pattern
from sampan.words import Language

Kind = Literal["files", "machine", "host", "circumstance"]
"""Whose fault it is: a daemon's own files, the machine, a host on the way; or what comes of it."""

Role = Literal["mirror", "origin", "login", "storage", "sampan"]
"""What a host is on the way to an image."""

KINDS: tuple[Kind, ...] = get_args(Kind)
PAGES = ("sampan", "files", "names", "machine", "login", "answers", "content", "network", "circumstances")


@dataclass(frozen=True, slots=True)
class Words:
    """An entry in one language, with the names of facts in braces."""

    what: str
    cause: str
    do: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One error. ``by``: who prints it. It is meant by a text that has one of ``patterns`` and none of
    ``unless``, if it has a status of ``statuses`` too, if the host is of ``roles``, and its address is a
    poisoned one, where these are given.
    ``checked``: when somebody last saw that it is so; ``rows``: of the table that they began with."""

    code: str
    kind: Kind
    by: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    words: Mapping[Language, Words]
    checked: date
    statuses: frozenset[int] = frozenset()
    roles: frozenset[str] = frozenset()
    poisoned: bool = False
    unless: tuple[Pattern, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def is_cause(self) -> bool:
        """Whether it is why something failed, and not what came of it."""
        return self.kind != "circumstance"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """``entries`` in their order, causes first; ``elsewhere``: what is said in the same words about something
    that is no image."""

    entries: tuple[Entry, ...]
    elsewhere: tuple[Pattern, ...]


@cache
def knowledge() -> Knowledge:
    """All of it, read once. Raises what makes a package broken: KeyError, ValueError."""
    entries: list[Entry] = []
    for page in PAGES:
        table = _read(f"{page}.toml")
        entries += [_entry(one, table["checked"]) for one in table["error"]]
    elsewhere = tuple(Pattern.of(text) for text in _read("elsewhere.toml")["match"])
    return Knowledge(tuple(entries), elsewhere)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("sampan.data").joinpath("errors", name).read_text("utf-8"))


def _entry(table: Mapping[str, Any], checked: date) -> Entry:
    if table["kind"] not in KINDS:
        raise ValueError(f"{table['code']}: no such kind: {table['kind']}")
    return Entry(
        code=table["code"],
        kind=table["kind"],
        by=tuple(table["by"]),
        patterns=tuple(map(Pattern.of, table["match"])),
        words={"en": _words(table["en"]), "zh": _words(table["zh"])},
        checked=table.get("checked", checked),
        statuses=frozenset(table.get("status", ())),
        roles=frozenset(table.get("role", ())),
        poisoned=table.get("address") == "poisoned",
        unless=tuple(map(Pattern.of, table.get("unless", ()))),
        rows=tuple(table.get("rows", ())),
    )


def _words(table: Mapping[str, Any]) -> Words:
    return Words(table["what"], table["cause"], tuple(table["do"]))
