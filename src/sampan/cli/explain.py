"""``sampan doctor --explain``: what the text of an error means, for people and for programs."""

from __future__ import annotations

import json
import sys

import click

from sampan.config.environment import Language
from sampan.doctor.explain.facts import urls_of
from sampan.errors import printable, redact
from sampan.words import in_language, sentence

STDIN = "-"
TEXT_BYTES_MAX = 1 << 20  # a day of a daemon's errors; more is no question but an archive
UNKNOWN = 3  # as what was looked for and not found


def explain(text: str, language: Language, as_json: bool) -> int:
    """Tell on stdout what ``text`` means (``-``: what standard input holds); returns the exit code: 3 when
    nothing of it is known."""
    if text == STDIN:
        text = sys.stdin.buffer.read(TEXT_BYTES_MAX).decode("utf-8", "replace")
    urls = [redact(printable(url)) for url in urls_of(text)]
    if as_json:
        click.echo(json.dumps({"explained": [], "urls": urls}, indent=2))
        return UNKNOWN
    click.echo(in_language(sentence("This text is not known."), language))
    for url in urls:
        click.echo(f"  {url}")
    return UNKNOWN
