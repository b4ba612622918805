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
    table = _groups()[group]
    return Config.parse(table.get("config", ""), environ=table.get("environ", {}))


@cache
def rules(group: str) -> Rules:
    return rewriter(configuration(group))


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
