"""Stand-ins for the models of the Kubernetes client: the attributes that pods are asked for, and no more.

Like those, they take whatever they are given. The real ones are in the interop tests, with Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class V1ObjectMeta:
    name: str | None = None
    annotations: dict[str, str] | None = None


@dataclass
class V1LocalObjectReference:
    name: str


@dataclass
class V1Container:
    name: str
    image: str | None = None


@dataclass
class V1ImageVolumeSource:
    reference: str | None = None


@dataclass
class V1Volume:
    name: str
    image: V1ImageVolumeSource | None = None


@dataclass
class V1PodSpec:
    containers: list[Any] | None = None
    init_containers: list[Any] | None = None
    ephemeral_containers: list[Any] | None = None
    volumes: list[Any] | None = None
    image_pull_secrets: list[Any] | None = None


@dataclass
class V1Pod:
    spec: V1PodSpec | None = field(default_factory=V1PodSpec)
    metadata: V1ObjectMeta | None = field(default_factory=V1ObjectMeta)


@dataclass
class V1JobSpec:
    template: V1Pod


@dataclass
class V1Job:
    spec: V1JobSpec
    metadata: V1ObjectMeta = field(default_factory=V1ObjectMeta)


def pod(*images: str) -> V1Pod:
    """With a container for each image: ``c0``, ``c1`` …"""
    return V1Pod(V1PodSpec(containers=[V1Container(f"c{n}", image) for n, image in enumerate(images)]))
