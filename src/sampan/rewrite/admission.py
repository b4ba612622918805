"""An admission webhook without its server: AdmissionReview in, AdmissionReview out, as plain documents.

It guarantees that the answer always admits the object, that its patch touches nothing but images and the
annotations with their originals, and that a second call changes nothing. Whatever goes wrong inside is a
warning that kubectl shows. It asks nobody: what an image becomes is the rules' business alone.

On UPDATE only those images of containers are rewritten that the update itself changed: anything else of a
running pod is immutable, and an image that was admitted before the webhook came is its owner's.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sampan.errors import InvalidRequest, printable
from sampan.rewrite.pods import (
    CONTAINERS,
    EPHEMERAL_CONTAINERS,
    INIT_CONTAINERS,
    PODS,
    VOLUMES,
    Path,
    Place,
    annotations_of,
    places,
    pod_of,
    pointer,
)
from sampan.rewrite.rules import Rewriting

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
MIRROR_POD = "kubernetes.io/config.mirror"  # on what the kubelet shows of its own static pods: never changed
IMAGES_MAX = 1000  # of one object: etcd takes 1.5 MiB, and each costs some 20 microseconds
UID_CHARACTERS_MAX = 256  # Kubernetes' have 36
_FIELDS = {
    ("CREATE", ""): (CONTAINERS, INIT_CONTAINERS, EPHEMERAL_CONTAINERS, VOLUMES),
    ("UPDATE", ""): (CONTAINERS,),
    ("UPDATE", "ephemeralcontainers"): (EPHEMERAL_CONTAINERS,),
}

Judge = Callable[[str], Rewriting]

_log = logging.getLogger("sampan.webhook")


class Outcome(StrEnum):
    """What became of a review; a label of the metrics."""

    REWRITTEN = "rewritten"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"  # not ours: a mirror pod, our own namespace, an operation without images
    FAILED = "failed"  # admitted as it was


@dataclass(frozen=True, slots=True)
class Verdict:
    """``review``: the document to answer with. ``images``: how many were rewritten."""

    review: dict[str, object]
    outcome: Outcome
    images: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    place: Place
    after: str


def decide(document: object, judge: Judge, *, own_namespace: str = "") -> Verdict:
    """The answer to ``document``. Raises :class:`InvalidRequest` for what is no AdmissionReview at all:
    there is no uid to answer to, and the API server goes on without us."""
    request, uid = _request(document)
    try:
        return _decide(request, uid, judge, own_namespace)
    except Exception:  # noqa: BLE001  (fails open: a pod is worth more than its mirror)
        _log.exception("cannot review %s, it is admitted as it is; please report it", printable(uid))
        return _verdict(uid, Outcome.FAILED, warning="unexpected error, images are left as they are")


def _request(document: object) -> tuple[dict[str, object], str]:
    if not isinstance(document, dict):
        raise InvalidRequest("expected an AdmissionReview, got something else than a JSON object")
    if document.get("kind") != KIND or document.get("apiVersion") != API_VERSION:
        raise InvalidRequest(f"expected an {KIND} of {API_VERSION}")
    request = document.get("request")
    if not isinstance(request, dict):
        raise InvalidRequest("the AdmissionReview has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= UID_CHARACTERS_MAX:
        raise InvalidRequest("the AdmissionReview's request has no uid")
    return request, uid


def _decide(request: dict[str, object], uid: str, judge: Judge, own_namespace: str) -> Verdict:
    pod, fields = _pod(request, "object"), _fields(request)
    if own_namespace and request.get("namespace") == own_namespace:
        return _verdict(uid, Outcome.SKIPPED)
    if pod is None or fields is None or MIRROR_POD in annotations_of(pod):
        return _verdict(uid, Outcome.SKIPPED)
    found = list(places(pod, fields))
    if len(found) > IMAGES_MAX:
        warning = f"{len(found)} images are left as they are: at most {IMAGES_MAX} are rewritten"
        return _verdict(uid, Outcome.FAILED, warning=warning)
    if request.get("operation") == "UPDATE":
        before = _pod(request, "oldObject")
        admitted = set() if before is None else {(p.name, p.image) for p in places(before, fields)}
        found = [] if before is None else [p for p in found if (p.name, p.image) not in admitted]
    changes = [_Change(place, verdict.after) for place in found if (verdict := judge(place.image)).changed]
    if not changes:
        return _verdict(uid, Outcome.UNCHANGED)
    # The API server takes nothing but the containers from what is sent to that subresource.
    keep = request.get("subResource") != EPHEMERAL_CONTAINERS.lower()
    patch = _patch(PODS[_group_kind(request)], pod, changes, keep_originals=keep)
    return _verdict(uid, Outcome.REWRITTEN, changes, patch)


def _fields(request: dict[str, object]) -> tuple[str, ...] | None:
    operation, subresource = request.get("operation"), request.get("subResource") or ""
    if not isinstance(operation, str) or not isinstance(subresource, str):
        return None
    return _FIELDS.get((operation, subresource))


def _group_kind(request: dict[str, object]) -> tuple[str, str]:
    named = request.get("kind")
    if not isinstance(named, dict):
        return "", ""
    group, kind = named.get("group", ""), named.get("kind")
    return (group, kind) if isinstance(group, str) and isinstance(kind, str) else ("", "")


def _pod(request: dict[str, object], key: str) -> dict[str, object] | None:
    return pod_of(request.get(key), *_group_kind(request))


def _patch(
    root: Path, pod: dict[str, object], changes: list[_Change], *, keep_originals: bool
) -> list[dict[str, object]]:
    """As RFC 6902 has it. A parent is added before what lies in it."""
    patch: list[dict[str, object]] = [
        {"op": "replace", "path": pointer((*root, *change.place.path)), "value": change.after}
        for change in changes
    ]
    originals = {c.place.annotation: c.place.image for c in changes if c.place.annotation is not None}
    if not keep_originals or not originals:
        return patch
    metadata: Path = (*root, "metadata")
    if not isinstance(pod.get("metadata"), dict):
        patch.append(_add(metadata, {"annotations": originals}))
    elif not annotations_of(pod):
        patch.append(_add((*metadata, "annotations"), originals))
    else:
        patch += [_add((*metadata, "annotations", key), image) for key, image in originals.items()]
    return patch


def _add(path: Path, value: object) -> dict[str, object]:
    return {"op": "add", "path": pointer(path), "value": value}


def _verdict(
    uid: str,
    outcome: Outcome,
    changes: list[_Change] | None = None,
    patch: list[dict[str, object]] | None = None,
    *,
    warning: str = "",
) -> Verdict:
    response: dict[str, object] = {"uid": uid, "allowed": True}
    if patch:
        text = json.dumps(patch, separators=(",", ":")).encode()
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text).decode()}
    if warning:
        response["warnings"] = [f"sampan: {warning}"]
    review: dict[str, object] = {"apiVersion": API_VERSION, "kind": KIND, "response": response}
    return Verdict(review, outcome, len(changes or ()))
