"""Pods as Python objects: where images are found, and what is changed beside them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubernetes_pods import (
    V1Container,
    V1ImageVolumeSource,
    V1Job,
    V1JobSpec,
    V1LocalObjectReference,
    V1ObjectMeta,
    V1Pod,
    V1PodSpec,
    V1Volume,
    pod,
)
from rewrite_table import Row, rows, rules
from sampan.rewrite import Rules, Target
from sampan.rewrite.models import redirect
from sampan.rewrite.originals import ORIGINAL, ORIGINAL_OF_VOLUME, annotation_key, with_originals

RULES = Rules({"docker.io": (Target("m.lan", "hub/"),)})


@pytest.mark.parametrize("row", rows(), ids=str)
def test_a_container_gets_the_image_of_the_table(row: Row) -> None:
    it = pod(row.reference)
    changed = redirect(it, rules(row.group))
    assert it == (changed_pod(row) if row.changes else pod(row.reference))
    assert set(changed) == ({"c0"} if row.changes else set())


def changed_pod(row: Row) -> V1Pod:
    it = pod(row.result)
    it.metadata = V1ObjectMeta(annotations=with_originals(None, {annotation_key("c0"): row.reference}))
    return it


def test_every_place_of_an_image_is_known_by_its_name() -> None:
    it = V1Pod(
        V1PodSpec(
            containers=[V1Container("base", "a"), V1Container("airflow-xcom-sidecar", "alpine")],
            init_containers=[V1Container("init", "b/c:1")],
            ephemeral_containers=[V1Container("debug", "d")],
            volumes=[
                V1Volume("data", V1ImageVolumeSource("e:2")),
                V1Volume("scratch"),
                V1Volume("empty", V1ImageVolumeSource()),
            ],
        )
    )
    changed = redirect(it, RULES)
    assert {name: (each.before, each.after) for name, each in changed.items()} == {
        "base": ("a", "m.lan/hub/library/a"),
        "airflow-xcom-sidecar": ("alpine", "m.lan/hub/library/alpine"),
        "init": ("b/c:1", "m.lan/hub/b/c:1"),
        "debug": ("d", "m.lan/hub/library/d"),
        "volume/data": ("e:2", "m.lan/hub/library/e:2"),
    }
    assert it.spec is not None
    assert it.spec.volumes is not None
    assert it.spec.volumes[0].image.reference == "m.lan/hub/library/e:2"
    assert it.metadata is not None
    assert it.metadata.annotations == {
        ORIGINAL + "base": "a",
        ORIGINAL + "airflow-xcom-sidecar": "alpine",
        ORIGINAL + "init": "b/c:1",
        ORIGINAL + "debug": "d",
        ORIGINAL_OF_VOLUME + "data": "e:2",
    }


def test_dictionaries_among_the_models_are_redirected() -> None:
    container: dict[str, Any] = {"name": "c", "image": "a"}
    volume: dict[str, Any] = {"name": "v", "image": {"reference": "b"}}
    it = V1Pod(V1PodSpec(containers=[container], volumes=[volume], image_pull_secrets=[{"name": "s"}]))
    redirect(it, RULES, ["s"])
    assert container == {"name": "c", "image": "m.lan/hub/library/a"}
    assert volume == {"name": "v", "image": {"reference": "m.lan/hub/library/b"}}
    assert it.spec is not None
    assert it.spec.image_pull_secrets == [{"name": "s"}]


def test_a_second_time_changes_nothing() -> None:
    it = pod("a", "quay.io/b/c")
    redirect(it, RULES, ["s"])
    once = copy.deepcopy(it)
    assert redirect(it, RULES, ["s"]) == {}
    assert it == once


def test_an_image_that_was_set_since_is_the_original_now() -> None:
    it = pod("alpine", "a")
    redirect(it, RULES)
    assert it.spec is not None
    assert it.spec.containers is not None
    it.spec.containers[0].image = "alpine:3"
    redirect(it, RULES)
    assert it.metadata is not None
    assert it.metadata.annotations == {ORIGINAL + "c0": "alpine:3", ORIGINAL + "c1": "a"}


@pytest.mark.parametrize(
    "it",
    [
        V1Pod(None, None),
        V1Pod(V1PodSpec(), None),
        V1Pod(V1PodSpec(containers=[])),
        V1Pod(V1PodSpec(containers=[V1Container("base")])),
        pod("quay.io/a/b"),
        pod("m.lan/hub/library/a"),
    ],
)
def test_where_nothing_is_redirected_nothing_is_touched(it: V1Pod) -> None:
    before = copy.deepcopy(it)
    assert redirect(it, RULES, ["s"]) == {}
    assert it == before


def test_what_the_pod_shares_with_its_maker_stays_as_it_is() -> None:
    annotations, secrets = {"team": "data"}, [V1LocalObjectReference("own")]
    it = V1Pod(
        V1PodSpec(containers=[V1Container("c", "a")], image_pull_secrets=secrets),
        V1ObjectMeta(annotations=annotations),
    )
    redirect(it, RULES, ["own", "mirror"])
    assert annotations == {"team": "data"}
    assert secrets == [V1LocalObjectReference("own")]
    assert it.spec is not None
    assert it.spec.image_pull_secrets == [V1LocalObjectReference("own"), V1LocalObjectReference("mirror")]


def test_a_pod_without_metadata_gets_some_of_its_own_client() -> None:
    it = V1Pod(V1PodSpec(containers=[V1Container("c", "a")]), None)
    redirect(it, RULES)
    assert it.metadata == V1ObjectMeta(annotations={ORIGINAL + "c": "a"})


def test_the_template_of_a_job_is_redirected() -> None:
    job = V1Job(V1JobSpec(pod("a")))
    redirect(job, RULES)
    assert job.spec.template == changed_template()
    assert job.metadata == V1ObjectMeta()


def changed_template() -> V1Pod:
    it = pod("m.lan/hub/library/a")
    it.metadata = V1ObjectMeta(annotations={ORIGINAL + "c0": "a"})
    return it


def test_a_pod_that_cannot_be_changed_wholly_is_not_changed() -> None:
    class Stranger(V1Pod):
        __module__ = "nowhere.at_all"

    it = Stranger(pod("a").spec, None)
    before = copy.deepcopy(it)
    with pytest.raises(TypeError, match="of no Kubernetes client that has a V1ObjectMeta"):
        redirect(it, RULES)
    assert it == before


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a" * 64, "名"])
def test_a_name_that_no_annotation_can_have_leaves_no_original(name: str) -> None:
    it = V1Pod(V1PodSpec(containers=[V1Container(name, "a"), V1Container("c", "b")]))
    assert set(redirect(it, RULES)) == {name, "c"}
    assert it.metadata is not None
    assert it.metadata.annotations == {ORIGINAL + "c": "b"}
