"""The proxies that a daemon has: those of its process, where that can be seen, else those of its files.

All of these daemons are Go programs, and Go has rules of its own: upper case wins, ALL_PROXY is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.doctor.daemons import Running
from sampan.runtimes.docker.files import read_daemon, read_flags
from sampan.runtimes.tree import Tree
from sampan.upstream.proxies import ProxySettings

READ = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_OF_DOCKER = {"http-proxy": "HTTP_PROXY", "https-proxy": "HTTPS_PROXY", "no-proxy": "NO_PROXY"}


@dataclass(frozen=True, slots=True)
class Proxied:
    """A daemon, and the proxies that it has: of its process where that can be seen, else of its files."""

    running: Running
    environ: Mapping[str, str]
    settings: ProxySettings

    @property
    def place(self) -> tuple[str | None, int | None]:
        """Where its proxy is set, as far as its files say."""
        variables = self.running.variables
        named = next((variables[n] for name in READ for n in (name, name.lower()) if n in variables), None)
        return (None, None) if named is None else (named.file, named.line)


def as_go_reads(environ: Mapping[str, str]) -> ProxySettings:
    """The proxies that a Go program takes from ``environ``. Raises ConfigError for one that is none."""
    read = {name.lower(): environ.get(name) or environ.get(name.lower()) or "" for name in READ}
    return ProxySettings.from_environment(read)


def proxied_of(tree: Tree, running: Running) -> Proxied:
    """``running`` with its proxies. Raises ConfigError for one that is none."""
    environ = {name: variable.value for name, variable in running.variables.items()}
    if running.process is not None and running.process.environ is not None:
        environ = dict(running.process.environ)
    if running.name == "docker":
        environ |= _of_daemon_json(tree)
    return Proxied(running, environ, as_go_reads(environ))


def _of_daemon_json(tree: Tree) -> dict[str, str]:
    """What stands above the environment since Docker 23."""
    proxies = read_daemon(tree, read_flags(tree).config_file).get("proxies")
    named = proxies.items() if isinstance(proxies, dict) else ()
    return {_OF_DOCKER[key]: value for key, value in named if key in _OF_DOCKER and isinstance(value, str)}
