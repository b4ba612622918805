"""``[rewrite]`` and the registries' mirrors as the rules by which references are redirected.

It guarantees that a template gives names with a registry, and that every mirror is written so that it is read
as one again. What the rules then do is :mod:`sampan.rewrite.rules`' to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sampan.config.mirrors import SAMPLE, TEMPLATE
from sampan.config.problems import Problems
from sampan.config.registries import RegistryConfig, spelled_out
from sampan.config.schema import RewriteTable
from sampan.config.settings import Config, RewriteConfig
from sampan.errors import ConfigError, InvalidReference, printable
from sampan.oci.reference import Reference
from sampan.rewrite.fields import Fields, check_kind, check_path
from sampan.rewrite.rules import Rules
from sampan.rewrite.target import Target
from sampan.upstream.host import RESOLVE, Host

MIRROR = "mirror"
REPOSITORY = "{repository}"
HTTP_PORT = 80
EXCEPTIONS_MAX = 1000  # each is tried on every reference
FIELDS_MAX = 1000
STARS_MAX = 8  # as many as a mirror's patterns may have
PULL_SECRETS_MAX = 100  # the kubelet reads each of them for each pod
SECRET_CHARACTERS_MAX = 253  # Kubernetes' own bound, of a DNS subdomain
_EXCEPTION = re.compile(r"(?P<registry>[A-Za-z0-9.*:\[\]-]+)(?:/[a-z0-9._*-]+)+", re.ASCII)
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SECRET = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)
_REGISTRY_LIKE = re.compile(r".*[.:*].*|localhost")


def rewriter(config: Config | None = None) -> Rules:
    """The rules of ``config``; of this machine's when None, read now and once. Raises ConfigError."""
    config = Config.load() if config is None else config
    template = None if config.rewrite.to == MIRROR else _target(config.rewrite.to)
    targets = {
        name: _mirrors(registry) if template is None else (template,)
        for name, registry in spelled_out(config.registry).items()
    }
    return Rules(targets, config.rewrite.exceptions)


def read_rewrite(table: RewriteTable, problems: Problems) -> RewriteConfig:
    """The values of ``[rewrite]``. What is wrong with them goes to ``problems``."""
    with problems.at("rewrite", "to"):
        if table.to != MIRROR:
            _check_template(table.to)
    _check_each(problems, "except", table.except_, _check_exception, EXCEPTIONS_MAX)
    _check_each(problems, "pull_secrets", table.pull_secrets, _check_pull_secret, PULL_SECRETS_MAX)
    return RewriteConfig(
        table.to,
        tuple(table.except_),
        tuple(dict.fromkeys(table.pull_secrets)),
        _read_fields(table.fields, problems),
    )


def _read_fields(table: Mapping[str, list[str]], problems: Problems) -> Fields:
    count = sum(len(paths) for paths in table.values())
    if count > FIELDS_MAX:
        problems.add(("rewrite", "fields"), f"expected at most {FIELDS_MAX} paths, got {count}")
        return Fields()
    for kind, paths in table.items():
        with problems.at("rewrite", "fields", kind):
            check_kind(kind)
        for index, path in enumerate(paths):
            with problems.at("rewrite", "fields", kind, index):
                check_path(path)
    return Fields({kind: tuple(paths) for kind, paths in table.items()})


def _mirrors(registry: RegistryConfig) -> tuple[Target, ...]:
    return tuple(_target_of(host) for host in registry.hosts if host.role == "mirror")


def _target_of(host: Host) -> Target:
    """A name has no scheme: the port is written where it tells http from https, and where a host without
    a dot would be read as a part of the repository."""
    name, base = host.base.netloc, host.base
    if (base.scheme == "http" and base.port == HTTP_PORT) or not _REGISTRY_LIKE.fullmatch(name):
        name = f"{name}:{base.port}"
    return Target(
        name,
        f"{host.prefix}/" if host.prefix else "",
        host.allow,
        host.repositories,
        resolves=RESOLVE in host.capabilities,
    )


def _target(template: str) -> Target:
    registry, _, rest = template.partition("/")
    return Target(registry, rest.removesuffix(REPOSITORY))


def _check_each(
    problems: Problems, key: str, texts: list[str], check: Callable[[str], None], at_most: int
) -> None:
    if len(texts) > at_most:
        problems.add(("rewrite", key), f"expected at most {at_most} of them, got {len(texts)}")
    for index, text in enumerate(texts[:at_most]):
        with problems.at("rewrite", key, index):
            check(text)


def _check_template(text: str) -> None:
    if not text.endswith(REPOSITORY) or text.count(REPOSITORY) > 1:
        raise ConfigError(
            f'expected "{MIRROR}" or a template with {REPOSITORY} at its end, got "{printable(text)}"',
            hint=f'as in "sampan.lan:5050/{TEMPLATE}/{REPOSITORY}"',
        )
    registry = text.partition("/")[0].replace(TEMPLATE, SAMPLE)
    sample = text.replace(TEMPLATE, SAMPLE).replace(REPOSITORY, "repository")
    try:
        reference = Reference.parse(sample, default_tag=None)
    except InvalidReference as error:
        raise ConfigError(f'expected a template of references, got "{printable(text)}": {error}') from error
    if not _REGISTRY_LIKE.fullmatch(registry) or reference.tag or reference.digest:
        raise ConfigError(
            f'expected a template that begins with a registry, got "{printable(text)}"',
            hint="a registry has a dot or a port: write mirror:443 for the host mirror",
        )


def _check_exception(pattern: str) -> None:
    match = _EXCEPTION.fullmatch(pattern)
    if match is None or not _REGISTRY_LIKE.fullmatch(match["registry"]) or pattern.count("*") > STARS_MAX:
        raise ConfigError(
            f'expected a registry and a pattern of its repositories, got "{printable(pattern)}"',
            hint='as in "docker.io/mycorp/*" (one part), "ghcr.io/mycorp/**" (any number of parts)',
        )


def _check_pull_secret(name: str) -> None:
    if len(name) > SECRET_CHARACTERS_MAX or _SECRET.fullmatch(name) is None:
        raise ConfigError(
            f'expected the name of a Secret of Kubernetes, got "{printable(name)}"',
            hint="the secret itself is made by: kubectl create secret docker-registry NAME …",
        )
