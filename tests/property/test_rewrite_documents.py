"""What holds for any text in the place of a document: our own error or nothing, and no byte moved."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import InvalidDocument
from sampan.rewrite import Rules, Target
from sampan.rewrite.diff import unified_diff
from sampan.rewrite.documents import Kind, find_images, rewrite_text
from sampan.rewrite.place import Place
from sampan.rewrite.tree import decode, encode

RULES = Rules({"docker.io": (Target("m.lan"),), "*": (Target("m.lan", "{registry}/"),)})
PIECES = st.sampled_from(
    """apiVersion:·v1⏎|kind:·Pod⏎|spec:⏎|··containers:⏎|··-·image:·nginx⏎|··-·image:·"a/b:1"⏎|··-·{image:·'x'}⏎
    |···image:·*a⏎|···image:·&a·q.io/x⏎|···image:·>-⏎·····y⏎|---⏎|...⏎|services:⏎|··a:⏎|····image:·z⏎|····build:·.⏎
    |FROM·alpine·AS·a⏎|FROM·${X}⏎|ARG·X=b:1⏎|COPY·--from=c·/·/⏎|RUN·<<E⏎|E⏎|\\⏎|#·syntax=d⏎|#·escape=`⏎|`⏎|\t|\r⏎
    |jobs:⏎|··j:⏎|····container:·n⏎|····steps:⏎|····-·uses:·docker://o⏎|script:·x⏎|··script:·x⏎|··services:⏎|··-·p⏎
    |··-·{name:·r:1}⏎|··-·name:·s⏎|<<:·*a⏎|[|]|{|}|'|"|%YAML·1.1⏎|\ufeff|é|🚢|·|⏎""".replace("\n    ", "")
    .replace("·", " ")
    .replace("⏎", "\n")
    .split("|")
)
TEXTS = st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60)
KINDS = st.none() | st.sampled_from(list(Kind))


@given(TEXTS, KINDS)
@settings(max_examples=300)
def test_a_text_is_refused_with_a_line_or_its_images_stand_where_they_are_said_to(
    text: str, kind: Kind | None
) -> None:
    lines = text.count("\n") + 1
    end = line = 0
    places: list[Place] = []
    try:
        places = find_images(text, kind)
    except InvalidDocument as error:
        line = error.line
    assert line <= lines
    for place in places:
        assert end <= place.start < place.end <= len(text)
        assert place.line == text.count("\n", 0, place.start) + 1
        end = place.end


@given(TEXTS, KINDS)
@settings(max_examples=300)
def test_a_second_time_changes_nothing_and_what_stands_between_stays(text: str, kind: Kind | None) -> None:
    with contextlib.suppress(InvalidDocument):
        edited = rewrite_text(text, RULES, kind)
        again = rewrite_text(edited.text, RULES, kind)
        assert again.text == edited.text
        assert len(again.images) == len(edited.images)
        assert edited.text.count("\ufeff") == text.count("\ufeff")
        if not edited.changes:
            assert edited.text == text
            assert unified_diff("x", text, edited) == ""


@given(st.binary(max_size=200), KINDS)
def test_bytes_that_are_read_are_written_as_they_were(data: bytes, kind: Kind | None) -> None:
    with contextlib.suppress(InvalidDocument):
        assert encode(decode(data, kind)) == data
