"""What ``sampan webhook manifests`` writes: valid for Kubernetes, and read by kubectl as it is meant."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

import rewrite_table
from sampan.cli.command import Invocation
from sampan.cli.webhook_manifests import manifests, render_yaml
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.config.rules_document import render_rules
from sampan.errors import ConfigError, UsageError
from sampan.rewrite.manifests import NAME, TLS_SECRET

RELEASES = ["1.37", "1.36", "1.35", "1.34", "1.31", "1.28"]  # the newest, and older ones
IMAGE = "reg.lan:5000/tools/sampan:1"
FILE = """
[registry."docker.io"]
mirrors = ["https://m.daocloud.io/docker.io"]
[registry."ghcr.io"]
mirrors = [{ url = "https://harbor.lan/ghcr", allow = ["on/*"], username = "robot", password = "hunter2" }]
"""
OF_CERT_MANAGER = {"Issuer", "Certificate"}


@pytest.fixture
def configured(tmp_path_factory: pytest.TempPathFactory) -> Invocation:
    file = tmp_path_factory.mktemp("etc") / "sampan.toml"
    file.write_text(FILE)
    return Invocation(str(file))


def written(invocation: Invocation, *words: str) -> list[dict[str, Any]]:
    """The documents, read as kubectl reads them: by YAML 1.1."""
    result = CliRunner().invoke(manifests, words, obj=invocation, catch_exceptions=False)
    assert result.exit_code == 0
    return list(yaml.safe_load_all(result.stdout))


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("certificate", ["job", "cert-manager"])
def test_the_webhook_is_valid_for_each_release(
    configured: Invocation, release: str, certificate: str
) -> None:
    documents = written(configured, "--image", IMAGE, "--certificate", certificate, "--workloads")
    assert len(documents) == {"job": 13, "cert-manager": 9}[certificate]
    for document in documents:
        if document["kind"] not in OF_CERT_MANAGER:
            kubernetes_validate.validate(document, release, strict=True)


@pytest.mark.parametrize("release", ["1.37", "1.36", "1.35", "1.34", "1.33", "1.32"])
def test_the_policy_is_valid_for_each_release_that_has_it(configured: Invocation, release: str) -> None:
    documents = written(configured, "--policy", "--kubernetes", release)
    assert [d["kind"] for d in documents] == ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"]
    for document in documents:
        kubernetes_validate.validate(document, release, strict=True)


def test_the_policy_of_kyverno_is_valid_where_it_is_kubernetes_own(configured: Invocation) -> None:
    (policy,) = written(configured, "--kyverno")
    assert (policy["apiVersion"], policy["kind"]) == ("policies.kyverno.io/v1", "MutatingPolicy")
    for field in ("autogen", "evaluation"):
        del policy["spec"][field]
    own = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy"}
    kubernetes_validate.validate({**policy, **own}, "1.37", strict=True)


def test_a_webhook_that_fails_stops_nothing(configured: Invocation) -> None:
    (hook,) = of_kind(written(configured, "--image", IMAGE), "MutatingWebhookConfiguration")["webhooks"]
    assert hook["failurePolicy"] == "Ignore"
    assert hook["timeoutSeconds"] == 2
    assert hook["reinvocationPolicy"] == "IfNeeded"
    assert hook["sideEffects"] == "None"
    assert hook["matchConditions"][0]["name"] == "no-mirror-pod"
    assert hook["namespaceSelector"]["matchExpressions"] == [
        {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["sampan", "kube-system", "kube-node-lease"],
        },
        {"key": "sampan.dev/rewrite", "operator": "NotIn", "values": ["disabled"]},
    ]
    assert [rule["resources"] for rule in hook["rules"]] == [["pods"], ["pods/ephemeralcontainers"]]


def test_workloads_are_added_when_they_are_asked_for(configured: Invocation) -> None:
    documents = written(configured, "--image", IMAGE, "--workloads")
    (hook,) = of_kind(documents, "MutatingWebhookConfiguration")["webhooks"]
    found = {(g, r) for rule in hook["rules"] for g in rule["apiGroups"] for r in rule["resources"]}
    assert {("apps", "deployments"), ("batch", "cronjobs"), ("", "podtemplates")} < found


def test_two_replicas_run_without_any_right(configured: Invocation) -> None:
    documents = written(configured, "--image", IMAGE, "--certificate", "cert-manager")
    assert not {"Role", "ClusterRole"} & {document["kind"] for document in documents}
    deployment = of_kind(documents, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (server,) = pod["containers"]
    assert deployment["replicas"] == 2
    assert of_kind(documents, "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert pod["automountServiceAccountToken"] is False
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert server["image"] == IMAGE
    assert "--own-namespace=sampan" in server["command"]


def test_the_job_may_do_what_it_must_and_no_more(configured: Invocation) -> None:
    documents = written(configured, "--image", IMAGE, "--namespace", "infra")
    assert of_kind(documents, "Role")["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [TLS_SECRET],
            "verbs": ["get", "patch"],
        },
    ]
    (rule,) = of_kind(documents, "ClusterRole")["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([NAME], ["get", "patch"])
    assert {d["metadata"]["namespace"] for d in documents if "namespace" in d["metadata"]} == {"infra"}


def test_cert_manager_is_told_whose_certificate_it_is(configured: Invocation) -> None:
    documents = written(configured, "--image", IMAGE, "--certificate", "cert-manager")
    registration = of_kind(documents, "MutatingWebhookConfiguration")
    certificate = of_kind(documents, "Certificate")
    assert registration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"sampan/{certificate['metadata']['name']}"
    }
    assert certificate["spec"]["secretName"] == TLS_SECRET
    assert certificate["spec"]["dnsNames"][0] == "sampan-webhook.sampan.svc"


def test_the_webhooks_own_image_is_redirected_when_it_is_written(configured: Invocation) -> None:
    documents = written(configured, "--image", "acme/sampan:1")
    (server,) = of_kind(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert server["image"] == "m.daocloud.io/docker.io/acme/sampan:1"


def test_credentials_do_not_come_along(configured: Invocation) -> None:
    rules = of_kind(written(configured, "--image", IMAGE), "ConfigMap")["data"]["sampan.toml"]
    assert "hunter2" not in rules
    assert "robot" not in rules


@pytest.mark.parametrize("group", rewrite_table.groups())
def test_the_rules_in_the_cluster_are_those_of_this_machine(group: str) -> None:
    config = rewrite_table.configuration(group)
    assert rewriter(Config.parse(render_rules(config), environ={})) == rewriter(config)


@pytest.mark.parametrize(
    "text", ["off", "On", "y", "No", "1:30", "0123", "1_000", ".5", "+1", "1e3", "~", "null"]
)
def test_a_text_is_a_text_to_kubectl(text: str) -> None:
    assert yaml.safe_load(render_yaml([{"a": text, "b": [text]}])) == {"a": text, "b": [text]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "--kyverno"], "two ways"),
        ([], "--image is missing"),
        (["--policy", "--kubernetes", "1.20"], "has no MutatingAdmissionPolicy"),
        (["--policy", "--kubernetes", "new"], "expected a version"),
        (["--image", IMAGE, "--namespace", "A b"], "no name of a namespace"),
    ],
)
def test_what_cannot_be_meant_is_told(configured: Invocation, words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        written(configured, *words)


def test_without_any_rule_nothing_is_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("etc") / "sampan.toml"
    file.write_text('[registry."docker.io"]\n')
    with pytest.raises(ConfigError, match="nothing to rewrite"):
        written(Invocation(str(file)), "--policy")
