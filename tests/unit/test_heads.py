"""Which hosts are asked by HEAD."""

from __future__ import annotations

from sampan.upstream.heads import HOSTS_REMEMBERED_MAX, Heads

PATH = "/v2/library/alpine/manifests/3"


def test_of_a_host_that_was_never_asked_nothing_is_known() -> None:
    assert Heads().answers("a") is None


def test_a_404_means_that_head_is_missing_when_get_gives_the_same_thing() -> None:
    heads = Heads()
    heads.doubt("a", PATH)
    assert heads.answers("a") is None
    heads.given("a", PATH)
    assert heads.answers("a") is False


def test_a_404_says_nothing_when_get_gives_another_thing_or_another_host_does() -> None:
    heads = Heads()
    heads.doubt("a", PATH)
    heads.given("a", "/v2/library/alpine/manifests/edge")
    heads.given("b", PATH)
    assert heads.answers("a") is heads.answers("b") is None


def test_a_404_means_that_the_manifest_was_missing_when_head_gives_another() -> None:
    heads = Heads()
    heads.doubt("a", PATH)
    heads.note("a", useful=True)
    heads.given("a", PATH)  # it came later
    assert heads.answers("a") is True


def test_what_strangers_choose_does_not_fill_the_memory() -> None:
    heads = Heads()
    heads.note("a", useful=False)
    for number in range(HOSTS_REMEMBERED_MAX):
        heads.note(str(number), useful=True)
        heads.doubt(str(number), PATH)
    assert heads.answers("a") is None
