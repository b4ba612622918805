"""The catalogue of mirrors read: the one that is built in, or another, from a file or a URL.

Guarantees that whatever is wrong with it is told with its line, as the mistakes of ``sampan.toml`` are, and
that each of its entries can be made a host of. What entries mean is :mod:`sampan.doctor.catalogue`'s.
"""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from pathlib import Path

import msgspec

from sampan.config.document import decode, read_table, read_text
from sampan.config.problems import Problems
from sampan.config.registries import origin_host
from sampan.config.schema import Table
from sampan.config.settings import Config
from sampan.doctor.catalogue import ACCOUNT, REGISTRY, Catalogue, Entry, Form, Need, Sample, State
from sampan.errors import ConfigError, HostError, printable
from sampan.oci.reference import Reference, canonical_registry, parse_registry
from sampan.upstream.call import Call
from sampan.upstream.host import Host
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.transport import Transport
from sampan.upstream.url import parse_url

BUILT_IN = "mirrors.toml"
BYTES_MAX = 1024 * 1024  # the built-in one is a fiftieth of this
ENTRIES_MAX = 2000
EXAMPLE = "registry.example"  # stands for {registry} while an entry is checked
_HINT = "docs/mirrors.md says what stands in a catalogue"


class EntryTable(Table, frozen=True):
    """``[[mirror]]``: one of them."""

    url: str
    form: Form
    registries: list[str]
    group: str
    last_verified: str
    source: str
    state: State = "up"
    first_seen: str | None = None
    resolves: bool = True
    needs: list[Need] = msgspec.field(default_factory=list)
    allow: list[str] = msgspec.field(default_factory=list)
    repositories: dict[str, str] = msgspec.field(default_factory=dict)
    requests_per_minute: int | None = None
    max_connections: int | None = None
    limits: str = ""
    allow_list: str | None = None
    note: str = ""


class SampleTable(Table, frozen=True):
    """``[registry."NAME"]``: how hosts of a registry are tried."""

    sample: str
    origin: str | None = None


class CatalogueTable(Table, frozen=True):
    """The whole file."""

    updated: str
    registry: dict[str, SampleTable] = msgspec.field(default_factory=dict)
    mirror: list[EntryTable] = msgspec.field(default_factory=list)


def built_in() -> Catalogue:
    """The one that comes with sampan."""
    return parse_catalogue(files("sampan.data").joinpath(BUILT_IN).read_text("utf-8"), BUILT_IN)


async def load_catalogue(where: str | None, config: Config) -> Catalogue:
    """The catalogue at ``where``, a path or a URL; None: the built-in one. Raises :class:`ConfigError`."""
    if where is None:
        return built_in()
    if where.startswith(("http://", "https://")):
        return parse_catalogue(await _fetch(where, config), printable(where))
    text = read_text(Path(where), what="catalogue", hint=_HINT, bytes_max=BYTES_MAX)
    return parse_catalogue(text, where)


def parse_catalogue(text: str, name: str) -> Catalogue:
    """The catalogue that ``text`` is; ``name`` stands in errors. Raises :class:`ConfigError`."""
    table, problems = read_table(text, name, CatalogueTable)
    updated = _day(table.updated, ("updated",), problems) or date.min
    if len(table.mirror) > ENTRIES_MAX:
        problems.add(("mirror",), f"expected at most {ENTRIES_MAX} mirrors, got {len(table.mirror)}")
    entries: dict[str, Entry] = {}
    for index, each in enumerate(table.mirror[:ENTRIES_MAX]):
        with problems.at("mirror", index):
            entry = _entry(each, index, problems)
            if entries.setdefault(entry.url, entry) is not entry:
                raise ConfigError("expected each URL once, got it twice")
    samples: dict[str, Sample] = {}
    for registry, sample in table.registry.items():
        with problems.at("registry", registry):
            samples[_registry(registry)] = _sample(registry, sample)
    problems.raise_any()
    return Catalogue(name, updated, tuple(entries.values()), samples)


def _sample(registry: str, table: SampleTable) -> Sample:
    return Sample(Reference.parse(f"{registry}/{table.sample}"), origin_host(registry, table.origin))


def _entry(table: EntryTable, index: int, problems: Problems) -> Entry:
    place = ("mirror", index)
    verified = _day(table.last_verified, (*place, "last_verified"), problems) or date.min
    seen = None if table.first_seen is None else _day(table.first_seen, (*place, "first_seen"), problems)
    if seen is not None and seen > verified:
        problems.add((*place, "first_seen"), "expected a day before last_verified, got a later one")
    _check_registries(table, index, problems)
    entry = Entry(
        url=table.url.rstrip("/"),
        form=table.form,
        registries=tuple(table.registries),
        group=table.group,
        last_verified=verified,
        source=table.source,
        state=table.state,
        first_seen=seen,
        resolves=table.resolves,
        needs=tuple(table.needs),
        allow=tuple(table.allow),
        repositories=dict(table.repositories),
        requests_per_minute=table.requests_per_minute,
        max_connections=table.max_connections,
        limits=table.limits,
        allow_list=table.allow_list,
        note=table.note,
    )
    if (ACCOUNT in entry.url) != ("account" in entry.needs):
        raise ConfigError(f'expected {ACCOUNT} in the URL together with "account" in needs, got one of them')
    Host.from_url(entry.url.replace(REGISTRY, EXAMPLE).replace(ACCOUNT, "account"), **entry.options())
    return entry


def _check_registries(table: EntryTable, index: int, problems: Problems) -> None:
    if not table.registries:
        problems.add(("mirror", index, "registries"), "expected some registries, got none")
    for number, registry in enumerate(table.registries):
        with problems.at("mirror", index, "registries", number):
            if registry != "*":
                _registry(registry)


def _registry(text: str) -> str:
    """``text``, the canonical name of a registry. Raises InvalidReference, ConfigError."""
    if canonical_registry(parse_registry(text)) != text:
        raise ConfigError(f"expected a registry as references name it, got {printable(text)}")
    return text


def _day(text: str, place: tuple[str | int, ...], problems: Problems) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        problems.add(
            place, f'expected a day, got "{printable(text, characters_max=40)}"', 'as in "2026-08-21"'
        )
        return None


async def _fetch(where: str, config: Config) -> str:
    """The text at the URL ``where``. Whoever names it may mean a private address."""
    try:
        url = parse_url(where)
    except ValueError as error:
        raise ConfigError(f"--catalogue: not a URL: {error}", hint=_HINT) from error
    host = Host.from_url(str(url.at("/")), private=True)
    transport = Transport((host,), proxies=ProxySettings.from_environment(config.environ))
    try:
        async with await transport.request(host, url, Call("GET", {})) as response:
            if response.status != 200:
                raise ConfigError(f"cannot read the catalogue at {url.netloc}: it answered {response.status}")
            return decode(await response.read(BYTES_MAX + 1), url.netloc, bytes_max=BYTES_MAX)
    except HostError as error:
        raise ConfigError(f"cannot read the catalogue at {error.message}", hint=error.hint) from error
    finally:
        await transport.close()
