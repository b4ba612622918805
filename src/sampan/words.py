"""Sentences for people, said in English where they are made and found in Chinese where they are shown.

A sentence is written once, beside the rule that says it: ``sentence("{key} is never read", key=key)``. What
comes of it is a ``str``, the English sentence, that remembers its pattern and its facts; :func:`in_language`
finds the pattern's translation in ``data/zh/*.toml`` (English pattern = Chinese pattern, one file a part of
the project) and fills in the same facts. A test fails for a pattern that has no translation, or one whose
translation names other facts.

Facts are shown as they are: whoever makes a sentence of foreign text makes that text printable first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, Self

Language = Literal["en", "zh"]
UNIT_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


class Text(str):
    """A sentence in English that can be said in another language. Made by :func:`sentence`."""

    __slots__ = ("facts", "pattern")
    pattern: str
    facts: Mapping[str, object]

    def __new__(cls, pattern: str, facts: Mapping[str, object]) -> Self:
        self = super().__new__(cls, pattern.format_map(facts))
        self.pattern, self.facts = pattern, facts
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[str, dict[str, object]]]:
        return type(self), (self.pattern, dict(self.facts))


def sentence(pattern: str, /, **facts: object) -> Text:
    """``pattern``, a literal, with ``facts`` in the places of their names. A fact may be a Text itself.

    Raises KeyError for a name without a fact.
    """
    return Text(pattern, facts)


def listed(texts: Iterable[str], between: str = ", ") -> Text:
    """``texts`` as one, each to be said in the language of the whole."""
    facts = {f"part{number}": text for number, text in enumerate(texts)}
    return Text(between.join(f"{{{name}}}" for name in facts), facts)


def in_language(text: str, language: Language) -> str:
    """``text`` as it is said in ``language``, with those of its facts that are sentences; as it is where
    :func:`sentence` did not make it, or nobody translated it."""
    if language == "en" or not isinstance(text, Text):
        return text
    pattern = _translations(language).get(text.pattern, text.pattern)
    facts = {
        name: in_language(fact, language) if isinstance(fact, str) else fact
        for name, fact in text.facts.items()
    }
    return pattern.format_map(facts)


def size_text(size_bytes: int) -> str:
    """As people read it: ``3.4 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    fitting = [(unit, size) for unit, size in UNIT_BYTES.items() if size_bytes / size < 1000]
    unit, size = fitting[0] if fitting else ("TiB", UNIT_BYTES["TiB"])
    return f"{size_bytes / size:.1f} {unit}"


@cache
def _translations(language: Language) -> Mapping[str, str]:
    """Every pattern that is translated; read when the first sentence is."""
    import tomllib  # with what reads resources, more than all else that every call of sampan imports
    from importlib.resources import files

    found: dict[str, str] = {}
    for page in files("sampan.data").joinpath(language).iterdir():
        if page.name.endswith(".toml"):
            found |= tomllib.loads(page.read_text("utf-8"))
    return found
