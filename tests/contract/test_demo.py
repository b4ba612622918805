"""The demo tells the origin story, and tells it truthfully."""

from __future__ import annotations

import re

import pytest

from sampan.demo import TEXTS, run


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_story_ends_well_and_says_who_gave_what(language: str) -> None:
    lines: list[str] = []
    assert language in ("en", "zh")
    assert await run(lines.append, "en" if language == "en" else "zh")
    text = TEXTS["en" if language == "en" else "zh"]
    story = "\n".join(lines)
    assert story.count("$ pull") == 3
    assert re.search(rf"config .* {text['mirror']} B", story), "the broken mirror was overtaken"
    assert text["stale"] in story
    assert text["right"] in story
    assert text["failed"] not in story


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
