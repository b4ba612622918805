"""What hosts say, weighed: voices, ties, the registry's own host, signatures."""

from __future__ import annotations

import pytest

from sampan.errors import AllHostsFailed, Attempt, NotFound
from sampan.lock.findings import _age, moment
from sampan.lock.verdict import Saying, Verdict, weigh
from sampan.oci import Digest, Reference
from sampan.upstream.host import Host

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))
ALPINE = Reference.parse("alpine:3")


def says(digest: Digest | None, group: str, *, origin: bool = False) -> Saying:
    host = Host.from_url(f"https://{group}.example", group=group, role="origin" if origin else "mirror")
    if digest is None:
        return Saying(host, failure=AllHostsFailed("x", [Attempt(host.name, "refused", 0.0)]))
    return Saying(host, digest)


def verdict(*sayings: Saying, agree: int = 1, reference: Reference = ALPINE) -> Verdict:
    return weigh(reference, sayings, agree)


def test_one_voice_is_enough_where_one_is_asked_for() -> None:
    found = verdict(says(A, "one"), says(None, "two"))
    assert (found.agreed, found.is_split, found.groups(A)) == (A, False, ("one",))


def test_the_most_voices_count() -> None:
    found = verdict(says(B, "one", origin=True), says(A, "two"), says(A, "three"))
    assert (found.agreed, found.is_split) == (A, True)


def test_of_two_with_equally_many_the_registrys_own_host_decides() -> None:
    assert verdict(says(A, "one"), says(B, "two", origin=True)).agreed == B


def test_a_tie_that_the_registrys_own_host_does_not_break_is_no_agreement() -> None:
    assert verdict(says(A, "one"), says(B, "two"), says(None, "three", origin=True)).agreed is None
    pairs = [says(A, "one"), says(B, "two"), says(A, "three"), says(B, "four")]
    assert verdict(*pairs, says(C, "five", origin=True)).agreed is None


def test_too_few_groups_are_no_agreement() -> None:
    assert verdict(says(A, "one"), says(None, "two"), agree=2).agreed is None
    assert verdict(says(A, "one"), says(A, "two"), agree=2).agreed == A


def test_two_hosts_of_one_operator_are_one_voice_the_first_that_answers() -> None:
    hosts = (says(None, "one"), says(A, "one"), says(B, "one"))
    assert verdict(*hosts, agree=2).agreed is None
    assert (verdict(*hosts).agreed, verdict(*hosts).groups(B)) == (A, ())


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_a_signatures_tag_needs_no_agreement(suffix: str) -> None:
    tag = f"sha256-{A.hex}{suffix}"
    reference = Reference("docker.io", "library/alpine", tag)
    assert verdict(says(B, "one"), says(None, "two"), agree=3, reference=reference).agreed == B


@pytest.mark.parametrize(
    "tag", ["sha256-abc", f"sha256-{A.hex}.exe", f"x-{A.hex}", f"sha256-{A.hex.upper()}"]
)
def test_a_tag_that_only_looks_like_a_signatures_needs_agreement(tag: str) -> None:
    reference = Reference("docker.io", "library/alpine", tag)
    assert verdict(says(B, "one"), agree=2, reference=reference).agreed is None


def test_a_tag_that_every_host_denies_is_denied() -> None:
    denial = Saying(Host.from_url("https://one.example"), failure=NotFound("x", []))
    assert verdict(denial).is_denied
    assert not verdict(denial, says(None, "two")).is_denied
    assert not verdict().is_denied


@pytest.mark.parametrize(
    ("theirs", "agreed", "word"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z", "stale"),
        ("2024-01-02T00:00:00.123456789Z", "2024-01-01T00:00:00Z", "newer"),
        ("2024-01-01T08:00:00+08:00", "2024-01-01T00:00:00Z", "differs"),
        ("", "2024-01-01T00:00:00Z", "differs"),
        ("yesterday", "2024-01-01T00:00:00Z", "differs"),
        ("2024-01-01", "2024-01-01T00:00:00Z", "differs"),
    ],
)
def test_the_older_build_is_stale(theirs: str, agreed: str, word: str) -> None:
    assert _age(moment(theirs), moment(agreed), was_locked=False) == word
    assert _age(moment(theirs), moment(agreed), was_locked=True) == "stale"
