"""What a YAML document consists of, each part with where it stands in the text.

Guarantees that looking into a node never fails: what it has not is empty. Scalars stay text; what a document
means is for the modules of its kind to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEPTH_MAX = 200  # Kubernetes refuses documents nested this deep
MERGES_MAX = 100  # that one mapping gathers, of each other too
QUOTES, BLOCKS = frozenset({"'", '"'}), frozenset({"|", ">"})

_NO_TEXT = frozenset({"", "~", "null", "Null", "NULL", "true", "false", "True", "False"})
_MERGE = "<<"


@dataclass(eq=False, slots=True)
class Scalar:
    """``value`` is what it means; ``style`` is ``'``, ``"``, ``|``, ``>`` or empty (plain)."""

    value: str
    start: int
    end: int
    style: str


@dataclass(eq=False, slots=True)
class Sequence:
    """A list. ``items`` in their order."""

    start: int
    end: int = 0
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Mapping:
    """``pairs`` as they are written; :func:`mapping` follows merge keys."""

    start: int
    end: int = 0
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Alias:
    """``*name``: another node, meant here as well."""

    target: Scalar | Sequence | Mapping
    start: int
    end: int


Node = Scalar | Sequence | Mapping | Alias


def resolve(node: Node | None) -> Scalar | Sequence | Mapping | None:
    """What ``node`` is, or what it stands for."""
    return node.target if isinstance(node, Alias) else node


def mapping(node: Node | None) -> dict[str, Node]:
    """The entries of ``node`` by key, with those that merge keys (``<<``) bring; empty for another node."""
    found: dict[str, Node] = {}
    _gather(resolve(node), found, set())
    return found


def sequence(node: Node | None) -> list[Node]:
    """The items of ``node``; none for another node."""
    node = resolve(node)
    return node.items if isinstance(node, Sequence) else []


def value(node: Node | None) -> str | None:
    """The text of a scalar; None for another node, and for what YAML reads as nothing, true or false."""
    node = resolve(node)
    if not isinstance(node, Scalar) or (not node.style and node.value in _NO_TEXT):
        return None
    return node.value


def _gather(node: Scalar | Sequence | Mapping | None, found: dict[str, Node], seen: set[int]) -> None:
    """Add the entries of ``node`` that are not there yet: its own first, then those of its merge keys. Of two
    of one name the last counts, as it does for Kubernetes."""
    if not isinstance(node, Mapping) or id(node) in seen or len(seen) > MERGES_MAX:
        return
    seen.add(id(node))
    merged: list[Node] = []
    own: dict[str, Node] = {}
    for key, item in node.pairs:
        name = resolve(key)
        if not isinstance(name, Scalar):
            continue
        if name.value == _MERGE and not name.style:
            merged += sequence(item) or [item]
        else:
            own[name.value] = item
    found.update((name, item) for name, item in own.items() if name not in found)
    for each in merged:
        _gather(resolve(each), found, seen)
