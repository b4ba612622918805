"""The generated policies: their CEL is run by Google's engine, against the one table and the webhook."""

from __future__ import annotations

import copy
import ipaddress
from functools import cache
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

import rewrite_table
from cel_engine import Policy, Variables
from reviews import applied, container, item, patch_of, pod_spec, review
from rewrite_table import Row
from sampan.errors import UsageError
from sampan.oci.reference import is_local
from sampan.rewrite.admission import decide
from sampan.rewrite.cel import steps
from sampan.rewrite.policy import admission_policy, kyverno_policy

SELECTOR: dict[str, object] = {"matchExpressions": []}
GROUPS = rewrite_table.groups()


def specification(kind: str, group: str) -> Any:
    rules = rewrite_table.rules(group)
    if kind == "kyverno":
        (policy,) = kyverno_policy(rules, selector=SELECTOR)
    else:
        policy, _ = admission_policy(rules, kubernetes=36, selector=SELECTOR)
    return policy["spec"]


@cache
def policy(kind: str, group: str) -> Policy:
    return Policy(specification(kind, group))


@cache
def in_cel(group: str) -> Variables:
    return Variables(steps(rewrite_table.rules(group), "texts"), {"texts": cel.Type.List(cel.Type.STRING)})


def rewritten(group: str, texts: list[str]) -> list[str]:
    result: list[str] = in_cel(group).values(texts=texts)["variables.after"]
    return result


def rows_of(group: str) -> list[Row]:
    return [row for row in rewrite_table.rows() if row.group == group]


@pytest.mark.parametrize("group", GROUPS)
def test_the_table(group: str) -> None:
    rows = rows_of(group)
    assert rewritten(group, [row.reference for row in rows]) == [row.result for row in rows]


@pytest.mark.parametrize("kind", ["admission", "kyverno"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_table_as_containers_of_a_pod(kind: str, group: str) -> None:
    rows = rows_of(group)
    created = item("Pod", {"containers": [container(f"c{n}", row.reference) for n, row in enumerate(rows)]})
    patch = policy(kind, group).patch(object=created, oldObject=None, request={"operation": "CREATE"})
    result = applied(created, patch)
    assert [entry["image"] for entry in result["spec"]["containers"]] == [row.result for row in rows]


def same_as_webhook(new: Any, **more: Any) -> None:
    document = review(new, **more)
    by_webhook = decide(document, rewrite_table.rules("host-mirror").judge)
    request = {
        key: value for key, value in document["request"].items() if key in ("operation", "subResource")
    }
    by_policy = policy("admission", "host-mirror").patch(
        object=new, oldObject=more.get("old"), request=request
    )
    assert applied(new, by_policy) == applied(new, patch_of(by_webhook.review))


def test_a_pod_that_is_created_becomes_what_the_webhook_makes_of_it() -> None:
    same_as_webhook(item("Pod"))
    annotated = item("Pod")
    annotated["metadata"]["annotations"] = {"a/b": "c"}
    same_as_webhook(annotated)
    same_as_webhook(item("Pod", {"containers": []}))
    same_as_webhook(item("Pod", {"containers": [{"name": "without-image"}]}))


def test_a_mirror_pod_is_left_alone() -> None:
    created = item("Pod")
    created["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "c0ffee"}
    request = {"operation": "CREATE"}
    assert policy("admission", "host-mirror").patch(object=created, oldObject=None, request=request) == []


def test_a_pod_that_is_changed_becomes_what_the_webhook_makes_of_it() -> None:
    old = item("Pod", pod_spec(containers=[container("old", "alpine:3"), container("set", "alpine:3")]))
    new = copy.deepcopy(old)
    new["spec"]["containers"][1]["image"] = "alpine:4"
    new["spec"]["initContainers"][0]["image"] = "alpine:4"
    same_as_webhook(new, operation="UPDATE", old=old)
    same_as_webhook(old, operation="UPDATE", old=old)


def test_a_container_for_debugging_becomes_what_the_webhook_makes_of_it() -> None:
    old = item("Pod")
    new = copy.deepcopy(old)
    new["spec"]["ephemeralContainers"] = [container("debugger", "busybox:2")]
    same_as_webhook(new, operation="UPDATE", old=old, subresource="ephemeralcontainers")


def test_kyverno_is_given_the_same_policy_for_pods_alone() -> None:
    ours, theirs = specification("admission", "template"), specification("kyverno", "template")
    assert theirs.pop("autogen") == {"podControllers": {"controllers": []}}
    assert theirs.pop("evaluation") == {
        "admission": {"enabled": True},
        "mutateExisting": {"enabled": False},
    }
    assert theirs == ours


@pytest.mark.parametrize(
    ("kubernetes", "version"),
    [(32, "v1alpha1"), (33, "v1alpha1"), (34, "v1beta1"), (35, "v1beta1"), (36, "v1"), (40, "v1")],
)
def test_each_release_of_kubernetes_gets_the_version_that_it_has(kubernetes: int, version: str) -> None:
    documents = admission_policy(rewrite_table.rules("host-mirror"), kubernetes=kubernetes, selector=SELECTOR)
    assert {d["apiVersion"] for d in documents} == {f"admissionregistration.k8s.io/{version}"}


def test_a_release_without_such_policies_is_told() -> None:
    with pytest.raises(UsageError, match=r"1\.31 has no MutatingAdmissionPolicy"):
        admission_policy(rewrite_table.rules("host-mirror"), kubernetes=31, selector=SELECTOR)


@settings(max_examples=15)
@given(st.lists(st.ip_addresses(v=4), min_size=20, max_size=20))
def test_the_same_addresses_are_private_to_both(addresses: list[ipaddress.IPv4Address]) -> None:
    texts = [f"{address}/team/app" for address in addresses]
    # 192.0.0.0/24 has four addresses that are global, of protocols and no registries.
    expected = [
        text if is_local(text.partition("/")[0]) or text.startswith("192.0.0.") else f"m.daocloud.io/{text}"
        for text in texts
    ]
    assert rewritten("one-variable-for-all", texts) == expected


_NEARLY = st.from_regex(r"[a-z.]{1,8}(:[0-9]{1,6})?/[a-z_.-]{1,9}(:[a-zA-Z.]{1,5})?", fullmatch=True)
_TEXTS = st.lists(st.text("aA0.-_:/@]g", min_size=1, max_size=30) | _NEARLY, min_size=50, max_size=50)


@settings(max_examples=20)
@given(_TEXTS, st.sampled_from(GROUPS))
def test_any_text_becomes_what_the_rules_make_of_it(texts: list[str], group: str) -> None:
    rules = rewrite_table.rules(group)
    assert rewritten(group, texts) == [rules.rewrite(text) for text in texts]
