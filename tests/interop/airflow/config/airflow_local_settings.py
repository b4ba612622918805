"""What a company has set up for itself: every pod of its gets a sidecar that sends logs away."""

from __future__ import annotations

from kubernetes.client import models as k8s

SIDECAR = "fluent/fluent-bit:3.1"


def pod_mutation_hook(pod: k8s.V1Pod) -> None:
    pod.spec.containers.append(k8s.V1Container(name="company-logs", image=SIDECAR))
