"""What hosts say of one tag, weighed: pure.

The one guarantee: a digest is agreed upon only when ``needed`` operator groups name it and no other has
as many voices; of two with equally many, the one that the registry's own host names counts. It asks nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.errors import AllHostsFailed
from sampan.oci import Digest, Reference
from sampan.oci.attached import is_attached
from sampan.upstream.host import Host


@dataclass(frozen=True, slots=True)
class Saying:
    """One host's answer: ``digest``, or else why there is none."""

    host: Host
    digest: Digest | None = None
    failure: AllHostsFailed | None = None

    @property
    def outcome(self) -> str:
        """One word: ``ok``, or that of the last attempt."""
        if self.failure is None:
            return "ok"
        return self.failure.attempts[-1].outcome if self.failure.attempts else "not-asked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``sayings`` in the configured order of the hosts; ``agreed`` None: not enough agree."""

    reference: Reference
    needed: int
    sayings: tuple[Saying, ...]
    agreed: Digest | None

    @property
    def said(self) -> tuple[Digest, ...]:
        """Every digest that anybody names, each once."""
        return tuple(dict.fromkeys(s.digest for s in self.sayings if s.digest is not None))

    @property
    def is_split(self) -> bool:
        """Whether hosts contradict each other."""
        return len(self.said) > 1

    @property
    def is_denied(self) -> bool:
        """Whether every host says that there is no such tag."""
        return bool(self.sayings) and all(
            s.failure is not None and s.failure.exit_code == 3 for s in self.sayings
        )

    def hosts(self, digest: Digest) -> tuple[Host, ...]:
        """Who names ``digest``."""
        return tuple(s.host for s in self.sayings if s.digest == digest)

    def groups(self, digest: Digest) -> tuple[str, ...]:
        """The operators whose voice ``digest`` has, sorted."""
        return tuple(sorted(group for group, named in _voices(self.sayings).items() if named == digest))


def weigh(reference: Reference, sayings: tuple[Saying, ...], agree: int) -> Verdict:
    """What the hosts agree on. What is attached to a digest (signatures) needs no agreement: it moves
    with each signature, and is checked by who reads it."""
    needed = 1 if is_attached(reference.tag or "") else agree
    counts: dict[Digest, int] = {}
    for digest in _voices(sayings).values():
        counts[digest] = counts.get(digest, 0) + 1
    most = max(counts.values(), default=0)
    leading = [digest for digest, count in counts.items() if count == most and most >= needed]
    if len(leading) > 1:
        own = {s.digest for s in sayings if s.host.role == "origin"}
        leading = [digest for digest in leading if digest in own]
    return Verdict(reference, needed, sayings, leading[0] if len(leading) == 1 else None)


def _voices(sayings: tuple[Saying, ...]) -> dict[str, Digest]:
    """One voice an operator: that of its first host, in the configured order, that answered."""
    voices: dict[str, Digest] = {}
    for saying in sayings:
        if saying.digest is not None:
            voices.setdefault(saying.host.operator, saying.digest)
    return voices
