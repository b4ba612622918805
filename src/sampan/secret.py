"""A text that must not be shown: passwords, tokens, private keys."""

from __future__ import annotations


class Secret:
    """A text that does not show itself in logs, tracebacks and reprs; :meth:`reveal` where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))
