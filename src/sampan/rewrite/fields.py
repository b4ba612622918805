"""Fields of custom resources that name an image: which kinds have them, and where.

What Kubernetes itself allows is found by its shape (:mod:`sampan.rewrite.kubernetes`), and so is whatever
embeds a pod: Rollout, Knative Service, RayCluster, ScaledJob. Only what looks otherwise is listed here, by
``Kind.group`` as kubectl writes it. ``[rewrite.fields]`` adds to the list.

A path is keys with dots between; ``[]`` is every item of a list, ``*`` every entry of a mapping, ``**`` any
number of levels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from sampan.errors import ConfigError, printable
from sampan.rewrite.nodes import Node, mapping, resolve, sequence

EVERY_KIND = "*"
STEPS_MAX = 32
DEEP_MAX = 2  # of ``**`` in one path: each walks everything below
_KIND = re.compile(r"\*|[A-Za-z][A-Za-z0-9]{0,99}(?:\.[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?)?", re.ASCII)
_KEY = re.compile(r"(?P<key>\*\*?|[A-Za-z0-9_/-]+)(?P<items>(?:\[\])*)", re.ASCII)

_ARGO_TEMPLATE = ("container.image", "script.image", "sidecars[].image")
_ARGO = (
    *(f"templates[].{path}" for path in _ARGO_TEMPLATE),
    *(f"templateDefaults.{path}" for path in _ARGO_TEMPLATE),
    *(f"templates[].dag.tasks[].inline.{path}" for path in _ARGO_TEMPLATE),
    *(f"templates[].steps[][].inline.{path}" for path in _ARGO_TEMPLATE),
)
_TEKTON_TASK = ("steps[].image", "sidecars[].image", "stepTemplate.image")
_TEKTON_PIPELINE = (
    *(f"tasks[].taskSpec.{path}" for path in _TEKTON_TASK),
    *(f"finally[].taskSpec.{path}" for path in _TEKTON_TASK),
)
_SPARK = ("image", "driver.image", "executor.image", "driver.sidecars[].image", "executor.sidecars[].image")
_ELASTIC = ("spec.image",)
_KUBEVIRT_VM = "spec.template.spec.volumes[].containerDisk.image"


def _under(prefix: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{path}" for path in paths)


BUILT_IN: Mapping[str, tuple[str, ...]] = {
    # Spark on Kubernetes
    "SparkApplication.sparkoperator.k8s.io": _under("spec", _SPARK),
    "ScheduledSparkApplication.sparkoperator.k8s.io": _under("spec.template", _SPARK),
    # Argo Workflows
    "Workflow.argoproj.io": _under("spec", _ARGO),
    "WorkflowTemplate.argoproj.io": _under("spec", _ARGO),
    "ClusterWorkflowTemplate.argoproj.io": _under("spec", _ARGO),
    "CronWorkflow.argoproj.io": _under("spec.workflowSpec", _ARGO),
    # Tekton
    "Task.tekton.dev": _under("spec", _TEKTON_TASK),
    "ClusterTask.tekton.dev": _under("spec", _TEKTON_TASK),
    "TaskRun.tekton.dev": _under("spec.taskSpec", _TEKTON_TASK),
    "Pipeline.tekton.dev": _under("spec", _TEKTON_PIPELINE),
    "PipelineRun.tekton.dev": _under("spec.pipelineSpec", _TEKTON_PIPELINE),
    "StepAction.tekton.dev": ("spec.image",),
    # Knative's own list of images to keep on nodes
    "Image.caching.internal.knative.dev": ("spec.image",),
    # Apache Flink
    "FlinkDeployment.flink.apache.org": ("spec.image",),
    # Prometheus operator
    "Prometheus.monitoring.coreos.com": ("spec.image", "spec.thanos.image"),
    "PrometheusAgent.monitoring.coreos.com": ("spec.image",),
    "Alertmanager.monitoring.coreos.com": ("spec.image",),
    "ThanosRuler.monitoring.coreos.com": ("spec.image",),
    # OpenTelemetry operator
    "OpenTelemetryCollector.opentelemetry.io": ("spec.image", "spec.targetAllocator.image"),
    "Instrumentation.opentelemetry.io": ("spec.*.image",),
    # Databases
    "Cluster.postgresql.cnpg.io": ("spec.imageName",),
    "postgresql.acid.zalan.do": ("spec.dockerImage", "spec.sidecars[].image"),
    "Elasticsearch.elasticsearch.k8s.elastic.co": _ELASTIC,
    "Kibana.kibana.k8s.elastic.co": _ELASTIC,
    "ApmServer.apm.k8s.elastic.co": _ELASTIC,
    "Beat.beat.k8s.elastic.co": _ELASTIC,
    "Agent.agent.k8s.elastic.co": _ELASTIC,
    "Logstash.logstash.k8s.elastic.co": _ELASTIC,
    "EnterpriseSearch.enterprisesearch.k8s.elastic.co": _ELASTIC,
    "CephCluster.ceph.rook.io": ("spec.cephVersion.image",),
    # Kafka
    "Kafka.kafka.strimzi.io": ("spec.*.image", "spec.entityOperator.*.image"),
    "KafkaConnect.kafka.strimzi.io": ("spec.image",),
    "KafkaMirrorMaker2.kafka.strimzi.io": ("spec.image",),
    "KafkaBridge.kafka.strimzi.io": ("spec.image",),
    # Runners of GitHub Actions, of the older controller
    "Runner.actions.summerwind.dev": ("spec.image", "spec.dockerdImage"),
    "RunnerDeployment.actions.summerwind.dev": (
        "spec.template.spec.image",
        "spec.template.spec.dockerdImage",
    ),
    "RunnerReplicaSet.actions.summerwind.dev": (
        "spec.template.spec.image",
        "spec.template.spec.dockerdImage",
    ),
    # KubeVirt
    "VirtualMachine.kubevirt.io": (_KUBEVIRT_VM,),
    "VirtualMachineInstance.kubevirt.io": ("spec.volumes[].containerDisk.image",),
    "VirtualMachinePool.pool.kubevirt.io": (f"spec.virtualMachineTemplate.{_KUBEVIRT_VM}",),
    # Operator Lifecycle Manager
    "CatalogSource.operators.coreos.com": ("spec.image",),
    "ClusterServiceVersion.operators.coreos.com": ("spec.relatedImages[].image",),
    # Flux and kustomize: what an image is replaced by
    "Kustomization.kustomize.toolkit.fluxcd.io": ("spec.images[].newName",),
    "HelmRelease.helm.toolkit.fluxcd.io": ("spec.postRenderers[].kustomize.images[].newName",),
    "Kustomization.kustomize.config.k8s.io": ("images[].name", "images[].newName"),
    "Component.kustomize.config.k8s.io": ("images[].name", "images[].newName"),
    # Clusters on a developer's machine
    "Cluster.kind.x-k8s.io": ("nodes[].image",),
    "Simple.k3d.io": ("image", "registries.create.image"),
}


@dataclass(frozen=True, slots=True)
class Fields:
    """The built-in list with ``more``, by ``Kind``, ``Kind.group`` or ``*``. Made of what was checked."""

    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def select(self, root: Node, kind: str, group: str) -> Iterator[Node]:
        """The nodes of the resource ``root`` that its kind's paths lead to."""
        for name in (f"{kind}.{group}", kind, EVERY_KIND):
            for path in chain(BUILT_IN.get(name, ()), self.more.get(name, ())):
                yield from _select(root, _steps(path), set())


