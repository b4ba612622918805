"""Who printed a text, and whose words it passed on: it decides what the text does not show.

The words by which they are told are in ``data/programs.toml``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Edition = Literal["containerd-1", "containerd-2.0", "containerd-2.1"]
"""The newest, or from 2.1 on the oldest, containerd that says it so."""


def printed_by(text: str) -> str | None:
    """The program whose manner it is to print such a text."""
    return _first("program", text)


def family(text: str) -> str | None:
    """Whose words they are, whoever passed them on: those who ask hosts in the same way have one name."""
    return _first("family", text)


def edition(text: str) -> Edition | None:
    """Which containerd says it in these words; None: each of them, or it is not containerd."""
    if "failed to resolve image: " in text or "short read: expected" in text:
        return "containerd-2.1"
    if "pulling from host" in text:
        return "containerd-1"
    return "containerd-2.0" if "unexpected status code http" in text else None


def _first(kind: str, text: str) -> str | None:
    tables = _programs()[kind]
    return next((str(one["name"]) for one in tables if any(word in text for word in one["words"])), None)


@cache
def _programs() -> dict[str, Any]:
    return tomllib.loads(files("sampan.data").joinpath("programs.toml").read_text("utf-8"))
