"""The certificate that a server shows, and its taking up a new one while connections go on.

Guarantees that a pair is shown only when both files belong together, and that a bad or half-written one
leaves the old: a new pair is loaded by itself and then taken whole, for the handshakes that follow.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

from sampan.errors import ConfigError
from sampan.server.settings import ServerSettings
from sampan.server.watch import Watch

FILE_BYTES_MAX = 1024 * 1024  # a chain has some KiB
_UTC_TIME, _VERSION = 0x17, 0xA0  # tags of DER: a time with two digits of the year; a version is there
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Certificate:
    """The pair in two PEM files, read again by :meth:`refresh` when they have changed."""

    def __init__(self, certificate: str, key: str) -> None:
        """Raises :class:`ConfigError` when they cannot be loaded."""
        self._files = (certificate, key)
        self._watch = Watch(self._files)
        self._shown = load_tls(*self._files)
        self.context = load_tls(*self._files)
        # Called in each handshake, whether the client names a server or not: the connection goes on with
        # the newest context, and those under way keep theirs.
        self.context.sni_callback = self._show
        self.expires = _expiry_of(certificate)

    def refresh(self) -> bool:
        """Take up a pair that has changed; whether it had. Raises :class:`ConfigError`, and keeps the old."""
        if not self._watch.has_changed():
            return False
        try:
            shown = load_tls(*self._files)
            expires = _expiry_of(self._files[0])
        except ConfigError:
            self._watch.forget()  # to be tried again: the other file may still be under way
            raise
        self._shown, self.expires = shown, expires
        return True

    def _show(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._shown


def tls_of(settings: ServerSettings) -> ssl.SSLContext | None:
    """The context of a server whose settings name a certificate. Raises :class:`ConfigError`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return load_tls(settings.tls_cert, settings.tls_key)


def load_tls(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context with the pair in it. Raises :class:`ConfigError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_chain(context, certificate, key)
    return context


def load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Put the pair into ``context``. Raises :class:`ConfigError`."""
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot load the certificate {certificate} with the key {key}: {error}",
            hint="server.tls_cert and server.tls_key are PEM files that belong together",
        ) from error


def expiry(pem: bytes, name: str) -> float:
    """Until when the first certificate in ``pem`` holds, in seconds since the epoch. Raises ConfigError,
    which calls it ``name``."""
    found = _PEM.search(pem.decode("ascii", "replace"))
    if found is None:
        raise ConfigError(f"there is no certificate in {name}")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0])).timestamp()
    except (ValueError, IndexError) as error:
        raise ConfigError(f"cannot read the certificate in {name}: {error}") from error


def _expiry_of(file: str) -> float:
    try:
        with Path(file).open("rb") as opened:
            return expiry(opened.read(FILE_BYTES_MAX), file)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def _not_after(der: bytes) -> datetime:
    """The second time of the validity (RFC 5280 section 4.1); Python shows it of verified peers alone."""
    certificate = _content(der, 0)[1]
    fields = _content(certificate, 0)[1]
    position = _content(fields, 0)[2] if fields[0] == _VERSION else 0
    for _ in range(3):  # serial number, signature algorithm, issuer
        position = _content(fields, position)[2]
    validity = _content(fields, position)[1]
    tag, text, _ = _content(validity, _content(validity, 0)[2])
    stamp = text.decode("ascii")
    if tag == _UTC_TIME:
        stamp = ("20" if stamp < "50" else "19") + stamp
    return datetime.strptime(stamp, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _content(der: bytes, start: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at ``start``."""
    length, begin = der[start + 1], start + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + count]), begin + count
    return der[start], der[begin : begin + length], begin + length
