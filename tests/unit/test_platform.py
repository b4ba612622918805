"""Platforms: which spellings are one machine, and which images run on it."""

from __future__ import annotations

import pytest

from sampan.errors import UsageError
from sampan.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i686", "linux/386"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_a_platform_is_read_with_gos_names_or_unames(text: str, canonical: str) -> None:
    assert str(Platform.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux amd64", "linux/é", "a/\x1b", "linux/" + "a" * 10**6],
)
def test_what_is_no_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a platform") as caught:
        Platform.parse(text)
    assert "linux/amd64" in str(caught.value.hint)
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64", "linux/arm64/8"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/amd64", "linux/amd64/v1"),
        ("linux/aarch64", "linux/arm64"),
    ],
)
def test_two_spellings_of_one_machine_match(one: str, other: str) -> None:
    assert Platform.parse(one).matches(Platform.parse(other))
    assert Platform.parse(other).matches(Platform.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("linux/amd64", "linux/arm64"),
        ("linux/amd64", "windows/amd64"),
        ("linux/arm/v7", "linux/arm/v6"),
        ("linux/amd64", "linux/386"),
        ("linux/amd64", "unknown/unknown"),
    ],
)
def test_different_machines_do_not_match(one: str, other: str) -> None:
    assert not Platform.parse(one).matches(Platform.parse(other))


def test_a_name_of_uname_in_an_index_matches_too() -> None:
    assert Platform("linux", "arm64").matches(Platform("linux", "aarch64"))


def test_the_version_of_a_system_counts_up_to_its_build() -> None:
    here = Platform("windows", "amd64", os_version="10.0.17763.5")
    assert here.matches(Platform("windows", "amd64", os_version="10.0.17763.9"))
    assert here.matches(Platform("windows", "amd64"))
    assert not here.matches(Platform("windows", "amd64", os_version="10.0.20348.1"))


@pytest.mark.parametrize(
    ("machine", "image", "preference"),
    [
        ("linux/arm/v7", "linux/arm/v7", 0),
        ("linux/arm/v7", "linux/arm/v6", 1),
        ("linux/arm/v7", "linux/arm/v5", 2),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/amd64/v3", "linux/amd64", 2),
        ("linux/amd64", "linux/amd64/v2", None),
        ("linux/arm64", "linux/arm/v7", None),
    ],
)
def test_older_variants_run_on_newer_machines_and_not_the_reverse(
    machine: str, image: str, preference: int | None
) -> None:
    assert Platform.parse(machine).preference(Platform.parse(image)) == preference
