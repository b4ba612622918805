"""AdmissionReviews as an API server sends them: every kind that makes pods, created and changed."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import jsonpatch

Document = dict[str, Any]

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
USER = {
    "username": "system:serviceaccount:kube-system:replicaset-controller",
    "uid": "2f0c4a7e-6f4b-4e59-8f0e-3b4f4c8a1f22",
    "groups": ["system:serviceaccounts", "system:authenticated"],
}
# kind -> (group, version, plural)
KINDS = {
    "Pod": ("", "v1", "pods"),
    "PodTemplate": ("", "v1", "podtemplates"),
    "ReplicationController": ("", "v1", "replicationcontrollers"),
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "Deployment": ("apps", "v1", "deployments"),
    "ReplicaSet": ("apps", "v1", "replicasets"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
    "CronJob": ("batch", "v1", "cronjobs"),
    "Job": ("batch", "v1", "jobs"),
}


def container(name: str, image: str, **more: Any) -> Document:
    defaults: Document = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    return {"name": name, "image": image, **defaults, **more}


def pod_spec(**more: Any) -> Document:
    token = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    return {
        "containers": [
            container("base", "alpine:3", volumeMounts=[token]),
            container("sidecar", "ghcr.io/owner/sidecar:2"),
        ],
        "initContainers": [container("init", "busybox@sha256:" + "0" * 64)],
        "volumes": [
            {"name": "kube-api-access-x", "projected": {"sources": []}},
            {"name": "model", "image": {"reference": "library/model:1", "pullPolicy": "IfNotPresent"}},
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        **more,
    }


def item(kind: str, spec: Document | None = None) -> Document:
    """An object of ``kind`` whose pods have ``spec``."""
    group, version, _ = KINDS[kind]
    pod = pod_spec() if spec is None else spec
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    selector = {"matchLabels": labels}
    bodies: dict[str, Document] = {
        "Pod": {"spec": pod},
        "PodTemplate": {"template": template},
        "ReplicationController": {"spec": {"replicas": 1, "selector": labels, "template": template}},
        "DaemonSet": {"spec": {"selector": selector, "template": template}},
        "Deployment": {"spec": {"replicas": 1, "selector": selector, "template": template}},
        "ReplicaSet": {"spec": {"replicas": 1, "selector": selector, "template": template}},
        "StatefulSet": {"spec": {"serviceName": "web", "selector": selector, "template": template}},
        "CronJob": {"spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}},
        "Job": {"spec": {"template": template}},
    }
    body = copy.deepcopy(bodies[kind])
    if kind in ("Job", "CronJob"):
        pod_of(kind, body)["spec"]["restartPolicy"] = "Never"
    metadata = {"name": "web", "namespace": "default", "labels": labels}
    return {
        "apiVersion": f"{group}/{version}" if group else version,
        "kind": kind,
        "metadata": metadata,
        **body,
    }


def pod_of(kind: str, body: Document) -> Document:
    """Where metadata and spec of its pods are."""
    match kind:
        case "Pod":
            return body
        case "PodTemplate":
            pod: Document = body["template"]
        case "CronJob":
            pod = body["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            pod = body["spec"]["template"]
    return pod


def review(
    obj: Any,
    *,
    kind: str = "Pod",
    operation: str = "CREATE",
    old: Any = None,
    subresource: str = "",
    **more: Any,
) -> Document:
    group, version, plural = KINDS.get(kind, ("", "v1", kind.lower()))
    named = {"group": group, "version": version}
    request: Document = {
        "uid": UID,
        "kind": {**named, "kind": kind},
        "resource": {**named, "resource": plural},
        "requestKind": {**named, "kind": kind},
        "requestResource": {**named, "resource": plural},
        "name": "web",
        "namespace": "default",
        "operation": operation,
        "userInfo": USER,
        "object": obj,
        "oldObject": old,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        **more,
    }
    if subresource:
        request["subResource"] = request["requestSubResource"] = subresource
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def patch_of(answer: Document) -> list[Document]:
    """The patch in an answer that admits; empty when there is none."""
    assert answer["apiVersion"] == "admission.k8s.io/v1"
    assert answer["kind"] == "AdmissionReview"
    response = answer["response"]
    assert response["uid"] == UID
    assert response["allowed"] is True
    if "patch" not in response:
        assert "patchType" not in response
        return []
    assert response["patchType"] == "JSONPatch"
    patch: list[Document] = json.loads(base64.b64decode(response["patch"], validate=True))
    return patch


def applied(obj: Document, patch: list[Document]) -> Document:
    """``obj`` with the patch applied by a library, as the API server does it."""
    result: Document = jsonpatch.apply_patch(obj, patch, in_place=False)
    return result


def images_of(kind: str, obj: Document) -> dict[str, str]:
    """Name -> image, of containers of all sorts and of volumes."""
    spec = pod_of(kind, obj)["spec"]
    found = {
        entry["name"]: entry["image"]
        for field in ("containers", "initContainers", "ephemeralContainers")
        for entry in spec.get(field, [])
    }
    volumes = spec.get("volumes", [])
    return found | {entry["name"]: entry["image"]["reference"] for entry in volumes if "image" in entry}
