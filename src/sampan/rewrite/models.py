"""Pods as Python programs hold them (``V1Pod`` of a Kubernetes client), with every image redirected; a
``V1Job`` and whatever else has a template of pods, in the template.

It guarantees that a pod is changed wholly or, when anything is wrong, not at all, that a second time changes
nothing, and that lists and mappings which a pod shares with whoever made it stay as they are. Containers are
known by their names, never by their positions. No Kubernetes client is imported: models that are missing are
made of the classes beside the pod's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sampan.rewrite.originals import annotation_key, with_originals
from sampan.rewrite.rules import Rewriting, Rules

Model: TypeAlias = Any  # a client's object, or a dictionary in the place of one: neither has types
VOLUME = "volume/"
CONTAINERS = ("containers", "init_containers", "ephemeral_containers")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod names an image: a container by its name, or ``volume/NAME``."""

    name: str
    holder: Model
    key: str

    @property
    def annotation(self) -> str | None:
        """The key under which the original is kept; None when no annotation can have such a name."""
        is_volume = self.name.startswith(VOLUME)
        return annotation_key(self.name.removeprefix(VOLUME) if is_volume else self.name, is_volume=is_volume)

    @property
    def image(self) -> str:
        """The reference that stands there; empty when none does."""
        image = _get(self.holder, self.key)
        return image if isinstance(image, str) else ""

    def write(self, image: str) -> None:
        """Put ``image`` there."""
        if isinstance(self.holder, dict):
            self.holder[self.key] = image
        else:
            setattr(self.holder, self.key, image)


def places(pod: Model) -> Iterator[Place]:
    """Every place of ``pod`` itself that may name an image."""
    spec = _get(pod, "spec")
    for kind in CONTAINERS:
        for container in _get(spec, kind) or ():
            yield Place(str(_get(container, "name")), container, "image")
    for volume in _get(spec, "volumes") or ():
        if source := _get(volume, "image"):
            yield Place(f"{VOLUME}{_get(volume, 'name')}", source, "reference")


def redirect(pod: Model, rules: Rules, pull_secrets: Sequence[str] = ()) -> dict[str, Rewriting]:
    """Redirect the images of ``pod``, or of its template, in place; what changed, by the name of its place.

    Where something did, the originals go into annotations, and ``pull_secrets`` are added to the pod's.
    """
    pod = _get(_get(pod, "spec"), "template") or pod
    judged = [(place, rules.judge(place.image)) for place in places(pod) if place.image]
    changes = [(place, rewriting) for place, rewriting in judged if rewriting.changed]
    if not changes:
        return {}
    changed = {place.name: rewriting for place, rewriting in changes}
    metadata = _get(pod, "metadata") or _model(pod, "V1ObjectMeta")()
    annotations = with_originals(
        metadata.annotations, {place.annotation: rewriting.before for place, rewriting in changes}
    )
    secrets = _with_secrets(pod, pull_secrets)
    for place, rewriting in changes:
        place.write(rewriting.after)
    metadata.annotations, pod.metadata = annotations, metadata
    if pull_secrets:
        pod.spec.image_pull_secrets = secrets
    return changed


def _with_secrets(pod: Model, names: Sequence[str]) -> list[Model]:
    present = list(_get(pod.spec, "image_pull_secrets") or ())
    known = {_get(secret, "name") for secret in present}
    return present + [_model(pod, "V1LocalObjectReference")(name=name) for name in names if name not in known]


def _get(thing: Model, key: str) -> Model:
    """A client sends dictionaries among its models as they are, so people put some there."""
    return thing.get(key) if isinstance(thing, dict) else getattr(thing, key, None)


def _model(pod: Model, name: str) -> Model:
    """The class ``name`` of the client that ``pod`` is of: kubernetes and kubernetes_asyncio have each."""
    module = type(pod).__module__
    while module:
        if found := getattr(sys.modules.get(module), name, None):
            return found
        module = module.rpartition(".")[0]
    raise TypeError(f"{type(pod).__qualname__} is of no Kubernetes client that has a {name}")
