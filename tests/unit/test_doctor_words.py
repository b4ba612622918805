"""The doctor's screen: eighty columns, two languages, and nothing on it but text."""

from __future__ import annotations

import pytest

from sampan.cli.doctor_words import EVIDENCE_MAX, tell_examination
from sampan.cli.paragraphs import columns
from sampan.doctor.contract import Finding, Unseen
from sampan.doctor.examine import Examination
from sampan.doctor.names import Named
from sampan.doctor.verdict import judge
from sampan.errors import Unreachable, printable
from sampan.oci import Reference
from sampan.upstream.host import Host
from sampan.words import Language, sentence
from scenes import report

Captured = pytest.CaptureFixture[str]
ALPINE = Reference.parse("alpine:3")
LANGUAGES: tuple[Language, ...] = ("en", "zh")
LONG = sentence(
    "{key} and config_path ({place}) exclude each other: containerd runs without its CRI, and the kubelet "
    "can neither pull nor start anything",
    key="mirrors",
    place=sentence("line {line}", line=8),
)
BROKEN = Finding(
    "MIRRORS_AND_CONFIG_PATH",
    "containerd",
    LONG,
    evidence=("one", "two"),
    why=sentence("no kubelet can pull or start anything"),
    hint=sentence("sampan node apply moves it into hosts.toml files"),
    command=("sudo", "sampan", "node", "apply"),
    file="/etc/containerd/config.toml",
    line=9,
)
FOLLOWS = Finding(
    "CRI_NOT_LOADED", "containerd", sentence("the running containerd has not loaded its CRI plugin")
)


def shown(
    capsys: Captured,
    *found: Finding,
    language: Language = "en",
    unseen: tuple[Unseen, ...] = (),
    **more: object,
) -> str:
    examination = Examination(found, unseen, frozenset(), 1.0, **more)  # type: ignore[arg-type]
    tell_examination(examination, judge(found), language)
    return capsys.readouterr().out


def test_a_finding_is_a_paragraph_and_the_verdict_is_last(capsys: Captured) -> None:
    assert shown(capsys, BROKEN, FOLLOWS) == (
        "error   containerd: mirrors and config_path (line 8) exclude each other:\n"
        "        containerd runs without its CRI, and the kubelet can neither pull nor\n"
        "        start anything\n"
        "  at      /etc/containerd/config.toml:9\n"
        "  seen    one\n"
        "          two\n"
        "  why     no kubelet can pull or start anything\n"
        "  to do   sampan node apply moves it into hosts.toml files\n"
        "  run     sudo sampan node apply\n"
        "  so      containerd: the running containerd has not loaded its CRI plugin\n"
        "\n"
        "broken: containerd: mirrors and config_path (line 8) exclude each other:\n"
        "  containerd runs without its CRI, and the kubelet can neither pull nor start\n"
        "  anything\n"
        "run: sudo sampan node apply\n"
    )


def test_chinese_stands_in_the_same_columns(capsys: Captured) -> None:
    lines = shown(capsys, BROKEN, FOLLOWS, language="zh").splitlines()
    assert lines[0].startswith("错误    containerd: mirrors 与 config_path（第 8 行）不能并存")
    assert columns(lines[0]) > 70, "a line is as full as it can be"
    assert lines[1].startswith(" " * 8)
    assert [columns(line.split("  ")[1]) for line in lines if line.startswith("  位置")] == [4]
    assert [line for line in lines if line.startswith("问题所在：containerd")] != []
    assert lines[-1] == "执行：sudo sampan node apply"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_line_is_wider_than_a_terminal(language: Language, capsys: Captured) -> None:
    hosts = [Host.from_url(f"https://{'m' * size}.example") for size in (3, 40)]
    reports = [
        report(hosts[0], ALPINE, first_byte_seconds=0.1, bytes_per_second=3e6),
        report(hosts[1], ALPINE, Unreachable("no way", outcome="connect-timeout")),
    ]
    names = {
        "alpine:3": [Named(("kubelet", "crictl"), tuple(f"registry{n}.example/alpine:3" for n in range(4)))]
    }
    unseen = (Unseen("containerd", LONG, sentence("run as root")),)
    text = shown(capsys, BROKEN, FOLLOWS, language=language, unseen=unseen, names=names, reports=reports)
    assert [line for line in text.splitlines() if columns(line) > 80] == []


def test_what_came_from_elsewhere_reaches_no_terminal_as_a_command(capsys: Captured) -> None:
    evil = "\x1b[2J\x9b31m\x07\r\n\u202egnp\u2066\ufeff"
    found = Finding(
        "CRI_NOT_LOADED",
        evil,
        sentence("{what}: {why}", what=evil, why=evil),
        evidence=(evil,) * 50,
        hint=evil,
        file=evil,
    )
    text = shown(capsys, found, unseen=(Unseen(evil, evil, evil),))
    assert [c for c in text if c != "\n" and (not c.isprintable() or c in "\u202e\u2066\ufeff")] == []
    assert text.count("  seen") == 1
    assert len(text.splitlines()) < 2 * EVIDENCE_MAX + 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_well_is_told_so_as_far_as_was_seen(language: Language, capsys: Captured) -> None:
    note = Finding("IPV6_NO_ROUTE", "ipv6", "worth knowing", "note")
    first = shown(capsys, note, language=language).splitlines()[-1]
    assert first == {"en": "nothing is wrong", "zh": "一切正常"}[language]
    some = shown(capsys, unseen=(Unseen("clock", "its log"),), language=language).splitlines()[-1]
    assert (
        some
        == {"en": "nothing is wrong, as far as could be seen", "zh": "就能看到的部分而言，一切正常"}[language]
    )


def test_without_a_command_the_verdict_says_what_to_do_and_how_many_more_there_are(capsys: Captured) -> None:
    found = Finding("DNS_DEAD", "dns", "no nameserver answers", hint="name another")
    other = Finding("MIRROR_NEVER_READ", "containerd", "never asked", "dead")
    text = shown(capsys, found, other)
    assert text.endswith(
        "broken: dns: no nameserver answers\nto do: name another\nothers that are not well, above: 1\n"
    )


def test_a_cause_is_shown_as_bad_as_what_comes_of_it(capsys: Captured) -> None:
    dropped = Finding("HOSTS_TOML_DROPPED", "containerd", "the whole file is ignored", "dead")
    fails = Finding("CHAIN_FAILS", "containerd", "it cannot pull")
    assert shown(capsys, dropped, fails).startswith("error   containerd: the whole file is ignored\n")


def test_a_stranger_s_quotation_marks_are_text_and_what_turns_the_line_is_not() -> None:
    assert printable("“镜像” → a…b — c") == "“镜像” → a…b — c"
    assert printable("a\u2028b\u202ec\u2066d\u200be\x1b") == "a�b�c�d�e�"
