"""Which kind of document a text is, where its images are, and the text with them rewritten.

Guarantees that everything outside the image values is the same to the byte. Names of files decide where they
are clear (``Dockerfile``, ``.gitlab-ci.yml``), else what stands in each document of the text does. Reading
and writing files is :mod:`sampan.rewrite.tree`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from sampan.rewrite import ci, compose, dockerfile, kubernetes
from sampan.rewrite.fields import Fields
from sampan.rewrite.nodes import Node
from sampan.rewrite.place import Edited, Place, edit
from sampan.rewrite.rules import Rules
from sampan.rewrite.spans import places
from sampan.rewrite.yaml_text import documents

NO_MORE = Fields()


class Kind(StrEnum):
    """What a document is. ``YAML``: its content says which of the others."""

    KUBERNETES = "kubernetes"
    COMPOSE = "compose"
    DOCKERFILE = "dockerfile"
    GITHUB = "github"
    GITLAB = "gitlab"
    KUSTOMIZATION = "kustomization"
    YAML = "yaml"


def find_images(text: str, kind: Kind | None = None, fields: Fields = NO_MORE) -> list[Place]:
    """The images that ``text`` names, in its order; ``kind`` None: what the content says.

    Raises :class:`~sampan.errors.InvalidDocument` with the line where it is not what it should be.
    """
    if kind is Kind.DOCKERFILE or (kind is None and dockerfile.looks_like(text)):
        found = dockerfile.places(text)
    else:
        found = _in_yaml(text, kind or Kind.YAML, fields)
    return list(_apart(sorted(found, key=lambda place: place.start)))


def rewrite_text(text: str, rules: Rules, kind: Kind | None = None, fields: Fields = NO_MORE) -> Edited:
    """``text`` with its images as ``rules`` have them. Raises :class:`~sampan.errors.InvalidDocument`."""
    return edit(text, find_images(text, kind, fields), rules)


def _in_yaml(text: str, kind: Kind, fields: Fields) -> Iterator[Place]:
    for root in documents(text):
        yield from _in_document(text, root, _kind_of(root, kind), fields)


def _apart(found: list[Place]) -> Iterator[Place]:
    """Without those that begin in another: an anchor may be an image here and a service there."""
    end = -1
    for place in found:
        if place.start >= end:
            yield place
            end = place.end


def _kind_of(root: Node, named: Kind) -> Kind:
    """What a document is by its content: a resource is one, whatever its file is called."""
    if kubernetes.is_kubernetes(root):
        return named if named is Kind.KUSTOMIZATION else Kind.KUBERNETES
    if named is not Kind.YAML:
        return named
    if compose.is_compose(root):
        return Kind.COMPOSE
    if ci.is_github(root):
        return Kind.GITHUB
    return Kind.GITLAB if ci.is_gitlab(root) else Kind.YAML


def _in_document(text: str, root: Node, kind: Kind, fields: Fields) -> Iterator[Place]:
    match kind:
        case Kind.KUBERNETES:
            yield from places(text, root, kubernetes.images(root, fields))
        case Kind.KUSTOMIZATION:
            yield from places(text, root, kubernetes.kustomization_images(root, fields))
        case Kind.COMPOSE:
            yield from places(text, root, compose.images(root))
            yield from compose.inner_places(text, root)
        case Kind.GITHUB:
            yield from places(text, root, ci.github_images(root))
            yield from ci.github_inner_places(text, root)
        case Kind.GITLAB:
            yield from places(text, root, ci.gitlab_images(root))
            yield from ci.gitlab_service_places(text, root)
