"""Images in the files of CI systems: GitHub's workflows and actions, GitLab's pipelines.

A GitLab service is reached under a host name that GitLab makes of its image's name. So that it stays
reachable when the image is another, a service without an alias is given the one that it had: its name becomes
``{name: …, alias: …}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sampan.errors import InvalidReference
from sampan.oci.reference import Reference
from sampan.rewrite.nodes import (
    BLOCKS,
    Node,
    Scalar,
    mapping,
    resolve,
    sequence,
    value,
)
from sampan.rewrite.nodes import Mapping as Entries
from sampan.rewrite.place import Place
from sampan.rewrite.spans import inner_place, place_of

_DOCKER = "docker://"
# GitLab's words of the first level that are no jobs.
_NO_JOBS = frozenset(
    {"variables", "workflow", "include", "stages", "cache", "spec", "before_script", "after_script"}
)
_PORT = re.compile(r":[0-9]+(?=/)")
_LIST_ITEM = re.compile(r" *(?:- +)*")


def is_github(root: Node) -> bool:
    """Whether ``root`` is a workflow, or the metadata of an action."""
    entries = mapping(root)
    jobs = mapping(entries.get("jobs")).values()
    workflow = any({"runs-on", "uses"} & mapping(job).keys() for job in jobs)
    return workflow or "using" in mapping(entries.get("runs"))


def is_gitlab(root: Node) -> bool:
    """Whether ``root`` looks like a pipeline: some entry of its first level has a script or extends one."""
    jobs = [job for name, job in mapping(root).items() if name not in _NO_JOBS]
    return any("script" in mapping(job) for job in jobs)


def github_images(root: Node) -> Iterator[Node]:
    """The scalars that are images as a whole: of containers and services of jobs."""
    for job in mapping(mapping(root).get("jobs")).values():
        entries = mapping(job)
        yield from _image_or_entry(entries.get("container"), "image")
        for service in mapping(entries.get("services")).values():
            yield from _image_or_entry(service, "image")


def github_inner_places(text: str, root: Node) -> Iterator[Place]:
    """What follows ``docker://`` in steps and in an action's own image."""
    entries = mapping(root)
    runs = mapping(entries.get("runs"))
    steps = [*sequence(runs.get("steps"))]
    for job in mapping(entries.get("jobs")).values():
        steps += sequence(mapping(job).get("steps"))
    for node in (runs.get("image"), *(mapping(step).get("uses") for step in steps)):
        if (value(node) or "").startswith(_DOCKER):
            place = inner_place(text, node, _DOCKER)
            if place is not None:
                yield place


def gitlab_images(root: Node) -> Iterator[Node]:
    """The scalars that are images: of jobs, of what they have in common, and of services with an alias."""
    for section in _gitlab_sections(root):
        yield from _image_or_entry(section.get("image"), "name")
        for service in sequence(section.get("services")):
            entries = mapping(service)
            if "alias" in entries and "name" in entries:
                yield entries["name"]


def gitlab_service_places(text: str, root: Node) -> Iterator[Place]:
    """The services without an alias, each with the one that it would lose."""
    seen: set[int] = set()
    for section in _gitlab_sections(root):
        for service in sequence(section.get("services")):
            node = resolve(service)
            if node is None or node.start in seen or "alias" in mapping(node):
                continue
            seen.add(node.start)
            place = _entry_place(text, node) if isinstance(node, Entries) else _name_place(text, node)
            if place is not None:
                yield place


def gitlab_alias(image: str) -> str | None:
    """The host names that GitLab gives to the service ``image``, as ``alias`` takes them; None: none.

    They are the name without port, tag and digest, its slashes once ``__`` and once ``-``.
    """
    try:
        reference = Reference.parse(image, default_tag=None)
    except InvalidReference:
        return None
    written = image[: len(image) - (len(str(reference)) - len(reference.name))]
    name = _PORT.sub("", written)
    return ",".join(dict.fromkeys((name.replace("/", "__"), name.replace("/", "-"))))


def _name_place(text: str, node: Node) -> Place | None:
    """Where a service that is a name alone is written, quotes included."""
    place = place_of(text, node) if isinstance(node, Scalar) else None
    alias = gitlab_alias(place.image) if place is not None else None
    if place is None or alias is None or not isinstance(node, Scalar) or node.style in BLOCKS:
        return place
    quotes = len(node.style)
    return replace(
        place,
        start=place.start - quotes,
        end=place.end + quotes,
        before='{name: "',
        after=f'", alias: "{alias}"}}',
        plain=False,
    )


def _entry_place(text: str, node: Entries) -> Place | None:
    """Where the name of a service without an alias is written; an entry for the alias follows it."""
    for key, item in node.pairs:
        scalar = resolve(item)
        if value(key) != "name" or not isinstance(scalar, Scalar):
            continue
        place = place_of(text, scalar)
        alias = gitlab_alias(place.image) if place is not None else None
        separator = _separator(text, node, key)
        if (
            place is None
            or alias is None
            or separator is None
            or scalar.style in BLOCKS
            or scalar is not item
        ):
            return place
        quote = scalar.style
        return replace(
            place,
            start=place.start - len(quote),
            end=place.end + len(quote),
            before=quote,
            after=f'{quote}{separator}alias: "{alias}"',
        )
    return None


def _separator(text: str, node: Entries, key: Node) -> str | None:
    """What stands between two entries of ``node``: a comma, or a line break and the space before ``key``.

    None where another entry cannot simply be put into the next line.
    """
    if text.startswith("{", node.start):
        return ", "
    line = text.rfind("\n", 0, key.start) + 1
    if _LIST_ITEM.fullmatch(text, line, key.start) is None:
        return None
    return ("\r\n" if "\r\n" in text else "\n") + " " * (key.start - line)


def _gitlab_sections(root: Node) -> Iterator[dict[str, Node]]:
    """Whatever may have ``image`` and ``services``: the first level, ``default`` and each job."""
    entries = mapping(root)
    yield entries
    for name, job in entries.items():
        if name not in _NO_JOBS and isinstance(resolve(job), Entries) and name not in ("image", "services"):
            yield mapping(job)


def _image_or_entry(node: Node | None, key: str) -> Iterator[Node]:
    """``image: NAME``, or a mapping with the name under ``key``."""
    if isinstance(resolve(node), Entries):
        node = mapping(node).get(key)
    if node is not None and value(node) is not None:
        yield node
