"""Images in compose files: of services, of image volumes, and in a Dockerfile written inline.

A service that is built has an image only by way of a name for what is built: it stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.rewrite import dockerfile
from sampan.rewrite.nodes import Node, Scalar, mapping, resolve, sequence, value
from sampan.rewrite.place import Place
from sampan.rewrite.spans import block_indent, block_span, inner_place

_IMAGE_CONTEXT = "docker-image://"  # of additional_contexts


def is_compose(root: Node) -> bool:
    """Whether ``root`` is a compose file: it has services, one of which is an image or built."""
    services = mapping(mapping(root).get("services")).values()
    return any({"image", "build", "extends"} & mapping(service).keys() for service in services)


def images(root: Node) -> Iterator[Node]:
    """The scalars of ``root`` that name images to pull."""
    services = mapping(mapping(root).get("services"))
    for service in services.values():
        entries = mapping(service)
        image = entries.get("image")
        if image is not None and not _is_built(service, services):
            yield image
        for volume in sequence(entries.get("volumes")):
            mount = mapping(volume)
            if value(mount.get("type")) == "image" and "source" in mount:
                yield mount["source"]


def inner_places(text: str, root: Node) -> Iterator[Place]:
    """Those that are part of a scalar: below ``build``, an inline Dockerfile and images as contexts."""
    for service in mapping(mapping(root).get("services")).values():
        build = mapping(mapping(service).get("build"))
        inline = resolve(build.get("dockerfile_inline"))
        if isinstance(inline, Scalar) and inline.style == "|":
            start, end = block_span(text, inline)
            yield from dockerfile.places(text, start, end, indent=block_indent(text, inline))
        contexts = build.get("additional_contexts")
        for context in (*mapping(contexts).values(), *sequence(contexts)):
            place = inner_place(text, context, _IMAGE_CONTEXT)
            if place is not None:
                yield place


def _is_built(service: Node, services: dict[str, Node]) -> bool:
    """By itself, or as a service of the same file that it extends is."""
    for _ in range(len(services)):
        entries = mapping(service)
        if "build" in entries:
            return True
        extends = entries.get("extends")
        name = value(extends) or value(mapping(extends).get("service"))
        if name is None or name not in services or "file" in mapping(extends):
            return False
        service = services[name]
    return False
