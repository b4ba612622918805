"""Where references are redirected to: one mirror, seen as a name and not as a host that is asked.

Guarantees that what comes out is a valid reference with the tag and the digest that went in. Whether this
mirror is the one to use is decided in :mod:`sampan.rewrite.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sampan.errors import InvalidReference
from sampan.oci.pattern import Patterns
from sampan.oci.reference import Reference

REGISTRY = "{registry}"  # in a target: the registry of the reference that is redirected


@dataclass(frozen=True, slots=True)
class Target:
    """``registry`` and ``prefix`` are put before the repository, ``{registry}`` in them replaced.

    ``prefix`` ends where the repository begins, so usually with a slash. ``allow`` (patterns) and
    ``repositories`` (other names) bound what there is; empty, they bound nothing. Without ``resolves``
    its word for a tag counts for nothing: it is used for references with a digest alone.
    """

    registry: str
    prefix: str = ""
    allow: tuple[str, ...] = ()
    repositories: Mapping[str, str] = field(default_factory=dict, hash=False)
    resolves: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow", Patterns.of(self.allow))
        object.__setattr__(self, "repositories", MappingProxyType(dict(self.repositories)))

    def place(self, reference: Reference) -> Reference | None:
        """``reference`` as this target calls it; None when it is not for this target.

        Raises :class:`~sampan.errors.InvalidReference` when the name would not be one.
        """
        if reference.digest is None and not self.resolves:
            return None
        if self.allow and not Patterns.of(self.allow).match(reference.repository):
            return None
        name = reference.repository
        renamed = self.repositories.get(name) if self.repositories else name
        if renamed is None:
            return None
        registry = self.registry.replace(REGISTRY, reference.registry)
        prefix = self.prefix.replace(REGISTRY, reference.registry)
        placed = replace(reference, registry=registry, repository=prefix + renamed)
        if Reference.parse(str(placed), default_tag=None) != placed:
            hint = "a registry has a dot or a port"
            raise InvalidReference(f"{placed} would be read as another name", hint=hint)
        return placed

    def is_at(self, registry: str) -> bool:
        """Whether ``registry`` is this target's."""
        before, placeholder, after = self.registry.partition(REGISTRY)
        if not placeholder:
            return registry == self.registry
        long_enough = len(registry) > len(before) + len(after)
        return long_enough and registry.startswith(before) and registry.endswith(after)

    def covers(self, reference: Reference) -> bool:
        """Whether ``reference`` points here already, as far as can be told from its name."""
        beginning = self.prefix.partition(REGISTRY)[0]
        return self.is_at(reference.registry) and reference.repository.startswith(beginning)
