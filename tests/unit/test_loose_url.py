"""URLs as they stand in other programs' files."""

from __future__ import annotations

import pytest

from sampan.oci.loose_url import NOTHING, port_of, split_loosely


def test_what_is_a_url_has_its_parts() -> None:
    parts = split_loosely("https://a.example:5000/v2/docker.io")
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "a.example:5000", "/v2/docker.io")
    assert port_of(parts) == 5000
    assert port_of(split_loosely("https://a.example/")) is None


@pytest.mark.parametrize("text", ["http://[", "https://a]b/", "https://[m.example]x/", "https://a\u2100b/"])
def test_what_is_none_has_none(text: str) -> None:
    assert split_loosely(text) == NOTHING


@pytest.mark.parametrize("text", ["http://a:99999/", "http://a:-1/", "http://a:x/", "http://a:\u0663/"])
def test_a_port_that_there_cannot_be_is_none(text: str) -> None:
    assert port_of(split_loosely(text)) in (None, 3)
