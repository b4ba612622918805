"""Which words of a Dockerfile are images."""

from __future__ import annotations

import pytest

from sampan.errors import InvalidDocument
from sampan.rewrite.dockerfile import looks_like
from sampan.rewrite.documents import Kind, find_images


def images(text: str) -> list[str]:
    return [place.image for place in find_images(text, Kind.DOCKERFILE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a", ["a"]),
        ("from a as b\nFROM B\nFROM c", ["a", "c"]),
        ("FROM b\nFROM a AS b\nFROM b", ["b", "a"]),
        ("FROM --platform=linux/amd64 a:1", ["a:1"]),
        ("FROM a AS", ["a"]),
        ("FROM", []),
        ("FROM scratch", []),
        ('FROM "a:1" AS x', ["a:1"]),
        ("  FROM a", ["a"]),
        ("# FROM x\nFROM a # y", ["a"]),
        ("FROM a\nCOPY --from=b / /\nCOPY --from=0 / /", ["a", "b"]),
        ("FROM a\nCOPY --chown=1:1 --from=b --link / /\nCOPY x --from=c", ["a", "b"]),
        ("FROM a AS later2\nCOPY --from=later / /\nFROM c AS Later", ["a", "c"]),
        ("FROM a\nADD --from=b / /", ["a"]),
        (
            "FROM a\nRUN --mount=type=bind,from=b,target=/x --mount=from=c true --mount=from=d",
            ["a", "b", "c"],
        ),
        ("FROM a AS s\nRUN --mount=from=s true\nRUN --mount=type=cache,target=/from=x true", ["a"]),
        ("FROM a\nONBUILD COPY --from=b / /\nONBUILD FROM c\nONBUILD ONBUILD COPY --from=d / /", ["a", "b"]),
        ("FROM a\nONBUILD", ["a"]),
        ("FROM a\nLABEL x=FROM \\\nFROM b\nFROM c", ["a", "c"]),
        ("FROM \\\n# x\n\n  a", ["a"]),
        ("FROM a \\", ["a"]),
    ],
)
def test_bases_and_sources_are_images_and_stages_are_not(text: str, expected: list[str]) -> None:
    assert images(text) == expected
    assert images(text.replace("\n", "\r\n")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG X=a\nFROM ${X}", ["a"]),
        ("ARG X=a\nFROM $X AS y", ["a"]),
        ('ARG X="a:1"\nFROM ${X:-b}', ["a:1"]),
        ("ARG X='a' Y=b\nFROM ${X}\nFROM ${Y}", ["a", "b"]),
        ("ARG X=a\nFROM b", ["b"]),
        ("ARG X=3\nFROM a:$X", ["a:$X"]),
        ("ARG X=docker.io\nFROM $X/a", ["$X/a"]),
        ("ARG X\nFROM $X", ["$X"]),
        ("ARG X=\nFROM $X", []),
        ("ARG X=s\nFROM a AS s\nFROM $X", ["a"]),
        ("FROM a\nARG X=b\nFROM $X", ["a", "$X"]),
        ("ARG X=a:$V\nFROM $X", ["a:$V"]),
    ],
)
def test_an_argument_is_an_image_only_where_a_base_is_nothing_else(text: str, expected: list[str]) -> None:
    assert images(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# syntax=a:1\nFROM b", ["a:1", "b"]),
        ("#SYNTAX = a:1 \n# escape=`\nFROM b `\n AS c\nFROM c", ["a:1", "b"]),
        ("\ufeff# syntax=a\r\nFROM b", ["a", "b"]),
        ("#!/bin/x\n# syntax=a\nFROM b", ["a", "b"]),
        ("# a comment\n# syntax=a\nFROM b", ["b"]),
        ("\n# syntax=a\nFROM b", ["b"]),
        ("FROM b\n# syntax=a", ["b"]),
        ("# check=skip=all\n# syntax=a\nFROM b", ["a", "b"]),
        ("# escape=x\nFROM b \\\n AS c\nFROM c", ["b"]),
        ("# syntax=" + "a" * 2000 + "\nFROM b", ["b"]),
    ],
)
def test_directives_stand_at_the_head(text: str, expected: list[str]) -> None:
    assert images(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN <<E\nFROM x\nE\nFROM b",
        "FROM a\nRUN <<-E cat\nFROM x\n\tE\nFROM b",
        "FROM a\nRUN 3<<'E' cat\nFROM $x\nE\nFROM b",
        'FROM a\nCOPY <<"E" <<F /x/\nFROM x\nE\nFROM y\nF\nFROM b',
        "FROM a\nADD <<E /x\nFROM x\nE\nFROM b",
        "FROM a\nRUN cat <<<E\nFROM b",
        "FROM a\nRUN echo '<<E' \"<<E\" $((1<<E))\nFROM b",
        "FROM a\nENV X=<<E\nFROM b",
        "FROM a\nRUN true && \\\n cat <<E\nFROM x \\\nE\nFROM b",
    ],
)
def test_heredocs_are_read_over(text: str) -> None:
    assert images(text) == ["a", "b"]


def test_a_heredoc_without_an_end_is_refused_with_the_line_where_it_begins() -> None:
    with pytest.raises(InvalidDocument, match="a heredoc does not end: EOF") as caught:
        images("FROM a\n\nRUN <<EOF\nFROM b\n")
    assert caught.value.line == 3


def test_places_know_their_lines_and_stand_within_quotes() -> None:
    text = 'FROM a\r\nCOPY --from="b" / /\r\n'
    _, place = find_images(text, Kind.DOCKERFILE)
    assert (text[place.start : place.end], place.line) == ("b", 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# x\n\nFROM a", True),
        ("ARG X=1\nFROM a", True),
        ("\ufefffrom a", True),
        ("apiVersion: v1", False),
        ("FROM", False),
        ("", False),
        ("RUN <<E", False),
    ],
)
def test_a_dockerfile_is_known_by_its_first_instruction(text: str, expected: bool) -> None:
    assert looks_like(text) is expected
