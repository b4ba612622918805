"""What one look has come to, step by step, and the report of it: whole at any moment.

It asks nothing. Steps stand in the order of the way, whatever the order in which they were noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

from sampan.clock import Clock
from sampan.doctor.contract import Answer, HostReport, Part, Step
from sampan.doctor.hosts.headers import date_in, rate_limit_in
from sampan.doctor.hosts.image import Sample
from sampan.doctor.hosts.saying import in_words
from sampan.errors import HostError
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.upstream.host import Host
from sampan.upstream.trail import Hop, Trail

ORDER: tuple[Part, ...] = get_args(Part)


@dataclass(slots=True)
class Notes:
    """Of a look at ``host`` for ``reference``; ``trail`` is of its requests. The other fields are filled in
    as they become known, and mean what they mean in a :class:`~sampan.doctor.contract.HostReport`."""

    host: Host
    reference: Reference
    trail: Trail
    clock: Clock
    answers: tuple[Answer, ...] = ()
    addresses: tuple[str, ...] = ()
    realm: str | None = None
    head_digest: Digest | None = None
    digest: Digest | None = None
    created: float | None = None
    blob_host: str | None = None
    sample: Sample | None = None
    error: HostError | None = None
    part: Part = "dns"
    steps: dict[Part, Step] = field(default_factory=dict)
    _began: float = field(init=False)
    _part_began: float = field(init=False)
    _position: int = 0

    def __post_init__(self) -> None:
        self._began = self._part_began = self.clock.monotonic()

    def begin(self, part: Part) -> None:
        """From here on it is about ``part``."""
        self.part, self._part_began, self._position = part, self.clock.monotonic(), len(self.trail.hops)

    def hops(self) -> list[Hop]:
        """Those since :meth:`begin`."""
        return self.trail.hops[self._position :]

    def step(self, part: Part, words: str, *, outcome: str = "ok", seconds: float | None = None) -> None:
        """``part`` went so. It took ``seconds``; None: the time since :meth:`begin`."""
        taken = self.clock.monotonic() - self._part_began if seconds is None else seconds
        asked = [hop for hop in self.hops() if hop.login == (part == "login")]
        status = asked[-1].status if asked and part not in ("dns", "connect", "tls") else None
        self.steps[part] = Step(part, outcome, taken, words, status)

    def fail(self, part: Part, error: HostError, *, ends: bool = True) -> None:
        """``part`` failed; ``ends``: nothing after it is worth a request."""
        self.step(part, in_words(error, self.host), outcome=error.outcome)
        if ends and self.error is None:
            self.error = error

    @property
    def is_in_doubt(self) -> bool:
        """Whether the way ended where a wrong address may be the reason."""
        early: tuple[Part, ...] = ("dns", "connect", "tls", "ping")
        return self.error is not None and any(
            not self.steps[part].is_good for part in early if part in self.steps
        )

    def report(self) -> HostReport:
        """What is known now."""
        dated = next((hop for hop in reversed(list(self._own())) if date_in(hop) is not None), None)
        certificates = [hop.certificate for hop in self._own() if hop.certificate is not None]
        sample = self.sample or Sample()
        return HostReport(
            self.host,
            self.reference.registry,
            self.reference.repository,
            self.reference.object,
            tuple(self.steps[part] for part in ORDER if part in self.steps),
            self.answers,
            self.addresses,
            certificates[0] if certificates else None,
            self.realm,
            self.head_digest,
            self.digest,
            self.created,
            self.blob_host,
            rate_limit_in(self.trail.hops),
            sample.first_byte_seconds,
            sample.bytes_per_second,
            None if dated is None else date_in(dated),
            None if dated is None else self._when(dated),
            self.trail.count,
            self.clock.monotonic() - self._began,
            self.error,
        )

    def _own(self) -> Iterator[Hop]:
        """The hops to the host itself."""
        netloc = self.host.base.netloc
        return (hop for hop in self.trail.hops if not hop.login and hop.url.netloc == netloc)

    def _when(self, hop: Hop) -> float:
        """Our time of day when its answer came."""
        ago = asyncio.get_running_loop().time() - (hop.ended or hop.began)
        return self.clock.time() - ago
