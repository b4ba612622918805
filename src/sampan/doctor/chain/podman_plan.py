"""Whom containers/image asks for an image, by registries.conf and its drop-ins."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from sampan.doctor.chain.certificates import Unusable, authorities_of, pair_of
from sampan.doctor.chain.contract import Chain, Entry
from sampan.oci.reference import DOCKER_HUB, Reference, origin_url
from sampan.runtimes.contract import Installed
from sampan.runtimes.homes import root_home
from sampan.runtimes.podman.entries import DIGEST_ONLY, TAG_ONLY, Mirror, Registry
from sampan.runtimes.podman.files import InUse, read_in_use
from sampan.runtimes.tree import Tree

_ROOTS = ("/etc/containers/certs.d", "/etc/docker/certs.d")
_OF_A_HOME = ".config/containers/certs.d"
_MISSING = (
    (
        "missing key {key} for client certificate {certificate}. "
        "Note that CA certificates should use the extension .crt"
    ),
    "missing client certificate {certificate} for key {key}",
)


def podman_chain(tree: Tree, installed: Installed, reference: Reference) -> Chain:
    """What podman with the files of ``tree`` does for ``reference``, whose registry is named."""
    in_use = read_in_use(tree, root_home(tree), merged=installed.at_least(6))
    chain = Chain("podman", "containers-image", reference, version=installed.version)
    if in_use.problems:
        problem = in_use.problems[0]
        text = f'Error: … loading registries configuration "{problem.file}": {problem.message}'
        return replace(chain, refusal=text)
    found = _registry(in_use, reference)
    if found is None:
        origin = _origin(reference.registry, reference.repository)
        return replace(chain, entries=(_with_certificates(tree, reference.registry, origin),))
    rest = reference.name.removeprefix(found.prefix) if not found.prefix.startswith("*") else None
    entries = [
        replace(
            _entry(tree, mirror.location, reference, rest, found), insecure=mirror.insecure, is_origin=False
        )
        for mirror in found.mirrors
        if _is_asked(mirror, reference)
    ]
    location = found.location or reference.registry
    return replace(
        chain,
        entries=(*entries, replace(_entry(tree, location, reference, rest, found), insecure=found.insecure)),
        blocked=f"registry {found.prefix} is blocked in {found.path} or …" if found.blocked else None,
    )


def _registry(in_use: InUse, reference: Reference) -> Registry | None:
    """The entry with the longest prefix; it ends where a part of the name does."""
    full = str(reference)
    found = [
        registry for prefix, registry in in_use.registries().items() if _matches(prefix, full, reference)
    ]
    return max(found, key=lambda each: len(each.prefix), default=None)


def _matches(prefix: str, full: str, reference: Reference) -> bool:
    if prefix.startswith("*."):
        return reference.registry.endswith(prefix[1:])
    rest = full.removeprefix(prefix)
    return full.startswith(prefix) and (rest == "" or rest[0] in ":/@")


def _is_asked(mirror: Mirror, reference: Reference) -> bool:
    by_digest = reference.digest is not None
    return not (mirror.pulls == DIGEST_ONLY and not by_digest) and not (
        mirror.pulls == TAG_ONLY and by_digest
    )


def _entry(tree: Tree, location: str, reference: Reference, rest: str | None, found: Registry) -> Entry:
    """``location`` in the place of the prefix."""
    full = f"{location}{rest}" if rest is not None else f"{reference.registry}/{reference.repository}"
    host, _, repository = full.partition("/")
    entry = _with_certificates(tree, host, _origin(host, repository))
    return replace(entry, place=f"{found.path}:{found.line or 1}")


def _origin(registry: str, repository: str) -> Entry:
    parts = urlsplit(origin_url(registry))
    own = f"library/{repository}" if registry == DOCKER_HUB and "/" not in repository else repository
    return Entry(parts.scheme, parts.netloc, "/v2", repository=own, is_origin=True)


def _with_certificates(tree: Tree, host: str, entry: Entry) -> Entry:
    """``entry`` with those of the first directory that ``host`` has, by the name that it has in the files."""
    roots = (f"{root_home(tree)}/{_OF_A_HOME}", *_ROOTS)
    directory = next((f"{root}/{host}" for root in roots if tree.exists(f"{root}/{host}")), None)
    if directory is None:
        return entry
    entry = replace(entry, certificates=authorities_of(tree, directory))
    try:
        return replace(entry, client=pair_of(tree, directory, *_MISSING))
    except Unusable as error:
        return replace(entry, unusable=str(error))
