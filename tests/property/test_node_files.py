"""Whatever the files of a runtime hold: status tells it and never raises, a plan is one or is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import NodeError
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Gateway, Hop, Route, Wanted

WANTED = Wanted(
    (
        Route(
            "docker.io",
            (
                Hop("http://127.0.0.1:5050", gateway=Gateway()),
                Hop("https://m.example", "docker.io"),
                Hop("https://registry-1.docker.io", origin=True),
            ),
        ),
        Route("*", (Hop("https://all.example"),)),
    )
)
PLACES = {
    "containerd": [
        "etc/containerd/config.toml",
        "etc/containerd/certs.d/docker.io/hosts.toml",
        "etc/containerd/certs.d/_default/hosts.toml",
    ],
    "docker": ["etc/docker/daemon.json", "etc/systemd/system/docker.service.d/a.conf"],
    "podman": ["etc/containers/registries.conf", "etc/containers/registries.conf.d/a.conf", "etc/passwd"],
    "crio": ["etc/crio/crio.conf", "etc/crio/crio.conf.d/a", "etc/containers/registries.conf"],
    "k3s": [
        "etc/rancher/k3s/registries.yaml",
        "etc/rancher/k3s/config.yaml",
        "etc/systemd/system/k3s.service",
        "var/lib/rancher/k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml",
    ],
    "rke2": ["etc/rancher/rke2/registries.yaml"],
    "buildkit": [
        "etc/buildkit/buildkitd.toml",
        "root/.docker/cli-plugins/docker-buildx",
        "root/.docker/buildx/instances/a",
        "root/.docker/buildx/buildkitd.default.toml",
    ],
    "microk8s": ["var/snap/microk8s/current/args/certs.d/docker.io/hosts.toml"],
    "sampan": ["etc/sampan/sampan.toml", "opt/sampan/bin/sampan", "etc/systemd/system/sampan.service"],
}
PIECES = st.sampled_from(
    [
        "[registry",
        '[registry."docker.io"]\n',
        "[[registry]]\n",
        'prefix = "docker.io"\n',
        'location = "docker.io"\n',
        'mirrors = ["a"]\n',
        "mirrors:\n",
        "  docker.io:\n",
        "    endpoint: [a, 1, {b: c}]\n",
        "configs: [1]\n",
        "- x\n",
        "registry = 1\n",
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n',
        '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["http://[", "a"]\n',
        '[host."https://[m"]\n',
        'server = "https://]"\n',
        '{"registry-mirrors": ["http://[", 1, "https://a/x"], "insecure-registries": {}}',
        "mirror = [[1]]\n",
        '[server]\nlisten = "x:٣"\n',
        "server = 1\n",
        "[host.a]\n",
        '{"Driver": "docker-container", "Nodes": [1]}',
        "#!",
        "\x00",
        "root:x:0:0::/:/\n",
        "ExecStart=/x --data-dir --config 'a\n",
        "crio = 1\n",
        "unqualified-search-registries = [1]\n",
    ]
)
CONTENT = st.lists(PIECES, max_size=6).map(lambda pieces: "".join(pieces).encode()) | st.binary(max_size=60)


@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=40)
@given(contents=st.lists(CONTENT, min_size=4, max_size=4), major=st.sampled_from([None, 1, 6]))
def test_any_files_are_told_and_planned_for_or_refused(
    name: str, contents: list[bytes], major: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / f"files-{name}"
    shutil.rmtree(root, ignore_errors=True)
    for place, content in zip(PLACES[name], contents, strict=False):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(content)
    runtime, tree = RUNTIMES[name], Tree(Path(root))
    installed = Installed(None if major is None else Version(major))
    assert runtime.status(tree, installed).runtime == name
    try:
        plan = runtime.plan(tree, installed, WANTED)
    except NodeError:
        return
    again = runtime.plan(tree.changed(plan.changes), installed, WANTED)
    assert again.changes == (), "a second apply does nothing"
