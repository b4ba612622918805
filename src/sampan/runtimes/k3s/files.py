"""What the files of k3s and rke2 say: registries.yaml, where it is, and what was generated from it.

Guarantees that no file is changed here. Generated files are for reading: the next start writes them anew.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.runtimes import hosts_toml
from sampan.runtimes.contract import Finding
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.units import started_by
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.runtimes.yaml_text import NotYamlError, YamlText, parse
from sampan.words import sentence

TEMPLATES = ("config-v3.toml.tmpl", "config.toml.tmpl")  # the first that is there is used
_NO_DEFAULT = "disable-default-registry-endpoint"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one program has its files: ``directory`` is /etc/rancher/k3s or /etc/rancher/rke2.
    ``no_default``: the registries of ``mirrors`` are not asked themselves unless that is written."""

    directory: str
    registries: str
    data: str
    no_default: bool = False

    @property
    def generated(self) -> str:
        """Where the configuration of its containerd is, and the templates for it."""
        return f"{self.data}/agent/etc/containerd"


@dataclass(frozen=True, slots=True)
class Registries:
    """registries.yaml; ``problem``: why it is not read. An absent one is empty."""

    file: File
    text: YamlText
    problem: Finding | None = None

    def endpoints(self) -> dict[str, list[str]]:
        """By registry, in their order."""
        found: dict[str, list[str]] = {}
        mirrors = self.text.table.get("mirrors")
        for name, mirror in mirrors.items() if isinstance(mirrors, dict) else ():
            listed = mirror.get("endpoint") if isinstance(mirror, dict) else None
            found[str(name)] = [str(url) for url in listed] if isinstance(listed, list) else []
        return found


def read_layout(tree: Tree, name: str, units: tuple[str, ...]) -> Layout:
    """Where ``name``, started by one of ``units``, has its files: by its configuration, then its flags."""
    directory = f"/etc/rancher/{name}"
    settings: dict[str, Any] = {}
    for path in _config_files(tree, directory):
        settings |= _table(tree.file(path))
    for unit in units:
        settings |= _flags(started_by(tree, unit).words)
    registries = settings.get("private-registry", f"{directory}/registries.yaml")
    data = settings.get("data-dir", f"/var/lib/rancher/{name}")
    return Layout(
        directory,
        posixpath.normpath(str(registries)),
        posixpath.normpath(str(data)),
        str(settings.get(_NO_DEFAULT, "false")).lower() == "true",
    )


def read_registries(tree: Tree, layout: Layout) -> Registries:
    """registries.yaml as it is."""
    file = tree.file(layout.registries)
    if file.data is None:
        return Registries(file, YamlText(), file.problem)
    try:
        text = parse(file.data)
        for name in text.section("mirrors"):
            text.section("mirrors", name)
        for name in text.section("configs"):
            text.section("configs", name)
        return Registries(file, text)
    except NotYamlError as error:
        hint = sentence("it does not start with such a file: repair it")
        problem = Finding("REGISTRIES_YAML_PARSE", error.reason, "error", file.path, error.line, hint)
        return Registries(file, YamlText(), problem)


def read_generated(tree: Tree, layout: Layout) -> Mapping[str, tuple[str, hosts_toml.Hosts]]:
    """By registry: the hosts.toml that its containerd reads, and the path of it."""
    found = {}
    for path, file in _generated_files(tree, layout):
        directory = path.split("/")[-2]
        registry = EVERY_REGISTRY if directory == hosts_toml.DEFAULT_DIRECTORY else directory
        try:
            found[registry] = (path, hosts_toml.read(file.text))
        except ValueError:
            continue
    return found


def template_of(tree: Tree, layout: Layout) -> File | None:
    """A person's own template of containerd's configuration."""
    files = (tree.file(f"{layout.generated}/{name}") for name in TEMPLATES)
    return next((file for file in files if file.state != "absent"), None)


def same_host(url: str) -> str:
    """``url`` as both files are compared: one says ``/v2`` where the other says nothing."""
    return url.rstrip("/").removesuffix("/v2")


def _generated_files(tree: Tree, layout: Layout) -> Iterator[tuple[str, File]]:
    for name in tree.directory(f"{layout.generated}/certs.d").names:
        file = tree.file(f"{layout.generated}/certs.d/{name}/{hosts_toml.FILE_NAME}")
        if file.data is not None:
            yield file.path, file


def _config_files(tree: Tree, directory: str) -> Iterator[str]:
    yield f"{directory}/config.yaml"
    for name in tree.directory(f"{directory}/config.yaml.d").names:
        if name.endswith((".yaml", ".yml")):
            yield f"{directory}/config.yaml.d/{name}"


def _table(file: File) -> Mapping[str, Any]:
    try:
        return parse(file.data or b"").table
    except NotYamlError:
        return {}


def _flags(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            following = next(iter(words[index + 1 : index + 2]), "--")
            found[name[2:]] = value if equals else "true" if following.startswith("-") else following
    return found
