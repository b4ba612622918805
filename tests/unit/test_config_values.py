"""Sizes, durations and addresses as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.config import Address
from sampan.config.address import parse_address
from sampan.config.quantity import parse_duration, parse_size
from sampan.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("50GiB", 50 * 1024**3),
        ("50gib", 50 * 1024**3),
        ("1.5 TiB", 3 * 1024**4 // 2),
        ("10MB", 10_000_000),
        ("1048576B", 1024**2),
        ("2PB", 2 * 10**15),
        ("unlimited", None),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size_bytes: int | None) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "50",
        "GiB",
        "50G",
        "50 Gi",
        "-1GiB",
        "1e9GiB",
        "1,5GiB",
        "٥GiB",
        "50GiB ",
        "inf",
        "nan GiB",
        "1.GiB",
        "9" * 400 + "GiB",
    ],
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a size, got") as caught:
        parse_size(text)
    assert "50GiB" in (caught.value.hint or "")
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("text", ["1KiB", "0GiB", "999999PiB"])
def test_a_size_that_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a size from 1MiB to 1024PiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("90s", 90),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("0s", 0),
        ("forever", math.inf),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "5M", "5min", "for ever", "1e3s", "٥m", "5m" * 5000]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration, got") as caught:
        parse_duration(text)
    assert "5m" in (caught.value.hint or "")


def test_a_duration_longer_than_ten_years_is_forever() -> None:
    with pytest.raises(ConfigError, match="at most ten years") as caught:
        parse_duration("1000w")
    assert caught.value.hint == 'without end is "forever"'


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback", "everywhere"),
    [
        ("127.0.0.1:5050", "127.0.0.1", 5050, True, False),
        ("127.8.8.8:1", "127.8.8.8", 1, True, False),
        ("[::1]:5050", "::1", 5050, True, False),
        ("localhost:0", "localhost", 0, True, False),
        ("LocalHost:80", "localhost", 80, True, False),
        (":5050", "", 5050, False, True),
        ("0.0.0.0:5050", "0.0.0.0", 5050, False, True),
        ("[::]:5050", "::", 5050, False, True),
        ("10.0.0.1:65535", "10.0.0.1", 65535, False, False),
        ("mirror.lan:80", "mirror.lan", 80, False, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False, False),
    ],
)
def test_an_address_is_a_host_and_a_port(
    text: str, host: str, port: int, loopback: bool, everywhere: bool
) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert (address.is_loopback, address.is_everywhere) == (loopback, everywhere)
    assert str(address).lower() == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5050",
        "127.0.0.1",
        "::1:5050",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:٥",
        "[127.0.0.1]:1",
        "[]:1",
        "[zz]:1",
        "1.2.3.400:1",
        "127.1:1",
        "a b:1",
        "http://a:1",
        "a:1\n",
        "\0:1",
        "x" * 300 + ":1",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT") as caught:
        parse_address(text)
    assert "[::1]:5050" in (caught.value.hint or "")


@pytest.mark.parametrize("parse", [parse_size, parse_duration, parse_address])
@given(text=st.text(max_size=60))
def test_any_text_is_a_value_or_an_error(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert error.hint  # noqa: PT017 - any text may also be right
