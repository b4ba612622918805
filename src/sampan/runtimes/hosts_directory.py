"""A directory of hosts.toml files, one directory a registry: which of them answers, and what they are to be.

containerd, nerdctl and whatever else has containerd's resolver read the same. Guarantees that files for
registries which sampan.toml does not name are left as they are, unless sampan wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.runtimes.contract import FILE_MODE, SECRET_MODE, Change
from sampan.runtimes.hosts_kept import Kept, compose, read_kept
from sampan.runtimes.hosts_toml import DEFAULT_DIRECTORY, FILE_NAME, HEADER, Dialect, directory_name
from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import NotTomlError, parse
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY, Route, Wanted
from sampan.words import sentence

Planned = tuple[tuple[Change, ...], tuple[str, ...]]  # changes, notes
_SECRETS = (b"Authorization", b"authorization", b"PRIVATE KEY")


def registry_of(name: str) -> str:
    """Whom a directory called ``name`` is for: ``host_5000_`` is the other way to write ``host:5000``."""
    if name == DEFAULT_DIRECTORY:
        return EVERY_REGISTRY
    if name.endswith("_") and name.rstrip("_").rpartition("_")[2].isdigit():
        host, _, port = name.rstrip("_").rpartition("_")
        return f"{host}:{port}"
    return name


def directories(tree: Tree, root: str) -> dict[str, str]:
    """Registry -> the directory that answers for it; where there are two, the one that is looked at first."""
    found: dict[str, str] = {}
    for name in tree.directory(root).names:
        path = f"{root}/{name}"
        registry = registry_of(name)
        if tree.directory(path).exists and (registry not in found or name != registry):
            found[registry] = path
    return found


def plan_hosts(
    tree: Tree, root: str, wanted: Wanted, dialect: Dialect, moved: Mapping[str, Kept] | None = None
) -> Planned:
    """Every route in ``root``, with what is there already, and ``moved`` from elsewhere, behind it; and what
    sampan wrote for registries that have no route any more taken back. Raises PlanMismatch."""
    moved = moved or {}
    there = directories(tree, root)
    routes = {route.registry: route for route in wanted.routes}
    routes |= {registry: Route(registry, ()) for registry in moved if registry not in routes}
    for registry, directory in there.items():
        own = tree.file(f"{directory}/{FILE_NAME}").text.startswith(HEADER)
        if own and registry not in routes:
            routes[registry] = Route(registry, ())
    changes: list[Change] = []
    notes: list[str] = []
    for registry, route in routes.items():
        directory = there.get(registry, f"{root}/{directory_name(registry)}")
        more, said = _plan_one(tree, directory, route, dialect, moved.get(registry, Kept()))
        changes += more
        notes += said
    return tuple(changes), tuple(notes)


def plan_merge(tree: Tree, into: str, roots: tuple[str, ...]) -> Planned:
    """What is in the directories ``roots`` and is not shadowed by one before, copied into ``into``. Raises
    PlanMismatch for what cannot be read."""
    changes: list[Change] = []
    notes: list[str] = []
    there = set(directories(tree, into))
    for root in roots:
        found = directories(tree, root)
        for registry, directory in found.items():
            copies = list(_copies(tree, directory, f"{into}/{directory.rpartition('/')[2]}"))
            if registry in there or EVERY_REGISTRY in there or not copies:
                continue  # it has not been asked for either
            changes += copies
            notes.append(
                sentence(
                    "{directory} is copied into {into}: one directory alone is read",
                    directory=directory,
                    into=into,
                )
            )
        there |= set(found)
    return tuple(changes), tuple(notes)


def change(tree: Tree, path: str, data: bytes, *, secret: bool = False) -> list[Change]:
    """``data`` at ``path``, unless it is there."""
    before = tree.file(path).editable()
    mode = SECRET_MODE if secret else FILE_MODE
    return [] if before == data else [Change(path, before, data, mode, secret=secret)]


def parsed(path: str, data: bytes | None) -> str:
    """The text of a hosts.toml. Raises PlanMismatch when it does not parse."""
    try:
        parse(data or b"")
    except NotTomlError as error:
        raise refuse(
            path,
            error.reason,
            line=error.line,
            hint=sentence("containerd ignores the whole file as it is: repair it"),
        ) from error
    return (data or b"").decode()


def _plan_one(tree: Tree, directory: str, route: Route, dialect: Dialect, moved: Kept) -> Planned:
    path = f"{directory}/{FILE_NAME}"
    old = tree.file(path).editable()
    kept = read_kept(parsed(path, old), route.registry).joined(moved)
    if not old:
        kept = kept.joined(Kept(options=_certificates(tree, directory)))
    rendered = compose(route, kept, dialect)
    if rendered is None:
        own = old is not None and old.startswith(HEADER.encode())
        return ((Change(path, old, None),) if own else ()), ()
    changes = [
        each
        for files, secret in ((rendered.files, False), (rendered.secret_files, True))
        for name, text in files.items()
        for each in change(tree, f"{directory}/{name}", text.encode(), secret=secret)
    ]
    changes += change(tree, path, rendered.text.encode())
    return tuple(changes), rendered.notes


def _certificates(tree: Tree, directory: str) -> dict[str, Any]:
    """What is read where there is no hosts.toml, and no more when there is one: Docker's way to lay them."""
    names = tree.directory(directory).names
    found: dict[str, Any] = {}
    if authorities := [name for name in names if name.endswith(".crt")]:
        found["ca"] = authorities
    pairs = [[n, f"{n[:-5]}.key"] for n in names if n.endswith(".cert") and f"{n[:-5]}.key" in names]
    if pairs:
        found["client"] = pairs
    return found


def _copies(tree: Tree, directory: str, into: str) -> Iterator[Change]:
    for name in tree.directory(directory).names:
        file = tree.file(f"{directory}/{name}")
        if file.state == "directory":
            continue
        data = file.data
        if data is None:
            problem = file.problem
            raise refuse(file.path, problem.message if problem else sentence("it is gone"))
        secret = any(word in data for word in _SECRETS)
        yield from change(tree, f"{into}/{name}", data, secret=secret)
