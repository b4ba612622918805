"""What containers/image asks in truth, and what is configured without effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB, canonical_registry, origin_url
from sampan.runtimes.contract import Finding, InForce, Source
from sampan.runtimes.homes import people
from sampan.runtimes.podman.drop_in import HEADER
from sampan.runtimes.podman.entries import Registry
from sampan.runtimes.podman.files import NAME, OF_A_HOME, SEARCH, SHORT_NAME_MODE, InUse
from sampan.runtimes.tree import Tree
from sampan.words import sentence

ALIASES = "/var/cache/containers/short-name-aliases.conf"  # what was answered when podman asked
ENFORCING = "enforcing"


def sources(tree: Tree, in_use: InUse) -> tuple[Source, ...]:
    """All files that configure registries, or look as if they did."""
    found = [Source(d.path, d.problem is None, _writer(d.file.text)) for d in in_use.read]
    found += [Source(path, read=False, written_by=_writer(tree.file(path).text)) for path, _ in in_use.unread]
    if tree.file(ALIASES).data is not None:
        found.append(Source(ALIASES, written_by="podman"))
    return tuple(found)


def in_force(in_use: InUse) -> tuple[InForce, ...]:
    """Per prefix; a longer one stands above those that it begins with."""
    if in_use.problems:
        return ()
    return tuple(InForce(r.prefix, r.urls, r.path) for _, r in sorted(in_use.registries().items()))


def findings(tree: Tree, in_use: InUse, *, merged: bool) -> Iterator[Finding]:
    """What is wrong, and what is without effect."""
    yield from in_use.problems
    for path, reason in in_use.unread:
        if tree.file(path).text.strip():
            yield Finding(
                "REGISTRIES_CONF_UNREAD",
                sentence("root's programs do not read it: {reason}", reason=reason),
                "dead",
                path,
            )
    counting = in_use.registries()
    for document in in_use.read:
        if document.is_v1 and document.problem is None:
            hint = sentence("write {key} and [[registry]] instead", key=SEARCH)
            message = sentence("the old format, which podman 6 takes no more")
            yield Finding("REGISTRIES_CONF_V1", message, "note", document.path, hint=hint)
        yield from _entry_findings(document.registries, counting)
    yield from _people(tree) if not merged else ()


def short_names(in_use: InUse, mode: str | None = None) -> Iterator[Finding]:
    """Whether ``alpine`` alone can be pulled by a program without a terminal. ``mode``: the program's own."""
    search = in_use.search()
    if not search and not in_use.problems:
        message = sentence("short names like alpine are looked for nowhere; those with an alias are found")
        yield Finding("SHORT_NAMES_NOWHERE", message, "warning", hint=f'{SEARCH} = ["docker.io"]')
    enforcing = ENFORCING in (mode, in_use.setting(SHORT_NAME_MODE))
    if enforcing and len(search) > 1:
        path = next(d.path for d in reversed(in_use.read) if d.search)
        message = sentence(
            "short names are refused without a terminal: {number} registries could be meant",
            number=len(search),
        )
        yield Finding(
            "SHORT_NAMES_AMBIGUOUS", message, "warning", path, hint=sentence("name one registry alone")
        )


def _entry_findings(registries: Iterable[Registry], counting: dict[str, Registry]) -> Iterator[Finding]:
    for registry in registries:
        place = (registry.path, registry.line)
        if counting[registry.prefix] is not registry:
            other = printable(counting[registry.prefix].path)
            message = sentence(
                "{prefix}: another entry counts, in {other}", prefix=printable(registry.prefix), other=other
            )
            yield Finding("REGISTRY_OVERRIDDEN", message, "dead", *place)
        for key in registry.strays:
            message = sentence(
                "{key} is ignored without a word: it stands in a [[registry]] table", key=printable(key)
            )
            hint = sentence("put it before the first table, or spell it right")
            yield Finding("REGISTRY_KEY_STRAY", message, "dead", *place, hint)
        if _never_matches(registry.prefix):
            message = sentence("no image's name begins with {prefix}", prefix=printable(registry.prefix))
            yield Finding(
                "PREFIX_NEVER_MATCHES",
                message,
                "dead",
                *place,
                sentence("Docker Hub is {registry}", registry=DOCKER_HUB),
            )


def _never_matches(prefix: str) -> bool:
    host = prefix.partition("/")[0]
    other_name = canonical_registry(host) != host or host == origin_url(DOCKER_HUB).partition("://")[2]
    return other_name or "://" in prefix or "*" in prefix.removeprefix("*.")


def _people(tree: Tree) -> Iterator[Finding]:
    for home in people(tree):
        path = f"{home.path}/{OF_A_HOME}/{NAME}"
        if tree.file(path).state not in ("absent", "outside"):
            message = sentence(
                "{user}'s programs read nothing of the system's because of it", user=printable(home.user)
            )
            hint = sentence("move it to {name}.d beside it, with a name that ends in .conf", name=NAME)
            yield Finding("USER_FILE_HIDES_SYSTEM", message, "warning", path, hint=hint)


def _writer(text: str) -> str | None:
    return "sampan" if text.startswith(HEADER) else None
