"""Whom Docker Engine asks for an image, by its files and by what the running daemon says of itself.

Two procedures: the classic store asks host by host (:mod:`.docker_walk`), the containerd image store as
containerd does, by hosts.toml files of /etc/docker/certs.d, else by ``registry-mirrors``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from sampan.doctor.chain.contract import Chain, Entry
from sampan.doctor.chain.hosts_entries import Reader, Unusable, default_entry, entries_of
from sampan.oci.reference import DOCKER_HUB, Reference
from sampan.runtimes.contract import Installed
from sampan.runtimes.docker.facts import info_of, mode_of, reads_hosts_toml, running, told
from sampan.runtimes.docker.files import CERTS, INSECURE, MIRRORS, Daemon, Flags, read_daemon, read_flags
from sampan.runtimes.hosts_toml import Dialect
from sampan.runtimes.tree import Tree

NOT_RUNNING = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
)
_CLASSIC = "classic image store"


def docker_chain(tree: Tree, installed: Installed, reference: Reference) -> Chain:
    """What a Docker Engine with the files of ``tree`` does for ``reference``."""
    flags = read_flags(tree)
    daemon = read_daemon(tree, flags.config_file)
    classic = mode_of(tree, daemon, installed) in (_CLASSIC, "image store unknown")
    chain = Chain("docker", "docker" if classic else "containerd", reference, version=installed.version)
    chain = replace(chain, beside=not classic)
    if daemon.problem is not None and not running(installed):
        return replace(chain, refusal=NOT_RUNNING)
    insecure = {each.rpartition("://")[2] for each in told(daemon, flags, INSECURE)}
    mirrors = tuple(_mirrors(tree, daemon, flags, installed, reference, insecure, sends_ns=not classic))
    if not reads_hosts_toml(tree, daemon, installed):
        return replace(chain, entries=(*mirrors, _origin(tree, reference.registry, insecure)))
    try:
        entries = entries_of(Reader(tree, Dialect()), [CERTS], reference.registry)
    except Unusable as error:
        return replace(chain, refusal=f'failed to resolve reference "{reference}": {error}')
    if len(entries) == 1:
        entries = (*mirrors, *entries)
    return replace(chain, entries=entries)


def _origin(tree: Tree, registry: str, insecure: Collection[str]) -> Entry:
    """The registry itself, with what certs.d says of its certificate; one of loopback is never secure."""
    entry = default_entry(registry)
    entry = replace(entry, certificates=_authorities(tree, entry.netloc), is_origin=True)
    if registry not in insecure and entry.scheme == "https" and not entry.insecure:
        return entry
    return replace(entry, scheme="https", insecure=True, may_be_http=True)


def _mirrors(
    tree: Tree,
    daemon: Daemon,
    flags: Flags,
    installed: Installed,
    reference: Reference,
    insecure: Collection[str],
    *,
    sends_ns: bool,
) -> Iterator[Entry]:
    """``registry-mirrors`` as they are in force: those of the running daemon, else of its files."""
    if reference.registry != DOCKER_HUB:
        return
    said = info_of(installed)
    urls = told(daemon, flags, MIRRORS)
    if said.get("ServerVersion"):
        urls = [str(url) for url in (said.get("RegistryConfig") or {}).get("Mirrors") or []]
    line = daemon.line(MIRRORS)
    for url in urls:
        parts = urlsplit(url)
        yield Entry(
            parts.scheme,
            parts.netloc,
            f"{parts.path.rstrip('/')}/v2",
            namespace=DOCKER_HUB if sends_ns else None,
            certificates=_authorities(tree, parts.netloc),
            insecure=parts.netloc in insecure and parts.scheme == "https",
            place=f"{daemon.file.path}:{line}" if line else None,
        )


def _authorities(tree: Tree, netloc: str) -> tuple[str, ...]:
    directory = f"{CERTS}/{netloc}"
    names = tree.directory(directory).names
    return tuple(f"{directory}/{name}" for name in names if name.endswith(".crt"))
