"""Which registry tables are in force: the file's (or the built-in ones), then the profile's, then the
environment's.

It guarantees one table a registry under its canonical name, each with the place to name in an error. It
reads no URL and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from sampan.config import environment
from sampan.config.problems import Problems
from sampan.config.schema import File, RegistryTable
from sampan.errors import ConfigError
from sampan.oci.reference import canonical_registry, parse_registry
from sampan.positions import KeyPath

WILDCARD = "*"
REGISTRIES_MAX = 1000
# Public registries that images are commonly named by: with no table at all, each is asked itself.
BUILT_IN = (
    "docker.io",
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "k8s.gcr.io",
    "public.ecr.aws",
    "nvcr.io",
)


@dataclass(frozen=True, slots=True)
class PlacedTable:
    """A registry's table; ``path`` and ``mirrors_path`` say where it and its mirrors were written."""

    registry: str
    table: RegistryTable
    path: KeyPath
    mirrors_path: KeyPath


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables ``in_force`` by registry, and those ``idle`` here: replaced, or of other profiles."""

    in_force: Mapping[str, PlacedTable]
    idle: tuple[PlacedTable, ...]


def choose_tables(file: File, profile: str | None, environ: Mapping[str, str], problems: Problems) -> Tables:
    """Replace the file's tables by those of ``profile``, and their mirrors by the environment's."""
    written = _placed(file.registry, ("registry",), problems)
    profiles = {
        name: _placed(table.registry, ("profile", name, "registry"), problems)
        for name, table in file.profile.items()
    }
    chosen = profiles[profile] if profile else {}
    given = environment.mirrors(environ, problems)
    # The built-in registries have no table that anybody wrote: where there is a ``*``, it means them too.
    unwritten = {} if written or WILDCARD in (chosen | given) else _built_in()
    in_force = unwritten | written | chosen
    everything = [*written.values(), *(table for tables in profiles.values() for table in tables.values())]
    for registry, mirrors in given.items():
        place = (f"${environment.MIRRORS}", registry)
        with problems.at(*place):
            name = registry_name(registry)
            old = in_force.get(name) or PlacedTable(name, RegistryTable(), place, place)
            in_force[name] = PlacedTable(name, replace(old.table, mirrors=mirrors), old.path, place)
    return Tables(in_force, tuple(table for table in everything if in_force.get(table.registry) is not table))


def registry_name(text: str) -> str:
    """The canonical name that a table's key means: ``*``, or a registry as references name it."""
    if text == WILDCARD:
        return text
    if "://" in text:
        raise ConfigError(
            "expected the name of a registry, got a URL",
            hint='write the name alone, as in [registry."docker.io"]',
        )
    return canonical_registry(parse_registry(text.lower()))


def _placed(
    tables: Mapping[str, RegistryTable], above: KeyPath, problems: Problems
) -> dict[str, PlacedTable]:
    found: dict[str, PlacedTable] = {}
    if len(tables) > REGISTRIES_MAX:
        problems.add(above, f"expected at most {REGISTRIES_MAX} registries, got {len(tables)}")
        return found
    for key, table in tables.items():
        path = (*above, key)
        with problems.at(*path):
            name = registry_name(key)
            if name in found:
                raise ConfigError(f"expected one table for {name}, got a second one (a duplicate)")
            found[name] = PlacedTable(name, table, path, (*path, "mirrors"))
    return found


def _built_in() -> dict[str, PlacedTable]:
    return {
        name: PlacedTable(name, RegistryTable(), ("registry", name), ("registry", name, "mirrors"))
        for name in BUILT_IN
    }
