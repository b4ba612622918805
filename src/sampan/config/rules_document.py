"""The rules of a configuration as a configuration of their own: what a pod that rewrites needs to know.

It guarantees that :func:`sampan.config.rewrite.rewriter` makes the same rules of it, and that nothing else
comes along: no credentials, no paths of this machine, and of profiles only what the one in force says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from sampan.config.registries import spelled_out
from sampan.config.settings import Config
from sampan.upstream.host import CAPABILITIES, Host


def render_rules(config: Config) -> str:
    """TOML with ``[rewrite]`` and the registries' mirrors."""
    lines = ["[rewrite]", f"to = {_text(config.rewrite.to)}"]
    if config.rewrite.exceptions:
        lines.append(f"except = {_list(config.rewrite.exceptions)}")
    for name, registry in spelled_out(config.registry).items():
        if registry.wildcard and config.registry[name].hosts and not registry.hosts:
            continue  # all that its mirrors have stands in tables of its own
        lines += ["", f"[registry.{_text(name)}]"]
        mirrors = [host for host in registry.hosts if host.role == "mirror"]
        if mirrors:
            lines += ["mirrors = [", *(f"  {_mirror(host)}," for host in mirrors), "]"]
    return "\n".join(lines) + "\n"


def _mirror(host: Host) -> str:
    return "{ " + ", ".join(f"{key} = {value}" for key, value in _fields(host)) + " }"


def _fields(host: Host) -> Iterator[tuple[str, str]]:
    yield "url", _text(f"{host.url}/{host.prefix}" if host.prefix else host.url)
    if host.private:
        yield "private", "true"
    if host.capabilities != CAPABILITIES:
        yield "capabilities", _list(sorted(host.capabilities))
    if host.allow:
        yield "allow", _list(host.allow)
    if host.repositories:
        yield "repositories", _table(host.repositories)


def _table(pairs: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{_text(key)} = {_text(value)}" for key, value in pairs.items()) + " }"


def _list(items: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(_text(item) for item in items) + "]"


def _text(text: str) -> str:
    return json.dumps(text)  # JSON's strings are TOML's
