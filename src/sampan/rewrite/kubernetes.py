"""Images in Kubernetes' YAML: whatever is a pod or holds one, by its shape; custom fields by a list.

Guarantees that every place where Kubernetes allows an image is found in a resource of any kind: containers,
init and ephemeral containers, image volumes, however deep. What a resource says about itself (``metadata``,
``status``) is not touched, nor is text inside of strings: environment variables, arguments, ConfigMaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.rewrite.fields import Fields
from sampan.rewrite.nodes import Mapping, Node, Scalar, mapping, resolve, sequence, value

CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_OF_ITSELF = ("metadata", "status")
_DEFINITION = "CustomResourceDefinition"  # a schema has keys by these names, and no images
# What a JSON patch changes: an image, a container, a list of them, a volume. Not a label called image.
_PATCHED = re.compile(
    rf"/(?:spec|template)/(?:.*/)?(?:(?P<image>image|image/reference)"
    rf"|(?P<containers>{'|'.join(CONTAINERS)})(?P<container>/(?:[0-9]+|-))?|volumes/(?P<volume>[0-9]+|-))"
)


def is_kubernetes(root: Node) -> bool:
    """Whether ``root`` is a resource, or a JSON patch of one."""
    entries = mapping(root)
    return (value(entries.get("apiVersion")) is not None and value(entries.get("kind")) is not None) or any(
        _is_patch(item) for item in sequence(root)
    )


def images(root: Node, fields: Fields) -> Iterator[Node]:
    """The scalars of ``root`` that name images, perhaps by an alias, some more than once."""
    for item in sequence(root):
        if _is_patch(item):
            yield from _of_patch(item)
    yield from _of_anything(root, fields, set())


def kustomization_images(root: Node, fields: Fields) -> Iterator[Node]:
    """:func:`images` of a ``kustomization.yaml``, which need not say what it is.

    The names of ``images`` are matched with those in the resources, so they follow them.
    """
    yield from fields.select(root, "Kustomization", "kustomize.config.k8s.io")
    yield from images(root, fields)


def _of_anything(node: Node, fields: Fields, seen: set[int]) -> Iterator[Node]:
    """Of ``node`` and all below; ``seen`` holds what need not be looked at twice."""
    target = resolve(node)
    if target is None or isinstance(target, Scalar) or id(target) in seen:
        return
    seen.add(id(target))
    for item in sequence(node):
        yield from _of_anything(item, fields, seen)
    entries = mapping(node)
    kind, version = value(entries.get("kind")), value(entries.get("apiVersion"))
    if kind is not None and version is not None:
        if kind == _DEFINITION:
            return
        group = version.rpartition("/")[0]
        yield from fields.select(node, kind, group)
    yield from _of_pod(entries)
    yield from _of_openshift(entries)
    for key, item in entries.items():
        if not (version is not None and key in _OF_ITSELF):
            yield from _of_anything(item, fields, seen)


def _of_pod(entries: dict[str, Node]) -> Iterator[Node]:
    """What a pod's specification has, if ``entries`` are one: lists of these names hold nothing else."""
    for key in CONTAINERS:
        for container in sequence(entries.get(key)):
            yield from _text(mapping(container).get("image"))
    for volume in sequence(entries.get("volumes")):
        yield from _text(mapping(mapping(volume).get("image")).get("reference"))


def _of_openshift(entries: dict[str, Node]) -> Iterator[Node]:
    """``from: {kind: DockerImage, name: …}`` of builds and image streams."""
    if value(entries.get("kind")) == "DockerImage":
        yield from _text(entries.get("name"))


def _of_patch(item: Node) -> Iterator[Node]:
    entries = mapping(item)
    match = _PATCHED.fullmatch(value(entries.get("path")) or "")
    new = entries.get("value")
    if match is None or new is None:
        return
    if match["image"]:
        yield from _text(new)
    for container in [new] if match["container"] else sequence(new):
        yield from _text(mapping(container).get("image"))
    if match["volume"]:
        yield from _text(mapping(mapping(new).get("image")).get("reference"))


def _is_patch(item: Node) -> bool:
    entries = mapping(item)
    return isinstance(resolve(item), Mapping) and {"op", "path"} <= entries.keys()


def _text(node: Node | None) -> Iterator[Node]:
    if node is not None and value(node) is not None:
        yield node
