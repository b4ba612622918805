"""``sampan webhook manifests``: what a cluster is told, generated from this machine's rules.

It guarantees that stdout is YAML for ``kubectl apply``, and that without any rule nothing is written: it
would look as if something were redirected.
"""

from __future__ import annotations

import io
import re

import click
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.config.rules_document import render_rules
from sampan.errors import ConfigError, UsageError
from sampan.rewrite.certificates import by_cert_manager, by_job
from sampan.rewrite.manifests import Installation, selector_without, webhook_manifests
from sampan.rewrite.policy import Document, admission_policy, kyverno_policy
from sampan.rewrite.rules import Rules

NAMESPACE = "sampan"
SKIPPED = ("kube-system", "kube-node-lease")
KUBERNETES = "1.36"
_VERSION = re.compile(r"v?1\.([0-9]{1,3})(?:\.[0-9]+)?")
# kubectl reads YAML 1.1, where these would be booleans and numbers; ruamel writes 1.2.
_OTHER_IN_YAML_1_1 = re.compile(r"[0-9.+-].*|y|n|yes|no|on|off", re.IGNORECASE)
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@click.command(
    cls=Command,
    example="sampan webhook manifests --image harbor.lan/tools/sampan:1 | kubectl apply -f -\n"
    "sampan webhook manifests --policy --kubernetes 1.34 | kubectl apply -f -",
)
@click.option("--policy", is_flag=True, help="A MutatingAdmissionPolicy instead: no server at all.")
@click.option("--kyverno", is_flag=True, help="A MutatingPolicy of Kyverno instead.")
@click.option(
    "--kubernetes", metavar="1.N", default=KUBERNETES, show_default=True, help="Of --policy: for which."
)
@click.option("--image", metavar="REFERENCE", help="The image with sampan in it, for the webhook's own pods.")
@click.option(
    "--namespace", default=NAMESPACE, show_default=True, metavar="NAME", help="Where the webhook lives."
)
@click.option(
    "--certificate",
    type=click.Choice(["job", "cert-manager"]),
    default="job",
    show_default=True,
    help="Who makes the certificate: a Job, once, or cert-manager, which also renews it.",
)
@click.option(
    "--skip-namespace",
    "skipped",
    multiple=True,
    default=SKIPPED,
    show_default=True,
    metavar="NAME",
    help="Leave pods of this namespace alone; may be repeated.",
)
@click.option("--workloads", is_flag=True, help="Rewrite Deployments and the like too, not their pods alone.")
@click.pass_obj
def manifests(
    invocation: Invocation,
    policy: bool,
    kyverno: bool,
    kubernetes: str,
    image: str | None,
    namespace: str,
    certificate: str,
    skipped: tuple[str, ...],
    workloads: bool,
) -> None:
    """Write what redirects the images of a cluster, by the rules of this machine's configuration."""
    config = Config.load(invocation.config, locked=False)
    rules = rewriter(config)
    if not rules:
        raise ConfigError(
            "no mirror is configured, so there is nothing to rewrite",
            hint='SAMPAN_MIRRORS="docker.io=https://m.daocloud.io/docker.io" is enough for one',
        )
    if policy and kyverno:
        raise UsageError("--policy and --kyverno are two ways to do one thing: choose one")
    for name in (namespace, *skipped):
        if _NAMESPACE.fullmatch(name) is None:
            raise UsageError(f'no name of a namespace: "{name[:80]}"')
    if policy:
        documents = admission_policy(rules, kubernetes=_minor(kubernetes), selector=selector_without(skipped))
    elif kyverno:
        documents = kyverno_policy(rules, selector=selector_without(skipped))
    else:
        rendered = render_rules(config)
        asked = Installation(_own_image(rules, image), rendered, namespace, skipped, workloads=workloads)
        complete = by_job if certificate == "job" else by_cert_manager
        documents = complete(asked, webhook_manifests(asked))
    click.echo(render_yaml(documents), nl=False)


def render_yaml(documents: list[Document]) -> str:
    """``documents`` for ``kubectl apply``; text of several lines stays readable."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    yaml.Representer = _Representer
    out = io.StringIO()
    yaml.dump_all(documents, out)
    return out.getvalue()


class _Representer(SafeRepresenter):
    """Several lines as a block, no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (ruamel's)
        return True


def _text(representer: SafeRepresenter, text: str) -> ScalarNode:
    style = "|" if "\n" in text else '"' if _OTHER_IN_YAML_1_1.fullmatch(text) else None
    node: ScalarNode = representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


_Representer.add_representer(str, _text)


def _minor(text: str) -> int:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise UsageError(f'expected a version of Kubernetes, got "{text[:40]}"', hint="as in 1.36")
    return int(match[1])


def _own_image(rules: Rules, image: str | None) -> str:
    """Its own pods are not rewritten, so their image has to be right as it is written here."""
    if image is None:
        raise UsageError(
            "the webhook's pods need an image with sampan in it: --image is missing",
            hint="docs/webhook.md has a Dockerfile of three lines; --policy and --kyverno need no image",
        )
    return rules.rewrite(image)
