"""What ``sampan doctor`` says, to people and to programs.

It guarantees that people are told in their language, and programs the same in English.
"""

from __future__ import annotations

import shlex

import click

from sampan.doctor.contract import Finding, Unseen
from sampan.doctor.examine import Examination
from sampan.doctor.verdict import Cause, Verdict
from sampan.errors import printable
from sampan.words import Language, in_language, sentence

# -- for people -----------------------------------------------------------------------------------


def tell_examination(examination: Examination, verdict: Verdict, language: Language) -> None:
    """On stdout: it is what was asked for."""
    lines = [line for cause in verdict.causes for line in _cause(cause, language)]
    lines += [line for unseen in examination.unseen for line in _unseen(unseen, language)]
    lines += _verdict(verdict, language)
    click.echo("\n".join(lines))


def _cause(cause: Cause, language: Language) -> list[str]:
    found = cause.finding
    lines = [_head(found, language), *(f"    {printable(line)}" for line in found.evidence)]
    for text in (found.why, found.hint):
        lines += [] if text is None else [f"    {in_language(text, language)}"]
    lines += [f"    {shlex.join(found.command)}"] if found.command else []
    return lines + [f"  {_head(effect, language)}" for effect in cause.effects]


def _head(found: Finding, language: Language) -> str:
    place = "" if found.file is None else f"{printable(found.file)}:{f'{found.line}:' if found.line else ''} "
    return f"{found.level}: {printable(found.subject)}: {place}{in_language(found.what, language)}"


def _unseen(unseen: Unseen, language: Language) -> list[str]:
    lines = [f"unseen: {printable(unseen.subject)}: {in_language(unseen.what, language)}"]
    return lines + ([] if unseen.hint is None else [f"    {in_language(unseen.hint, language)}"])


def _verdict(verdict: Verdict, language: Language) -> list[str]:
    first = verdict.first
    if first is None:
        return [in_language(sentence("nothing is wrong"), language)]
    lines = [in_language(sentence("broken: {what}", what=first.what), language)]
    return lines + ([shlex.join(first.command)] if first.command else [])


# -- for programs ---------------------------------------------------------------------------------


def examination_json(examination: Examination, verdict: Verdict) -> dict[str, object]:
    """All of it, causes in their order."""
    return {
        "healthy": verdict.is_healthy,
        "seconds": round(examination.seconds, 3),
        "verdict": None if verdict.first is None else finding_json(verdict.first),
        "findings": [
            {**finding_json(cause.finding), "explains": [finding_json(each) for each in cause.effects]}
            for cause in verdict.causes
        ],
        "unseen": [
            {"subject": each.subject, "what": each.what, "hint": each.hint} for each in examination.unseen
        ],
    }


def finding_json(found: Finding) -> dict[str, object]:
    """One finding."""
    return {
        "code": found.code,
        "level": found.level,
        "subject": found.subject,
        "what": found.what,
        "evidence": list(found.evidence),
        "why": found.why,
        "hint": found.hint,
        "command": list(found.command),
        "file": found.file,
        "line": found.line,
    }
