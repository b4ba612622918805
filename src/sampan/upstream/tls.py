"""TLS towards upstream hosts: contexts built from a host's files, and errors that say what was wrong.

Guarantee: verification is never weakened except by ``insecure`` of the very host. A certificate that
does not verify is reported with the names that it has, because "issued for somebody else" and
"expired" ask for different remedies. Building a context reads files and touches no network.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from sampan.errors import ConfigError, printable
from sampan.upstream.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.upstream.host import Host

NAMES_SHOWN_MAX = 4
NAME_CHARACTERS_MAX = 80

# Called when a handshake begins: the only moment that tells that TCP is through (see dialer.py).
HANDSHAKE_BEGINS: ContextVar[Callable[[], None] | None] = ContextVar("HANDSHAKE_BEGINS", default=None)
# Given the peer's certificate, believed or not, where somebody wants to see it (see trail.py).
CERTIFICATE_SHOWN: ContextVar[Callable[[Certificate | None], None] | None] = ContextVar(
    "CERTIFICATE_SHOWN", default=None
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What a context is made of; equal options may share one context."""

    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False

    @classmethod
    def of(cls, host: Host) -> TlsOptions:
        return cls(host.ca, host.client_cert, host.client_key, host.insecure)

    def elsewhere(self) -> TlsOptions:
        """For other origins that ``host`` sends us to: its CA is still believed, since it only adds
        to the system's, but no certificate of ours is shown and nothing goes unverified.
        """
        return replace(self, client_cert=None, client_key=None, insecure=False)


def client_context(options: TlsOptions) -> ssl.SSLContext:
    """A context that verifies against the system's CAs and ``options.ca``. ConfigError: a file is
    missing, unreadable or not what it should be.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _TellingObject
    if options.ca is not None:
        try:
            context.load_verify_locations(cafile=options.ca)
        except OSError as error:  # ssl.SSLError is one
            _refuse("ca", options.ca, error)
    if options.client_cert is not None:
        try:
            context.load_cert_chain(options.client_cert, options.client_key, password=_no_password)
        except OSError as error:
            _refuse("client_cert", options.client_cert, error)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def explain(error: BaseException) -> str:
    """What went wrong in a handshake, in words: the reason, and the certificate's names if one came."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", "") or "the certificate does not verify"
        reason = reason[:1].lower() + reason[1:].rstrip(".")
        notes = "; ".join(getattr(error, "__notes__", ()))
        return f"TLS: {reason} ({notes})" if notes else f"TLS: {reason}"
    reason = getattr(error, "reason", None)  # absent when Python itself raised it
    if reason:
        return f"TLS: {str(reason).lower().replace('_', ' ')}"
    return "TLS: the handshake failed"


class _TellingObject(ssl.SSLObject):
    """Says when a handshake begins, and notes the names of a certificate that did not verify."""

    def do_handshake(self) -> None:
        begins = HANDSHAKE_BEGINS.get()
        if begins is not None:
            begins()
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            info = _shown(self)
            if info:
                error.add_note(_names(info))
            _show(info, error)
            raise
        if CERTIFICATE_SHOWN.get() is not None:
            _show(_shown(self), None)


def _show(info: Mapping[str, Any], error: ssl.SSLCertVerificationError | None) -> None:
    shown = CERTIFICATE_SHOWN.get()
    if shown is not None:
        shown(Certificate.of(info, error))


def _shown(handshake: ssl.SSLObject) -> Mapping[str, Any]:
    """What the peer's certificate says; empty where this Python cannot tell."""
    # The standard library shows the peer's certificate only after success, when nobody needs it, and then
    # not one that nobody was to check. The object inside has it all along; should a Python do without, the
    # message is only shorter.
    inner = getattr(handshake, "_sslobj", None)
    try:
        info: dict[str, Any] = inner.get_unverified_chain()[0].get_info()  # type: ignore[union-attr] # None: caught
    except (AttributeError, TypeError, IndexError, ValueError, ssl.SSLError):
        return {}
    return info


def _names(info: Mapping[str, Any]) -> str:
    """The names in a peer's certificate, and how long it holds, in words."""
    names = [value for kind, value in info.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not names:
        names = [value for part in info.get("subject", ()) for key, value in part if key == "commonName"]
    shown = ", ".join(printable(name, characters_max=NAME_CHARACTERS_MAX) for name in names[:NAMES_SHOWN_MAX])
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    ends = info.get("notAfter", "unknown")
    return f"it is for {shown}{more}, valid until {ends}" if shown else f"it names nobody, valid until {ends}"


def _no_password() -> NoReturn:
    # Without this OpenSSL would ask for the key's password on the terminal, for ever.
    raise ssl.SSLError("the key is protected by a password")


def _refuse(key: str, path: str, error: OSError) -> NoReturn:
    reason = error.strerror or getattr(error, "reason", None) or "not PEM"
    raise ConfigError(
        f"cannot use {key} = {path!r}: {reason}",
        hint="a readable PEM file; a client key must not have a password",
    ) from error
