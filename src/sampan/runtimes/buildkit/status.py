"""What BuildKit asks in truth, and what is configured without effect."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.errors import printable
from sampan.oci.reference import origin_url
from sampan.runtimes.buildkit.files import Config, builders, registries_of
from sampan.runtimes.contract import Finding, InForce, Source
from sampan.runtimes.toml_text import TomlText
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY, is_loopback
from sampan.words import sentence

_OF_THE_MIRROR = ("http", "insecure", "ca", "keypair")


def sources(configs: list[Config]) -> Iterator[Source]:
    """The files that are there."""
    for config in configs:
        if config.file.state != "absent":
            yield Source(config.file.path, config.problem is None)


def in_force(configs: list[Config]) -> Iterator[InForce]:
    """Of the daemon where there is one, else of builders to come."""
    for config in configs[:1]:
        for registry in config.registries:
            mirrors = config.mirrors(registry)
            if mirrors and registry != EVERY_REGISTRY:
                urls = (*(_url(config, mirror) for mirror in mirrors), origin_url(registry))
                yield InForce(registry, urls, config.file.path)


def findings(tree: Tree, configs: list[Config]) -> Iterator[Finding]:
    """What is wrong, and what is without effect."""
    for config in configs:
        if config.problem is not None:
            yield config.problem
        for registry in config.registries:
            yield from _table_findings(config, registry)
        if config.in_container and config.problem is None:
            yield from _older_builders(tree, config)


def _table_findings(config: Config, registry: str) -> Iterator[Finding]:
    path, mirrors = config.file.path, config.mirrors(registry)
    line = config.text.line("registry", registry)
    shown = printable(registry)
    if registry == EVERY_REGISTRY or "/" in registry:
        message = sentence("{shown}: a table is of one registry, by its host alone", shown=shown)
        yield Finding("BUILDKIT_KEY_UNKNOWN", message, "dead", path, line)
    misplaced = [key for key in _OF_THE_MIRROR if mirrors and key in config.registries[registry]]
    if misplaced:
        message = sentence(
            "{keys} is about {shown} itself, not about its mirrors", keys=", ".join(misplaced), shown=shown
        )
        hint = sentence('write it in [registry."{host}"]', host=mirrors[0].partition("/")[0])
        yield Finding("MIRROR_OPTIONS_MISPLACED", message, "warning", path, line, hint)
    for mirror in mirrors:
        scheme, mark, rest = mirror.partition("://")
        host = rest.partition("/")[0]
        if mark and scheme == "http" and not config.registries.get(host, {}).get("http"):
            message = sentence(
                "{mirror}: the scheme is thrown away, and the mirror asked by HTTPS", mirror=printable(mirror)
            )
            hint = sentence('[registry."{host}"] with http = true', host=host)
            yield Finding("MIRROR_SCHEME_IGNORED", message, "dead", path, line, hint)
        if config.in_container and is_loopback(rest if mark else mirror):
            message = sentence(
                "{mirror} is the builder's own loopback, where nobody is", mirror=printable(mirror)
            )
            yield Finding(
                "LOOPBACK_OF_BUILDER", message, "dead", path, line, sentence("name another address")
            )


def _older_builders(tree: Tree, config: Config) -> Iterator[Finding]:
    for builder in builders(tree):
        if _mirrors_in(builder.text) != _mirrors_in(config.text):
            name = printable(builder.name)
            message = sentence("the builder {name} was made with other mirrors, and keeps them", name=name)
            hint = sentence("docker buildx rm {name}, and docker buildx create --name {name}", name=name)
            yield Finding("BUILDER_IS_OLDER", message, "note", builder.path, hint=hint)


def _mirrors_in(text: TomlText) -> dict[str, list[object]]:
    """What decides whom a builder asks, and how."""
    compared = ("mirrors", "http", "insecure")
    tables = registries_of(text).items()
    found = {host: [table.get(key) or None for key in compared] for host, table in tables}
    return {host: values for host, values in found.items() if any(values)}


def _url(config: Config, mirror: str) -> str:
    _, mark, rest = mirror.partition("://")
    host, slash, path = (rest if mark else mirror).partition("/")
    scheme = "http" if config.registries.get(host, {}).get("http") else "https"
    return f"{scheme}://{host}{slash}{path}"
