"""The report of a trial as one file of HTML: a row a host, bars for latency and speed.

It guarantees that the file needs nothing else and asks nobody for anything, and that whatever hosts said is
only text in it.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from importlib.resources import files

from sampan.cli.mirrors_words import DIGEST_CHARACTERS, notes_of, summary
from sampan.cli.tally import size_text
from sampan.doctor.contract import Finding
from sampan.doctor.hosts.trial import Trial, Tried
from sampan.errors import printable
from sampan.words import Language, in_language, sentence

STYLE = "report.css"
LANGUAGES = {"en": "en", "zh": "zh-CN"}
WORDS_MAX = 400
NEWLINE = "\n"


def page(trial: Trial, at: datetime, language: Language) -> str:
    """The whole file; ``at``: when the trial was."""
    title = _say(sentence("Hosts of {registry}", registry=trial.reference.registry), language)
    return f"""<!DOCTYPE html>
<html lang="{LANGUAGES[language]}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: {_say(str(trial.reference), language)}</title>
<style>
{files("sampan.data").joinpath(STYLE).read_text("utf-8")}</style>
</head>
<body>
<h1>{title}</h1>
<p>{_say(summary(trial), language)}<br>
<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M} UTC</time></p>
{_table(trial, language)}
{_findings(trial, language)}
</body>
</html>
"""


def _say(text: str, language: Language) -> str:
    """``text`` in ``language``, as text of HTML."""
    return escape(printable(in_language(text, language), characters_max=WORDS_MAX))


def _table(trial: Trial, language: Language) -> str:
    slowest = max((tried.report.first_byte_seconds or 0 for tried in trial.working), default=0)
    fastest = max((tried.report.bytes_per_second or 0 for tried in trial.working), default=0)
    heads = (
        sentence("HOST"),
        sentence("WAY"),
        sentence("1ST BYTE"),
        sentence("SPEED"),
        sentence("DIGEST"),
        sentence("NOTE"),
    )
    head = "".join(f"<th>{_say(text, language)}</th>" for text in heads)
    rows = [_row(tried, rank, slowest, fastest, language) for rank, tried in enumerate(trial.tried, 1)]
    head = f"<thead><tr><th>#</th>{head}</tr></thead>"
    return NEWLINE.join(["<table>", head, "<tbody>", *rows, "</tbody>", "</table>"])


def _findings(trial: Trial, language: Language) -> str:
    if not trial.findings:
        return ""
    head = f"<h2>{_say(sentence('What was found'), language)}</h2>"
    return NEWLINE.join([head, *(_finding(finding, language) for finding in trial.findings)])


def _row(tried: Tried, rank: int, slowest: float, fastest: float, language: Language) -> str:
    report = tried.report
    notes = "; ".join(in_language(note, language) for note in notes_of(tried))
    first, speed = report.first_byte_seconds, report.bytes_per_second
    digest = "" if report.digest is None else report.digest.hex[:DIGEST_CHARACTERS]
    cells = [
        f"<td>{rank if tried.works else '–'}</td>",
        f'<th scope="row">{escape(printable(tried.candidate.host.name))}</th>',
        f'<td class="way">{_way(tried, language)}</td>',
        _bar(first, slowest, f"{(first or 0) * 1000:.0f} ms", "late"),
        _bar(speed, fastest, f"{size_text(int(speed or 0))}/s", "fast"),
        f'<td><code title="{escape(str(report.digest or ""))}">{escape(digest)}</code></td>',
        f"<td>{escape(printable(notes))}</td>",
    ]
    kind = "works" if tried.works and tried.standing != "stale" else "old" if tried.works else "fails"
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def _bar(value: float | None, largest: float, text: str, kind: str) -> str:
    """A cell with a bar as long as ``value`` is of ``largest``."""
    if value is None:
        return '<td class="bar"></td>'
    percent = 100 * value / largest if largest else 0
    bar = f'<span class="track"><span class="{kind}" style="width: {percent:.1f}%"></span></span>'
    return f'<td class="bar">{bar}<span class="value">{escape(text)}</span></td>'


def _way(tried: Tried, language: Language) -> str:
    """A mark a step; what was seen shows under the pointer."""
    marks = []
    for step in tried.report.steps:
        kind = "good" if step.outcome == "ok" else "none" if step.is_good else "bad"
        words = printable(in_language(step.words, language), characters_max=WORDS_MAX)
        title = f"{step.part}: {step.outcome}{': ' if words else ''}{words} ({step.seconds * 1000:.0f} ms)"
        marks.append(f'<span class="{kind}" title="{escape(title)}">{escape(step.part)}</span>')
    return " ".join(marks)


def _finding(finding: Finding, language: Language) -> str:
    lines = "".join(f"<li>{_say(line, language)}</li>" for line in finding.evidence)
    texts = (text for text in (finding.why, finding.hint) if text is not None)
    reasons = "".join(f"<p>{_say(text, language)}</p>" for text in texts)
    subject, what = _say(finding.subject, language), _say(finding.what, language)
    head = f"<strong>{subject}</strong>: {what} <code>{escape(finding.code)}</code>"
    kind = escape(finding.level)
    return f'<details class="{kind}"><summary>{head}</summary><ul>{lines}</ul>{reasons}</details>'
