"""A URL as somebody wrote it into a file of another program: taken apart, and never an error.

What may be dialled is parsed strictly, by :mod:`sampan.upstream.url`. This is for telling people what stands
in their files, however wrong it is.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

NOTHING = SplitResult("", "", "", "", "")


def split_loosely(text: str) -> SplitResult:
    """The parts of ``text``; all are empty where it is none at all (``http://[``)."""
    try:
        return urlsplit(text)
    except ValueError:
        return NOTHING


def port_of(parts: SplitResult) -> int | None:
    """The port; None where there is none, or none that there can be."""
    try:
        return parts.port
    except ValueError:
        return None
