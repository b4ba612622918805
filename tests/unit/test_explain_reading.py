"""How a pasted text is read: colours, frames, escapes, lines that a terminal broke; and how much of it."""

from __future__ import annotations

import json

import pytest

from explained import codes
from sampan.doctor.explain.text import (
    LINES_JOINED_MAX,
    LINES_MAX,
    PIECE_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
    clean,
    pieces,
)

REFUSED = (
    'failed to do request: Head "https://mirror.example/v2/library/alpine/manifests/3?ns=docker.io": dial tcp'
    " 203.0.113.7:443: connect: connection refused"
)


def wrapped(text: str, width: int, indent: str = "") -> str:
    return f"\n{indent}".join(text[at : at + width] for at in range(0, len(text), width))


def as_log(text: str) -> str:
    quoted = json.dumps(text)
    return f'time="2026-11-26T10:00:00Z" level=error msg="PullImage \\"alpine:3\\" failed" error={quoted}'


@pytest.mark.parametrize(
    "text",
    [
        REFUSED,
        f"\x1b[31mERROR\x1b[0m {REFUSED}\x1b[K",
        f"\x1b]0;title\x07{REFUSED}",
        f"[33mWARN[0m {REFUSED}",
        f"│ {REFUSED} │",
        as_log(REFUSED),
        as_log(as_log(REFUSED)),
        json.dumps({"log": as_log(REFUSED) + "\n", "stream": "stderr"}),
        json.dumps({"message": REFUSED.replace("/", "\\/")}).replace("\\\\/", "\\/"),
        REFUSED.replace('"', "“"),
        REFUSED.replace(" ", "\xa0"),
        wrapped(REFUSED, 80),
        wrapped(REFUSED, 67),
        wrapped(REFUSED, 72, "        "),
        REFUSED.replace(": ", ":\n"),
        f"> {REFUSED}",
        f"Nov 26 10:00:00 node1 containerd[812]: {as_log(REFUSED)}\r\n",
        f'  Warning  Failed  3s (x2 over 20s)  kubelet  Failed to pull image "alpine:3": {REFUSED}',
        REFUSED.upper(),
    ],
)  # fmt: skip
def test_an_error_is_known_whatever_it_came_through(text: str) -> None:
    assert codes(text) == ["CONNECTION_REFUSED"]


def test_errors_on_lines_of_their_own_are_errors_of_their_own() -> None:
    other = REFUSED.replace("mirror.example", "other.example")
    assert codes(f"{REFUSED}\n{other}\n{REFUSED}") == ["CONNECTION_REFUSED", "CONNECTION_REFUSED"]


def test_a_registrys_words_on_the_next_line_are_of_the_same_error() -> None:
    text = (
        'failed to pull and unpack image "docker.io/library/alpine:3": failed to copy: httpReadSeeker: failed'
        " open: unexpected status from GET request to"
        " https://mirror.example/v2/library/alpine/blobs/sha256:x?ns=docker.io:"
        " 403 Forbidden\ndenied: this image is not in the allowlist"
        "\ndenied: this image is not in the allowlist"
    )
    (piece,) = pieces(text)
    assert piece.text.count("allowlist") == 2
    assert codes(text) == ["NOT_ON_ALLOW_LIST"]


def test_what_moves_a_cursor_is_gone() -> None:
    assert clean("a\x1b[2Jb\x1b]8;;http://x\x1b\\c\x07\x00\u202ed\ufeff") == "abc   d "


def test_pieces_are_bounded_whatever_the_text() -> None:
    for text in (
        "a" * 3 * TEXT_CHARACTERS_MAX,
        'x"\n' * 100_000,
        "b:\n" * 100_000,
        "\n".join(map(str, range(10**6))),
    ):
        found = list(pieces(text))
        assert len(found) <= LINES_MAX
        longest = max(len(reading) for piece in found for reading in piece.readings)
        assert longest <= PIECE_CHARACTERS_MAX
    assert len(list(pieces("c:\n" * LINES_JOINED_MAX * 2))) == 2


def test_of_a_text_that_is_too_long_the_end_is_read() -> None:
    assert codes(f"{REFUSED}\n{'x' * 79}\n" * (TEXT_CHARACTERS_MAX // 100) + "toomanyrequests: x")[-1:] == [
        "RATE_LIMITED"
    ]
    assert codes(f"toomanyrequests: x\n{'y' * TEXT_CHARACTERS_MAX}") == []


def test_an_error_on_the_seam_of_two_pieces_is_found() -> None:
    for start in range(PIECE_CHARACTERS_MAX - 300, PIECE_CHARACTERS_MAX, 50):
        assert codes(f"{'z ' * (start // 2)}{REFUSED}") == ["CONNECTION_REFUSED"]
