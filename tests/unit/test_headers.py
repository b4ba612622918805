"""Header values: what each says, and that nonsense says nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from effort import GROWTH_MAX, SIZE_FACTOR, Claiming, growth
from sampan.errors import UnsatisfiableRange
from sampan.oci.headers import (
    ACCEPT_CHARACTERS_MAX,
    LINK_CHARACTERS_MAX,
    PAGE_SIZE_MAX,
    RANGE_CHARACTERS_MAX,
    RETRY_AFTER_SECONDS_MAX,
    WINDOW_SECONDS_MAX,
    Allowance,
    ByteRange,
    accepts,
    parse_allowance,
    parse_content_range,
    parse_link_next,
    parse_page_size,
    parse_range,
    parse_retry_after,
)

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=5-", 5, 100),
        ("bytes=99-", 99, 100),
        ("bytes=99-1000", 99, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-1000", 0, 100),
        (f"bytes=0-{10**30}", 0, 100),
        (f"bytes=-{10**30}", 0, 100),
        ("bytes=000-009", 0, 10),
        (" Bytes=5-9\t", 5, 10),
        ("bytes= 5-9", 5, 10),
    ],
)
def test_a_single_range_is_cut_to_what_there_is(header: str, start: int, stop: int) -> None:
    assert parse_range(header, 100) == ByteRange(start, stop)


@pytest.mark.parametrize(
    "header",
    [
        *(
            None,
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=--5",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1.0-2",
        ),
        *(
            "items=0-5",
            "bytes:0-5",
            "bytes=0 - 5",
            "bytes=0-5;",
            "bytes=٣-",
            "bytes=３-",
            "byteſ=0-5",
            "bytes=0x1-2",
        ),
        *("bytes=0-0,5-9", "bytes=0-0,", "bytes=" + "0-0," * 10_000, "bytes=" + "9" * 1_000_000 + "-"),
    ],
)
def test_several_ranges_and_nonsense_mean_everything(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    "header", ["bytes=500-0", "bytes=9-8", "bytes=100-", "bytes=5000-10000", "bytes=-0", f"bytes={10**30}-"]
)
def test_a_range_of_nothing_that_is_there_is_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRange) as caught:
        parse_range(header, 100)
    assert caught.value.size_bytes == 100


def test_of_no_bytes_none_can_be_had_but_all_can_be_sent() -> None:
    assert parse_range("bytes=-5", 0) is None
    for header in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(UnsatisfiableRange):
            parse_range(header, 0)


def test_a_range_says_its_size_and_its_content_range() -> None:
    assert ByteRange(5, 10).size == 5
    assert ByteRange(5, 10).content_range(100) == "bytes 5-9/100"
    assert parse_content_range(ByteRange(5, 10).content_range(100)) == (5, 10, 100)


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        ("bytes 0-99/200", (0, 100, 200)),
        ("bytes 0-99/100", (0, 100, 100)),
        ("bytes 5-5/*", (5, 6, None)),
        (" BYTES  5-5/* ", (5, 6, None)),
        (None, None),
        ("", None),
        ("bytes */200", None),
        ("bytes 9-5/200", None),
        ("bytes 0-200/200", None),
        ("bytes 0-9", None),
        ("bytes=0-9/10", None),
        ("items 0-9/10", None),
        ("bytes 0-٩/10", None),
        ("bytes -1-9/10", None),
        (f"bytes 0-9/{10**30}", None),
        ("bytes 0-9/10, bytes 0-9/10", None),
        ("bytes 0-9/" + "1" * 1_000_000, None),
    ],
)
def test_a_content_range_is_half_open_or_nothing(
    header: str | None, parsed: tuple[int, int, int | None] | None
) -> None:
    assert parse_content_range(header) == parsed


@pytest.mark.row("37")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("1000000000000", RETRY_AFTER_SECONDS_MAX),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("Tue Nov 14 22:14:20 2023", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_SECONDS_MAX),
        (None, None),
        ("", None),
        ("-5", None),
        ("1e12", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("٣", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ("Tue, 14 Nov 99999999999 22:14:20 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +9959", None),
        ("9" * 1_000_000, None),
    ],
)
def test_a_retry_after_is_clamped_or_nothing(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("</v2/a>;rel=next", "/v2/a"),
        ("</v2/a> ; REL = Next", "/v2/a"),
        ('</a>; rel="prev", </b>; title="x, </c>"; rel="last next"', "/b"),
        ('<https://cdn.example/b?x=1>; foo; rel="next"', "https://cdn.example/b?x=1"),
        ('</a>; rel="next", </b>; rel="next"', "/a"),
        ('</a>; title="; rel=next", </b>; rel=next', "/b"),
        (None, None),
        ("", None),
        ("</a>", None),
        ('</a>; rel="nextish"', None),
        ('/a; rel="next"', None),
        ('<>; rel="next"', None),
        ('</a b>; rel="next"', None),
        ('</a\r\nX: y>; rel="next"', None),
        ('</é>; rel="next"', None),
        ("<" + "a" * 3000 + '>; rel="next"', None),
        ("</a>; rel=next" + " " * 10_000, None),
    ],
)
def test_the_next_page_is_the_first_link_of_that_relation(header: str | None, url: str | None) -> None:
    assert parse_link_next(header) == url


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, True),
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("application/json", True),
        ("text/html, Application/JSON;q=0.5", True),
        ("text/html, application/json;q=0", False),
        ("text/html, application/json; q=0.000; x=y", False),
        ("text/html", False),
        (",;,=", False),
        ("x," * 500_000 + "application/json", False),
    ],
)
def test_what_a_client_accepts_is_read_so_far(header: str | None, accepted: bool) -> None:
    assert accepts(header, "application/json") is accepted


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(
            (None, None),
            ("", None),
            ("abc", None),
            ("-1", None),
            ("1.5", None),
            ("٣", None),
            ("0", 0),
            ("10", 10),
        ),
        *(("99999999999", PAGE_SIZE_MAX), ("9" * 1_000_000, PAGE_SIZE_MAX)),
    ],
)
def test_a_page_size_is_clamped_or_nothing(text: str | None, size: int | None) -> None:
    assert parse_page_size(text) == size


@pytest.mark.row("20", "25", "37")
@pytest.mark.parametrize(
    "filler", ["<", "</a>", "</a>;", ';a="', '</a>;a="b"', "<a>;a=", "; ", "a;=", " ", '"']
)
@pytest.mark.parametrize(
    ("parse", "length"),
    [
        (lambda text: parse_range(text, 100), RANGE_CHARACTERS_MAX),
        (parse_content_range, RANGE_CHARACTERS_MAX),
        (lambda text: parse_retry_after(text, NOW), RANGE_CHARACTERS_MAX),
        (parse_link_next, LINK_CHARACTERS_MAX),
        (lambda text: accepts(text, "application/json"), ACCEPT_CHARACTERS_MAX),
    ],
)
def test_a_hostile_header_costs_no_more_than_its_length(
    parse: Callable[[str], object], length: int, filler: str
) -> None:
    def work(length: int) -> Callable[[], object]:
        text = (filler * length)[:length]
        return lambda: parse(text)

    assert growth(work, length // SIZE_FACTOR) < GROWTH_MAX


def test_a_header_of_a_megabyte_is_not_read() -> None:
    assert parse_range("bytes=0-9", 100)
    assert parse_range(Claiming("bytes=0-9", 1_000_000), 100) is None
    assert parse_content_range("bytes 0-9/100")
    assert parse_content_range(Claiming("bytes 0-9/100", 1_000_000)) is None
    assert parse_retry_after("10", NOW)
    assert parse_retry_after(Claiming("10", 1_000_000), NOW) is None
    assert parse_link_next('</v2/?n=1>; rel="next"')
    assert parse_link_next(Claiming('</v2/?n=1>; rel="next"', 1_000_000)) is None
    assert accepts("text/html," * ACCEPT_CHARACTERS_MAX + "application/json", "application/json") is False


@pytest.mark.parametrize(
    ("header", "count", "window_seconds"),
    [
        ("100;w=21600", 100, 21600),
        ("0;w=21600", 0, 21600),
        (" 76 ; w=21600 ", 76, 21600),
        ("200", 200, None),
        (f"1;w={WINDOW_SECONDS_MAX}", 1, WINDOW_SECONDS_MAX),
    ],
)
def test_an_allowance_is_a_count_in_a_window(header: str, count: int, window_seconds: int | None) -> None:
    assert parse_allowance(header) == Allowance(count, window_seconds)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "-1;w=21600",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        "100;w=0",
        "100;w=-1",
        "100;w=",
        "100;w=21600;w=1",
        f"100;w={WINDOW_SECONDS_MAX + 1}",
        "100;w=21600, 200;w=86400",
        "100;burst=5",
        "١٠٠;w=٢١٦٠٠",
        "1" * 10,
        "100;w=21600" + " " * RANGE_CHARACTERS_MAX,
        "100\r\nX: y",
        "100\x00",
    ],
)
def test_an_allowance_that_is_none_says_nothing(header: str | None) -> None:
    assert parse_allowance(header) is None
