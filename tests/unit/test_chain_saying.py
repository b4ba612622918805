"""What is told of a chain and of a pull: who fails, who is asked after, what a person sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sampan.doctor.chain.contract import Answer, Ask, Chain, Entry, Outcome
from sampan.doctor.chain.pulling import Pulled
from sampan.doctor.chain.replay import Replayed, Step
from sampan.doctor.chain.saying import about_chain, about_pull, agrees, line
from sampan.doctor.contract import Finding, Unseen
from sampan.oci import Reference

ALPINE = Reference.parse("alpine:3")
A = Entry("https", "a.lan", namespace="docker.io", place="/etc/containerd/certs.d/docker.io/hosts.toml:4")
B = Entry("https", "b.lan", path="/v2/hub", place="/etc/docker/daemon.json:2")
HUB = Entry("https", "registry-1.docker.io", is_origin=True)
OK, BAD = Answer(200), Answer(502)


def chain(family: Any = "containerd", name: str = "containerd") -> Chain:
    return Chain(name, family, ALPINE, (A, HUB))


def step(entry: Entry, answer: Answer, part: Any = "head", **more: Any) -> Step:
    method = "HEAD" if part == "head" else "GET"
    target = entry.target("library/alpine", "manifests" if part != "blob" else "blobs", "3")
    return Step(Ask(entry, part, method, f"{entry.base}{target}"), answer, **more)


def replayed(*steps: Step, printed: str | None = None, of: Chain | None = None) -> Replayed:
    return Replayed(of or chain(), steps, Outcome(printed))


def only(what: Replayed) -> Finding:
    (finding,) = about_chain(what)
    assert isinstance(finding, Finding)
    return finding


def test_a_pull_that_fails_names_the_request_whose_address_is_printed() -> None:
    printed = (
        f"failed to pull: unexpected status from HEAD request to {step(A, BAD).ask.url}: 502 Bad Gateway"
    )
    refused = Answer(failure="dial tcp 192.0.2.1:443: i/o timeout", outcome="connect-timeout")
    finding = only(replayed(step(A, BAD), step(HUB, refused), printed=printed))
    assert (finding.code, finding.subject, finding.level) == ("CHAIN_FAILS", "containerd", "error")
    assert finding.what == (
        "containerd cannot pull docker.io/library/alpine:3: the question what the tag means fails at a.lan"
    )
    assert (finding.file, finding.line) == ("/etc/containerd/certs.d/docker.io/hosts.toml", 4)
    assert finding.about == ("a.lan", "registry-1.docker.io")
    assert finding.evidence == (
        "HEAD https://a.lan/v2/library/alpine/manifests/3?ns=docker.io: 502 Bad Gateway",
        (
            "HEAD https://registry-1.docker.io/v2/library/alpine/manifests/3: "
            "dial tcp 192.0.2.1:443: i/o timeout"
        ),
        f"it prints: {printed}",
    )
    assert finding.why == "every host after it fails as well; of 2 that were asked, one error is printed"


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("docker", "all 2 hosts fail, and the error of the last is printed alone"),
        (
            "containers-image",
            "after the manifest nobody else is asked; before it, each of 2 fails",
        ),
    ],
)
def test_each_family_has_its_own_reason(family: str, why: str) -> None:
    finding = only(replayed(step(A, BAD), step(HUB, BAD), printed="no", of=chain(family, family)))
    assert finding.why == why


def test_one_host_alone_is_asked_after_by_nobody() -> None:
    assert only(replayed(step(A, BAD), printed="no")).why == "nobody else is asked"


def test_a_host_below_a_path_is_called_as_those_who_look_at_it_call_it() -> None:
    finding = only(replayed(step(B, BAD), printed="no"))
    assert finding.about == ("b.lan", "b.lan/hub")
    assert (finding.file, finding.line) == ("/etc/docker/daemon.json", 2)


def test_an_image_that_comes_from_the_first_is_nothing_to_tell() -> None:
    challenge = Answer(401, {"www-authenticate": 'Bearer realm="https://a.lan/token"'})
    assert not list(about_chain(replayed(step(A, challenge), step(A, OK))))
    assert not list(about_chain(replayed(step(A, Answer(405)), step(A, OK, "manifest"))))


def test_an_image_that_comes_from_another_is_a_detour() -> None:
    finding = only(replayed(step(A, BAD), step(HUB, OK), step(A, BAD, "blob"), step(HUB, OK, "blob")))
    assert (finding.code, finding.level) == ("CHAIN_DETOUR", "warning")
    assert finding.what == "containerd gets docker.io/library/alpine:3, after a.lan has failed"
    assert len(finding.evidence) == 4
    assert finding.about == ("a.lan",)


def test_a_host_that_is_passed_over_is_told_with_its_reason() -> None:
    entry = replace(A, unusable="missing key own.key for client certificate own.cert")
    finding = only(Replayed(replace(chain(), entries=(entry, HUB)), (step(HUB, OK),), Outcome()))
    assert (finding.code, finding.level, finding.about) == ("CHAIN_PASSES_OVER", "warning", ("a.lan",))
    assert finding.evidence == (entry.unusable,)
    assert (finding.file, finding.line) == ("/etc/containerd/certs.d/docker.io/hosts.toml", 4)


def test_one_that_goes_on_without_tls_is_no_detour() -> None:
    insecure = replace(A, insecure=True)
    refused = Answer(failure="http: server gave HTTP response to HTTPS client", outcome="tls")
    plain = step(insecure.by_http(), OK)
    assert not list(about_chain(replayed(step(insecure, refused, "ping"), plain)))
    assert only(replayed(step(insecure, refused, "ping"), step(HUB, OK))).code == "CHAIN_DETOUR"


def test_a_pull_that_ends_before_the_first_request() -> None:
    finding = only(replayed(printed="rpc error: no service"))
    assert (finding.code, finding.evidence) == ("CHAIN_ASKS_NOBODY", ("it prints: rpc error: no service",))


def test_what_cannot_be_foretold_is_not_seen() -> None:
    (unseen,) = about_chain(Replayed(chain(), (), None, "the login is not shown"))
    assert isinstance(unseen, Unseen)
    assert unseen.what == "how it gets docker.io/library/alpine:3 is not known: the login is not shown"


def test_a_line_has_no_more_of_a_query_than_the_namespace_and_no_control_characters() -> None:
    signed = Ask(A, "blob", "GET", "https://a.lan/v2/x/blobs/y?X-Signature=hidden")
    assert line(Step(signed, Answer(403))) == "GET https://a.lan/v2/x/blobs/y?…: 403 Forbidden"
    broken = Answer(200, broken="unexpected EOF", behind="cdn.lan")
    assert line(step(B, broken, "blob")).endswith("blobs/3: cdn.lan: 200 OK, unexpected EOF")
    assert "\x1b" not in line(step(B, Answer(failure="a\x1b[2Jb\n")))
    assert line(step(B, Answer(799), times=3)).endswith(": 799 ×3")


# -- a real pull ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foretold", "real"),
    [
        (None, None),
        ("a: not found", "a: not found"),
        ("read tcp …->192.0.2.1:443: reset", "read tcp 192.0.2.7:51324->192.0.2.1:443: reset"),
        ("a", "rpc error: code = Unknown desc = a"),
        ("errors:\nno: a\n", "errors: no: a"),
        ("x509: unknown", "tls: failed to verify certificate: x509: unknown"),
    ],
)
def test_the_same_words_agree(foretold: str | None, real: str | None) -> None:
    assert agrees(foretold, real)


@pytest.mark.parametrize(
    ("foretold", "real"), [(None, "a"), ("a", None), ("a", "b"), ("a", "ab"), ("a…b", "ac"), ("a.b", "axb")]
)
def test_others_do_not(foretold: str | None, real: str | None) -> None:
    assert not agrees(foretold, real)


FAILS = replayed(step(A, BAD), printed="a: not found")


def test_a_pull_that_ends_as_foretold_is_told_once() -> None:
    (finding,) = about_pull(FAILS, Pulled("a: not found"))
    assert (finding.code, finding.evidence) == ("PULL_FAILS", ("a: not found",))
    assert not list(about_pull(replayed(step(A, OK)), Pulled(None)))


def test_a_pull_that_ends_otherwise_is_a_finding_of_its_own() -> None:
    fails, differs = about_pull(replayed(step(A, OK)), Pulled("502 Bad Gateway"))
    assert (fails.code, differs.code, differs.level) == ("PULL_FAILS", "PREDICTION_DIFFERS", "warning")
    assert differs.evidence == ("foretold: the image arrives", "pulled: 502 Bad Gateway")
    (came,) = about_pull(FAILS, Pulled(None))
    assert came.evidence == ("foretold: a: not found", "pulled: the image arrives")


def test_an_image_that_was_there_proves_nothing() -> None:
    assert not list(about_pull(FAILS, Pulled(None, was_there=True)))


def test_what_is_not_foretold_differs_from_nothing() -> None:
    unknown = replace(FAILS, outcome=None, withheld="no")
    assert [finding.code for finding in about_pull(unknown, Pulled("no"))] == ["PULL_FAILS"]
