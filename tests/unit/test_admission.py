"""AdmissionReviews in, patches out; each patch is applied by a JSON-patch library and checked by schema."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import kubernetes_validate
import pytest

import rewrite_table
from reviews import KINDS, UID, applied, container, images_of, item, patch_of, pod_of, pod_spec, review
from rewrite_table import Row
from sampan.errors import InvalidRequest
from sampan.rewrite.admission import IMAGES_MAX, Outcome, Verdict, decide

RULES = rewrite_table.rules("host-mirror")
MIRROR = "docker.m.daocloud.io/library/"
NEWEST = "1.37"
PLACES = re.compile(
    r"(?:/spec|/template|/jobTemplate)*/spec/(?:containers|initContainers|ephemeralContainers)/\d+/image"
    r"|(?:/spec|/template|/jobTemplate)*/spec/volumes/\d+/image/reference"
    r"|(?:/spec|/template|/jobTemplate)*/metadata(?:/annotations(?:/original-(?:volume-)?image\.sampan\.dev~1[\w.-]+)?)?"
)


def ask(document: object, **options: Any) -> Verdict:
    return decide(document, RULES.judge, **options)


def patch(document: object, **options: Any) -> list[dict[str, Any]]:
    """The patch, of which every operation is of RFC 6902 and touches nothing but images and originals."""
    operations = patch_of(ask(document, **options).review)
    for operation in operations:
        assert operation.keys() == {"op", "path", "value"}
        assert operation["op"] in ("add", "replace")
        assert PLACES.fullmatch(operation["path"]), operation
    return operations


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_of_each_kind_of_workload_is_redirected(kind: str) -> None:
    created = item(kind)
    result = applied(created, patch(review(created, kind=kind)))
    assert images_of(kind, result) == {
        "base": MIRROR + "alpine:3",
        "sidecar": "ghcr.io/owner/sidecar:2",
        "init": MIRROR + "busybox@sha256:" + "0" * 64,
        "model": MIRROR + "model:1",
    }
    assert pod_of(kind, result)["metadata"]["annotations"] == {
        "original-image.sampan.dev/base": "alpine:3",
        "original-image.sampan.dev/init": "busybox@sha256:" + "0" * 64,
        "original-volume-image.sampan.dev/model": "library/model:1",
    }
    kubernetes_validate.validate(result, NEWEST, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_of_the_object_changes(kind: str) -> None:
    created = item(kind)
    result = applied(created, patch(review(created, kind=kind)))
    pod = pod_of(kind, result)
    del pod["metadata"]["annotations"]
    pod["spec"]["containers"][0]["image"] = "alpine:3"
    pod["spec"]["initContainers"][0]["image"] = "busybox@sha256:" + "0" * 64
    pod["spec"]["volumes"][1]["image"]["reference"] = "library/model:1"
    assert result == created


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_rewritten_is_not_rewritten_again(kind: str) -> None:
    created = item(kind)
    result = applied(created, patch(review(created, kind=kind)))
    assert ask(review(result, kind=kind)).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("row", rewrite_table.rows(), ids=str)
def test_the_table(row: Row) -> None:
    created = item("Pod", {"containers": [container("base", row.reference)]})
    answer = decide(review(created), rewrite_table.rules(row.group).judge)
    result = applied(created, patch_of(answer.review))
    assert images_of("Pod", result) == {"base": row.result}
    assert answer.images == int(row.changes)


def test_annotations_that_are_there_stay() -> None:
    created = item("Pod")
    created["metadata"]["annotations"] = {"a/b~c": "d"}
    result = applied(created, patch(review(created)))
    assert result["metadata"]["annotations"]["a/b~c"] == "d"
    assert result["metadata"]["annotations"]["original-image.sampan.dev/base"] == "alpine:3"


def test_a_sidecar_that_another_webhook_injects_is_redirected_at_the_second_call() -> None:
    created = item("Pod")
    first = applied(created, patch(review(created)))
    first["spec"]["containers"].append(container("istio-proxy", "istio/proxyv2:1.24"))
    second = applied(first, patch(review(first)))
    assert images_of("Pod", second)["istio-proxy"] == "docker.m.daocloud.io/istio/proxyv2:1.24"
    assert second["metadata"]["annotations"]["original-image.sampan.dev/istio-proxy"] == "istio/proxyv2:1.24"
    assert second["metadata"]["annotations"]["original-image.sampan.dev/base"] == "alpine:3"


def test_an_update_redirects_the_images_that_it_changed_itself() -> None:
    old = item("Pod", pod_spec(containers=[container("old", "alpine:3"), container("set", "alpine:3")]))
    new = copy.deepcopy(old)
    new["spec"]["containers"][1]["image"] = "alpine:4"
    result = applied(new, patch(review(new, operation="UPDATE", old=old)))
    assert images_of("Pod", result)["old"] == "alpine:3"
    assert images_of("Pod", result)["set"] == MIRROR + "alpine:4"


def test_an_update_that_writes_the_name_of_before_finds_the_image_that_runs() -> None:
    applied_again = item("Pod")
    running = applied(applied_again, patch(review(applied_again)))
    result = applied(applied_again, patch(review(applied_again, operation="UPDATE", old=running)))
    assert result["spec"]["containers"] == running["spec"]["containers"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_never_touches_init_containers(kind: str) -> None:
    old = item(kind)
    new = copy.deepcopy(old)
    pod_of(kind, new)["spec"]["initContainers"][0]["image"] = "busybox:2"
    assert ask(review(new, kind=kind, operation="UPDATE", old=old)).outcome is Outcome.UNCHANGED


@pytest.mark.row("54")
def test_a_container_that_is_added_for_debugging_is_redirected_and_the_pod_is_not() -> None:
    old = item("Pod", pod_spec(ephemeralContainers=[container("first", "busybox:1")]))
    new = copy.deepcopy(old)
    new["spec"]["ephemeralContainers"].append(container("debugger", "busybox:2"))
    operations = patch(review(new, operation="UPDATE", old=old, subresource="ephemeralcontainers"))
    assert operations == [
        {"op": "replace", "path": "/spec/ephemeralContainers/1/image", "value": MIRROR + "busybox:2"}
    ]


@pytest.mark.row("54")
def test_a_dry_run_is_answered_like_any_other() -> None:
    created = item("Pod")
    assert patch(review(created, dryRun=True)) == patch(review(created))


@pytest.mark.row("54")
def test_a_mirror_pod_is_left_alone() -> None:
    created = item("Pod")
    created["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "c0ffee"}
    assert patch(review(created)) == []
    assert ask(review(created)).outcome is Outcome.SKIPPED


def test_the_own_namespace_is_left_alone() -> None:
    document = review(item("Pod"), namespace="sampan")
    assert patch(document, own_namespace="sampan") == []
    assert patch(document, own_namespace="other") != []


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT", "", None, 1])
def test_other_operations_are_admitted_as_they_are(operation: Any) -> None:
    assert patch(review(item("Pod"), operation=operation)) == []


@pytest.mark.parametrize("subresource", ["status", "resize", "exec", "binding", "eviction"])
def test_other_subresources_are_admitted_as_they_are(subresource: str) -> None:
    document = review(item("Pod"), operation="UPDATE", old={}, subresource=subresource)
    assert ask(document).outcome is Outcome.SKIPPED


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "SparkApplication"])
def test_other_kinds_are_admitted_as_they_are(kind: str) -> None:
    assert ask(review(item("Pod"), kind=kind)).outcome is Outcome.SKIPPED


@pytest.mark.row("54")
@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "AdmissionReview",
        {},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": []},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"object": {}}},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": ""}},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": 5}},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "x" * 1000}},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": UID}},
        {"kind": "Pod", "apiVersion": "v1", "request": {"uid": UID}},
    ],
)
def test_what_is_no_admission_review_is_refused(document: object) -> None:
    with pytest.raises(InvalidRequest):
        ask(document)


NO_TEXTS: list[Any] = [1.10, None, ["a"], {}, True]
SPECS: list[Any] = [
    {"containers": None},
    {"containers": "alpine"},
    {"containers": {"name": "a", "image": "alpine"}},
    {"containers": [None, 5, "alpine", [], {}]},
    {"containers": [{"name": "a"}, {"image": "alpine"}, {"name": None, "image": "alpine"}]},
    {"containers": [{"name": "a", "image": image} for image in NO_TEXTS]},
    {"containers": [{"name": "a", "image": image} for image in ("a\x00b", "a\nb", "\x1b[31m", "镜像")]},
    {"volumes": [{"name": "v", "image": "alpine"}, {"name": "v", "image": {"reference": ["a"]}}]},
    {"initContainers": 5, "ephemeralContainers": {}, "volumes": "none"},
]
ODD: list[Any] = [None, [], "pod", 5, {}, {"spec": None}, {"spec": []}, {"spec": {}}]
ODD += [{"metadata": {}, "spec": spec} for spec in SPECS]


@pytest.mark.row("54")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_an_object_of_another_shape_is_admitted_as_it_is(odd: Any, operation: str) -> None:
    assert patch(review(odd, operation=operation, old=odd)) == []


@pytest.mark.parametrize("metadata", [None, [], "web", {"annotations": None}, {"annotations": []}, {}])
def test_an_image_beside_odd_metadata_is_still_redirected(metadata: Any) -> None:
    created = {"metadata": metadata, "spec": {"containers": [container("base", "alpine:3")]}}
    assert images_of("Pod", applied(created, patch(review(created)))) == {"base": MIRROR + "alpine:3"}


@pytest.mark.parametrize("name", ["a/b", "~", "", "x" * 64, "-a", "名"])
def test_a_name_that_no_annotation_can_have_gets_none(name: str) -> None:
    created = item("Pod", {"containers": [container(name, "alpine:3")]})
    assert [operation["path"] for operation in patch(review(created))] == ["/spec/containers/0/image"]


@pytest.mark.parametrize("named", [None, [], "Pod", {}, {"kind": 5}, {"group": [], "kind": "Pod"}])
def test_a_kind_that_is_none_is_admitted(named: Any) -> None:
    document = review(item("Pod"))
    document["request"]["kind"] = named
    assert patch(document) in ([], patch(review(item("Pod"))))
    assert ask(document).review["response"] == {"uid": UID, "allowed": True}


@pytest.mark.row("54")
def test_ten_thousand_containers_are_admitted_with_a_warning() -> None:
    created = item("Pod", {"containers": [container(f"c{n}", "alpine:3") for n in range(10_000)]})
    answer = ask(review(created)).review
    assert patch_of(answer) == []
    response: Any = answer["response"]
    assert response["warnings"] == [
        f"sampan: 10000 images are left as they are: at most {IMAGES_MAX} are rewritten"
    ]


@pytest.mark.row("54")
def test_an_error_inside_admits_the_object_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def broken(text: str) -> Any:
        raise ZeroDivisionError(text)

    answer = decide(review(item("Pod")), broken)
    assert answer.outcome is Outcome.FAILED
    assert patch_of(answer.review) == []
    response: Any = answer.review["response"]
    assert response["warnings"] == ["sampan: unexpected error, images are left as they are"]
    assert UID in caplog.text


def test_the_answer_is_json() -> None:
    answer = ask(review(item("Pod"))).review
    assert json.loads(json.dumps(answer)) == answer
