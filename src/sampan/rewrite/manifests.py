"""What a cluster is given so that the webhook runs in it, as plain documents.

It guarantees that a webhook that is down, slow or without a certificate stops nothing (``Ignore``, 2 s), that
it is never asked about its own pods, and that its server has no rights in the cluster at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sampan.rewrite.pods import PODS
from sampan.rewrite.policy import EPHEMERAL_UPDATED, NO_MIRROR_POD, PODS_CREATED_OR_UPDATED, Document

NAME = "sampan-webhook"
TLS_SECRET = "sampan-webhook-tls"  # noqa: S105  (its name)
PORT = 8443
TIMEOUT_SECONDS = 2  # it answers in milliseconds; all webhooks together have what the client of the API waits
DRAIN_SECONDS = 5  # until every API server knows that this pod takes no more requests
OPT_OUT = "sampan.dev/rewrite"  # a label of a namespace: "disabled" leaves its pods alone
_LABELS = MappingProxyType({"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "sampan"})
_RESTRICTED = MappingProxyType(
    {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
)


@dataclass(frozen=True, slots=True)
class Installation:
    """``image`` holds sampan; ``rules`` is a configuration as text; ``skipped``: namespaces left alone."""

    image: str
    rules: str
    namespace: str
    skipped: tuple[str, ...] = ()
    workloads: bool = False

    @property
    def host(self) -> str:
        """The Service's name, which the certificate is for."""
        return f"{NAME}.{self.namespace}.svc"


def selector_without(namespaces: Sequence[str]) -> Document:
    """A namespaceSelector for all but these, and for those that opted out."""
    expressions: list[object] = [{"key": OPT_OUT, "operator": "NotIn", "values": ["disabled"]}]
    if namespaces:
        key = "kubernetes.io/metadata.name"
        expressions.insert(0, {"key": key, "operator": "NotIn", "values": list(dict.fromkeys(namespaces))})
    return {"matchExpressions": expressions}


def webhook_manifests(asked: Installation) -> list[Document]:
    """Everything but the certificate: namespace, rules, server, and the registration last."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": asked.namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {**_named("v1", "ServiceAccount", asked), "automountServiceAccountToken": False},
        {**_named("v1", "ConfigMap", asked), "data": {"sampan.toml": asked.rules}},
        _deployment(asked),
        {
            **_named("policy/v1", "PodDisruptionBudget", asked),
            "spec": {"minAvailable": 1, "selector": {"matchLabels": dict(_LABELS)}},
        },
        {
            **_named("v1", "Service", asked),
            "spec": {
                "selector": dict(_LABELS),
                "ports": [{"name": "https", "port": 443, "targetPort": "https", "protocol": "TCP"}],
            },
        },
        _registration(asked),
    ]


def restricted_pod(asked: Installation, container: Document, account: str, **more: object) -> Document:
    """The spec of a pod with one container and no privileges."""
    return {
        "serviceAccountName": account,
        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532},
        "containers": [{"image": asked.image, "securityContext": dict(_RESTRICTED), **container}],
        **more,
    }


def _named(api: str, kind: str, asked: Installation) -> Document:
    metadata = {"name": NAME, "namespace": asked.namespace, "labels": dict(_LABELS)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _deployment(asked: Installation) -> Document:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(_LABELS)},
    }
    volumes = [
        {"name": "tls", "secret": {"secretName": TLS_SECRET}},
        {"name": "rules", "configMap": {"name": NAME}},
    ]
    pod = restricted_pod(
        asked,
        _container(asked),
        NAME,
        automountServiceAccountToken=False,
        terminationGracePeriodSeconds=DRAIN_SECONDS + 30,
        topologySpreadConstraints=[spread],
        volumes=volumes,
    )
    return {
        **_named("apps/v1", "Deployment", asked),
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": dict(_LABELS)},
            "template": {"metadata": {"labels": dict(_LABELS)}, "spec": pod},
        },
    }


def _container(asked: Installation) -> Document:
    words = "sampan webhook serve --config /etc/sampan/sampan.toml --cert /tls/tls.crt --key /tls/tls.key"
    return {
        "name": "webhook",
        "command": [*words.split(), f"--listen=:{PORT}", f"--own-namespace={asked.namespace}"],
        "ports": [{"name": "https", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": _probe("/readyz"), "periodSeconds": 5},
        "livenessProbe": {"httpGet": _probe("/healthz"), "periodSeconds": 10, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
            {"name": "rules", "mountPath": "/etc/sampan", "readOnly": True},
        ],
    }


def _probe(path: str) -> Document:
    return {"path": path, "port": "https", "scheme": "HTTPS"}


def _registration(asked: Installation) -> Document:
    rules: list[Document] = [dict(PODS_CREATED_OR_UPDATED), dict(EPHEMERAL_UPDATED)]
    if asked.workloads:
        rules += _workloads()
    hook = {
        "name": "images.sampan.dev",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {"name": NAME, "namespace": asked.namespace, "path": "/mutate", "port": 443}
        },
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "namespaceSelector": selector_without((asked.namespace, *asked.skipped)),
        "matchConditions": [dict(NO_MIRROR_POD)],
        "reinvocationPolicy": "IfNeeded",
        "rules": rules,
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME, "labels": dict(_LABELS)},
        "webhooks": [hook],
    }


def _workloads() -> list[Document]:
    """Rules for what makes pods, a group each; a plural is the kind and an s."""
    groups: dict[str, list[str]] = {}
    for group, kind in PODS:
        if kind != "Pod":
            groups.setdefault(group, []).append(kind.lower() + "s")
    return [
        {
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": resources,
        }
        for group, resources in groups.items()
    ]
