"""Which of the kinds of failure a report comes to: from the step that ended the way, and how it ended.

Pure. Of a certificate OpenSSL's number counts first, and its names where that says only that nobody known has
signed it: one of an unknown authority for another name is somebody else's.
"""

from __future__ import annotations

import re

from sampan.doctor.contract import Certificate, HostReport, Part, RateLimit
from sampan.errors import HostError
from sampan.upstream.faults import UNFINISHED

HOSTNAME_MISMATCH = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
EXPIRED, EARLY = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, _NOT_YET_VALID
RATE_LIMIT_LOW = 0.1  # of it left
# Words of mirrors that give some images and no others, in their refusals.
_ALLOW_LIST = re.compile(
    r"allow-?\s?list|white-?\s?list|白名单|not allowed to (?:pull|proxy)|不在.{0,6}名单", re.IGNORECASE
)

_CONNECT = {
    "dns": "HOST_NAME_DEAD",
    "refused": "HOST_REFUSES",
    "connect-timeout": "HOST_BLACK_HOLED",
    "unroutable": "HOST_UNROUTABLE",
    "blocked-address": "HOST_ADDRESS_PRIVATE",
    "proxy": "HOST_PROXY_FAILS",
    "reset": "HOST_REFUSES",
}
_ANSWER = {
    "first-byte-timeout": "HOST_SILENT",
    "stalled": "HOST_STALLS",
    "truncated": "HOST_STALLS",
    "reset": "HOST_STALLS",
    "slow": "HOST_TOO_SLOW",
    "login": "HOST_LOGIN_REFUSED",
    "rate-limited": "HOST_RATE_LIMITED",
    "pull-limit": "HOST_RATE_LIMITED",
    "over-budget": "HOST_RATE_LIMITED",
    "server-error": "HOST_FAILS",
    "not-a-registry": "HOST_NOT_A_REGISTRY",
    "protocol": "HOST_NOT_A_REGISTRY",
    "redirect": "HOST_LEADS_ASTRAY",
    "wrong-content": "HOST_WRONG_BYTES",
}
# No way to a machine that the host led to.
_UNREACHABLE = frozenset({*_CONNECT, "tls", "first-byte-timeout"})


def failure_of(report: HostReport) -> str | None:
    """The code of what ended the way; None: the image arrives."""
    error = report.error
    if error is None:
        return None
    part = ended_at(report)
    if part in ("dns", "connect"):
        return _CONNECT.get(error.outcome, "HOST_UNROUTABLE")
    if part == "tls":
        return _of_certificate(report.certificate, report.host.base.host) or _of_handshake(error)
    if part == "login":
        return _of_login(error.outcome, error.status, report.realm)
    if part == "redirect" or error.behind is not None:
        return "HOST_CDN_BLOCKED" if error.outcome in _UNREACHABLE else _of_storage(error.outcome)
    if error.outcome in ("denied", "missing"):
        return _of_refusal(error.outcome, error.message, part)
    return _ANSWER.get(error.outcome, "HOST_FAILS")


def is_left_out(report: HostReport) -> bool:
    """Whether the host's own settings keep it from being asked."""
    error = report.error
    return error is not None and error.outcome == "missing" and error.status is None


def ended_at(report: HostReport) -> Part | None:
    """The part of the way that ended it; None: it was gone to its end."""
    if report.error is None:
        return None
    broken = [step.part for step in report.steps if step.outcome == report.error.outcome]
    return broken[-1] if broken else "manifest"


def _of_handshake(error: HostError) -> str:
    is_cut = error.outcome == "reset" or UNFINISHED in error.message
    return "HOST_TLS_CUT" if is_cut else "HOST_TLS_FAILS"


def _of_certificate(certificate: Certificate | None, name: str) -> str | None:
    """None: it is not the certificate's fault."""
    if certificate is None or certificate.problem is None:
        return None
    if certificate.code in HOSTNAME_MISMATCH:
        return "HOST_CERTIFICATE_FOREIGN"
    if certificate.code == EXPIRED:
        return "HOST_CERTIFICATE_EXPIRED"
    if certificate.code == EARLY:
        return "HOST_CERTIFICATE_EARLY"
    if not is_for(certificate, name):
        return "HOST_CERTIFICATE_FOREIGN"
    return "HOST_CERTIFICATE_UNKNOWN"


def is_for(certificate: Certificate, name: str) -> bool:
    """Whether ``name`` is among its names; ``*`` stands for one label, at the beginning."""
    parent = name.partition(".")[2]
    wanted = {name.lower(), f"*.{parent.lower()}"} if parent else {name.lower()}
    return any(each.lower().rstrip(".") in wanted for each in certificate.names)


def _of_login(outcome: str, status: int | None, realm: str | None) -> str:
    if outcome == "login":
        return "HOST_LOGIN_REFUSED"
    if outcome == "rate-limited":
        return "HOST_RATE_LIMITED"
    if outcome in _UNREACHABLE or outcome == "slow":
        return "HOST_TOKEN_BLOCKED"
    return "HOST_LOGIN_WANTED" if status == 401 and realm is None else "HOST_TOKEN_FAILS"


def _of_storage(outcome: str) -> str:
    if outcome in ("wrong-content", "redirect", "stalled", "truncated", "slow"):
        return _ANSWER[outcome]
    return "HOST_CDN_FAILS"


def _of_refusal(outcome: str, message: str, part: Part | None) -> str:
    if outcome == "denied" and _ALLOW_LIST.search(message):
        return "HOST_ALLOW_LIST"
    if part == "blob":
        return "HOST_BLOB_DENIED" if outcome == "denied" else "HOST_LACKS_BLOB"
    return "HOST_DENIES" if outcome == "denied" else "HOST_LACKS_IMAGE"


def is_low(limit: RateLimit | None) -> bool:
    """Whether hardly anything is left of it."""
    return limit is not None and limit.left <= limit.limit * RATE_LIMIT_LOW
