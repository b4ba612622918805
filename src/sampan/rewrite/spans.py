"""Where in a text the images are that nodes name: within quotes, behind anchors and tags, in block scalars.

Guarantees that a place holds the value and nothing around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sampan.rewrite.nodes import BLOCKS, QUOTES, Alias, Node, Scalar, mapping, resolve, value
from sampan.rewrite.place import Place, line_at

_NUMBER = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?|0[xob][0-9A-Fa-f_]+", re.ASCII
)


def places(text: str, root: Node, images: Iterable[Node]) -> Iterator[Place]:
    """Where ``images``, scalars of ``root`` or aliases of such, are written; each place once.

    An alias is replaced by the image only where its anchor is no image itself, nor in a part of the document
    that means nothing alone (``x-…`` of compose, ``.…`` of GitLab).
    """
    scalars: dict[int, Scalar] = {}
    aliases: dict[int, Alias] = {}
    for node in images:
        if isinstance(node, Alias):
            aliases[node.start] = node
        elif isinstance(node, Scalar):
            scalars[node.start] = node
    inert = _inert(root) if aliases else []
    for start, alias in aliases.items():
        target = alias.target
        if target.start in scalars or not isinstance(target, Scalar):
            continue
        if any(first <= target.start < last for first, last in inert):
            scalars[target.start] = target
        elif value(target) and not _is_number(target, text[target.start : target.end]):
            yield Place(target.value, start, alias.end, line_at(text, start), '"', '"')
    for scalar in scalars.values():
        place = place_of(text, scalar)
        if place is not None:
            yield place


def place_of(text: str, scalar: Scalar) -> Place | None:
    """Where the value of ``scalar`` is written; None when it is over several lines, nothing, or a number."""
    image = scalar.value.rstrip("\n") if scalar.style in BLOCKS else scalar.value
    if value(scalar) is None or not image:
        return None
    start, end = _span(text, scalar, image)
    if start < 0 or _is_number(scalar, text[scalar.start : start]):
        return None
    return Place(image, start, end, line_at(text, start), plain=not scalar.style)


def _is_number(scalar: Scalar, properties: str) -> bool:
    """Whether YAML reads no text: who gets ``image: 1.10`` refuses it, and it must not become a name."""
    return not scalar.style and "!!str" not in properties and _NUMBER.fullmatch(scalar.value) is not None


def inner_place(text: str, node: Node | None, marker: str) -> Place | None:
    """Where the rest of the scalar ``node`` after ``marker`` is written, as in ``docker://alpine:3``."""
    scalar = resolve(node)
    whole = place_of(text, scalar) if isinstance(scalar, Scalar) else None
    if whole is None or text[whole.start : whole.end] != whole.image:  # written with escapes
        return None
    before, found, image = whole.image.partition(marker)
    start = whole.start + len(before) + len(found)
    return Place(image, start, whole.end, whole.line) if found and image else None


def block_span(text: str, scalar: Scalar) -> tuple[int, int]:
    """Where the lines of a block scalar stand, below its header."""
    header = text.find("\n", text.find(scalar.style, scalar.start))
    return (header + 1, scalar.end) if header >= 0 else (scalar.end, scalar.end)


def block_indent(text: str, scalar: Scalar) -> int:
    """How many spaces the lines of a block scalar begin with: as many as its first that is not empty."""
    start, end = block_span(text, scalar)
    line = next((line for line in text[start:end].splitlines() if line.strip()), "")
    return len(line) - len(line.lstrip(" "))


def _span(text: str, scalar: Scalar, image: str) -> tuple[int, int]:
    """The offsets of the value, without quotes and what stands before it (anchor, tag); (-1, -1): none."""
    if scalar.style in QUOTES:
        return text.index(scalar.style, scalar.start) + 1, scalar.end - 1
    if scalar.style not in BLOCKS:
        start = scalar.end - len(image)
        return (start, scalar.end) if text[start : scalar.end] == image else (-1, -1)
    first, last = block_span(text, scalar)
    start = text.find(image, first, last)
    return (start, start + len(image)) if start >= 0 else (-1, -1)


def _inert(root: Node) -> list[tuple[int, int]]:
    """Where the entries of ``root`` stand that are only there to be referred to."""
    return [
        (item.start, item.end)
        for name, item in mapping(root).items()
        if name.startswith(("x-", ".")) and not isinstance(item, Alias)
    ]
