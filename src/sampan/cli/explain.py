"""``sampan doctor --explain``: what the text of an error means, for people and for programs.

Guarantees that what is printed of the text cannot move a cursor, and that memory and time are bounded however
long the text is. Of a long one the end is read: that is where the newest lines are.
"""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

import click

from sampan.cli.paragraphs import width, wrap
from sampan.config import Config
from sampan.config.catalogue import built_in
from sampan.doctor.explain.hop import Hosts
from sampan.doctor.explain.knowledge import Role
from sampan.doctor.explain.story import (
    entry_words,
    object_words,
    remarks,
    role_words,
    said,
    shorter,
    status_words,
)
from sampan.doctor.explain.text import TEXT_CHARACTERS_MAX
from sampan.doctor.explain.verdict import Explained, Explanation
from sampan.doctor.explain.verdict import explain as read
from sampan.errors import SampanError, UsageError, printable
from sampan.words import Language, Text, in_language, sentence

STDIN = "-"
READ_BYTES_MAX = 1 << 28  # of standard input, in all; a log that is longer is no question
CHUNK_BYTES = 1 << 16
UNKNOWN = 3  # as of what was looked for and not found


def explain(text: str, language: Language, as_json: bool, config: str | None = None) -> int:
    """Tell on stdout what ``text`` means (``-``: what standard input holds). Returns the exit code: 0 when
    any of it is explained, 3 when nothing is. Raises :class:`UsageError` for a text without a word.

    ``config``: the configuration to take hosts from, as for all commands; one that cannot be read is done
    without.
    """
    if text == STDIN:
        text = _end_of(sys.stdin.buffer)
    if not text.strip():
        raise UsageError(
            "nothing to explain", hint="sampan doctor --explain 'THE ERROR', or - for standard input"
        )
    explanation = read(text, Hosts(_roles(config), built_in().by_host()))
    if as_json:
        click.echo(json.dumps(_json(explanation), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_known(explanation, language) or _unknown(explanation, language)))
    return 0 if explanation.is_known else UNKNOWN


def _end_of(stream: BinaryIO) -> str:
    """The last of it, as far as it is looked at."""
    kept, read_bytes = b"", 0
    while read_bytes < READ_BYTES_MAX and (chunk := stream.read(CHUNK_BYTES)):
        read_bytes += len(chunk)
        kept = (kept + chunk)[-4 * TEXT_CHARACTERS_MAX :]
    return kept.decode("utf-8", "replace")


def _roles(config: str | None) -> dict[str, Role]:
    """What the hosts of the configuration are."""
    try:
        loaded = Config.load(config, locked=False)
    except (SampanError, OSError):
        return {}  # explaining why it is broken must not need it
    roles: dict[str, Role] = {loaded.server.url.partition("://")[2]: "sampan"}
    for registry in loaded.registry.values():
        for host in registry.hosts:
            roles[host.base.netloc] = "origin" if host.role == "origin" else "mirror"
    return roles


# -- for people -----------------------------------------------------------------------------------


def _known(explanation: Explanation, language: Language) -> list[str]:
    many = len(explanation.explained)
    lines: list[str] = []
    for number, one in enumerate(explanation.explained, start=1):
        lines += [""] if lines else []
        lines += _explained(one, f"{number}. " if many > 1 else "", language)
    return lines


def _explained(one: Explained, lead: str, language: Language) -> list[str]:
    words = entry_words(one, language)
    times = _told(sentence("({count} times)", count=one.count), language) if one.count > 1 else ""
    lines = _lines(_tidy(f"{words.what} {times} [{one.entry.code}]", language), lead)
    lines += wrap(shorter(said(one)), width(), first="  > ", rest="    ", breaks_words=True)
    lines += [line for remark in remarks(one) for line in _lines(_told(remark, language), "  ")]
    lines += _lines(_told(sentence("Why: {cause}", cause=words.cause), language), "  ")
    lines += _lines(_told(sentence("What to do:"), language), "  ")
    return lines + [line for what in words.do for line in _lines(what, "  - ")]


def _unknown(explanation: Explanation, language: Language) -> list[str]:
    lines = _lines(_told(sentence("Nothing of this text is in the knowledge base."), language))
    named = _named(explanation)
    lines += _lines(_told(sentence("What it names:"), language)) if named else []
    for label, value in named:
        lines += _lines(_told(sentence("{name}: {value}", name=label, value=value), language), "  ")
    advice = sentence(
        "sampan doctor REFERENCE looks at the machine and every host on the way, whatever the text says."
    )
    return lines + _lines(_told(advice, language))


def _lines(text: str, first: str = "") -> list[str]:
    return wrap(text, width(), first=first, rest=" " * len(first))


def _told(text: str, language: Language) -> str:
    return _tidy(in_language(text, language), language)


def _tidy(text: str, language: Language) -> str:
    """In Chinese no blank stands beside a mark that is wide itself."""
    return text.replace("） ", "）").replace(" （", "（") if language == "zh" else text


def _named(explanation: Explanation) -> list[tuple[Text, str]]:
    """What could be found in a text of which nothing is known, with the name of each."""
    facts = explanation.facts
    found: list[tuple[Text, str | None]] = [
        (sentence("printed by"), explanation.printed_by),
        (sentence("host"), _host(explanation)),
        (
            sentence("asked for"),
            object_words(facts.request) if facts.request and facts.request.step else None,
        ),
        (sentence("image"), facts.reference and printable(facts.reference)),
        (sentence("status"), None if facts.status is None else status_words(facts.status)),
        (sentence("address"), facts.address),
        (sentence("digest"), facts.digest),
    ]
    return [(label, value) for label, value in found if value]


def _host(explanation: Explanation) -> str | None:
    if explanation.facts.host is None:
        return None
    host = printable(explanation.facts.host)
    if explanation.role is None:
        return host
    return sentence("{host} ({role})", host=host, role=role_words(explanation.role))


# -- for programs ---------------------------------------------------------------------------------


def _json(explanation: Explanation) -> dict[str, object]:
    """All of it, in English, as JSON of all commands is."""
    return {
        "known": explanation.is_known,
        "explained": [_explained_json(one) for one in explanation.explained],
        "names": {str(label): str(value) for label, value in _named(explanation)},
    }


def _explained_json(one: Explained) -> dict[str, object]:
    facts, request, words = one.facts, one.facts.request, entry_words(one, "en")
    return {
        "code": one.entry.code,
        "kind": one.entry.kind,
        "what": words.what,
        "cause": words.cause,
        "do": list(words.do),
        "remarks": [str(remark) for remark in remarks(one)],
        "said": said(one),
        "count": one.count,
        "gone": one.gone and one.gone.isoformat(),
        "printed_by": one.printed_by,
        "words_of": one.family,
        "host": facts.host and printable(facts.host),
        "role": one.role,
        "step": request.step if request is not None else None,
        "registry": one.registry and printable(one.registry),
        "repository": request.repository and printable(request.repository) if request is not None else None,
        "reference": facts.reference and printable(facts.reference),
        "status": facts.status,
        "address": facts.address,
        "digest": facts.digest,
        "checked": one.entry.checked.isoformat(),
    }
