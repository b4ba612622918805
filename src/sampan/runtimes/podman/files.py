"""What the files of containers/image say: registries.conf and its drop-ins, which podman, skopeo, buildah and
CRI-O read alike.

Guarantees that no file is changed here, and that what stops those programs from pulling anything (one file of
them that does not parse is enough) is told with its line. Rules that were tried with podman 4.3, 5.4 and 5.8:

* a drop-in that names a prefix replaces the whole entry of that prefix in files before it; within one file
  the first entry counts
* a user's registries.conf, even an empty one, stands in the place of the system's and of the system's
  drop-ins; the user's own drop-ins come last in any case
* the old format (``[registries.search]``) is taken in registries.conf alone, until podman 6
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes import toml_text
from sampan.runtimes.contract import Finding
from sampan.runtimes.podman.entries import Registry, Wrong, read_registries
from sampan.runtimes.tree import File, Tree
from sampan.words import sentence

SYSTEM = "/etc/containers"
SHIPPED = "/usr/share/containers"
OF_A_HOME = ".config/containers"
NAME = "registries.conf"
DROP_INS = "registries.conf.d"
SEARCH = "unqualified-search-registries"
SHORT_NAME_MODE = "short-name-mode"
_V1 = ("search", "insecure", "block")


@dataclass(frozen=True, slots=True)
class Document:
    """One file; ``problem``: why nothing can be pulled while it is so."""

    file: File
    table: Mapping[str, Any] = field(default_factory=dict)
    registries: tuple[Registry, ...] = ()
    problem: Finding | None = None

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def is_v1(self) -> bool:
        """Whether it has the old format."""
        old = self.table.get("registries")
        return isinstance(old, dict) and any(key in old for key in _V1)

    @property
    def search(self) -> list[str] | None:
        """Where short names are looked for; None: it says nothing of that."""
        if self.is_v1:
            old = self.table["registries"].get("search")
            found = old.get("registries") if isinstance(old, dict) else None
        else:
            found = self.table.get(SEARCH)
        return list(map(str, found)) if isinstance(found, list) else None


@dataclass(frozen=True, slots=True)
class InUse:
    """The files that one user's programs read, in their order, and those that they do not, with the reason.
    ``hides``: a registries.conf of the user's own keeps them from all of the system's."""

    read: tuple[Document, ...]
    unread: tuple[tuple[str, str], ...] = ()
    hides: bool = False

    @property
    def problems(self) -> list[Finding]:
        return [document.problem for document in self.read if document.problem is not None]

    def registries(self) -> dict[str, Registry]:
        """By prefix; of several entries the one that counts."""
        found: dict[str, Registry] = {}
        for document in self.read:
            found |= {registry.prefix: registry for registry in reversed(document.registries)}
        return found

    def search(self) -> list[str]:
        """Where short names are looked for."""
        return next((d.search for d in reversed(self.read) if d.search is not None), [])

    def setting(self, key: str) -> Any:  # noqa: ANN401 - whatever stands there
        """The last value of a key of the outermost table."""
        return next((d.table[key] for d in reversed(self.read) if key in d.table), None)


def read_in_use(tree: Tree, home: str, *, merged: bool) -> InUse:
    """What the programs of the user with that ``home`` read. ``merged``: podman 6, where a directory of a
    user adds to the system's instead of standing in its place."""
    own = f"{home}/{OF_A_HOME}"
    order = (own, SYSTEM, SHIPPED) if merged else (own, SYSTEM)
    mains = [path for path in (f"{directory}/{NAME}" for directory in order) if _is_there(tree, path)]
    hides = not merged and mains[:1] == [f"{own}/{NAME}"]
    names = _merged_drop_ins(tree, order) if merged else _drop_ins(tree, [own] if hides else [SYSTEM, own])
    unread = [(path, sentence("{path} stands in its place", path=mains[0])) for path in mains[1:]]
    if hides:
        unread += [(path, sentence("{path} is there", path=mains[0])) for path in _drop_ins(tree, [SYSTEM])]
    unread += [(path, sentence("only files that end in .conf are read")) for path in _others(tree, order)]
    documents = [read_document(tree, path, drop_in=False, v1=not merged) for path in mains[:1]]
    documents += [read_document(tree, path, drop_in=True, v1=False) for path in names]
    return InUse(tuple(documents), tuple(unread), hides)


def read_document(tree: Tree, path: str, *, drop_in: bool, v1: bool) -> Document:
    """The file at ``path``. ``v1``: the old format is taken there."""
    file = tree.file(path)
    if file.data is None:
        return Document(file, problem=file.problem)
    try:
        parsed = toml_text.parse(file.data)
    except toml_text.NotTomlError as error:
        return Document(
            file,
            problem=_problem(path, sentence("it does not parse: {reason}", reason=error.reason), error.line),
        )
    table, document = parsed.table, Document(file, parsed.table)
    if document.is_v1 and (drop_in or not v1):
        where = sentence("a drop-in") if drop_in else sentence("podman 6")
        return Document(
            file,
            table,
            problem=_problem(path, sentence("{where} takes no [registries.search]", where=where), None),
        )
    try:
        _check_outermost(document)
        return Document(file, table, tuple(read_registries(parsed, path)))
    except Wrong as error:
        return Document(file, table, problem=_problem(path, error.reason, error.line))


def _check_outermost(document: Document) -> None:
    table = document.table
    if document.is_v1 and any(key in table for key in ("registry", SEARCH, "aliases", SHORT_NAME_MODE)):
        raise Wrong(sentence("it mixes the old format ([registries.search]) with the new one"))
    found = table.get(SEARCH, [])
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise Wrong(sentence("{search}: expected a list of names", search=SEARCH))


def _problem(path: str, reason: str, line: int | None) -> Finding:
    hint = sentence("nothing at all can be pulled while it is so: repair it")
    return Finding("REGISTRIES_CONF_INVALID", reason, "error", path, line, hint)


def _is_there(tree: Tree, path: str) -> bool:
    return tree.file(path).state not in ("absent", "outside")


def _drop_ins(tree: Tree, directories: Iterable[str]) -> list[str]:
    """In the order of reading: a directory after the other, each by name."""
    return [path for directory in directories for name, path in _names(tree, directory) if _is_conf(name)]


def _merged_drop_ins(tree: Tree, directories: Iterable[str]) -> list[str]:
    """By name over all ``directories``; of two with one name that in the first directory."""
    found: dict[str, str] = {}
    for directory in directories:
        for name, path in _names(tree, directory):
            if _is_conf(name):
                found.setdefault(name, path)
    return [found[name] for name in sorted(found)]


def _others(tree: Tree, directories: Iterable[str]) -> list[str]:
    return [path for directory in directories for name, path in _names(tree, directory) if not _is_conf(name)]


def _names(tree: Tree, directory: str) -> Iterator[tuple[str, str]]:
    for name in tree.directory(f"{directory}/{DROP_INS}").names:
        path = f"{directory}/{DROP_INS}/{name}"
        if tree.file(path).state != "directory":
            yield name, path


def _is_conf(name: str) -> bool:
    return name.endswith(".conf")
