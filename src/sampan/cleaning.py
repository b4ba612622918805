"""What strangers wrote, made fit for a terminal, a log and an error: no secrets, nothing that cannot be seen.

Guarantees that what :func:`printable` gives is one line, whatever it was made of.
"""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?<=//)[^/@\s]*@")
_QUERY = re.compile(r"\?[^\s\"']*")
# Letters of all kinds, quotation marks, dashes and arrows; nothing that ends a line or turns its direction,
# nor what is not seen at all.
_UNPRINTABLE = re.compile(
    r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u05ff\u0606-\u061b\u061d-\u06dc\u06de-\u070e\u0710-\u088f"
    r"\u0892-\u08e1\u08e3-\u180d\u180f-\u1fff\u2010-\u2027\u2030-\u205e\u2190-\u21ff\u2e80-\ud7ff\uf900-\ufaff\uff01-\uffef]"
)


def redact(text: str) -> str:
    """``text`` without userinfo and query strings: signed URLs and tokens live there."""
    return _QUERY.sub("?…", _USERINFO.sub("…@", text))


def without_login(path: str) -> str:
    """``path``, of a request, from its last ``@`` on: no name has one, but a password may stand before it."""
    end = max(path.rfind("@"), path.rfind("%40"))
    return path if end < 0 else f"…{path[end:]}"


def printable(text: str, *, characters_max: int = 200) -> str:
    """``text`` cut and cleaned of control characters: it came from a stranger."""
    cleaned = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[: characters_max + 1])
    return cleaned if len(cleaned) <= characters_max else cleaned[:characters_max] + "…"
