"""Where the webhook's certificate comes from in a cluster: cert-manager, or a Job that makes one itself.

It guarantees that the Job may write one Secret and change one registration, and nothing else; only the
making of a Secret cannot be bound to its name in Kubernetes, so that is bound to the namespace.
"""

from __future__ import annotations

from sampan.rewrite.manifests import NAME, TLS_SECRET, Installation, restricted_pod
from sampan.rewrite.policy import Document

JOB = "sampan-webhook-certificate"
INJECT = "cert-manager.io/inject-ca-from"
_RBAC = "rbac.authorization.k8s.io/v1"
JOB_KEPT_SECONDS = 3600


def by_cert_manager(asked: Installation, documents: list[Document]) -> list[Document]:
    """``documents`` with an Issuer and a Certificate, which cert-manager renews by itself."""
    metadata: Document = {"name": NAME, "namespace": asked.namespace}
    api = "cert-manager.io/v1"
    issuer: Document = {"apiVersion": api, "kind": "Issuer", "metadata": metadata, "spec": {"selfSigned": {}}}
    certificate: Document = {
        "apiVersion": api,
        "kind": "Certificate",
        "metadata": metadata,
        "spec": {
            "secretName": TLS_SECRET,
            "dnsNames": [asked.host, f"{asked.host}.cluster.local"],
            "issuerRef": {"name": NAME, "kind": "Issuer"},
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        },
    }
    *others, registration = documents
    own = registration["metadata"]
    assert isinstance(own, dict)
    annotated = {**own, "annotations": {INJECT: f"{asked.namespace}/{NAME}"}}
    return [*others, issuer, certificate, {**registration, "metadata": annotated}]


def by_job(asked: Installation, documents: list[Document]) -> list[Document]:
    """``documents`` with a Job that makes a certificate with openssl and tells the API server of it."""
    place: Document = {"name": JOB, "namespace": asked.namespace}
    subject: Document = {"kind": "ServiceAccount", **place}
    secret: Document = {"apiGroups": [""], "resources": ["secrets"]}
    secrets: list[Document] = [
        {**secret, "verbs": ["create"]},
        {**secret, "resourceNames": [TLS_SECRET], "verbs": ["get", "patch"]},
    ]
    registration = {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "resourceNames": [NAME],
        "verbs": ["get", "patch"],
    }
    return [
        *documents,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
        {"apiVersion": _RBAC, "kind": "Role", "metadata": place, "rules": secrets},
        {"apiVersion": _RBAC, "kind": "RoleBinding", "metadata": place, **_binding("Role", subject)},
        {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": {"name": JOB}, "rules": [registration]},
        {
            "apiVersion": _RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": JOB},
            **_binding("ClusterRole", subject),
        },
        _job(asked, place),
    ]


def _binding(kind: str, subject: Document) -> Document:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": JOB},
        "subjects": [subject],
    }


def _job(asked: Installation, place: Document) -> Document:
    container: Document = {
        "name": "certificate",
        "command": ["sampan", "webhook", "certificate", f"--namespace={asked.namespace}"],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  (the container's own)
    }
    memory = {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    pod = restricted_pod(asked, container, JOB, restartPolicy="OnFailure", volumes=[memory])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": place,
        "spec": {
            "backoffLimit": 10,
            "ttlSecondsAfterFinished": JOB_KEPT_SECONDS,
            "template": {"metadata": {"labels": {"app.kubernetes.io/name": JOB}}, "spec": pod},
        },
    }
