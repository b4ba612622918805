"""The drop-in that sampan writes for containers/image: its text, and which hops can stand in it.

Guarantees that bare keys come before the first table (behind it they would belong to that table, without a
word from anybody), that no location has a scheme, and that a host which may not say what a tag means is not
asked for one. What cannot be written is a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.podman.entries import DIGEST_ONLY, EVERY, Mirror
from sampan.runtimes.podman.files import SEARCH
from sampan.runtimes.wanted import EVERY_REGISTRY, PULL, Hop, Route
from sampan.words import sentence

HEADER = "# Written by sampan node; sampan node revert removes it.\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``[[registry]]``: whom to ask for ``prefix``. ``last`` stands as its location: the origin, or where
    the registry itself must not be asked, the last mirror that may say what tags mean. ``hops`` are all."""

    prefix: str
    last: Mirror
    mirrors: tuple[Mirror, ...]
    hops: tuple[Hop, ...]


def entry_of(route: Route, *, digest_only: bool) -> tuple[Entry | None, list[str]]:
    """The entry of ``route``, None when it would change nothing; and notes. ``digest_only``: all programs
    here know ``pull-from-mirror``."""
    if route.registry == EVERY_REGISTRY:
        note = sentence("registries.conf has no entry for all registries: those without one of their own")
        return None, [sentence("{note} are asked directly", note=note)] if route.mirrors else []
    usable: list[Hop] = []
    notes: list[str] = []
    for hop in route.hops:
        reason = _unusable(hop, digest_only=digest_only)
        if reason is None:
            usable.append(hop)
        else:
            notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=route.registry, hop=hop, reason=reason
                )
            )
    last = next((hop for hop in reversed(usable) if hop.resolves), None)
    if last is None:
        return None, [*notes, *_nobody(route, usable)]
    if not any(not hop.origin for hop in usable):
        return None, notes
    before = usable[:-1] if last is usable[-1] else usable  # in its place as well, to keep the order
    mirrors = tuple(_mirror(hop, route.registry) for hop in before)
    return Entry(route.registry, _mirror(last, route.registry), mirrors, tuple(usable)), notes


def render(entries: Iterable[Entry], search: Sequence[str]) -> str:
    """The text; ``search``: where short names are looked for, if that is to be said."""
    lines = [HEADER]
    if search:
        names = ", ".join(f'"{name}"' for name in search)
        lines.append(f"{SEARCH} = [{names}]\n")
    for entry in entries:
        lines += _lines(entry)
    return "".join(lines)


def _lines(entry: Entry) -> Iterator[str]:
    yield f'\n[[registry]]\nprefix = "{entry.prefix}"\nlocation = "{entry.last.location}"\n'
    if entry.last.insecure:
        yield "insecure = true\n"
    for mirror in entry.mirrors:
        yield f'\n  [[registry.mirror]]\n  location = "{mirror.location}"\n'
        if mirror.insecure:
            yield "  insecure = true\n"
        if mirror.pulls != EVERY:
            yield f'  pull-from-mirror = "{mirror.pulls}"\n'


def _nobody(route: Route, usable: Sequence[Hop]) -> Sequence[str]:
    if not usable:
        return ()
    return (
        sentence(
            "{registry} is asked directly: none of its mirrors may say what a tag means",
            registry=route.registry,
        ),
    )


def _unusable(hop: Hop, *, digest_only: bool) -> str | None:
    if hop.username is not None or hop.headers:
        return sentence("it wants a login, which is podman's own to keep (podman login); sampan serve can")
    if PULL not in hop.capabilities:
        return sentence("whoever says what a tag means is asked for the content too")
    if not hop.resolves and not digest_only:
        return sentence("this version would believe what it says of tags")
    return None


def _mirror(hop: Hop, registry: str) -> Mirror:
    if hop.origin and hop.base == origin_url(registry):
        return Mirror(DOCKER_HUB if registry == DOCKER_HUB else hop.netloc, hop.insecure)
    prefix = hop.prefix_for(registry, sends_ns=False)
    location = f"{hop.netloc}/{prefix}" if prefix else hop.netloc
    return Mirror(location, hop.insecure or hop.is_plain_http, EVERY if hop.resolves else DIGEST_ONLY)
