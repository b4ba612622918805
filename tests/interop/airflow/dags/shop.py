"""A DAG as people write them: it knows nothing of mirrors, but for the three tasks that say so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow import DAG
from airflow.decorators import task
from airflow.providers.cncf.kubernetes.operators.job import KubernetesJobOperator
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.docker.operators.docker import DockerOperator
from kubernetes.client import models as k8s

from sampan.rewrite.airflow import RewritesImages, rewrite_pod

if TYPE_CHECKING:
    from airflow.utils.context import Context

SIDECAR = "airflow-xcom-sidecar"


def with_alpine_3(pod: k8s.V1Pod) -> k8s.V1Pod:
    for container in pod.spec.containers:
        if container.name == SIDECAR:
            container.image = "alpine:3"
    return pod


class OriginStory(KubernetesPodOperator):
    """Sets an image after Airflow has called its hooks, in a method that cannot see the configuration."""

    def build_pod_request_obj(self, context: Context | None = None, **options: bool) -> k8s.V1Pod:
        return with_alpine_3(super().build_pod_request_obj(context, **options))


class OriginStoryByFunction(OriginStory):
    def build_pod_request_obj(self, context: Context | None = None, **options: bool) -> k8s.V1Pod:
        return rewrite_pod(super().build_pod_request_obj(context, **options))


class OriginStoryByMixin(RewritesImages, OriginStory):
    """The class that one has stays as it is."""


class OriginStoryWithMixin(RewritesImages, KubernetesPodOperator):
    """The class that one has gains a base."""

    def build_pod_request_obj(self, context: Context | None = None, **options: bool) -> k8s.V1Pod:
        return with_alpine_3(super().build_pod_request_obj(context, **options))


class RedirectedJob(RewritesImages, KubernetesJobOperator):
    pass


def job(kind: type[KubernetesJobOperator], task_id: str) -> None:
    helper = k8s.V1Container(name="helper", image="busybox:1.36")
    template = k8s.V1PodTemplateSpec(spec=k8s.V1PodSpec(containers=[], init_containers=[helper]))
    spec = k8s.V1JobSpec(template=template, backoff_limit=1)
    kind(
        task_id=task_id,
        image="python:3.12",
        namespace="default",
        parallelism=1,
        full_job_spec=k8s.V1Job(metadata=k8s.V1ObjectMeta(), spec=spec),
    )


with DAG("shop", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
    for kind in (
        KubernetesPodOperator,
        OriginStory,
        OriginStoryByFunction,
        OriginStoryByMixin,
        OriginStoryWithMixin,
    ):
        kind(
            task_id=kind.__name__,
            image="ghcr.io/shop/etl@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            namespace="default",
            do_xcom_push=True,
            init_containers=[
                k8s.V1Container(name="clone", image="registry.k8s.io/git-sync/git-sync:v4.2.4"),
                k8s.V1Container(name="wait", image="docker.io/library/busybox"),
            ],
            annotations={"team": "data"},
            image_pull_secrets=[k8s.V1LocalObjectReference(name="shop")],
            reattach_on_restart=False,
        )
    job(KubernetesJobOperator, "KubernetesJobOperator")
    job(RedirectedJob, "RedirectedJob")
    DockerOperator(task_id="docker", image="python:3.12", command="true")
    DockerOperator(task_id="docker-template", image="python:{{ params.version }}", command="true")
    DockerOperator.partial(task_id="docker-mapped", image="python:3.12").expand(command=["true", "false"])

    @task.kubernetes(image="python:3.12", namespace="default", in_cluster=None, reattach_on_restart=False)
    def decorated() -> None:
        pass

    @task.docker(image="python:3.12")
    def docker_decorated() -> None:
        pass

    decorated()
    docker_decorated()
