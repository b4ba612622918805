"""What ``sampan mirrors test`` says to people: a table of 80 columns, best host first, and what follows.

It guarantees that a row needs no colour to be understood, and that what hosts said is printable.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from sampan.cli.columns import WIDTH, cell, cut, row, width, wrap
from sampan.cli.tally import size_text
from sampan.doctor.contract import Finding, Step
from sampan.doctor.hosts.findings import image_name
from sampan.doctor.hosts.kinds import KINDS
from sampan.doctor.hosts.trial import Trial, Tried
from sampan.errors import printable
from sampan.oci.digest import Digest
from sampan.words import Language, in_language, sentence

RANK, FIRST, SPEED, DIGEST = 2, 8, 11, 8
HOST_MAX = 34
DIGEST_CHARACTERS = 8  # enough to see that two differ
# Findings of all hosts together; those of one host alone stand in its row.
TOGETHER = frozenset({"DNS_DEAD", "DNS_SERVER_DEAD", "DNS_FORGED", "DNS_DIFFERS", "IMAGE_NOWHERE"})


def tell_trial(trial: Trial, language: Language, *, verbose: bool) -> None:
    """The table on stdout, and a line about it on stderr."""
    lines = list(_table(trial, language))
    lines += _disagreement(trial, language)
    lines += [
        line for finding in trial.findings if finding.code in TOGETHER for line in _said(finding, language)
    ]
    if verbose:
        lines += [line for tried in trial.tried for line in _way(tried, language)]
    click.echo("\n".join(lines))
    click.echo(in_language(summary(trial), language), err=True)


def summary(trial: Trial) -> str:
    """How many hosts give it, and how long that took to know."""
    return sentence(
        "{count} of {total} hosts give {reference} ({seconds} s)",
        count=len(trial.working),
        total=len(trial.tried),
        reference=trial.reference,
        seconds=f"{trial.seconds:.1f}",
    )


# -- the table ------------------------------------------------------------------------------------


def _table(trial: Trial, language: Language) -> Iterator[str]:
    names = [_name(tried) for tried in trial.tried]
    columns = min(max(map(width, names), default=0), HOST_MAX)
    yield row(
        [
            cell("", RANK),
            cell(in_language(sentence("HOST"), language), columns),
            cell(in_language(sentence("1ST BYTE"), language), FIRST, right=True),
            cell(in_language(sentence("SPEED"), language), SPEED, right=True),
            cell(in_language(sentence("DIGEST"), language), DIGEST),
            in_language(sentence("NOTE"), language),
        ]
    )
    for rank, tried in enumerate(trial.tried, 1):
        yield from _row(str(rank) if tried.works else "-", tried, columns, language)


def _row(rank: str, tried: Tried, columns: int, language: Language) -> Iterator[str]:
    head = [cell(rank, RANK, right=True), cell(_name(tried), columns)]
    if tried.works:
        report = tried.report
        digest = "" if report.digest is None else report.digest.hex[:DIGEST_CHARACTERS]
        first = cell(_seconds(report.first_byte_seconds), FIRST, right=True)
        speed = cell(_speed(report.bytes_per_second), SPEED, right=True)
        head += [first, speed, cell(digest, DIGEST)]
    start = row(head)
    room = width(row([*head, "x"])) - 1
    notes = "; ".join(in_language(note, language) for note in notes_of(tried))
    first_line, *others = wrap(notes, WIDTH - room) or [""]
    yield f"{start}{' ' * (room - width(start))}{first_line}".rstrip()
    indent = RANK + 2 + columns + 2
    for line in wrap(" ".join(others), WIDTH - indent) if others else []:
        yield " " * indent + line


def notes_of(tried: Tried) -> list[str]:
    """What is worth knowing of it, in a few words; first of all why it gives nothing."""
    if tried.code is not None:
        notes: list[str] = [failure_words(tried.code)]
        if tried.candidate.entry is not None and tried.candidate.entry.state == "dead":
            notes.append(sentence("known to be dead"))
        return notes
    notes = []
    if tried.standing == "stale":
        notes.append(sentence("an old image"))
    if tried.standing == "differs":
        notes.append(sentence("another image"))
    head = tried.report.step("head")
    if head is not None and not head.is_good:
        notes.append(sentence("HEAD fails"))
    if (limit := tried.report.rate_limit) is not None:
        notes.append(sentence("{left} of {limit} left", left=limit.left, limit=limit.limit))
    return notes


def failure_words(code: str) -> str:
    """What ``code`` means."""
    kind = KINDS.get(code)
    return sentence("its name is answered with an address where it cannot be") if kind is None else kind.what


def _name(tried: Tried) -> str:
    return printable(tried.candidate.host.name, characters_max=120)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _speed(bytes_per_second: float | None) -> str:
    return "" if bytes_per_second is None else f"{size_text(int(bytes_per_second))}/s"


# -- what follows ---------------------------------------------------------------------------------


def _disagreement(trial: Trial, language: Language) -> Iterator[str]:
    """Who has which image, where hosts do not have the same."""
    if not trial.comparison.is_split:
        return
    yield ""
    yield in_language(
        sentence("hosts do not agree on {reference}:", reference=image_name(trial.tried[0].report)), language
    )
    groups: dict[Digest, list[Tried]] = {}
    for tried in trial.tried:
        if tried.report.digest is not None:
            groups.setdefault(tried.report.digest, []).append(tried)
    for digest, members in groups.items():
        built = next((m.report.created for m in members if m.report.created is not None), None)
        day = "" if built is None else datetime.fromtimestamp(built, UTC).strftime("%Y-%m-%d")
        names = ", ".join(map(_name, members))
        head = row(
            ["  " + digest.hex[:DIGEST_CHARACTERS], cell(_standing(members[0], language), 10), cell(day, 10)]
        )
        for number, line in enumerate(wrap(names, WIDTH - 36)):
            yield f"{head if number == 0 else '':34}  {line}" if number else f"{cell(head, 34)}  {line}"


def _standing(tried: Tried, language: Language) -> str:
    words = {"right": sentence("right"), "stale": sentence("old"), "differs": sentence("differs")}
    return in_language(words[tried.standing], language) if tried.standing else ""


def _said(finding: Finding, language: Language) -> Iterator[str]:
    yield ""
    head = f"{printable(finding.subject)}: {in_language(finding.what, language)}"
    yield from wrap(head, WIDTH)
    for text in (*finding.evidence, finding.hint):
        if text is not None:
            yield from (f"  {line}" for line in wrap(printable(in_language(text, language)), WIDTH - 2))


def _way(tried: Tried, language: Language) -> Iterator[str]:
    """Every step of it."""
    yield ""
    report = tried.report
    asked = sentence("{count} requests, {seconds} s", count=report.requests, seconds=f"{report.seconds:.1f}")
    yield cut(f"{_name(tried)}  ({in_language(asked, language)})", WIDTH)
    for step in report.steps:
        yield from _step(step, language)


def _step(step: Step, language: Language) -> Iterator[str]:
    head = row(
        [f"  {cell(step.part, 8)}", cell(step.outcome, 14), cell(_seconds(step.seconds), 8, right=True)]
    )
    words = wrap(printable(in_language(step.words, language), characters_max=400), WIDTH - 38)
    yield row([cell(head, 36), words[0] if words else ""])
    for line in words[1:]:
        yield f"{'':36}  {line}"
