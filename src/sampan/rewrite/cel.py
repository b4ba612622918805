"""The rules in CEL, the language of Kubernetes' policies: lists of references in, lists of references out.

It guarantees the results of :mod:`sampan.rewrite.rules` for every text, but for IPv6 addresses under ``*``,
which stay. CEL has no functions of one's own, so a reference goes through as a list of strings, one variable
a step: registry, repository, tag and digest, and then the text and the name that it came from.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.errors import InvalidReference
from sampan.oci.digest import DIGEST
from sampan.oci.pattern import expression
from sampan.oci.reference import (
    DOCKER_HUB,
    HOST_NAME,
    HUB_ALIASES,
    HUB_HOSTS,
    IMAGE_ID,
    LIBRARY,
    REFERENCE_CHARACTERS_MAX,
    REGISTRY_CHARACTERS_MAX,
    REPOSITORY,
    REPOSITORY_CHARACTERS_MAX,
    TAG,
    Reference,
)
from sampan.rewrite.rules import ANY, SCRATCH, Rules
from sampan.rewrite.target import REGISTRY, Target

NOTHING = "['', '', '', i, '/']"  # what stays whatever the rules are

_PORT = r"(?:[0-9]{1,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_NAMED = rf"^{HOST_NAME}(?::{_PORT})?$"
_NO_PORT = r":0+$"
_NUMBER_LIKE = r"^(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)(?::[0-9]+)?$"
_IPV4 = rf"^{_OCTET}(?:\.{_OCTET}){{3}}(?::[0-9]+)?$"
_LOCALHOST = r"^(?:.*\.)?localhost(?::[0-9]+)?$"
# What Python's ipaddress calls not global; it is this machine or a private one to whoever reads the name.
_PRIVATE = (
    r"^(?:0|10|127|169\.254|172\.(?:1[6-9]|2[0-9]|3[01])|192\.168|100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])"
    r"|192\.0\.[02]|198\.1[89]|198\.51\.100|203\.0\.113|2[45][0-9])\."
)
_WITH_REGISTRY = r"^(?:[^/]*[.:A-Z][^/]*|localhost)/"


def steps(rules: Rules, images: str) -> list[tuple[str, str]]:
    """Variables by name, each of those before it: the last, ``after``, is ``images`` (an expression for a
    list of strings) with the rules applied, in the same order."""
    found = [("parsed", f"{images}.map(i, {_parse()})")]
    for number in range(1, rules.passes + 1):
        before, _ = found[-1]
        found.append((f"step{number}", f"variables.{before}.map(p, {_step(rules)})"))
    last, _ = found[-1]
    name = "p[0] + '/' + p[1]"
    found.append(("after", f"variables.{last}.map(p, {name} == p[4] ? p[3] : {name} + p[2])"))
    return found


def quote(text: str) -> str:
    """``text`` as a literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _matches(value: str, pattern: str) -> str:
    return f"{value}.matches({quote(pattern)})"


def _any(conditions: Iterable[str]) -> str:
    return " || ".join(conditions) or "false"


def _parse() -> str:
    """``i`` taken apart. A list of one and ``map`` give a value a name."""
    no_name = rf"^(?:{SCRATCH}|{IMAGE_ID}|{DIGEST})$"
    hub = f"n.contains({quote('/')}) ? n : {quote(LIBRARY)} + n"
    aliases = _list(HUB_ALIASES)
    registry = f"(h == '' || h in {aliases} ? {quote(DOCKER_HUB)} : h)"
    suffix = rf"^(?::{TAG})?(?:@{DIGEST})?$"
    valid = " && ".join(
        (
            f"size(i) <= {REFERENCE_CHARACTERS_MAX}",
            f"!{_matches('i', no_name)}",
            _matches("n", f"^{REPOSITORY}$"),
            _matches("t", suffix),
            f"(h == '' || {_is_registry('h')})",
        )
    )
    whole = (
        f"[{registry}].map(r, [r == {quote(DOCKER_HUB)} ? ({hub}) : n].map(m, "
        f"size(m) <= {REPOSITORY_CHARACTERS_MAX} ? [r, m, t, i, r + '/' + m] : {NOTHING})[0])[0]"
    )
    start = "(h == '' ? 0 : size(h) + 1)"
    name = f"i.substring({start}).split('@')[0].split(':')[0]"
    host = _matches("i.split('@')[0]", _WITH_REGISTRY)
    return (
        f"[{host} ? i.split('/')[0] : ''].map(h, [{name}].map(n, [i.substring({start} + size(n))].map(t, "
        f"{valid} ? {whole} : {NOTHING})[0])[0])[0]"
    )


def _is_registry(value: str) -> str:
    """Whether it is a host's name or an IPv4 address, or an IPv6 address that is looked up in a list."""
    named = (
        f"{_matches(value, _NAMED)} && !{_matches(value, _NO_PORT)}"
        f" && size({value}) <= {REGISTRY_CHARACTERS_MAX}"
        f" && (!{_matches(value, _NUMBER_LIKE)} || {_matches(value, _IPV4)})"
    )
    return f"({value}.startsWith('[') || ({named}))"


