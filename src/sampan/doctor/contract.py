"""What the doctor says and what its checks are: the vocabulary, and the guide for whoever adds a check.

A check is one asynchronous function from a :class:`Scene` to findings, in the module of what it looks at::

    async def check_clock(scene: Scene) -> AsyncIterator[Finding]: ...

It looks and changes nothing; what it may not see it says with :class:`Unseen` and goes on; it never raises
for what the machine or a host does. Checks run side by side, within the time that ``scene`` has left; what
comes after that is not heard, so each finding is given as soon as it is known. What blocks (a program, a
file system) is run with :func:`sampan.doctor.aside.aside`. The order of what was found is no check's
business: ``verdict.py`` knows which cause comes before which symptom, and has a line for every code.

To add one: the function in the module of what it looks at, its name in ``checks.py``, its codes in
``order.py`` and docs/doctor.md (and .zh-CN.md), its sentences in data/zh/doctor.toml.

Sentences are made with :func:`sampan.words.sentence`, so that they exist in English and in Chinese. Codes are
words for programs, in capitals, and each is documented in docs/doctor.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from sampan.clock import Clock
from sampan.doctor.catalogue import Catalogue
from sampan.errors import HostError
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.runtimes import contract
from sampan.runtimes.contract import Installed, Level, Machine, Runtime, Status
from sampan.runtimes.tree import Tree
from sampan.upstream.certificate import Certificate as Certificate
from sampan.upstream.host import Host

UNREADABLE = "FILE_UNREADABLE"  # with a hint where it is a matter of rights

# -- what is found --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that keeps an image from arriving, or may.

    ``subject``: whom it is about, as ``clock``, ``containerd`` or a host's name. ``evidence``: what was seen,
    each a line, foreign text made printable. ``why``: why it matters; ``hint``: what to do; ``command``: the
    one command that mends it, where there is one. ``file`` and ``line``: where it is written. ``about``: the
    names of hosts and images that it is about besides, as those that its subject has asked.
    """

    code: str
    subject: str
    what: str
    level: Level = "error"
    evidence: tuple[str, ...] = ()
    why: str | None = None
    hint: str | None = None
    command: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why: it is neither healthy nor broken. ``hint``: how to see it."""

    subject: str
    what: str
    hint: str | None = None


# -- one host, looked at --------------------------------------------------------------------------

Part = Literal["dns", "connect", "tls", "ping", "login", "head", "manifest", "redirect", "blob"]


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the way to an image at one host.

    ``outcome``: ``ok``, ``skipped`` (an earlier one failed, or there is no need) or the outcome of a
    :class:`~sampan.errors.HostError`; ``words``: what was seen."""

    part: Part
    outcome: str
    seconds: float
    words: str = ""
    status: int | None = None

    @property
    def is_good(self) -> bool:
        return self.outcome in ("ok", "skipped")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one resolver says the addresses of a name are. ``source``: ``system``, or the nameserver that was
    asked. ``problem``: why there are none, as ``NXDOMAIN``, ``SERVFAIL`` or ``no answer``."""

    source: str
    addresses: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What Docker Hub says of its limit: ``left`` of ``limit`` in ``window_seconds``."""

    limit: int
    left: int
    window_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class HostReport:
    """What one host does for one image: few requests, never more than it takes to know.

    ``steps`` in their order, to the first that failed and those that make sense after it. ``answers``: to its
    name, by this machine and, where the way ended before an answer, by its nameservers each on its own;
    ``addresses``: those of this machine's. ``realm``: the machine that gives its tokens. ``digest``: of the
    tag there by GET, ``head_digest`` by HEAD; ``created``: when that image was built, seconds since 1970.
    ``blob_host``: where its redirect leads. ``first_byte_seconds`` and ``bytes_per_second``: of a range of a
    real blob. ``date``: the host's clock, and ``dated``: ours at that time. ``requests``: how many it had.
    ``seconds``: how long all of it took. ``error``: the first that ended the way; None: the image arrives
    from there.
    """

    host: Host
    registry: str
    repository: str
    object: str
    steps: tuple[Step, ...]
    answers: tuple[Answer, ...] = ()
    addresses: tuple[str, ...] = ()
    certificate: Certificate | None = None
    realm: str | None = None
    head_digest: Digest | None = None
    digest: Digest | None = None
    created: float | None = None
    blob_host: str | None = None
    rate_limit: RateLimit | None = None
    first_byte_seconds: float | None = None
    bytes_per_second: float | None = None
    date: float | None = None
    dated: float | None = None
    requests: int = 0
    seconds: float = 0.0
    error: HostError | None = None

    @property
    def is_good(self) -> bool:
        return self.error is None

    def step(self, part: Part) -> Step | None:
        """That part of the way; None: it was not come to."""
        return next((step for step in self.steps if step.part == part), None)


class Probe(Protocol):
    """Looks at hosts. One look at a host for an image is kept: two checks that ask are one look."""

    async def look(self, host: Host, reference: Reference) -> HostReport:
        """What ``host`` does for ``reference``. Raises nothing but what cancels it."""
        ...


# -- what is looked at ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A runtime of the tree, with what it says of itself and what its files say."""

    runtime: Runtime
    installed: Installed
    status: Status

    @property
    def is_hidden(self) -> bool:
        """Whether this user may not read some of its files: what it would ask then is anybody's guess."""
        return any(
            finding.code == UNREADABLE and finding.hint is not None for finding in self.status.findings
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """All that checks look at.

    ``typed``: the references as they were given, and ``references`` as they are meant (those that are none
    are missing here, and a finding). ``hosts_for``: whom sampan's configuration asks for a registry, in
    order.
    ``machine`` None: the tree is not this machine, or nothing may be run. ``environ``: of this process.
    ``after``: what a runtime's files would still have after ``sampan node apply``; None: it changes nothing.
    ``deadline``: on ``clock``'s monotonic scale, when all must be over. ``store``: where sampan keeps
    content, a path of this machine. ``config_file``: its configuration; None: there is none.
    """

    typed: tuple[str, ...]
    references: tuple[Reference, ...]
    tree: Tree
    machine: Machine | None
    runtimes: Sequence[Seen]
    hosts_for: Callable[[str], Sequence[Host]]
    environ: Mapping[str, str] = field(repr=False)
    probe: Probe
    clock: Clock
    deadline: float
    after: Callable[[Seen], Sequence[contract.Finding] | None] = lambda _: None
    store: str | None = None
    catalogue: Catalogue | None = None
    config_file: str | None = None

    @property
    def visible(self) -> Scene:
        """The same without the runtimes that this user sees in part."""
        return replace(self, runtimes=[seen for seen in self.runtimes if not seen.is_hidden])

    @property
    def seconds_left(self) -> float:
        """Until all must be over; never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


Check = Callable[[Scene], AsyncIterator[Finding | Unseen]]
