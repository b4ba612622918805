"""Reports that no test brings about on the wire; the rules of certificates, tags and limits by themselves."""

from __future__ import annotations

import itertools

import pytest

from looking import ALPINE
from sampan.doctor.contract import Certificate, HostReport, Part, RateLimit, Step
from sampan.doctor.hosts.failing import failure_of, is_for, is_low
from sampan.doctor.hosts.kinds import KINDS
from sampan.doctor.hosts.tags import compare
from sampan.doctor.order import ORDER
from sampan.errors import HostError, NotARegistry, TimedOut, Unreachable
from sampan.oci import Digest
from sampan.upstream.host import Host

FAR = Host.from_url("https://mirror.example")


def ended(part: Part, error: HostError, certificate: Certificate | None = None) -> HostReport:
    names = ALPINE.registry, ALPINE.repository, ALPINE.object
    step = Step(part, error.outcome, 0.1, "…")
    return HostReport(FAR, *names, (step,), certificate=certificate, error=error)


def certificate(*names: str, problem: str | None = "no", code: int | None = None) -> Certificate:
    return Certificate("me", "an authority", names, 0.0, 1.0, problem, code)


@pytest.mark.parametrize(
    ("part", "error", "code"),
    [
        ("connect", Unreachable("no route", outcome="unroutable"), "HOST_UNROUTABLE"),
        ("connect", Unreachable("the proxy", outcome="proxy"), "HOST_PROXY_FAILS"),
        ("connect", Unreachable("something new", outcome="new"), "HOST_UNROUTABLE"),
        ("tls", Unreachable("TLS: wrong version number", outcome="tls"), "HOST_TLS_FAILS"),
        ("blob", TimedOut("not done", outcome="slow"), "HOST_TOO_SLOW"),
        ("blob", NotARegistry("something new", outcome="new"), "HOST_FAILS"),
    ],
)
def test_what_is_rare_has_a_name_too(part: Part, error: HostError, code: str) -> None:
    assert failure_of(ended(part, error)) == code


def test_every_kind_has_its_place_in_the_doctors_order() -> None:
    assert [code for code in KINDS if code not in ORDER] == []


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (certificate("mirror.example", code=10), "HOST_CERTIFICATE_EXPIRED"),
        (certificate("mirror.example", code=9), "HOST_CERTIFICATE_EARLY"),
        (certificate("other.example", code=62), "HOST_CERTIFICATE_FOREIGN"),
        (certificate("other.example", code=64), "HOST_CERTIFICATE_FOREIGN"),
        (certificate("other.example", code=20), "HOST_CERTIFICATE_FOREIGN"),
        (certificate("mirror.example", code=18), "HOST_CERTIFICATE_UNKNOWN"),
        (certificate("mirror.example", problem=None), "HOST_TLS_FAILS"),
    ],
)
def test_certificates_are_told_apart_by_openssls_number_and_their_names(
    shown: Certificate, code: str
) -> None:
    assert failure_of(ended("tls", Unreachable("TLS: no", outcome="tls"), shown)) == code


@pytest.mark.parametrize(
    ("names", "name", "fits"),
    [
        (("mirror.example",), "mirror.example", True),
        (("MIRROR.example.",), "mirror.Example", True),
        (("*.mirror.example",), "hub.mirror.example", True),
        (("*.mirror.example",), "a.hub.mirror.example", False),
        (("*.mirror.example",), "mirror.example", False),
        (("127.0.0.1",), "127.0.0.1", True),
        ((), "mirror.example", False),
        (("*.",), "localhost", False),
    ],
)
def test_a_certificate_is_for_the_names_in_it(names: tuple[str, ...], name: str, fits: bool) -> None:
    assert is_for(certificate(*names), name) is fits


@pytest.mark.parametrize(
    ("limit", "low"),
    [(RateLimit(100, 11), False), (RateLimit(100, 10), True), (RateLimit(0, 0), True), (None, False)],
)
def test_a_limit_is_low_when_a_tenth_is_left(limit: RateLimit | None, low: bool) -> None:
    assert is_low(limit) is low


# -- tags -----------------------------------------------------------------------------------------

OLD, NEW, ODD = (Digest.of(text) for text in (b"old", b"new", b"odd"))


def holds(digest: Digest | None, created: float | None = None, *, origin: bool = False) -> HostReport:
    names = ALPINE.registry, ALPINE.repository, ALPINE.object
    host = Host.from_url("https://mirror.example", role="origin" if origin else "mirror")
    return HostReport(host, *names, (), digest=digest, created=created)


def standings(*reports: HostReport) -> list[str | None]:
    comparison = compare(reports)
    return [comparison.standing(report) for report in reports]


def test_hosts_that_agree_are_right() -> None:
    assert standings(holds(NEW), holds(NEW), holds(None)) == ["right", "right", None]


def test_the_youngest_is_right_where_all_ages_are_known() -> None:
    assert standings(holds(OLD, 1.0), holds(NEW, 2.0), holds(OLD, 1.0)) == ["stale", "right", "stale"]


def test_nobody_is_accused_where_an_age_is_unknown_or_the_same() -> None:
    assert standings(holds(OLD, 1.0), holds(NEW)) == ["differs", "differs"]
    assert standings(holds(OLD, 1.0), holds(NEW, 1.0)) == ["differs", "differs"]


def test_the_origins_word_counts_however_old_its_image_is() -> None:
    assert standings(holds(OLD, 1.0, origin=True), holds(NEW, 2.0)) == ["right", "differs"]
    assert standings(holds(NEW, 2.0, origin=True), holds(OLD, 1.0), holds(ODD)) == [
        "right",
        "stale",
        "differs",
    ]


def test_the_order_of_hosts_is_no_matter() -> None:
    reports = [holds(OLD, 1.0), holds(NEW, 2.0), holds(ODD, 3.0)]
    assert {compare(order).right for order in itertools.permutations(reports)} == {ODD}
