"""The ``sampan.toml`` that ``sampan init`` writes: what works, and in comments how well, and what does not.

It guarantees that the text is a configuration that sampan reads; what it says is decided in
:mod:`sampan.doctor.hosts.proposal`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date

from sampan.cli.columns import wrap
from sampan.cli.mirrors_words import failure_words
from sampan.cli.tally import size_text
from sampan.doctor.hosts.proposal import Chosen, Proposal
from sampan.doctor.hosts.trial import Tried
from sampan.errors import printable
from sampan.oci.reference import origin_url
from sampan.upstream.url import registrable_domain
from sampan.words import Language, in_language, sentence

COLUMNS = 78
GROUPS_FOR_AGREEMENT = 3  # with two of three in agreement, one liar or one that sleeps is no matter


def render(proposals: Sequence[Proposal], today: date, language: Language) -> str:
    """The whole file."""
    head = sentence(
        "Written by sampan init on {day}: what worked from this machine. Mirrors come and go: "
        "sampan mirrors test says what works now. Every key is explained in docs/configuration.md.",
        day=today,
    )
    lines = list(_comment(head, language))
    for proposal in proposals:
        lines += ["", *_registry(proposal, language)]
    lines += _tags(proposals, language)
    return "\n".join(lines) + "\n"


def _registry(proposal: Proposal, language: Language) -> Iterator[str]:
    trial = proposal.trial
    count = sentence(
        "{count} of {total} hosts gave {reference}",
        count=len(trial.working),
        total=len(trial.tried),
        reference=trial.reference,
    )
    if not proposal.is_any:
        yield from _comment(count, language)
        yield from _failures(trial.tried, language)
        yield f"# [registry.{_value(proposal.registry)}]"
        return
    yield f"[registry.{_value(proposal.registry)}]"
    yield from _comment(count, language)
    if proposal.mirrors:
        yield "mirrors = ["
        for chosen in proposal.mirrors:
            yield from (f"  {line}" for line in _comment(_how(chosen), language))
            yield f"  {_mirror(chosen)},"
        yield "]"
    yield from _origin(proposal, language)


def _origin(proposal: Proposal, language: Language) -> Iterator[str]:
    tried = proposal.origin_tried
    if tried is None:
        yield f'origin = "{proposal.origin}"'
        return
    words = _speed(tried) if tried.code is None else failure_words(tried.code)
    host = tried.candidate.host
    yield from _comment(sentence("{host}: {words}", host=host.name, words=words), language)
    yield f'origin = "{proposal.origin}"'
    if proposal.origin != "never" and host.url != origin_url(proposal.registry):
        yield f"origin_url = {_value(host.url)}"


def _mirror(chosen: Chosen) -> str:
    """As sampan.toml has it: a URL, or a table where more is to be said."""
    host = chosen.candidate.host
    url = f"{host.url}/{host.prefix}" if host.prefix else host.url
    keys: dict[str, object] = {"url": url}
    if not chosen.resolves:
        keys["capabilities"] = ["pull"]
    if host.allow:
        keys["allow"] = list(host.allow)
    if host.repositories:
        keys["repositories"] = dict(host.repositories)
    if host.operator != registrable_domain(host.base.host):
        keys["group"] = host.operator
    for key in ("requests_per_minute", "max_connections"):
        if (number := getattr(host, key)) is not None:
            keys[key] = number
    if len(keys) == 1:
        return _value(url)
    return f"{{ {', '.join(f'{key} = {_value(value)}' for key, value in keys.items())} }}"


def _value(value: object) -> str:
    """``value`` in TOML, on one line. Strings are JSON's, which are TOML's too."""
    match value:
        case dict():
            return f"{{ {', '.join(f'{_value(k)} = {_value(v)}' for k, v in value.items())} }}"
        case list():
            return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


# -- comments -------------------------------------------------------------------------------------


def _how(chosen: Chosen) -> str:
    tried = chosen.tried
    if tried is None:
        return sentence("worked with another registry, not tried with this one")
    if not chosen.resolves:
        return sentence("for content alone, its tags are old: {speed}", speed=_speed(tried))
    return _speed(tried)


def _speed(tried: Tried) -> str:
    first, rate = tried.report.first_byte_seconds, tried.report.bytes_per_second
    shown = f"{first or tried.report.seconds:.2f}"
    if rate is None:
        return sentence("the first byte after {first} s", first=shown)
    speed = f"{size_text(int(rate))}/s"
    return sentence("the first byte after {first} s, then {speed}", first=shown, speed=speed)


def _failures(tried: Sequence[Tried], language: Language) -> Iterator[str]:
    for each in tried:
        if each.code is not None:
            words = sentence("{host}: {words}", host=each.candidate.host.name, words=failure_words(each.code))
            yield f"#   {_clean(words, language)}"


def _tags(proposals: Sequence[Proposal], language: Language) -> Iterator[str]:
    """Where nobody can ask the origin, agreement is what is left to trust; whoever reads decides."""
    groups = {c.candidate.host.operator for p in proposals for c in p.mirrors if c.resolves}
    if len(groups) < GROUPS_FOR_AGREEMENT or any(p.origin != "never" for p in proposals if p.is_any):
        return
    yield ""
    yield from _comment(
        sentence("No origin answers from here: with agree = 2 two operators must say the same of a tag."),
        language,
    )
    yield "# [tags]"
    yield "# agree = 2"


def _comment(text: str, language: Language) -> Iterator[str]:
    for line in wrap(_clean(text, language), COLUMNS):
        yield f"# {line}"


def _clean(text: str, language: Language) -> str:
    """On one line and printable, for a comment must not end before its line does."""
    return printable(in_language(text, language), characters_max=400)
