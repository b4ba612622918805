"""What ``sampan doctor`` says to people: lines of a terminal's width, in their language, without colour.

It guarantees that nothing which came from elsewhere reaches the terminal as anything but text, and that the
last lines are the verdict: what is broken, and the one thing to do about it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

import click

from sampan.cli.paragraphs import columns, width, wrap
from sampan.doctor.contract import HostReport, Unseen
from sampan.doctor.examine import Examination
from sampan.doctor.names import Named
from sampan.doctor.verdict import Cause, Verdict
from sampan.runtimes.contract import Level
from sampan.words import Language, Text, in_language, listed, sentence

# What makes a terminal do anything but show a character: whoever made a sentence has cleaned what he put into
# it, and this is for the one who has not.
_COMMANDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
MIB, KIB = 1024 * 1024, 1024
HOST_COLUMNS_MAX = 36
LABEL_COLUMNS = 8
EVIDENCE_MAX = 12  # lines of one finding; --json has all


def tell_examination(examination: Examination, verdict: Verdict, language: Language) -> None:
    """On stdout: it is what was asked for."""
    screen = Screen(language, width())
    sections = [
        [line for name, named in examination.names.items() for line in screen.names(name, named)],
        list(screen.hosts(examination)),
        *(list(screen.cause(cause)) for cause in verdict.causes),
        [line for unseen in examination.unseen for line in screen.unseen(unseen)],
        list(screen.verdict(examination, verdict)),
    ]
    for index, lines in enumerate(filter(None, sections)):
        click.echo(
            "\n" * bool(index) + "\n".join(_COMMANDS.sub("\N{REPLACEMENT CHARACTER}", x) for x in lines)
        )


class Screen:
    """Lines of at most ``room`` columns in ``language``; only a word that is longer has a longer line."""

    def __init__(self, language: Language, room: int) -> None:
        self._language = language
        self._room = room

    def _said(self, text: str) -> str:
        return in_language(text, self._language)

    def _labelled(self, label: str, text: str, indent: str = "  ") -> list[str]:
        head = _cell(self._said(label), LABEL_COLUMNS)
        rest = indent + " " * LABEL_COLUMNS
        return wrap(self._said(text), self._room, first=indent + head, rest=rest)

    # -- what was looked at ----------------------------------------------------------------------

    def names(self, name: str, named: Sequence[Named]) -> Iterator[str]:
        """What each tool makes of a name."""
        yield f"{name}:"
        for each in named:
            head = f"  {', '.join(each.tools)}: "
            words = [*each.images, *([each.why] if each.why is not None else [])]
            yield from wrap(self._said(listed(words, "; ")), self._room, first=head, rest="    ")

    def hosts(self, examination: Examination) -> Iterator[str]:
        """A line a host: how far it goes, and how fast."""
        images: dict[str, list[HostReport]] = {}
        for report in examination.reports:
            images.setdefault(f"{report.registry}/{report.repository}", []).append(report)
        names = [report.host.name for report in examination.reports]
        room = min(max(map(columns, names), default=0), HOST_COLUMNS_MAX)
        for image, reports in images.items():
            yield self._said(sentence("hosts for {image}:", image=image))
            for report in reports:
                head = f"  {_cell(report.host.name, room)}  "
                yield from wrap(
                    self._said(_report_words(report)), self._room, first=head, rest=" " * (room + 4)
                )

    # -- what was found --------------------------------------------------------------------------

    def cause(self, cause: Cause) -> Iterator[str]:
        """A finding and what follows from it."""
        found = cause.finding
        head = _cell(self._said(level_words(cause.level)), LABEL_COLUMNS)
        text = self._said(listed([found.subject, found.what], ": "))
        yield from wrap(text, self._room, first=head, rest=" " * LABEL_COLUMNS)
        if found.file is not None:
            place = f"{found.file}:{found.line}" if found.line else found.file
            yield from self._labelled(sentence("at"), place)
        for number, line in enumerate(found.evidence[:EVIDENCE_MAX]):
            yield from self._labelled(sentence("seen") if number == 0 else "", line)
        if found.why is not None:
            yield from self._labelled(sentence("why"), found.why)
        if found.hint is not None:
            yield from self._labelled(sentence("to do"), found.hint)
        if found.command:
            yield from self._labelled(sentence("run"), shlex.join(found.command))
        for number, effect in enumerate(cause.effects):
            label = sentence("so") if number == 0 else ""
            yield from self._labelled(label, listed([effect.subject, effect.what], ": "))

    def unseen(self, unseen: Unseen) -> Iterator[str]:
        """What could not be looked at."""
        words: list[str] = [listed([unseen.subject, unseen.what], ": ")]
        words += [] if unseen.hint is None else [unseen.hint]
        yield from self._labelled(sentence("unseen"), listed(words, "; "), "")

    # -- what it comes to ------------------------------------------------------------------------

    def verdict(self, examination: Examination, verdict: Verdict) -> Iterator[str]:
        """A few lines: what is broken, and the one thing to do."""
        first = verdict.first
        if first is None:
            yield self._said(_healthy_words(examination))
            return
        broken = listed([first.subject, first.what], ": ")
        yield from wrap(self._said(sentence("broken: {what}", what=broken)), self._room, rest="  ")
        if first.command:
            yield self._said(sentence("run: {command}", command=shlex.join(first.command)))
        elif first.hint is not None:
            yield from wrap(self._said(sentence("to do: {hint}", hint=first.hint)), self._room, rest="  ")
        if verdict.others:
            yield self._said(sentence("others that are not well, above: {number}", number=verdict.others))


def level_words(level: Level) -> Text:
    """How bad it is."""
    if level == "error":
        return sentence("error")
    if level == "dead":
        return sentence("dead")
    return sentence("warning") if level == "warning" else sentence("note")


def _healthy_words(examination: Examination) -> Text:
    if examination.unseen:
        return sentence("nothing is wrong, as far as could be seen")
    return sentence("nothing is wrong")


def _report_words(report: HostReport) -> str:
    if report.error is not None:
        broken = [step for step in report.steps if not step.is_good]
        return broken[-1].words if broken and broken[-1].words else report.error.outcome
    words: list[str] = [sentence("gives it")]
    if report.first_byte_seconds is not None:
        words.append(sentence("the first byte after {seconds} s", seconds=f"{report.first_byte_seconds:.2f}"))
    if report.bytes_per_second is not None:
        words.append(f"{_rate(report.bytes_per_second)}/s")
    if report.rate_limit is not None:
        limit = report.rate_limit
        words.append(sentence("{left} of {limit} requests left", left=limit.left, limit=limit.limit))
    return listed(words, " · ")


def _rate(number: float) -> str:
    return f"{number / MIB:.1f} MiB" if number >= MIB else f"{number / KIB:.0f} KiB"


def _cell(text: str, room: int) -> str:
    """``text`` and blanks up to ``room`` columns; what is longer stays whole, with a blank behind."""
    return text + " " * max(1 if columns(text) > room else 0, room - columns(text))
