"""Where the images of a Kubernetes object stand, and where their originals are kept.

It guarantees that every place that it gives is an image's field, or an annotation of the pod that the image
belongs to, whatever the object holds: what does not have the shape that Kubernetes gives it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sampan.rewrite.originals import annotation_key

Path = tuple[str | int, ...]

CONTAINERS = "containers"
INIT_CONTAINERS = "initContainers"
EPHEMERAL_CONTAINERS = "ephemeralContainers"
VOLUMES = "volumes"

# API group and kind -> where the pod lies, which has metadata and spec.
PODS: Mapping[tuple[str, str], Path] = MappingProxyType(
    {
        ("", "Pod"): (),
        ("", "PodTemplate"): ("template",),
        ("", "ReplicationController"): ("spec", "template"),
        ("apps", "DaemonSet"): ("spec", "template"),
        ("apps", "Deployment"): ("spec", "template"),
        ("apps", "ReplicaSet"): ("spec", "template"),
        ("apps", "StatefulSet"): ("spec", "template"),
        ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
        ("batch", "Job"): ("spec", "template"),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """An image's field. ``path`` leads to it from the pod; ``name`` is its container's or volume's."""

    path: Path
    name: str
    image: str

    @property
    def annotation(self) -> str | None:
        """The key under which the original is kept; None when no annotation can have such a name."""
        return annotation_key(self.name, is_volume=self.path[1] == VOLUMES)


def pod_of(item: object, group: str, kind: str) -> dict[str, object] | None:
    """The pod in an object of this kind; None when there is none."""
    path = PODS.get((group, kind))
    if path is None:
        return None
    for key in path:
        item = item.get(str(key)) if isinstance(item, dict) else None
    return item if isinstance(item, dict) else None


def annotations_of(pod: dict[str, object]) -> Mapping[str, object]:
    """The annotations of a pod; empty when it has none."""
    metadata = pod.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def places(pod: dict[str, object], fields: tuple[str, ...]) -> Iterator[Place]:
    """The images in these fields of a pod's spec."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    for field in fields:
        entries = spec.get(field)
        if not isinstance(entries, list):
            continue
        rest: Path = ("image", "reference") if field == VOLUMES else ("image",)
        for index, entry in enumerate(entries):
            image: object = entry
            for key in rest:
                image = image.get(key) if isinstance(image, dict) else None
            if isinstance(image, str) and isinstance(name := entry.get("name"), str):
                yield Place(("spec", field, index, *rest), name, image)


def pointer(path: Path) -> str:
    """``path`` as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)
