"""The certificate that a peer showed, as facts: whose it is, when it holds, and why it is not believed.

Nothing is verified here: OpenSSL has, and what it said is kept in its words.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.errors import printable

NAMES_MAX = 100  # of one certificate; some have hundreds
NAME_CHARACTERS_MAX = 80
_NAMING = ("organizationName", "commonName")  # what people know an issuer by


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a host showed, believed or not. ``names``: the DNS names and addresses that it is for. Times are
    seconds since 1970. ``problem``: why it is not believed, in OpenSSL's words, and ``code`` its number for
    that; None: it is believed, or nobody was to check it. All text is printable.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    problem: str | None = None
    code: int | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any], error: ssl.SSLCertVerificationError | None) -> Certificate | None:
        """From what the standard library tells of one (``getpeercert``); None when that says too little."""
        try:
            return cls(
                _name_in(info.get("subject", ())),
                _name_in(info.get("issuer", ())),
                _names_in(info),
                float(ssl.cert_time_to_seconds(info["notBefore"])),
                float(ssl.cert_time_to_seconds(info["notAfter"])),
                None if error is None else _clean(error.verify_message or "it does not verify").rstrip("."),
                None if error is None else error.verify_code,
            )
        except (KeyError, TypeError, ValueError):
            return None


def _names_in(info: Mapping[str, Any]) -> tuple[str, ...]:
    named = [value for kind, value in info.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return tuple(_clean(name) for name in named[:NAMES_MAX])


def _name_in(parts: Any) -> str:  # noqa: ANN401 - as the standard library nests it
    """``Let's Encrypt R11``, of the parts of a distinguished name; empty when it has neither."""
    found = dict(pair for part in parts for pair in part)
    return " ".join(dict.fromkeys(_clean(str(found[key])) for key in _NAMING if key in found))


def _clean(text: str) -> str:
    return printable(text, characters_max=NAME_CHARACTERS_MAX)
