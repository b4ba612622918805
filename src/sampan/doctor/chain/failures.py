"""Why no answer came, in the words of the Go programs: what our own client met, said as theirs would say it.

Pure. What nobody can know before (the port of a connection, the time of day) is ``…``.
"""

from __future__ import annotations

import datetime as dt
import errno
import socket
import ssl
from dataclasses import dataclass

from sampan.errors import HostError
from sampan.upstream.certificate import Certificate
from sampan.upstream.url import Url

PLAIN_HTTP = "http: server gave HTTP response to HTTPS client"
_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64  # OpenSSL's numbers of what is wrong
_PLAIN_REASONS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
_CALLS = {errno.ECONNREFUSED: "connection refused", errno.ENETUNREACH: "network is unreachable"}
_CALLS |= {errno.EHOSTUNREACH: "no route to host", errno.ECONNRESET: "connection reset by peer"}


@dataclass(frozen=True, slots=True)
class Met:
    """What is known of a request that failed: its ``url``, the ``address`` that was dialled last, the
    ``certificate`` that was shown, the ``nameserver`` of the machine, the ``phase`` that it ended in."""

    url: Url
    address: str | None = None
    certificate: Certificate | None = None
    nameserver: str = "127.0.0.1"
    phase: str | None = None


def in_go(error: HostError, met: Met) -> str:
    """``error`` as Go's HTTP client would say it."""
    outcome, cause = error.outcome, _cause(error)
    if outcome == "dns":
        return f"dial tcp: lookup {met.url.host} on {met.nameserver}:53: {_of_name(cause)}"
    if outcome == "connect-timeout":
        return f"dial tcp {_peer(met)}: i/o timeout"
    if outcome in ("refused", "unroutable"):
        return f"dial tcp {_peer(met)}: connect: {_of_call(cause, error)}"
    if outcome == "proxy":
        return f"proxyconnect tcp: … ({error.message})"
    if outcome == "tls":
        return _of_handshake(cause, met)
    if outcome == "reset":
        return f"read tcp …->{_peer(met)}: read: connection reset by peer"
    if outcome == "truncated":
        return "EOF"
    return f"… ({error.message})"


def _peer(met: Met) -> str:
    address = met.address or "…"
    return f"[{address}]:{met.url.port}" if ":" in address else f"{address}:{met.url.port}"


def _of_name(cause: BaseException | None) -> str:
    if isinstance(cause, socket.gaierror):
        return "no such host" if cause.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else "…"
    return "read udp …: i/o timeout"


def _of_call(cause: BaseException | None, error: HostError) -> str:
    number = cause.errno if isinstance(cause, OSError) else None
    if number is None and error.outcome == "refused":
        number = errno.ECONNREFUSED
    return _CALLS.get(number or 0, "…")


def _of_handshake(cause: BaseException | None, met: Met) -> str:
    shown = met.certificate
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"x509: {_of_certificate(cause.verify_code, shown, met)}"
    reason = str(getattr(cause, "reason", "") or "")
    if reason in _PLAIN_REASONS:
        return PLAIN_HTTP
    if cause is None or isinstance(cause, TimeoutError):
        return "net/http: TLS handshake timeout"
    return f"remote error: tls: … ({reason.lower().replace('_', ' ')})"


def _of_certificate(code: int, shown: Certificate | None, met: Met) -> str:
    if code in (_EXPIRED, _NOT_YET):
        text = "certificate has expired or is not yet valid: current time … is "
        if shown is None:
            return f"{text}…"
        when = shown.not_after if code == _EXPIRED else shown.not_before
        moment = dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{text}{'after' if code == _EXPIRED else 'before'} {moment}"
    if code == _WRONG_NAME:
        names = ", ".join(shown.names) if shown is not None else "…"
        return f"certificate is valid for {names}, not {met.url.host}"
    if code == _WRONG_ADDRESS:
        return f"cannot validate certificate for {met.url.host} because it doesn't contain any IP SANs"
    return "certificate signed by unknown authority"


def _cause(error: HostError) -> BaseException | None:
    """The operating system's or OpenSSL's error inside of ours."""
    found: BaseException | None = error.__cause__
    for _ in range(6):
        inner = getattr(found, "certificate_error", None) or getattr(found, "os_error", None)
        inner = inner or (None if found is None else found.__cause__)
        if inner is None:
            return found
        found = inner
    return found
