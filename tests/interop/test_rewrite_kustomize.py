"""kustomize and kubectl with sampan as their function, and with files that it rewrote.

kubectl runs no functions of its own accord that are programs, only plugins; kustomize runs both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interop import peers
from interop.processes import run, surroundings

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("complete")]

SAMPAN = Path(sys.executable).with_name("sampan")
MIRRORS = "docker.io=https://docker.m.daocloud.io;quay.io=https://m.daocloud.io/quay.io"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1.27"}
      - {name: exporter, image: quay.io/prometheus/node-exporter:v1.8.2}
"""
KUSTOMIZATION = """\
resources: [deployment.yaml]
images:
- name: nginx
  newTag: "1.28"
"""
FUNCTION = """\
apiVersion: sampan/v1
kind: Rewrite
metadata:
  name: sampan
  annotations:
    config.kubernetes.io/function: |
      exec:
        path: {path}
        args: [rewrite, --files, "-"]
"""
PLUGIN = """\
apiVersion: sampan/v1
kind: Rewrite
metadata:
  name: sampan
"""
REDIRECTED = [
    "docker.m.daocloud.io/library/nginx:1.28",
    "m.daocloud.io/quay.io/prometheus/node-exporter:v1.8.2",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "deployment.yaml").write_text(DEPLOYMENT)
    (folder / "kustomization.yaml").write_text(KUSTOMIZATION)
    return folder


def images(rendered: str) -> list[str]:
    return [line.partition("image: ")[2] for line in rendered.splitlines() if "image: " in line]


def test_kustomize_runs_it_as_a_function(folder: Path) -> None:
    (folder / "sampan.yaml").write_text(FUNCTION.format(path=SAMPAN))
    (folder / "kustomization.yaml").write_text(KUSTOMIZATION + "transformers: [sampan.yaml]\n")
    rendered = run(
        [peers.program("kustomize"), "build", "--enable-alpha-plugins", "--enable-exec", folder],
        environment=surroundings(SAMPAN_MIRRORS=MIRRORS),
    )
    assert images(rendered) == REDIRECTED


def test_kubectl_runs_it_as_a_plugin(folder: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "sampan" / "v1" / "rewrite" / "Rewrite"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"#!/bin/sh\nexec {SAMPAN} rewrite --files -\n")
    plugin.chmod(0o755)
    (folder / "sampan.yaml").write_text(PLUGIN)
    (folder / "kustomization.yaml").write_text(KUSTOMIZATION + "transformers: [sampan.yaml]\n")
    rendered = run(
        [peers.program("kubectl"), "kustomize", "--enable-alpha-plugins", folder],
        environment=surroundings(
            SAMPAN_MIRRORS=MIRRORS, KUSTOMIZE_PLUGIN_HOME=str(tmp_path / "plugins"), HOME=str(tmp_path)
        ),
    )
    assert images(rendered) == REDIRECTED


def test_a_tree_that_was_rewritten_renders_to_the_same(folder: Path) -> None:
    """The names in a kustomization's ``images`` follow those in the resources, or would match nothing."""
    environment = surroundings(SAMPAN_MIRRORS=MIRRORS)
    run([SAMPAN, "rewrite", "--in-place", folder], environment=environment)
    rendered = run([peers.program("kubectl"), "kustomize", folder], environment=environment)
    assert images(rendered) == REDIRECTED