def check_kind(text: str) -> None:
    """Raises :class:`ConfigError` when ``text`` is no ``Kind``, ``Kind.group`` or ``*``."""
    if _KIND.fullmatch(text) is None:
        raise ConfigError(
            f'expected a kind of resource, got "{printable(text, characters_max=80)}"',
            hint='as in "SparkApplication" or "SparkApplication.sparkoperator.k8s.io"',
        )


def check_path(text: str) -> None:
    """Raises :class:`ConfigError` when ``text`` is no path of a field."""
    keys = text.split(".")
    good = len(keys) <= STEPS_MAX and text.count("**") <= DEEP_MAX and keys[-1] != "**"
    if not good or not all(_KEY.fullmatch(key) for key in keys):
        raise ConfigError(
            f'expected the path of a field, got "{printable(text, characters_max=80)}"',
            hint='as in "spec.image", "spec.sidecars[].image", "spec.*.image" or "spec.**.image"',
        )


@cache
def _steps(path: str) -> tuple[str, ...]:
    """``spec.sidecars[].image`` as keys and ``[]``."""
    return tuple(step for key in path.split(".") for step in re.findall(r"\[\]|[^\[]+", key))


def _select(node: Node, steps: tuple[str, ...], seen: set[tuple[int, int]]) -> Iterator[Node]:
    """``seen`` keeps a document that refers to itself from leading on for ever."""
    if not steps:
        yield node
        return
    target = resolve(node)
    here = (id(target), len(steps))
    if here in seen:
        return
    seen.add(here)
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for item in sequence(node):
            yield from _select(item, rest, seen)
    elif step in ("*", "**"):
        if step == "**":
            yield from _select(node, rest, seen)
            rest = steps
        for item in (*mapping(node).values(), *(sequence(node) if step == "**" else ())):
            yield from _select(item, rest, seen)
    else:
        entry = mapping(node).get(step)
        if entry is not None:
            yield from _select(entry, rest, seen)
