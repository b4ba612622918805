"""One mirror of the file as the :class:`Host` that it means.

It guarantees that a host made here has a credential that was found, and files that can be read.
What a host may be at all is :mod:`sampan.upstream.host`'s to say; which hosts a registry has, and in
which order, is decided in :mod:`sampan.config.registries`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sampan.config.allow_list import MARK, read_allow_list
from sampan.config.problems import Problems
from sampan.config.schema import MirrorTable
from sampan.config.surroundings import Surroundings
from sampan.errors import ConfigError
from sampan.oci.pattern import Patterns
from sampan.oci.reference import parse_repository
from sampan.positions import KeyPath
from sampan.secret import Secret
from sampan.upstream.host import REFUSALS_LIMIT, Host
from sampan.upstream.proxies import Proxy
from sampan.upstream.url import registrable_domain

TEMPLATE = "{registry}"
SAMPLE = "registry.example"  # stands for {registry} while a pattern is checked
REQUESTS_PER_MINUTE_MAX = 1_000_000
CONNECTIONS_MAX = 1000  # more than the open files that a service usually has
ENTRIES_MAX = 1000  # of repositories, allow and headers: some are walked for every request
_FILES = ("ca", "client_cert", "client_key")
_PASSWORDS = ("password", "password_env", "password_file")


def read_mirror(
    entry: str | MirrorTable, path: KeyPath, around: Surroundings, problems: Problems
) -> Host | None:
    """The host that ``entry`` means, or None when something was wrong: see ``problems``.

    ``{registry}`` in the URL's path stays in the host's ``prefix`` and ``name``.
    """
    table = MirrorTable(url=entry) if isinstance(entry, str) else entry
    before = len(problems.found)
    with problems.at(*path, *(() if isinstance(entry, str) else ("url",))):
        parse_mirror(table.url)
    for key, check in _CHECKS.items():
        value = getattr(table, key)
        if value is not None:
            with problems.at(*path, key):
                check(value)
    options = _options(table, path, around, problems)
    if len(problems.found) > before:
        return None
    with problems.at(*path):
        host = parse_mirror(table.url, **options)
        refuse_clear_text(host, has_login=host.username is not None)
        return host
    return None


def has_any(host: Host, registry: str) -> bool:
    """Whether there are images of ``registry`` that ``host`` may be asked for."""
    return host.listed is None or bool(host.allow) or registry in host.listed


def expand(host: Host, registry: str) -> Host:
    """``host`` with ``registry`` in the place of ``{registry}``, and what is listed for it among what it may
    be asked for; see :func:`has_any`."""
    if host.listed is not None:
        allow = Patterns((*host.allow, *host.listed.get(registry, ())))
        host = replace(host, allow=allow, listed=None)
    if host.namespace == TEMPLATE:
        return replace(host, namespace=registry)
    if TEMPLATE not in host.prefix:
        return host
    return replace(
        host, name=host.name.replace(TEMPLATE, registry), prefix=host.prefix.replace(TEMPLATE, registry)
    )


def refuse_clear_text(host: Host, *, has_login: bool) -> None:
    """A password or a header of ours needs a connection that proves who is at the other end. Raises
    :class:`ConfigError`."""
    if host.base.scheme == "http" and not host.private and (has_login or host.headers):
        raise ConfigError(
            "expected https where a password or a header is sent, got http",
            hint="private = true says that the mirror stands in your own network",
        )


def parse_mirror(url: str, **options: Any) -> Host:  # noqa: ANN401 - handed on to Host, which checks them
    """A host from a URL that may hold ``{registry}``. Raises :class:`ConfigError`."""
    scheme, slashes, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    if not slashes:
        raise ConfigError(
            "expected a URL that begins with https:// or http://, got none",
            hint='as in "https://mirror.example" or "https://mirror.example/docker.io"',
        )
    if TEMPLATE in authority:
        raise ConfigError(
            f"expected {TEMPLATE} in the path only, got it in the host",
            hint="otherwise whoever asks this server would choose whom it dials",
        )
    host = Host.from_url(f"{scheme}://{authority}{slash}{target.replace(TEMPLATE, SAMPLE)}", **options)
    if TEMPLATE in target:
        prefix = target.strip("/")
        host = replace(host, name=f"{host.name.partition('/')[0]}/{prefix}", prefix=prefix)
    return host if host.group else replace(host, group=registrable_domain(host.base.host))


def _options(
    table: MirrorTable, path: KeyPath, around: Surroundings, problems: Problems
) -> dict[str, object]:
    """The fields of a host, the URL aside."""
    files: dict[str, object] = {}
    for key in _FILES:
        text = getattr(table, key)
        with problems.at(*path, key):
            files[key] = None if text is None else str(around.readable(text))
    return files | {
        "capabilities": frozenset(table.capabilities),
        "allow": tuple(entry for entry in table.allow or () if not entry.startswith(MARK)),
        "listed": _listed(table, path, around, problems),
        "repositories": table.repositories or {},
        "username": table.username,
        "password": _read_password(table, path, around, problems),
        "insecure": table.insecure,
        "proxy": table.proxy,
        "headers": table.headers,
        "group": table.group,
        "verify": table.verify,
        "requests_per_minute": table.requests_per_minute,
        "max_connections": table.max_connections,
        "max_refusals": table.max_refusals,
        "private": table.private,
    }


def _listed(
    table: MirrorTable, path: KeyPath, around: Surroundings, problems: Problems
) -> Mapping[str, Patterns] | None:
    """What the files among the entries of ``allow`` name, together; None: there is none."""
    found: dict[str, Patterns] = {}
    files = [(index, entry) for index, entry in enumerate(table.allow or ()) if entry.startswith(MARK)]
    for index, entry in files:
        with problems.at(*path, "allow", index):
            file = around.path(entry.removeprefix(MARK))
            for registry, patterns in (read_allow_list(file) if around.consulted else {}).items():
                found[registry] = Patterns((*found.get(registry, ()), *patterns))
    return found if files else None


def _read_password(
    table: MirrorTable, path: KeyPath, around: Surroundings, problems: Problems
) -> Secret | None:
    """The password, from the one of three keys that gives it. Its text goes into no message."""
    given = [key for key in _PASSWORDS if getattr(table, key) is not None]
    named = table.username is not None
    if not named and not given:
        return None
    if not named or len(given) != 1:
        got = " and ".join([*(["username"] if named else []), *given])
        problems.add(
            path,
            f"expected username with one of {', '.join(_PASSWORDS)}, got {got}",
            "password_env keeps the password out of the file",
        )
        return None
    with problems.at(*path, given[0]):
        return Secret(around.secret(given[0], getattr(table, given[0])))
    return None


def _check_username(username: str) -> None:
    # A colon would end the name early in HTTP's basic scheme.
    if not username or ":" in username or not username.isprintable():
        raise ConfigError("expected a user name without colons and control characters, got another")


def _check_allow(globs: list[str]) -> None:
    _check_count(globs)
    if not globs:  # as a host's value an empty list would mean "everything"
        raise ConfigError("expected at least one pattern, got none", hint="leave the key out to allow all")


def _check_repositories(repositories: dict[str, str]) -> None:
    _check_count(repositories)
    if not repositories:
        raise ConfigError("expected at least one name, got none", hint="leave the key out to keep all names")
    for name in (*repositories, *repositories.values()):
        parse_repository(name)


def _check_count(entries: list[str] | dict[str, str]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise ConfigError(f"expected at most {ENTRIES_MAX} entries, got {len(entries)}")


def _check_capabilities(capabilities: list[str]) -> None:
    if not capabilities:
        raise ConfigError('expected "pull", "resolve" or both, got an empty list')


def _check_group(group: str) -> None:
    if not group or len(group) > 100 or not group.isprintable():
        raise ConfigError("expected the operator's name in up to 100 characters, got another")


def within(minimum: int, maximum: int) -> Callable[[int], None]:
    """A check that raises :class:`ConfigError` for a number outside of the two."""

    def check(number: int) -> None:
        if not minimum <= number <= maximum:
            got = str(number) if abs(number) < 10**15 else "one far outside"
            raise ConfigError(f"expected a number from {minimum} to {maximum}, got {got}")

    return check


_CHECKS: dict[str, Callable[[Any], object]] = {
    "username": _check_username,
    "capabilities": _check_capabilities,
    "allow": _check_allow,
    "repositories": _check_repositories,
    "headers": _check_count,
    "proxy": Proxy.parse,
    "group": _check_group,
    "requests_per_minute": within(1, REQUESTS_PER_MINUTE_MAX),
    "max_connections": within(1, CONNECTIONS_MAX),
    "max_refusals": within(1, REFUSALS_LIMIT),
}
