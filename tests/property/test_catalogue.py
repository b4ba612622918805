"""Whatever stands in a catalogue or comes from a nameserver: a value, or an error of ours."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from sampan.cli.columns import cell, width, wrap
from sampan.config.catalogue import parse_catalogue
from sampan.config.running import read_health
from sampan.errors import ConfigError
from sampan.upstream.nameserver import NameserverError, read_answer

LINES = st.sampled_from(
    ['updated = "2026-01-01"', "[[mirror]]", 'url = "https://m.example"', 'url = "{registry}"',
     'form = "host"', 'registries = ["docker.io"]', "registries = [5]", 'group = ""', "source = 1",
     'last_verified = "2026-01-01"', 'source = "x"', 'needs = ["account"]', "max_connections = 0",
     'repositories = { "a" = "B" }', 'allow = ["***"]', '[registry."docker.io"]', "first_seen = 1",
     '[registry."Docker IO"]', 'sample = "a@b"', 'origin = "ftp://x"']
)  # fmt: skip
ANSWERED = st.binary(max_size=200).map(lambda rest: struct.pack("!6H", 1, 0x8180, 1, 3, 0, 0) + rest)


@given(st.text(max_size=300) | st.lists(LINES, max_size=20).map("\n".join))
def test_any_text_is_a_catalogue_or_an_error_that_names_it(text: str) -> None:
    try:
        parse_catalogue(text, "c.toml")
    except ConfigError as error:
        named = error.message.startswith("c.toml")
        assert named, error.message  # noqa: PT017 - either may happen


@given(st.binary(max_size=300) | ANSWERED)
def test_any_packet_is_addresses_or_an_error(packet: bytes) -> None:
    for kind in (1, 28):
        try:
            found = read_answer(packet, kind)
        except (NameserverError, IndexError, ValueError, struct.error):
            continue  # as Nameserver tells them
        assert all(isinstance(address, str) for address in found)


@given(st.text(max_size=300))
def test_any_metrics_are_read(text: str) -> None:
    for health in read_health(text + '\nsampan_host_state{host="a",state="open"} 1.0').values():
        assert health.state in ("ready", "demoted", "open")


@given(st.text(max_size=100), st.integers(2, 40))
def test_any_text_fits_its_column(text: str, columns: int) -> None:
    assert width(cell(text, columns)) == columns
    assert all(width(line) <= columns for line in wrap(text, columns))
