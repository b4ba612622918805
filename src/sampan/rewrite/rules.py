"""The rules: which reference becomes which. Pure; everything else in this package finds text for them.

They guarantee that what they give is a valid reference, with the tag and digest that went in, and that a
second time changes nothing. What they have no rule for comes back as it was, to the character. They do not
ask whether the image is there.

A registry's targets are tried in order; the first that takes the repository gives the name. ``*`` stands for
registries without an entry of their own, but for those that are a target's, and for this machine and private
addresses, which are other machines to a mirror. When a target's registry has an entry of its own, that is
followed too (``k8s.gcr.io`` to ``registry.k8s.io`` to its mirror); registries that mirror one another are not
redirected to each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sampan.errors import InvalidDigest, InvalidReference
from sampan.oci.digest import Digest
from sampan.oci.pattern import matches
from sampan.oci.reference import Reference, is_local, registry_behind
from sampan.rewrite.target import REGISTRY, Target

ANY = "*"
SCRATCH = "scratch"  # no image: what a Dockerfile begins with when it begins with nothing
_TEMPLATE = re.compile(r"[${}<>%]")  # none of them can stand in a reference


class Reason(StrEnum):
    """Why a text became another, or stayed; one word for JSON, annotations and metrics."""

    REWRITTEN = "rewritten"
    NO_RULE = "no-rule"
    EXCEPTED = "excepted"
    MIRRORED = "mirrored"  # it points at a target already
    NO_NAME = "no-name"  # no target could have it under a valid name
    TEMPLATE = "template"
    SCRATCH = "scratch"
    IMAGE_ID = "image-id"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of a text. ``error`` says what is wrong with it when the reason is ``invalid``."""

    before: str
    after: str
    reason: Reason
    error: InvalidReference | None = None

    @property
    def changed(self) -> bool:
        """Whether ``after`` is another reference than ``before``."""
        return self.reason is Reason.REWRITTEN


@dataclass(frozen=True, slots=True)
class Rules:
    """``targets`` by canonical registry, ``*`` among them; ``exceptions`` are patterns of names
    (``docker.io/mycorp/*``) that stay. Circles are taken out when the rules are made."""

    targets: Mapping[str, tuple[Target, ...]]
    exceptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", MappingProxyType(_without_circles(self.targets)))

    def __bool__(self) -> bool:
        """Whether there is any target: without one, nothing is ever changed."""
        return any(self.targets.values())

    @property
    def passes(self) -> int:
        """How often the targets follow one another at most: what applies them once has to be run as often."""
        return max(_depths(self.targets).values(), default=0)

    def rewrite(self, text: str) -> str:
        """What to write instead of ``text``; ``text`` itself, whatever it is, when no rule is for it."""
        return self.judge(text).after

    def judge(self, text: str) -> Rewriting:
        """:meth:`rewrite`, with the reason. Raises nothing, whatever ``text`` is."""
        if text == SCRATCH:
            return Rewriting(text, text, Reason.SCRATCH)
        if _TEMPLATE.search(text):
            return Rewriting(text, text, Reason.TEMPLATE)
        if _is_digest(text):
            return Rewriting(text, text, Reason.IMAGE_ID)
        try:
            reference = Reference.parse(text, default_tag=None)
        except InvalidReference as error:
            return Rewriting(text, text, Reason.INVALID, error)
        result, reason = self._follow(reference)
        return Rewriting(text, str(result) if reason is Reason.REWRITTEN else text, reason)

    def apply(self, reference: Reference) -> Reference:
        """:meth:`rewrite` for whoever has parsed already."""
        return self._follow(reference)[0]

    def _follow(self, reference: Reference) -> tuple[Reference, Reason]:
        first = current = reference
        reason = Reason.NO_RULE
        for _ in range(len(self.targets) + 1):  # without circles, no registry comes twice
            step = self._step(current)
            if isinstance(step, Reason):
                reason = step
                break
            current = step
        return (current, Reason.REWRITTEN) if current != first else (first, reason)

    def _step(self, reference: Reference) -> Reference | Reason:
        """Where the rules lead from ``reference``, or why nowhere."""
        meant = self._meant(reference)
        if any(matches(pattern, meant.name) for pattern in self.exceptions):
            return Reason.EXCEPTED
        if self._is_at_a_target(reference):
            return Reason.MIRRORED
        if meant.registry in self.targets:
            return _first_name(meant, self.targets[meant.registry])
        return Reason.NO_RULE if is_local(meant.registry) else _first_name(meant, self.targets.get(ANY, ()))

    def _is_at_a_target(self, reference: Reference) -> bool:
        """A registry with an entry of its own may be a mirror as well: only what lies under the name that
        its own targets give is a mirror's then."""
        own = self.targets.get(reference.registry)
        if own is not None:
            return any(target.covers(reference) for target in own)
        return any(target.is_at(reference.registry) for each in self.targets.values() for target in each)

    def _meant(self, reference: Reference) -> Reference:
        """``reference`` by the name under which there are rules for it."""
        behind = registry_behind(reference.registry)
        if behind == reference.registry or reference.registry in self.targets:
            return reference
        return Reference(behind, reference.repository, reference.tag, reference.digest)


def _first_name(reference: Reference, targets: tuple[Target, ...]) -> Reference | Reason:
    reason = Reason.NO_RULE
    for target in targets:
        try:
            placed = target.place(reference)
        except InvalidReference:
            reason = Reason.NO_NAME
            continue
        if placed is not None:
            return placed
    return reason


def _is_digest(text: str) -> bool:
    """``sha256:…`` alone is what runtimes call an image that they have; Docker would parse it as a name."""
    try:
        Digest.parse(text)
    except InvalidDigest:
        return False
    return True


def _next(name: str, targets: Mapping[str, tuple[Target, ...]]) -> set[str]:
    """The other registries with an entry that ``name`` leads to."""
    registries = {target.registry.replace(REGISTRY, name) for target in targets[name]}
    return {registry for registry in registries if registry in targets and registry != name}


def _without_circles(targets: Mapping[str, tuple[Target, ...]]) -> dict[str, tuple[Target, ...]]:
    """``targets`` without those from which one would come back."""
    kept = {}
    for name, own in targets.items():
        kept[name] = tuple(
            target
            for target in own
            if (there := target.registry.replace(REGISTRY, name)) == name
            or there not in targets
            or name not in _reachable(there, targets)
        )
    return kept


def _reachable(name: str, targets: Mapping[str, tuple[Target, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in _next(waiting.pop(), targets) - found:
            found.add(other)
            waiting.append(other)
    return found


def _depths(targets: Mapping[str, tuple[Target, ...]]) -> dict[str, int]:
    """By registry, how many targets follow one another from there. There are no circles."""
    found: dict[str, int] = {}
    waiting = list(targets)
    while waiting:
        name = waiting[-1]
        unknown = [] if name in found else [other for other in _next(name, targets) if other not in found]
        if unknown:
            waiting.extend(unknown)
            continue
        waiting.pop()
        beyond = max((found[other] for other in _next(name, targets)), default=0)
        found[name] = beyond + 1 if targets[name] else 0
    return found
