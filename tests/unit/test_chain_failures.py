"""What our own client met, in the words of the Go programs. That they are theirs is held by recordings."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import replace

import pytest

from sampan.doctor.chain.failures import PLAIN_HTTP, Met, in_go
from sampan.errors import HostError, Interrupted, NotARegistry, TimedOut, Unreachable
from sampan.upstream.certificate import Certificate
from sampan.upstream.url import parse_url

URL = parse_url("https://a.lan/v2/")
MET = Met(URL, "192.0.2.1", nameserver="10.0.0.1")
SHOWN = Certificate("a.lan", "somebody", ("b.lan", "c.lan"), 1_700_000_000.0, 1_710_000_000.0)


def unreachable(outcome: str, cause: BaseException | None = None) -> HostError:
    error = Unreachable("in our words", outcome=outcome)
    error.__cause__ = cause
    return error


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def handshake_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "it failed")
    error.reason = reason
    return error


def system(number: int) -> OSError:
    return OSError(number, "no")


CASES = {
    "no such name": (
        unreachable("dns", socket.gaierror(socket.EAI_NONAME, "no")),
        "dial tcp: lookup a.lan on 10.0.0.1:53: no such host",
    ),
    "a nameserver that is silent": (
        unreachable("dns", TimeoutError()),
        "dial tcp: lookup a.lan on 10.0.0.1:53: read udp …: i/o timeout",
    ),
    "nobody answers the connection": (
        unreachable("connect-timeout", TimeoutError()),
        "dial tcp 192.0.2.1:443: i/o timeout",
    ),
    "refused": (
        unreachable("refused", system(errno.ECONNREFUSED)),
        "dial tcp 192.0.2.1:443: connect: connection refused",
    ),
    "refused, for a reason that is lost": (
        unreachable("refused"),
        "dial tcp 192.0.2.1:443: connect: connection refused",
    ),
    "no route": (
        unreachable("unroutable", system(errno.EHOSTUNREACH)),
        "dial tcp 192.0.2.1:443: connect: no route to host",
    ),
    "no network": (
        unreachable("unroutable", system(errno.ENETUNREACH)),
        "dial tcp 192.0.2.1:443: connect: network is unreachable",
    ),
    "HTTP where TLS was wanted": (unreachable("tls", handshake_error("WRONG_VERSION_NUMBER")), PLAIN_HTTP),
    "a handshake without an end": (unreachable("tls"), "net/http: TLS handshake timeout"),
    "an alert": (
        unreachable("tls", handshake_error("SSLV3_ALERT_HANDSHAKE_FAILURE")),
        "remote error: tls: … (sslv3 alert handshake failure)",
    ),
    "an authority that nobody knows": (
        unreachable("tls", certificate_error(20)),
        "x509: certificate signed by unknown authority",
    ),
    "another's certificate": (
        unreachable("tls", certificate_error(62)),
        "x509: certificate is valid for b.lan, c.lan, not a.lan",
    ),
    "an expired one": (
        unreachable("tls", certificate_error(10)),
        "x509: certificate has expired or is not yet valid: current time … is after 2024-03-09T16:00:00Z",
    ),
    "one of tomorrow": (
        unreachable("tls", certificate_error(9)),
        "x509: certificate has expired or is not yet valid: current time … is before 2023-11-14T22:13:20Z",
    ),
    "a reset": (
        Unreachable("in our words", outcome="reset"),
        "read tcp …->192.0.2.1:443: read: connection reset by peer",
    ),
    "a connection that is closed": (Interrupted("in our words", outcome="truncated"), "EOF"),
    "silence": (TimedOut("in our words", outcome="first-byte-timeout"), "… ("),
    "too many redirects": (NotARegistry("in our words", outcome="redirect"), "… ("),
}


@pytest.mark.parametrize("case", CASES)
def test_each_failure_has_the_words_of_go(case: str) -> None:
    error, wanted = CASES[case]
    said = in_go(error, replace(MET, certificate=SHOWN))
    assert said.startswith(wanted) if wanted.endswith("(") else said == wanted


def test_an_error_of_the_system_is_found_below_those_of_libraries() -> None:
    below = RuntimeError("of a library")
    below.__cause__ = system(errno.ECONNREFUSED)
    assert in_go(unreachable("refused", below), MET).endswith("connect: connection refused")


def test_an_address_of_six_is_in_brackets_and_one_that_is_not_known_is_left_open() -> None:
    error = unreachable("connect-timeout")
    assert in_go(error, replace(MET, address="2001:db8::1")) == "dial tcp [2001:db8::1]:443: i/o timeout"
    assert in_go(error, replace(MET, address=None)) == "dial tcp …:443: i/o timeout"


def test_a_certificate_that_was_not_seen_leaves_its_times_open() -> None:
    said = in_go(unreachable("tls", certificate_error(10)), MET)
    assert said == "x509: certificate has expired or is not yet valid: current time … is …"
