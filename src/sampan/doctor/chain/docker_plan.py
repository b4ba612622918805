"""Whom Docker Engine asks for an image, by its files and by what the running daemon says of itself.

Two procedures: the classic store asks host by host (:mod:`.docker_walk`), the containerd image store as
containerd does, by hosts.toml files of /etc/docker/certs.d, else by ``registry-mirrors``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sampan.doctor.chain.certificates import Unusable, authorities_of, pair_of
from sampan.doctor.chain.contract import Chain, Entry
from sampan.doctor.chain.hosts_entries import Reader, default_entry, entries_of
from sampan.oci.loose_url import split_loosely
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
_NO_KEY = "missing key {key} for client certificate {certificate}. "
_MISSING = (
    _NO_KEY + "CA certificates must use the extension .crt",
    "missing client certificate {certificate} for key {key}",
)
_MISSING_BEFORE = (
    _NO_KEY + "Note that CA certificates should use the extension .crt",
    "Missing client certificate {certificate} for key {key}",
)


def docker_chain(tree: Tree, installed: Installed, reference: Reference) -> Chain:
    """What a Docker Engine with the files of ``tree`` does for ``reference``."""
    flags = read_flags(tree)
    daemon = read_daemon(tree, flags.config_file)
    classic = mode_of(tree, daemon, installed) in (_CLASSIC, "image store unknown")
    chain = Chain("docker", "docker" if classic else "containerd", reference, version=installed.version)
    chain = replace(chain, beside=not classic)
    if daemon.problem is not None and not running(installed):
        return replace(chain, refusal=NOT_RUNNING)
    found = _Found(tree, installed, daemon, flags, chain)
    by_file = reads_hosts_toml(tree, daemon, installed)
    try:
        return replace(chain, entries=found.by_hosts_toml() if by_file else found.by_mirrors())
    except Unusable as error:
        where = f'failed to resolve reference "{reference}": ' if by_file else ""
        return replace(chain, refusal=f"{where}{error}")


@dataclass(frozen=True, slots=True)
class _Found:
    """All that says who is asked by ``chain``, whose entries are not known yet."""

    tree: Tree
    installed: Installed
    daemon: Daemon
    flags: Flags
    chain: Chain

    @property
    def registry(self) -> str:
        return self.chain.reference.registry

    def by_mirrors(self) -> tuple[Entry, ...]:
        """Mirrors and the registry, each with the certificates of its own directory; Docker Hub has none.
        Raises Unusable: one bad directory keeps all from being asked."""
        mirrors = [self._with_own(entry) for entry in self._mirrors()]
        origin = replace(default_entry(self.registry), is_origin=True)
        if self.registry != DOCKER_HUB:
            origin = self._with_own(origin)
        if self.registry in self._insecure() or origin.scheme != "https" or origin.insecure:
            origin = replace(origin, scheme="https", insecure=True, may_be_http=True)
        return (*mirrors, origin)

    def by_hosts_toml(self) -> tuple[Entry, ...]:
        """As containerd does, but that a registry without a hosts.toml has the mirrors, with the certificates
        of the registry's directory. Raises Unusable."""
        entries = entries_of(Reader(self.tree, Dialect()), [CERTS], self.registry)
        if len(entries) > 1:
            return entries
        own = entries[0]
        mirrors = (
            replace(entry, certificates=own.certificates, client=own.client) for entry in self._mirrors()
        )
        return (*mirrors, *entries)

    def _mirrors(self) -> Iterator[Entry]:
        """``registry-mirrors`` as they are in force: those of the running daemon, else of its files."""
        if self.registry != DOCKER_HUB:
            return
        said = info_of(self.installed)
        urls = told(self.daemon, self.flags, MIRRORS)
        if said.get("ServerVersion"):
            urls = [str(url) for url in (said.get("RegistryConfig") or {}).get("Mirrors") or []]
        line = self.daemon.line(MIRRORS)
        insecure = self._insecure()
        for url in urls:
            parts = split_loosely(url)
            yield Entry(
                parts.scheme,
                parts.netloc,
                f"{parts.path.rstrip('/')}/v2",
                namespace=DOCKER_HUB if self.chain.beside else None,
                insecure=parts.netloc in insecure and parts.scheme == "https",
                place=f"{self.daemon.file.path}:{line}" if line else None,
            )

    def _insecure(self) -> set[str]:
        return {each.rpartition("://")[2] for each in told(self.daemon, self.flags, INSECURE)}

    def _with_own(self, entry: Entry) -> Entry:
        """``entry`` with the certificates of its host's directory. Raises Unusable."""
        directory = f"{CERTS}/{entry.netloc}"
        words = _MISSING if self.chain.is_recent else _MISSING_BEFORE
        pair = pair_of(self.tree, directory, *words)
        return replace(entry, certificates=authorities_of(self.tree, directory), client=pair)
