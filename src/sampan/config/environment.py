"""What the environment says: where the file is, which profile, which mirrors, which language.

It guarantees that every variable that sampan reads by itself is named in this file. It reads no
configuration file; passwords named by ``password_env`` are looked up where the mirror is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sampan.config.problems import Problems
from sampan.config.schema import MirrorTable
from sampan.errors import ConfigError, SampanError, printable
from sampan.oci.reference import canonical_registry, parse_registry
from sampan.secret import Secret
from sampan.upstream.auth import Credential

CONFIG = "SAMPAN_CONFIG"
PROFILE = "SAMPAN_PROFILE"
MIRRORS = "SAMPAN_MIRRORS"
LOGINS = "SAMPAN_LOGINS"
LANGUAGE = "SAMPAN_LANG"
FILE_NAME = "sampan.toml"
SYSTEM_FILE = Path("/etc/sampan") / FILE_NAME
SYSTEM_STORE = Path("/var/lib/sampan")
SYSTEM_PULL_STORE = Path("/var/cache/sampan")

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def find_file(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: ``path``, else the variable's, else the first of the usual places that exists.

    A file that is named need not exist: reading it then says that it does not. None: there is no file.
    """
    if named := path or environ.get(CONFIG):
        return Path(named)
    usual = (Path(FILE_NAME), user_file(environ), SYSTEM_FILE)
    return next((candidate for candidate in usual if os.path.lexists(candidate)), None)


def user_file(environ: Mapping[str, str]) -> Path:
    """The user's own configuration file, there or not."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "sampan" / FILE_NAME


def default_store(environ: Mapping[str, str]) -> Path:
    """Where content is kept when the file does not say: a system directory for root, else the user's own."""
    if os.geteuid() == 0:
        return SYSTEM_STORE
    return _xdg(environ, "XDG_DATA_HOME", ".local/share") / "sampan"


def pull_store(environ: Mapping[str, str]) -> Path:
    """Where a pull through a mirror keeps what has come: not where root's mirror has its store."""
    if os.geteuid() == 0:
        return SYSTEM_PULL_STORE
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "sampan"


def language(environ: Mapping[str, str]) -> Language:
    """``SAMPAN_LANG``, else what the locale asks for, else English. Raises :class:`ConfigError`."""
    if named := environ.get(LANGUAGE):
        for known in LANGUAGES:
            if named == known:
                return known
        raise ConfigError(f'${LANGUAGE}: expected "en" or "zh", got "{printable(named, characters_max=40)}"')
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def mirrors(environ: Mapping[str, str], problems: Problems) -> dict[str, list[str | MirrorTable]]:
    """``SAMPAN_MIRRORS`` as registry -> mirrors: ``docker.io=https://a,https://b;ghcr.io=https://c``."""
    found: dict[str, list[str | MirrorTable]] = {}
    for part in filter(None, (part.strip() for part in environ.get(MIRRORS, "").split(";"))):
        with problems.at(f"${MIRRORS}"):
            registry, equals, urls = (word.strip() for word in part.partition("="))
            if not equals or not registry or "/" in registry or not urls:
                raise ConfigError(
                    f'expected REGISTRY=URL,URL;…, got "{printable(part, characters_max=80)}"',
                    hint=f'as in {MIRRORS}="docker.io=https://mirror.example,https://other.example"',
                )
            if registry in found:
                raise ConfigError(f"expected each registry once, got {printable(registry)} twice")
            found[registry] = [url.strip() for url in urls.split(",") if url.strip()]
    return found


def logins(environ: Mapping[str, str], problems: Problems) -> dict[str, Credential]:
    """``SAMPAN_LOGINS`` as host -> login: ``docker.io=me:secret;harbor.lan:8443=robot:secret``. What is wrong
    goes to ``problems``, without the text: it holds passwords."""
    found: dict[str, Credential] = {}
    for number, part in enumerate(filter(None, map(str.strip, environ.get(LOGINS, "").split(";"))), start=1):
        with problems.at(f"${LOGINS}"):
            host, _, pair = part.partition("=")
            username, _, password = pair.partition(":")
            name = _host_name(host)
            if not (name and username and password and pair.isprintable()):
                raise ConfigError(
                    f"expected HOST=USER:PASSWORD;…, got something else as number {number}",
                    hint=f'as in {LOGINS}="harbor.lan=robot:secret"; a password with ";" needs docker login',
                )
            if name in found:
                raise ConfigError(f"expected each host once, got {name} twice")
            found[name] = Credential(username, Secret(password))
    return found


def _host_name(text: str) -> str:
    """As references name it; empty for what is no host: that may be a password in the wrong place."""
    try:
        return canonical_registry(parse_registry(text.strip().lower()))
    except SampanError:
        return ""


def _xdg(environ: Mapping[str, str], variable: str, beneath_home: str) -> Path:
    """The user's directory of that kind. A relative one is ignored, as the XDG specification asks."""
    named = environ.get(variable, "")
    home = Path(environ.get("HOME") or "/")
    return Path(named) if named.startswith("/") else home / beneath_home
