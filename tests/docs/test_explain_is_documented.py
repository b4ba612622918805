"""Every code, field and exit code of ``sampan doctor --explain`` is on its page, in both languages."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.cli import main
from sampan.doctor.explain.facts import Facts
from sampan.doctor.explain.knowledge import KINDS, knowledge
from sampan.doctor.explain.story import entry_words
from sampan.doctor.explain.verdict import Explained
from sampan.words import Language

SPOKEN: dict[str, Language] = {"": "en", ".zh-CN": "zh"}
REFUSED = 'Head "https://m.example/v2/library/alpine/manifests/3": dial tcp 192.0.2.1:443: connection refused'
_EXAMPLE = re.compile(r"\$ (SAMPAN_LANG=zh )?(sampan doctor --explain '.*?')\n(.*)", re.DOTALL)

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_error_is_in_the_table_in_its_own_words_and_order(language: str) -> None:
    table = [
        (code, row[1].replace("\\|", "|"), row[2])
        for row in page("explain", language).rows
        if len(row) == 3 and (code := codes(row[0]))
    ]
    assert table == [
        ([one.code], entry_words(Explained(one, Facts(), ""), SPOKEN[language]).what, ", ".join(one.by))
        for one in knowledge().entries
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_field_of_the_json_has_a_row(language: str, capsys: Captured) -> None:
    main(["doctor", "--json", "--explain", REFUSED])
    document = json.loads(capsys.readouterr().out)
    told = [row for row in page("explain", language).rows if len(row) == 2]
    fields = [code for row in told for code in codes(row[0])]
    assert sorted(fields) == sorted(document["explained"][0])
    assert set(document) | set(KINDS) <= set(codes(page("explain", language).prose))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_exit_code_has_a_row(language: str, capsys: Captured) -> None:
    told = {int(row[0]) for row in page("explain", language).rows if row[0].isdecimal()}
    assert told == {main(["doctor", "--explain", text]) for text in (REFUSED, "hello", " ")}
    capsys.readouterr()


def test_examples_are_what_the_command_prints(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = [match for _, code in page("explain").code_blocks if (match := _EXAMPLE.fullmatch(code))]
    assert len(shown) == 2
    for example in shown:
        monkeypatch.setenv("SAMPAN_LANG", "zh" if example[1] else "en")
        main(shlex.split(example[2])[1:])
        assert capsys.readouterr().out == example[3]
