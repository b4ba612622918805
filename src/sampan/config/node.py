"""What the runtimes of a machine are to be told, out of the configuration: ``sampan node``'s part of it.

It guarantees that a runtime which goes past sampan trusts hosts no more than sampan itself does: where a lock
or ``tags.agree`` decides what tags mean, hosts behind sampan are for content by digest alone, and a mirror
whose limits a runtime cannot keep is left out, with the reason.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sampan.config.mirrors import TEMPLATE, parse_mirror
from sampan.config.settings import Config, ServerConfig
from sampan.config.tables import WILDCARD
from sampan.errors import ConfigError, UsageError
from sampan.oci.reference import DOCKER_HUB
from sampan.runtimes.wanted import PULL, Gateway, Hop, Route, Wanted
from sampan.secret import Secret
from sampan.upstream.host import Host
from sampan.words import sentence

DIAL_SECONDS = 2.0  # a sampan that is stopped refuses at once; one whose machine is gone costs this


def wanted(config: Config, *, via: str | None = None, direct: bool = False) -> Wanted:
    """The routes of all configured registries: by the ``sampan serve`` of this machine first, or the one at
    ``via``, or (``direct``) none, and by the mirrors behind it.

    Raises UsageError for a ``via`` that cannot be meant, ConfigError when a certificate cannot be read.
    """
    first, notes = _first(config, via, direct=direct)
    strict = not direct and (config.tags.lock_path is not None or config.tags.agree > 1)
    if strict:
        notes.append(
            sentence("a lock or tags.agree is in force: behind sampan only content by digest is asked for")
        )
    names = sorted(config.registry, key=lambda name: name == WILDCARD)  # stable: * comes last
    return Wanted(tuple(_route(config, name, first, strict=strict) for name in names), tuple(notes))


def _first(config: Config, via: str | None, *, direct: bool) -> tuple[Hop | None, list[str]]:
    if via is not None and direct:
        raise UsageError(
            sentence("--via and --direct exclude each other"), hint=sentence("use one of the two")
        )
    if direct:
        return None, []
    return (_local(config.server) if via is None else _parse_via(via)), _login_note(config, via)


def _login_note(config: Config, via: str | None) -> list[str]:
    if via is not None or config.server.htpasswd is None:
        return []
    return [sentence("server.htpasswd is set: runtimes are not given a login, and go past sampan")]


def _local(server: ServerConfig) -> Hop:
    listen = server.listen
    if listen.port == 0:
        raise ConfigError(
            sentence("server.listen: expected a port that stays, got 0"),
            hint=sentence("runtimes are told it once and for all"),
        )
    reachable = replace(listen, host="127.0.0.1") if listen.is_everywhere else listen
    scheme = "http" if server.tls_cert is None else "https"
    ca = None if server.tls_cert is None else _read(server.tls_cert)
    gateway = Gateway(server.default_registry)
    return Hop(f"{scheme}://{reachable}", gateway=gateway, ca=ca, dial_seconds=DIAL_SECONDS)


def _parse_via(via: str) -> Hop:
    try:
        host = parse_mirror(via)
    except ConfigError as error:
        raise UsageError(sentence("--via: {message}", message=error.message), hint=error.hint) from error
    if host.prefix and TEMPLATE not in host.prefix:
        raise UsageError(
            sentence("--via: expected a mirror of all registries, got the path of one"),
            hint=sentence(
                "write {template} where the path names the registry, or put the mirror into sampan.toml",
                template=TEMPLATE,
            ),
        )
    gateway = None if host.prefix else Gateway(DOCKER_HUB)
    return Hop(host.url, host.prefix, gateway, dial_seconds=DIAL_SECONDS)


def _route(config: Config, name: str, first: Hop | None, *, strict: bool) -> Route:
    hops: list[Hop] = []
    left_out: list[str] = []
    if first is not None:
        prefix = first.prefix if name == WILDCARD else first.prefix.replace(TEMPLATE, name)
        hops.append(replace(first, prefix=prefix))
    for host in config.registry[name].hosts:  # of * mirrors alone
        reason = _unusable(host)
        if reason is None:
            hops.append(_hop(host, strict=strict))
        else:
            left_out.append(
                sentence(
                    "{registry}: {host} is reached by sampan alone: {reason}",
                    registry=name,
                    host=host.name,
                    reason=reason,
                )
            )
    return Route(name, tuple(hops), tuple(left_out))


def _unusable(host: Host) -> str | None:
    if host.allow or host.listed is not None:
        return sentence("it may be asked for some repositories only (allow)")
    if host.repositories:
        return sentence("its repositories have other names (repositories)")
    if host.proxy is not None:
        return sentence("it has a proxy of its own (proxy)")
    return None


def _hop(host: Host, *, strict: bool) -> Hop:
    return Hop(
        host.url,
        host.prefix,
        origin=host.role == "origin",
        capabilities=frozenset({PULL}) if strict else host.capabilities,
        insecure=host.insecure,
        ca=_read(host.ca),
        client_cert=_read(host.client_cert),
        client_key=None if (key := _read(host.client_key)) is None else Secret(key),
        username=host.username,
        password=host.password,
        headers=host.headers,
    )


def _read(path: str | Path | None) -> str | None:
    """A certificate's text. That the file can be read was seen when the configuration was."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else sentence("it is not PEM")
        raise ConfigError(
            sentence("cannot read the certificate {path}: {words}", path=path, words=words)
        ) from error
