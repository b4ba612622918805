"""What a runtime is to sampan: the vocabulary, and the guide for whoever adds the next one.

A runtime is one module beside this one, with a class that fulfils :class:`Runtime`, and a line in
:mod:`sampan.runtimes`. It holds the knowledge of one program: which files it reads, what its versions
understand, when a change takes effect. It holds nothing else, since the engine (:mod:`.apply`,
:mod:`.revert`) does what all have in common: snapshots, atomic writing, refusals, steps, undoing.

How to add one:

1. ``questions``: what its programs are asked, by name: ``{"version": ("containerd", "--version")}``. The
   engine runs them where the tree is the running machine, and :class:`Installed` has what they said. So
   everything else is a function from text to text, and is tested without programs.
2. ``detect``: is there a trace of it in the tree (a program, its directory in /etc)?
3. ``status``: read the files through :class:`~sampan.runtimes.tree.Tree`, say what is in force per registry,
   and what is configured but does nothing, each a :class:`Finding` with file and line. It never raises:
   what cannot be read or parsed is a finding as well (``file.problem``).
4. ``plan``: the files as they should be. Take the present text with ``file.editable()`` (it raises for what
   must not be touched), edit keys and never the whole text, and give each file that differs as a
   :class:`Change`. A file that cannot be parsed is refused with :func:`~sampan.runtimes.plan.refuse`.
   Planning over the tree with the changes made (``tree.changed(plan.changes)``) must give no change: that
   is what makes a second apply do nothing, and the golden tests ask it of every case.
   What :class:`Wanted` asks for and the runtime cannot do is a note, never silently left out.
5. ``settle`` and ``verify``: the only parts that run programs. ``settle`` waits, with a limit, until what is
   in force is what the files of the tree say: after an apply, with steps or without, and in a revert too,
   since a reload may be over before it is done. ``verify`` pulls an image. Both return what is wrong;
   nothing: it is good.
6. Cases in tests/golden/node/NAME/, a row in docs/node.md and docs/node.zh-CN.md.

How the odd ones are told in these words:

* a hosts.toml directory a registry: one :class:`Change` a file; directories come and go by themselves
* a drop-in that another file imports: read both; when it is not imported, plan the import as a Change too
* a file in a directory that nobody reads: a :class:`Source` that is not ``read``, with a Finding
* files that the runtime generates from others (k3s): status reads them, ``verify`` waits for them, no plan
  writes them
* what is not in this tree, or only a command can change (Talos, kind, minikube): :class:`Advice`, with the
  document and the commands for a person; no Change
* a reload that does not forget (Docker): :attr:`Change.interim`, what stands there while a revert reloads
* a file that two runtimes read (podman, CRI-O): both plan it; who finds it changed already keeps its steps
* what must be stopped while its file is there (a unit): ``interim`` is the file, :attr:`Step.back` stops it
* a runtime that is not running: no Step; what is written counts from its next start

Paths are text, absolute, as the machine of the tree sees them: ``/etc/docker/daemon.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import total_ordering
from typing import TYPE_CHECKING, Literal, Protocol

from sampan.errors import printable
from sampan.oci.reference import Reference
from sampan.runtimes.wanted import Wanted

if TYPE_CHECKING:
    from sampan.runtimes.tree import Tree

FILE_MODE = 0o644
SECRET_MODE = 0o600
_VERSION = re.compile(r"(?<![\w./])v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?")

# error: pulls or the runtime itself are broken by it. dead: configured, and without effect.
# warning: in effect, and probably not meant. note: worth knowing.
Level = Literal["error", "dead", "warning", "note"]
Kind = Literal["none", "reload", "restart", "start"]


# -- what there is --------------------------------------------------------------------------------


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """Three numbers; those left out (``--runtime docker@28``) are 0."""

    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def find(cls, text: str) -> Version | None:
        """The version in what a program says about itself, ``Docker version 28.5.2+dfsg4``: the first with a
        dot. The digits of a name (``k3s``) and of a path (``containerd/v2``) are none."""
        matches = list(_VERSION.finditer(text))
        match = next((each for each in matches if each[2]), next(iter(matches), None))
        return None if match is None else cls(*(int(number or 0) for number in match.groups()))

    def __lt__(self, other: Version) -> bool:
        return (self.major, self.minor, self.patch) < (other.major, other.minor, other.patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class Installed:
    """What is known of a runtime beside its files.

    ``version`` None: unknown, so only what all supported versions read may be written. ``answers``: what its
    programs said to its ``questions``, by their names; one that could not be asked is not there.
    """

    version: Version | None = None
    answers: Mapping[str, str] = field(default_factory=dict)

    def at_least(self, major: int, minor: int = 0, patch: int = 0) -> bool:
        """Whether it is surely that new: false for an unknown version."""
        return self.version is not None and self.version >= Version(major, minor, patch)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell of a configuration. ``code`` is a word for programs, in capitals; ``file`` and
    ``line`` say where, ``hint`` what to do."""

    code: str
    message: str
    level: Level = "warning"
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    @property
    def place(self) -> str:
        """``file:line: ``, as far as it is known, to begin a sentence with."""
        if self.file is None:
            return ""
        return f"{printable(self.file)}:{self.line}: " if self.line else f"{printable(self.file)}: "


