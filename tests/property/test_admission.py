"""Whatever an API server sends, the answer admits it and patches nothing but images and their originals."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewrite_table
from reviews import UID, patch_of
from sampan.errors import InvalidRequest
from sampan.rewrite.admission import API_VERSION, KIND, decide
from sampan.rewrite.pods import PODS

PLACES = re.compile(
    r"/spec/(?:containers|initContainers|ephemeralContainers)/\d+/image"
    r"|/spec/volumes/\d+/image/reference"
    r"|/metadata(?:/annotations(?:/original-(?:volume-)?image\.sampan\.dev~1[A-Za-z0-9_.-]+)?)?"
)
ROOTS = {"/" + "/".join(map(str, path)) if path else "" for path in PODS.values()}
KEYS = st.sampled_from(
    ["spec", "template", "metadata", "annotations", "containers", "initContainers", "ephemeralContainers"]
) | st.sampled_from(
    ["volumes", "image", "reference", "name", "jobTemplate", "kubernetes.io/config.mirror", "a/b~c"]
)
IMAGES = st.sampled_from(
    ["alpine:3", "ghcr.io/a/b", "", "a\x00", "docker.m.daocloud.io/library/alpine:3", "名"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | IMAGES | st.text(max_size=5)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": st.text(max_size=70) | LEAVES, "image": LEAVES}) | ANYTHING
)
PODS_OF_ALL_SHAPES = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS, "initContainers": CONTAINERS, "volumes": ANYTHING}
        )
    },
    optional={"metadata": ANYTHING},
)
REQUESTS = st.fixed_dictionaries(
    {"uid": st.just(UID), "object": PODS_OF_ALL_SHAPES | ANYTHING},
    optional={
        "oldObject": PODS_OF_ALL_SHAPES | ANYTHING,
        "operation": st.sampled_from(["CREATE", "UPDATE", "DELETE"]) | LEAVES,
        "subResource": st.sampled_from(["", "ephemeralcontainers", "status"]) | LEAVES,
        "namespace": LEAVES,
        "kind": st.sampled_from([{"group": group, "version": "v1", "kind": kind} for group, kind in PODS])
        | ANYTHING,
    },
)


@pytest.mark.row("54")
@given(REQUESTS)
def test_every_request_is_admitted_and_only_images_are_touched(request: Any) -> None:
    document = {"kind": KIND, "apiVersion": API_VERSION, "request": request}
    verdict = decide(document, rewrite_table.rules("host-mirror").judge, own_namespace="sampan")
    response: Any = verdict.review["response"]
    assert not any("unexpected" in warning for warning in response.get("warnings", []))
    for operation in patch_of(verdict.review):
        path = operation["path"]
        assert any(path.startswith(root) and PLACES.fullmatch(path.removeprefix(root)) for root in ROOTS), (
            path
        )


@given(ANYTHING)
def test_what_is_no_review_is_refused_in_words(document: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"AdmissionReview"):
        decide(document, rewrite_table.rules("host-mirror").judge)
