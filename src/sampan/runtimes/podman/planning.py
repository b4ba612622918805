"""What the files of containers/image are to be: one drop-in, and the certificates of the hosts in it.

Guarantees that nobody else's file is edited, since a drop-in can say all that is wanted, and that a plan
which would have no effect is refused: a file read after the drop-in may stand above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB
from sampan.runtimes.contract import FILE_MODE, SECRET_MODE, Change
from sampan.runtimes.homes import people, root_home
from sampan.runtimes.plan import refuse
from sampan.runtimes.podman.drop_in import HEADER, Entry, entry_of, render
from sampan.runtimes.podman.entries import Registry
from sampan.runtimes.podman.files import DROP_INS, NAME, OF_A_HOME, SYSTEM, InUse, read_in_use
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Hop, Wanted
from sampan.words import sentence

# Behind the files of distributions, which begin with digits like 000- or hold only short names.
FILE_NAME = "99-sampan.conf"
DROP_IN = f"{SYSTEM}/{DROP_INS}/{FILE_NAME}"
CERTS = f"{SYSTEM}/certs.d"


@dataclass(frozen=True, slots=True)
class Planned:
    """``changes`` and ``notes`` of a plan."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def plan_files(tree: Tree, wanted: Wanted, *, merged: bool, digest_only: bool) -> Planned:
    """See :mod:`.drop_in` and :func:`read_in_use` for the two flags. Raises PlanMismatch."""
    home = f"{root_home(tree)}/{OF_A_HOME}/{DROP_INS}/{FILE_NAME}"
    hides = read_in_use(tree, root_home(tree), merged=merged).hides
    targets = {DROP_IN: True, home: hides}
    others = _others(tree, [path for path, wants in targets.items() if wants], merged=merged)
    for problem in others.problems:
        raise refuse(problem.file or NAME, problem.message, line=problem.line)
    entries, notes = _entries(others, wanted, digest_only=digest_only)
    _check_stands(others, entries, last=home if hides else DROP_IN)
    is_hub = any(entry.prefix == DOCKER_HUB for entry in entries)
    if is_hub:
        notes += _search_notes(others)
    text = render(entries, [DOCKER_HUB] if is_hub and not others.search() else []) if entries else None
    changes = [change for entry in entries for hop in entry.hops for change in _certificates(tree, hop)]
    for path, wants in targets.items():
        notes += _replaced(tree, path) if wants else ()
        changes += _change(tree, path, text if wants else None)
    return Planned(tuple(dict.fromkeys(changes)), (*notes, *_people(tree, merged=merged)))


def _others(tree: Tree, own: Sequence[str], *, merged: bool) -> InUse:
    """What all files but sampan's ``own`` say; those are among them, and say nothing."""
    silent = tree.changed(Change(path, None, HEADER.encode()) for path in own)
    return read_in_use(silent, root_home(tree), merged=merged)


def _entries(others: InUse, wanted: Wanted, *, digest_only: bool) -> tuple[list[Entry], list[str]]:
    """What is to be written, but for what a person has blocked; and notes."""
    entries, notes = [], []
    theirs = others.registries()
    for route in wanted.routes:
        entry, said = entry_of(route, digest_only=digest_only)
        notes += said
        same = theirs.get(route.registry)
        if entry is not None and same is not None and same.blocked:
            notes.append(
                sentence(
                    "{registry} is left alone: {path} blocks it",
                    registry=route.registry,
                    path=printable(same.path),
                )
            )
        elif entry is not None:
            entries.append(entry)
            notes += _beside(route.registry, same, theirs.values())
    return entries, notes


def _beside(prefix: str, same: Registry | None, theirs: Iterable[Registry]) -> Iterator[str]:
    """What a person has configured for the same images, and what becomes of it."""
    if same is not None:
        yield sentence(
            "{prefix}: what {path} says of it counts no more: a drop-in replaces it whole",
            prefix=prefix,
            path=printable(same.path),
        )
    for registry in theirs:
        if registry.prefix.startswith((f"{prefix}/", f"{prefix}:")):
            yield sentence(
                "{prefix} stays as {path} has it: it is longer",
                prefix=printable(registry.prefix),
                path=printable(registry.path),
            )


def _check_stands(others: InUse, entries: Iterable[Entry], *, last: str) -> None:
    """Raises PlanMismatch when a file that is read after ``last`` replaces an entry."""
    prefixes = {entry.prefix for entry in entries}
    paths = [document.path for document in others.read]
    for document in others.read[paths.index(last) + 1 :]:
        for registry in document.registries:
            if registry.prefix in prefixes:
                raise refuse(
                    document.path,
                    sentence(
                        "its [[registry]] {prefix} would stand above the one of {file_name}",
                        prefix=printable(registry.prefix),
                        file_name=FILE_NAME,
                    ),
                    line=registry.line,
                    hint=sentence("give it a name that comes earlier in the alphabet, or take the entry out"),
                )


def _search_notes(others: InUse) -> Iterator[str]:
    names = others.search()
    if names and DOCKER_HUB not in names:
        listed = ", ".join(map(printable, names))
        yield sentence(
            "short names stay as they are: looked for in {listed}, not in {registry}",
            listed=listed,
            registry=DOCKER_HUB,
        )


def _replaced(tree: Tree, path: str) -> Iterator[str]:
    old = tree.file(path).editable()
    if old and not old.startswith(HEADER.encode()):
        yield sentence("{path} was written by somebody else, and is replaced", path=path)


def _people(tree: Tree, *, merged: bool) -> Iterator[str]:
    for home in people(tree) if not merged else ():
        path = f"{home.path}/{OF_A_HOME}/{NAME}"
        if tree.file(path).state != "absent":
            yield sentence(
                "{user} has {path}, and so nothing of what is said here",
                user=printable(home.user),
                path=printable(path),
            )


def _certificates(tree: Tree, hop: Hop) -> Iterator[Change]:
    directory = f"{CERTS}/{hop.netloc}"
    if hop.ca is not None:
        yield from _change(tree, f"{directory}/sampan.crt", hop.ca)
    if hop.client_cert is not None:
        key = hop.client_cert if hop.client_key is None else hop.client_key.reveal()
        secret = hop.client_key is None
        yield from _change(tree, f"{directory}/sampan.cert", hop.client_cert, secret=secret)
        yield from _change(tree, f"{directory}/sampan.key", key, secret=True)


def _change(tree: Tree, path: str, text: str | None, *, secret: bool = False) -> list[Change]:
    before, after = tree.file(path).editable(), None if text is None else text.encode()
    mode = SECRET_MODE if secret else FILE_MODE
    if before == after or (after is None and not (before or b"").startswith(HEADER.encode())):
        return []
    return [Change(path, before, after, mode, secret=secret)]
