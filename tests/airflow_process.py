"""A process as Airflow's, without Airflow: hooks called by pluggy, in one environment after another.

Reads a JSON list of ``{"environ": …, "references": […]}`` and prints what became of each: images of a pod,
of Docker's tasks, and of an operator's pod by the mixin, with what was logged meanwhile. The hooks are found
by the entry point, as in Airflow, and a company's own are registered after them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pluggy

from kubernetes_pods import V1Container, V1Pod, pod
from sampan.rewrite.airflow import RewritesImages

PROJECT = "airflow.policy"
spec, local = pluggy.HookspecMarker(PROJECT), pluggy.HookimplMarker(PROJECT)


class Specification:
    @spec
    def pod_mutation_hook(self, pod: V1Pod) -> None: ...

    @spec
    def task_policy(self, task: object) -> None: ...


class Sidecars:
    """As ``airflow_local_settings.py``, which is registered last and so called first, or another package,
    which may be registered before us, and would then be called after us."""

    def __init__(self, image: str) -> None:
        self.image = image

    @local
    def pod_mutation_hook(self, pod: V1Pod) -> None:
        assert pod.spec is not None
        assert pod.spec.containers is not None
        pod.spec.containers.append(V1Container("sidecar", self.image))


class Task:
    """A task whose class lies in the provider of Docker, or in another module."""

    def __init__(self, image: object) -> None:
        self.image = image


class Docker(Task):
    __module__ = "airflow.providers.docker.operators.docker"


class Mapped:
    def __init__(self, kind: type, **arguments: object) -> None:
        self.operator_class, self.partial_kwargs = kind, arguments


class Operator:
    def build_pod_request_obj(self, image: str, *, tag: str) -> V1Pod:
        return pod(f"{image}:{tag}")


class Redirected(RewritesImages, Operator):
    pass


class SetLater(Redirected):
    def build_pod_request_obj(self, image: str, *, tag: str) -> V1Pod:
        it: V1Pod = super().build_pod_request_obj(image, tag=tag)
        assert it.spec is not None
        it.spec.containers = [V1Container("c0", "alpine:3")]
        return it


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def images(it: V1Pod) -> list[str]:
    assert it.spec is not None
    return [container.image for container in it.spec.containers or ()]


def observe(manager: pluggy.PluginManager, log: Log, references: list[str]) -> dict[str, Any]:
    log.lines.clear()
    it = pod(*references)
    for _ in range(2):  # Airflow may call it again
        manager.hook.pod_mutation_hook(pod=it)
    tasks: list[Any] = [Docker("a"), Docker("a:{{ params.x }}"), Docker(None), Task("a")]
    tasks += [Mapped(Docker, image="a"), Mapped(Docker), Mapped(Task, image="a")]
    for task in tasks:
        manager.hook.task_policy(task=task)
    return {
        "images": images(it)[: len(references)],
        "sidecars": images(it)[len(references) :],
        "tasks": [
            task.partial_kwargs.get("image") if isinstance(task, Mapped) else task.image for task in tasks
        ],
        "mixin": images(Redirected().build_pod_request_obj("a", tag="1")),
        "set later": images(SetLater().build_pod_request_obj("a", tag="1")),
        "log": list(log.lines),
    }


def main() -> None:
    (entry,) = entry_points(group=PROJECT, name="sampan")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Specification)
    manager.register(Sidecars("package/sidecar"))
    manager.register(import_module(entry.value))
    slow = {"msgspec", "asyncio", "sampan.config", "kubernetes"} & set(sys.modules)
    manager.register(Sidecars("company/sidecar"))
    log = Log()
    logging.getLogger("sampan").addHandler(log)
    logging.getLogger("sampan").setLevel(logging.INFO)
    seen = []
    for wanted in json.load(sys.stdin):
        os.environ.update(wanted["environ"])
        seen.append(observe(manager, log, wanted["references"]))
        for variable in wanted["environ"]:
            del os.environ[variable]
    never = {"aiohttp", "kubernetes", "airflow"} & set(sys.modules)
    print(json.dumps({"seen": seen, "slow": sorted(slow), "never": sorted(never)}))


if __name__ == "__main__":
    main()
