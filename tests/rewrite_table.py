"""``rewrite_table.toml`` as rows: what everything that redirects references is run against."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.rewrite import Rules

PATH = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Row:
    """``result`` is what ``reference`` becomes under the rules of ``group``: itself, when it stays."""

    group: str
    reference: str
    result: str
    reason: str

    @property
    def changes(self) -> bool:
        return self.reason == "rewritten"

    def __str__(self) -> str:
        return f"{self.group}: {self.reference!r}"


@cache
def configuration(group: str) -> Config:
    """The configuration of a group, in the environment that it names and no other."""
    return Config.parse(text(group), environ=environ(group))


@cache
def rules(group: str) -> Rules:
    return rewriter(configuration(group))


def text(group: str) -> str:
    """Its ``sampan.toml``; empty when it has none."""
    return str(_groups()[group].get("config", ""))


def environ(group: str) -> dict[str, str]:
    return dict(_groups()[group].get("environ", {}))


def groups() -> tuple[str, ...]:
    return tuple(_groups())


def rows() -> tuple[Row, ...]:
    return tuple(
        Row(name, reference, result or reference, reason)
        for name, table in _groups().items()
        for reference, result, reason in table["rows"]
    )


@cache
def _groups() -> dict:  # type: ignore[type-arg]
    groups: dict = tomllib.loads(PATH.read_text(encoding="utf-8"))["group"]  # type: ignore[type-arg]
    return groups
