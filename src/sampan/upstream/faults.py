"""What the operating system and OpenSSL say went wrong, in the words of :mod:`sampan.errors`.

Guarantee: any OSError becomes an error that names the place and one outcome word. The HTTP client's
own exceptions are unwrapped by ``transport.py`` and then come here.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from sampan.errors import HostError, Interrupted, NotARegistry, TimedOut, Unreachable
from sampan.upstream.dialer import BlockedAddress, Dial, blocked
from sampan.upstream.tls import explain

if TYPE_CHECKING:
    from sampan.upstream.proxies import Proxy
    from sampan.upstream.url import Url

_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN})
_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "connect-timeout",
    **dict.fromkeys(_RESETS, "reset"),
}
UNFINISHED = "the TLS handshake did not finish"  # what a filter does who drops the ClientHello
_PHASES = {  # phase in which the time ran out -> outcome, what was waited for
    "resolve": ("dns", "the name did not resolve"),
    "connect": ("connect-timeout", "no connection"),
    "tls": ("tls", UNFINISHED),
}


def unreachable(url: Url, error: BaseException, dial: Dial, proxy: Proxy | None) -> Unreachable:
    """``error`` ended the making of a connection to ``url``."""
    if isinstance(error, BlockedAddress):
        return blocked(url, dial.blocked or [error.address])
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return Unreachable(f"{url.netloc}: {explain(error)}", outcome="tls")
    if proxy is not None:
        return proxy_fault(url, proxy, _reason(error))
    if isinstance(error, socket.gaierror):
        return Unreachable(f"{url.netloc}: {_reason(error)}", outcome="dns")
    if dial.phase == "tls":
        # A filter that reads the name in the ClientHello resets here; a dead host does not get so far.
        return Unreachable(f"{url.netloc}: connection cut during the TLS handshake", outcome="reset")
    number = error.errno if isinstance(error, OSError) else None
    if number is None and dial.blocked:
        return blocked(url, dial.blocked)  # several addresses failed, each in its own way
    outcome = "unroutable" if number is None else _OUTCOMES.get(number, "unroutable")
    return Unreachable(f"{url.netloc}: {_reason(error)}", outcome=outcome)


def interrupted(url: Url, error: BaseException) -> Interrupted:
    """``error`` ended a connection that carried a request."""
    number = error.errno if isinstance(error, OSError) else None
    outcome = "reset" if number in _RESETS else "truncated"
    return Interrupted(f"{url.netloc}: the connection ended early", outcome=outcome)


def malformed(url: Url, reason: str) -> NotARegistry:
    """What came is not HTTP as anybody should speak it."""
    return NotARegistry(f"{url.netloc}: malformed HTTP: {reason}", outcome="protocol")


def proxy_fault(url: Url, proxy: Proxy, reason: str) -> Unreachable:
    """The proxy did not let us through; it is never gone around."""
    return Unreachable(f"{url.netloc}: proxy {proxy.netloc}: {reason}", outcome="proxy")


def out_of_time(url: Url, dial: Dial, proxy: Proxy | None) -> HostError:
    """The phase that ``dial`` was in took too long."""
    if dial.phase == "answer":
        waited = f"{dial.first_byte_seconds:g} s"
        return TimedOut(f"{url.netloc}: no answer within {waited}", outcome="first-byte-timeout")
    if proxy is not None and dial.phase != "tls":
        return proxy_fault(url, proxy, f"no connection within {dial.patience.proxy_seconds:g} s")
    outcome, what = _PHASES[dial.phase]
    patience = dial.patience
    seconds = patience.tls_seconds if dial.phase == "tls" else patience.connect_seconds
    return Unreachable(f"{url.netloc}: {what} within {seconds:g} s", outcome=outcome)


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
