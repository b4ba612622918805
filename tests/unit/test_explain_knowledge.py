"""The knowledge base is whole: in both languages, with the same facts and the same commands."""

from __future__ import annotations

import re
from datetime import date
from string import Formatter

import pytest

from sampan.cli.paragraphs import columns
from sampan.cli.program import COMMANDS
from sampan.doctor.explain.knowledge import Entry, Words, knowledge
from sampan.doctor.explain.pattern import Pattern, fold
from sampan.doctor.explain.printer import printed_by

ENTRIES = knowledge().entries
FACTS = {"host", "registry", "reference", "status", "address"}
ENGINES = {"buildkit", "containerd", "crio", "docker", "dockerd", "kubelet", "podman"}
PRINTERS = ENGINES | {"crane", "crictl", "ctr", "kind", "nerdctl", "sampan", "skopeo"}
_COMMAND = re.compile(r"`([^`]*)`")
_CHINESE = re.compile("[\u4e00-\u9fff]")


def code(entry: Entry) -> str:
    return entry.code


def texts(words: Words) -> list[str]:
    return [words.what, words.cause, *words.do]


def facts(words: Words) -> set[str]:
    return {name for text in texts(words) for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_there_are_at_least_as_many_errors_as_the_first_table_had() -> None:
    assert len(ENTRIES) >= 55
    assert len({entry.code for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=code)
def test_an_entry_says_the_same_in_both_languages(entry: Entry) -> None:
    english, chinese = entry.words["en"], entry.words["zh"]
    assert all(_CHINESE.search(text) for text in texts(chinese))
    assert not any(_CHINESE.search(text) for text in texts(english))
    assert facts(english) == facts(chinese) <= FACTS
    assert len(english.do) == len(chinese.do) >= 1
    commands = [sorted(_COMMAND.findall(" ".join(texts(words)))) for words in (english, chinese)]
    assert commands[0] == commands[1]


@pytest.mark.parametrize("entry", ENTRIES, ids=code)
def test_an_entry_is_short_enough_to_be_read(entry: Entry) -> None:
    for words in entry.words.values():
        assert columns(words.what) <= 100
        assert columns(words.cause) <= 420
        assert len(words.do) <= 4
        assert words.cause[-1] in ".。)）"


@pytest.mark.parametrize("entry", ENTRIES, ids=code)
def test_an_entry_names_who_prints_it_and_commands_that_there_are(entry: Entry) -> None:
    assert entry.by
    assert set(entry.by) <= PRINTERS
    named = re.findall(r"`sampan ([a-z-]+)", " ".join(texts(entry.words["en"])))
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=code)
def test_an_entry_is_dated(entry: Entry) -> None:
    assert date(2026, 8, 1) <= entry.checked


def test_causes_come_before_circumstances() -> None:
    kinds = [entry.is_cause for entry in ENTRIES]
    assert kinds == sorted(kinds, reverse=True)


def test_a_pattern_is_words_in_their_order_whatever_their_case_their_quotes_and_their_blanks() -> None:
    pattern = Pattern.of("lookup*: i/o timeout")
    assert pattern.found_in(fold('LOOKUP "a.example"  on\n1.1.1.1:53:  I/O timeout'))
    assert not pattern.found_in(fold("i/o timeout: lookup"))


@pytest.mark.parametrize(
    ("text", "found"), [("EOF", True), ("x: EOF.", True), ("GEOFF", False), ("EOFs", False), ("eof", True)]
)
def test_a_pattern_begins_and_ends_with_whole_words(text: str, found: bool) -> None:
    assert Pattern.of("EOF").found_in(fold(text)) is found


def test_in_chinese_no_blank_ends_a_word() -> None:
    assert Pattern.of("镜像*不生效").found_in(fold("我的镜像加速不生效了"))


def test_a_pattern_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="without a word"):
        Pattern.of(" * ")


@pytest.mark.parametrize("text", ["nothing of anybody", ""])
def test_a_text_of_nobody_was_printed_by_nobody(text: str) -> None:
    assert printed_by(text) is None
