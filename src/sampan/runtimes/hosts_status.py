"""A directory of hosts.toml files looked at: which are read, whom each asks, and what in it does nothing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sampan.oci.reference import is_hub_itself
from sampan.runtimes.contract import Finding, InForce, Source
from sampan.runtimes.hosts_check import check
from sampan.runtimes.hosts_directory import directories, registry_of
from sampan.runtimes.hosts_toml import DEFAULT_DIRECTORY, FILE_NAME, HEADER, Dialect
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence


@dataclass(frozen=True, slots=True)
class HostsFile:
    """What is to be told of one directory of a registry."""

    source: Source
    in_force: InForce | None = None
    findings: tuple[Finding, ...] = ()


def hosts_files(tree: Tree, root: str, dialect: Dialect, unread: str | None) -> Iterator[HostsFile]:
    """All of ``root``; ``unread``: why nobody looks there, if so."""
    answering = directories(tree, root)
    for name in tree.directory(root).names:
        directory = f"{root}/{name}"
        if tree.file(f"{directory}/{FILE_NAME}").state != "absent":
            yield _file(tree, directory, dialect, unread or _nobody(directory, answering))
        elif unread is None and tree.directory(directory).exists:
            certificates = _certificates(tree, directory)
            yield from (HostsFile(Source(path)) for path in certificates)
            if not certificates and EVERY_REGISTRY in answering:
                yield from _empty(directory)


def _nobody(directory: str, answering: Mapping[str, str]) -> str | None:
    """Why nobody reads a directory that is in the right place."""
    name = posixpath.basename(directory)
    if is_hub_itself(name):
        return sentence("images of Docker Hub are looked up in the directory docker.io")
    if name != name.lower():
        return sentence("the name of a registry has no capitals")
    if directory not in answering.values():
        return sentence("another directory for the same registry is looked at first")
    return None


def _file(tree: Tree, directory: str, dialect: Dialect, nobody: str | None) -> HostsFile:
    file = tree.file(f"{directory}/{FILE_NAME}")
    source = Source(file.path, nobody is None, "sampan" if file.text.startswith(HEADER) else None)
    findings = [] if file.problem is None else [file.problem]
    if nobody is not None:
        findings.append(
            Finding(
                "HOSTS_TOML_UNREAD", sentence("nobody reads it: {nobody}", nobody=nobody), "dead", file.path
            )
        )
    if file.data is None:
        return HostsFile(source, None, tuple(findings))

    def exists(path: str) -> bool:
        return tree.file(posixpath.join(directory, path)).state != "absent"

    registry = registry_of(posixpath.basename(directory))
    checked = check(file.path, file.data, registry, dialect, exists)
    in_force = InForce(registry, checked.hosts, file.path) if nobody is None and checked.hosts else None
    if nobody is None and checked.hosts is not None:
        findings += _unnamed(tree, directory, file.text)
    if nobody is None or checked.hosts is None:  # what an unread file says matters to nobody yet
        findings += checked.findings
    return HostsFile(source, in_force, tuple(findings))


def _certificates(tree: Tree, directory: str) -> list[str]:
    """Those that are read without a hosts.toml: authorities, and the certificates of clients."""
    names = tree.directory(directory).names
    return [f"{directory}/{name}" for name in names if name.endswith((".crt", ".cert"))]


def _unnamed(tree: Tree, directory: str, text: str) -> Iterator[Finding]:
    """Certificates that a hosts.toml beside them keeps from being read."""
    for path in _certificates(tree, directory):
        if posixpath.basename(path) not in text:
            message = sentence(
                "it is not read: the {file_name} beside it does not name it", file_name=FILE_NAME
            )
            hint = sentence(
                'name it by ca or client in {file_name}, with "server" where it is the registry\'s own',
                file_name=FILE_NAME,
            )
            yield Finding("CERTIFICATE_UNREAD", message, "dead", path, hint=hint)


def _empty(directory: str) -> Iterator[HostsFile]:
    """A directory without a hosts.toml, which keeps ``_default`` from being asked."""
    if posixpath.basename(directory) == DEFAULT_DIRECTORY:
        return
    message = sentence(
        "no {file_name} in it, and so _default is not asked for this registry either", file_name=FILE_NAME
    )
    hint = sentence("remove the directory")
    finding = Finding("HOSTS_DIRECTORY_EMPTY", message, "warning", directory, hint=hint)
    yield HostsFile(Source(directory), findings=(finding,))
