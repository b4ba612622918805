"""What a replay and a pull come to, as findings: who fails, who is asked after, and what a person sees.

Pure. Each request is a line of evidence, queries left out but for ``ns``; what a program prints is given word
for word, made printable, with ``…`` for what differs from one pull to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from sampan.doctor.chain.contract import Entry
from sampan.doctor.chain.pulling import Pulled
from sampan.doctor.chain.replay import Replayed, Step
from sampan.doctor.chain.words import status
from sampan.doctor.contract import Finding, Unseen
from sampan.errors import printable
from sampan.words import Text, sentence

PRINTED_CHARACTERS_MAX = 1000
_PARTS = {
    "ping": lambda: sentence("the question whether it is a registry"),
    "token": lambda: sentence("the request for a token"),
    "head": lambda: sentence("the question what the tag means"),
    "manifest": lambda: sentence("the request for the manifest"),
    "blob": lambda: sentence("the request for content"),
}
_CODE = re.compile(r"^rpc error: code = \w+ desc = ")
_ALOUD = "tls: failed to verify certificate: "


def about_chain(replayed: Replayed) -> Iterator[Finding | Unseen]:
    """What a runtime gets."""
    chain, name = replayed.chain, replayed.chain.runtime
    yield from map(partial(_passed_over, name), filter(lambda entry: entry.unusable, chain.entries))
    if replayed.outcome is None:
        yield Unseen(
            name,
            sentence(
                "how it gets {image} is not known: {reason}",
                image=str(chain.reference),
                reason=printable(replayed.withheld or ""),
            ),
        )
    elif replayed.outcome.arrives:
        yield from _detour(replayed)
    elif not replayed.steps:
        yield _asks_nobody(replayed, replayed.outcome.printed or "")
    else:
        yield _fails(replayed, replayed.outcome.printed or "")


def about_pull(foretold: Replayed, pulled: Pulled) -> Iterator[Finding]:
    """What came of a real pull, beside what was foretold."""
    name, image = foretold.chain.runtime, str(foretold.chain.reference)
    printed = None if foretold.outcome is None else foretold.outcome.printed
    if pulled.said is not None:
        yield Finding(
            "PULL_FAILS",
            name,
            sentence("{runtime} cannot pull {image}", runtime=name, image=image),
            evidence=(_cut(pulled.said),),
        )
    if foretold.outcome is None or (pulled.said is None and pulled.was_there) or agrees(printed, pulled.said):
        return
    arrived = sentence("the image arrives")
    yield Finding(
        "PREDICTION_DIFFERS",
        name,
        sentence("a pull of {image} ends otherwise than its requests foretell", image=image),
        "warning",
        (
            sentence("foretold: {words}", words=arrived if printed is None else _cut(printed)),
            sentence("pulled: {words}", words=arrived if pulled.said is None else _cut(pulled.said)),
        ),
        sentence(
            "a host wavers, or something between {runtime} and its hosts is not seen from here", runtime=name
        ),
        sentence("run it again: what differs twice is worth a report"),
    )


def agrees(foretold: str | None, real: str | None) -> bool:
    """Whether both are the same words, ``…`` standing for any."""
    if foretold is None or real is None:
        return foretold is real
    pieces = [re.escape(_bare(piece)) for piece in foretold.split("…")]
    return re.fullmatch(".*?".join(pieces), _bare(real), re.DOTALL) is not None


def _bare(text: str) -> str:
    """Without what depends on who shows it, and on how a program was built; on one line."""
    return " ".join(_CODE.sub("", text).replace(_ALOUD, "").split())


def _fails(replayed: Replayed, printed: str) -> Finding:
    chain = replayed.chain
    bad = _bad(replayed.steps)
    shown = _decisive(bad, printed)
    finding = Finding(
        "CHAIN_FAILS",
        chain.runtime,
        sentence(
            "{runtime} cannot pull {image}: {part} fails at {host}",
            runtime=chain.runtime,
            image=str(chain.reference),
            part=_PARTS[shown.ask.part](),
            host=_host(shown),
        ),
        evidence=(*map(line, replayed.steps), sentence("it prints: {words}", words=_cut(printed))),
        why=_why(replayed),
        hint=sentence(
            "mend or replace that host; where sampan gets the image, sampan node apply makes it one"
        ),
    )
    return _placed(finding, shown.ask.entry, [step.ask.entry for step in bad])


def _why(replayed: Replayed) -> Text:
    hosts = dict.fromkeys(step.ask.entry.netloc for step in replayed.steps)
    if len(hosts) < 2:
        return sentence("nobody else is asked")
    if replayed.chain.family == "docker":
        return sentence(
            "all {count} hosts fail, and the error of the last is printed alone", count=len(hosts)
        )
    if replayed.chain.family == "containers-image":
        return sentence(
            "after the manifest nobody else is asked; before it, each of {count} fails", count=len(hosts)
        )
    return sentence(
        "every host after it fails as well; of {count} that were asked, one error is printed",
        count=len(hosts),
    )


def _asks_nobody(replayed: Replayed, printed: str) -> Finding:
    chain = replayed.chain
    return Finding(
        "CHAIN_ASKS_NOBODY",
        chain.runtime,
        sentence("{runtime} asks nobody for {image}", runtime=chain.runtime, image=str(chain.reference)),
        evidence=(sentence("it prints: {words}", words=_cut(printed)),),
        why=sentence("a pull ends before the first request"),
    )


def _passed_over(name: str, entry: Entry) -> Finding:
    finding = Finding(
        "CHAIN_PASSES_OVER",
        name,
        sentence("{runtime} passes {host} over without a request", runtime=name, host=_netloc(entry)),
        "warning",
        (_cut(entry.unusable or ""),),
        sentence("what its files say of that host cannot be used"),
    )
    return _placed(finding, entry, [entry])


def _detour(replayed: Replayed) -> Iterator[Finding]:
    """Hosts that fail before another gives what is wanted: every pull pays for them."""
    bad = {step.ask.entry.netloc: step for step in reversed(_bad(replayed.steps))}
    if not bad:
        return
    chain, shown = replayed.chain, next(reversed(bad.values()))
    finding = Finding(
        "CHAIN_DETOUR",
        chain.runtime,
        sentence(
            "{runtime} gets {image}, after {host} has failed",
            runtime=chain.runtime,
            image=str(chain.reference),
            host=", ".join(_host(step) for step in reversed(bad.values())),
        ),
        "warning",
        tuple(map(line, replayed.steps)),
        sentence("a host that fails is asked again for every manifest and every layer"),
        sentence("mend it, or take it out"),
    )
    yield _placed(finding, shown.ask.entry, [step.ask.entry for step in bad.values()])


def _bad(steps: Sequence[Step]) -> list[Step]:
    """Those that led nowhere; one by HTTPS of a host that goes on by HTTP did not."""
    by_http = {step.ask.entry.netloc for step in steps if step.ask.entry.scheme == "http" and is_good(step)}
    return [
        step
        for step in steps
        if not is_good(step) and not (step.ask.entry.insecure and step.ask.entry.netloc in by_http)
    ]


def is_good(step: Step) -> bool:
    """Whether the runtime goes on with this answer."""
    answer = step.answer
    if answer.failure is not None or answer.broken is not None:
        return False
    number = answer.status or 0
    return (
        number < 300 or (number == 401 and _leads_on(step)) or (number == 405 and step.ask.method == "HEAD")
    )


def _leads_on(step: Step) -> bool:
    """A 401 that asks for what the runtime can give."""
    return step.ask.authorization is None and "www-authenticate" in step.answer.headers


def line(step: Step) -> str:
    """One request and its answer."""
    answer = step.answer
    came = answer.failure if answer.failure is not None else status(answer)
    came += f", {answer.broken}" if answer.broken else ""
    came = f"{answer.behind}: {came}" if answer.behind else came
    times = f" ×{step.times}" if step.times > 1 else ""
    return _cut(f"{step.ask}: {came}{times}")


def _decisive(bad: list[Step], printed: str) -> Step:
    """The step whose URL is printed, else the first that failed in what is printed last."""
    named = [step for step in bad if step.ask.url.partition("?")[0] in printed]
    return (named or bad)[0]


def _host(step: Step) -> str:
    return _netloc(step.ask.entry)


def _netloc(entry: Entry) -> str:
    return printable(entry.netloc, characters_max=100)


def _placed(finding: Finding, entry: Entry, all_of_them: Sequence[Entry]) -> Finding:
    """``finding`` with the place where ``entry`` is written, and all hosts that it is about."""
    file, _, number = (entry.place or "").rpartition(":")
    names = tuple(dict.fromkeys(name for each in all_of_them for name in _names(each)))
    if not file or not number.isdigit():
        return replace(finding, about=names)
    return replace(finding, about=names, file=file, line=int(number))


def _names(entry: Entry) -> Iterator[str]:
    """What a host is called by whoever looks at it: with what stands before its repositories, if anything."""
    yield entry.netloc
    if below := entry.path.removeprefix("/v2").strip("/"):
        yield f"{entry.netloc}/{below}"


def _cut(text: str) -> str:
    """What a program prints, on one line; our own ``…`` in it is kept."""
    return "…".join(map(_clean, " ".join(text.split())[:PRINTED_CHARACTERS_MAX].split("…")))


def _clean(text: str) -> str:
    return printable(text, characters_max=PRINTED_CHARACTERS_MAX)