@dataclass(frozen=True, slots=True)
class Source:
    """A file that configures registries, or looks as if it did. ``written_by``: ``sampan``, the program that
    generates it, or None: a person, as far as is known."""

    path: str
    read: bool = True
    written_by: str | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """Whom the runtime asks for ``registry`` (``*``: for all others), as URLs in their order."""

    registry: str
    hosts: tuple[str, ...]
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All that is told of one runtime. ``mode`` is in words, as ``containerd image store``; ``running`` None:
    not known."""

    runtime: str
    version: Version | None = None
    mode: str | None = None
    running: bool | None = None
    sources: tuple[Source, ...] = ()
    in_force: tuple[InForce, ...] = ()
    findings: tuple[Finding, ...] = ()


# -- what is to be done ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One file, ``before`` and ``after``; None: it is absent.

    A file that there is keeps its mode and owner; ``mode`` is a new one's. ``interim`` is what stands there
    while a revert runs its steps, before ``before`` comes back. ``secret``: its content is never shown.
    """

    path: str
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)
    mode: int = FILE_MODE
    interim: bytes | None = field(default=None, repr=False)
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What makes the runtime take notice, after a plan and after its revert. ``command`` is run as it is,
    without a shell, unless ``[node.commands]`` has another; ``effect`` says what running containers feel.
    ``none``: nothing is run, and ``effect`` says when the files count. ``back``: what a revert runs in the
    place of ``command``, where it is another thing; whether that had its effect is then not looked at."""

    kind: Kind
    effect: str
    command: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """What sampan cannot do here and a person can: ``commands`` to run, with a ``document`` to feed them."""

    title: str
    commands: tuple[str, ...] = ()
    document: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What one runtime needs. ``changes`` in the order of writing, no file twice; without any, no ``steps``.
    ``notes`` are sentences about what cannot be as wanted, and what to know."""

    runtime: str
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()


# -- who does it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """How a program ended: ``code`` 0 is success, None that it could not be run or took too long.
    ``words``: the last that it said about what went wrong, on one line, secrets hidden; ``errors``: all that
    it wrote to standard error, as it is."""

    code: int | None
    output: str = ""
    words: str = ""
    errors: str = field(default="", repr=False)


class Machine(Protocol):
    """The running machine, as far as a runtime may touch it."""

    def run(self, command: Sequence[str], *, timeout_seconds: float = ...) -> Answer:
        """``command`` to its end, without a shell, with no input."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass, before looking again."""
        ...


class Runtime(Protocol):
    """One container runtime. All but :meth:`settle` and :meth:`verify` depend on their arguments alone."""

    @property
    def name(self) -> str:
        """As people say it after ``--runtime``, and as its key in ``[node.commands]``."""
        ...

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        """Commands that only ask; ``version`` among them."""
        ...

    def detect(self, tree: Tree) -> bool:
        """Whether there is a trace of it."""
        ...

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What is configured, in force, and dead. Never raises."""
        ...

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """What to change. Raises PlanMismatch for a file that must not be touched, RuntimeUnsupported."""
        ...

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Wait until the steps have had their effect; what is not in force then. ``installed``: of before."""
        ...

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Why ``image`` cannot be pulled; it is not kept if it was not there."""
        ...