def _step(rules: Rules) -> str:
    """``p`` as the rules have it once: :meth:`Rules._step` in another language."""
    hosts = _list(sorted(HUB_HOSTS - rules.targets.keys()))
    meant = (
        f"p[0] in {hosts} ? [{quote(DOCKER_HUB)}, p[1].contains('/') ? p[1] : {quote(LIBRARY)} + p[1]]"
        " : [p[0], p[1]]"
    )
    stays = ["p[0] == ''", _at_a_target(rules)]
    if rules.exceptions:
        patterns = "|".join(expression(pattern) for pattern in rules.exceptions)
        stays.append(_matches("(q[0] + '/' + q[1])", f"^(?:{patterns})$"))
    chain = f"{_any(f'({condition})' for condition in stays)} ? p"
    for name, targets in rules.targets.items():
        if name != ANY:
            chain += f" : q[0] == {quote(name)} ? ({_first(_of(name, targets))})"
    private = f"{_matches('q[0]', _IPV4)} && {_matches('q[0]', _PRIVATE)}"
    chain += f" : {_matches('q[0]', _LOCALHOST)} || ({private}) || q[0].startsWith('[') ? p"
    return f"[{meant}].map(q, {chain} : ({_first(rules.targets.get(ANY, ()))}))[0]"


def _of(name: str, targets: tuple[Target, ...]) -> list[Target]:
    """Targets of one registry: ``{registry}`` is known, and those that could give no valid name are out."""
    found = []
    for target in targets:
        own = Target(
            target.registry.replace(REGISTRY, name),
            target.prefix.replace(REGISTRY, name),
            target.allow,
            target.repositories,
            resolves=target.resolves,
        )
        try:
            Target(own.registry, own.prefix).place(Reference(name, "a/a"))
        except InvalidReference:
            continue
        found.append(own)
    return found


def _first(targets: Iterable[Target]) -> str:
    return "".join(f"{_takes(target)} ? {_placed(target)} : " for target in targets) + "p"


def _takes(target: Target) -> str:
    """Whether ``q`` is for ``target`` and gets a valid name there."""
    conditions = [f"size({_repository(target)}) <= {REPOSITORY_CHARACTERS_MAX}"]
    conditions.append(_matches(_repository(target), f"^{REPOSITORY}$"))
    if target.repositories:
        conditions.insert(0, f"q[1] in {_mapping(target)}")
    if not target.resolves:
        conditions.append("p[2].contains('@')")
    if target.allow:
        allowed = "|".join(expression(pattern) for pattern in target.allow)
        conditions.append(_matches("q[1]", f"^(?:{allowed})$"))
    if REGISTRY in target.registry:
        registry = _filled(target.registry)
        conditions.append(_is_registry(registry))
        conditions.append(_matches(f"({registry} + '/')", _WITH_REGISTRY))
    return " && ".join(conditions)


def _placed(target: Target) -> str:
    return f"[{_filled(target.registry)}, {_repository(target)}, p[2], p[3], p[4]]"


def _repository(target: Target) -> str:
    renamed = f"{_mapping(target)}[q[1]]" if target.repositories else "q[1]"
    whole = f"{_filled(target.prefix)} + {renamed}" if target.prefix else renamed
    if target.registry == DOCKER_HUB:
        whole = f"({whole}).contains('/') ? {whole} : {quote(LIBRARY)} + {whole}"
    return f"({whole})"


def _mapping(target: Target) -> str:
    pairs = (f"{quote(name)}: {quote(other)}" for name, other in target.repositories.items())
    return "{" + ", ".join(pairs) + "}"


def _filled(template: str) -> str:
    """``template`` with the registry in its place, in brackets where it is more than a literal."""
    pieces = [quote(piece) for piece in template.split(REGISTRY)]
    if len(pieces) == 1:
        return pieces[0]
    return "(" + " + q[0] + ".join(pieces) + ")"


def _at_a_target(rules: Rules) -> str:
    chain = ""
    for name, targets in rules.targets.items():
        if name == ANY:
            continue
        beginnings = [t.prefix.partition(REGISTRY)[0] for t in targets if t.is_at(name)]
        covered = _any(f"p[1].startsWith({quote(beginning)})" for beginning in beginnings)
        chain += f"p[0] == {quote(name)} ? ({covered}) : "
    registries = dict.fromkeys(t.registry for targets in rules.targets.values() for t in targets)
    literal = _list(name for name in registries if REGISTRY not in name)
    conditions = [f"p[0] in {literal}"]
    for template in registries:
        before, placeholder, after = template.partition(REGISTRY)
        if placeholder:
            conditions.append(
                f"(size(p[0]) > {len(before) + len(after)} && p[0].startsWith({quote(before)})"
                f" && p[0].endsWith({quote(after)}))"
            )
    return f"{chain}({_any(conditions)})"


def _list(values: Iterable[str]) -> str:
    return "[" + ", ".join(quote(value) for value in values) + "]"
