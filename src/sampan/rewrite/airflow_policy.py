"""What Airflow loads by the entry point ``airflow.policy``: one function for each hook that can name images.

It guarantees to be called after every other implementation, so that it sees the containers that the others
add. It is imported by each process of Airflow's when that starts, and imports nothing that is slow; the
configuration is read when there is a pod. Airflow has these hooks since 2.6.
"""

from __future__ import annotations

from pluggy import HookimplMarker  # Airflow brings it: nothing else imports this module

from sampan.rewrite.airflow import rewrite_pod, rewrite_task

_hook = HookimplMarker("airflow.policy")


@_hook(trylast=True)
def pod_mutation_hook(pod: object) -> None:
    """Called with each pod of KubernetesPodOperator and of KubernetesExecutor, just before it is created."""
    rewrite_pod(pod)


@_hook(trylast=True)
def task_policy(task: object) -> None:
    """Called with each task when its DAG is parsed."""
    rewrite_task(task)
