"""``sampan doctor`` as people and scripts meet it, on trees of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_cases import listing
from sampan.cli import main
from sampan.testing import FakeRegistry, ServerThread, image, random_layer
from scenes import lay

Captured = pytest.CaptureFixture[str]
HOSTS_TOML = "etc/containerd/certs.d/docker.io/hosts.toml"
CONFIG = (
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A tree with a mistake in it, and beside it a sampan.toml; both name one good mirror and nobody else."""
    mirror = FakeRegistry("mirror")
    mirror.add(image("library/hello-world", "latest", layers=[random_layer(seed=1, size_bytes=2_000)]))
    with ServerThread(mirror):
        config = f'[registry."docker.io"]\nmirrors = ["{mirror.url}"]\norigin = "never"\n'
        lay(tmp_path, {"sampan.toml": config})
        hosts = f'server = "{mirror.url}"\n[host."{mirror.url}"]\ncapability = ["pull"]\n'
        yield lay(tmp_path / "root", {"etc/containerd/config.toml": CONFIG, HOSTS_TOML: hosts})


def run(root: Path, *words: str) -> int:
    where = ["--root", str(root), "--config", str(root.parent / "sampan.toml")]
    return main(["doctor", *words, *where, "--runtime", "containerd@1.7.27"])


def test_its_help_begins_with_an_example(capsys: Captured) -> None:
    assert main(["doctor", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Example:\n  ")


def test_what_is_wrong_is_said_with_its_line_and_changes_nothing(root: Path, capsys: Captured) -> None:
    before = listing(root, times=True)
    assert run(root) == 5
    assert f"  at      /{HOSTS_TOML}:3\n" in capsys.readouterr().out
    assert listing(root, times=True) == before


def test_a_tree_without_fault_is_healthy(root: Path, capsys: Captured) -> None:
    text = (root / HOSTS_TOML).read_text()
    (root / HOSTS_TOML).write_text(text.replace("capability", "capabilities").replace('"pull"', ""))
    assert run(root, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["healthy"], told["verdict"], told["findings"]) == (True, None, [])


def test_programs_are_told_all_of_it(root: Path, capsys: Captured) -> None:
    assert run(root, "Alpine", "--json") == 5
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    assert [found["code"] for found in told["findings"]] == ["NAME_INVALID", "HOSTS_KEY_UNKNOWN"]
    assert told["verdict"] == {k: v for k, v in told["findings"][0].items() if k != "explains"}
    assert told["findings"][1]["line"] == 3


def test_a_root_that_is_none_is_a_wrong_call(root: Path, capsys: Captured) -> None:
    config = str(root.parent / "sampan.toml")
    assert main(["doctor", "--root", str(root / "absent"), "--config", config]) == 2
    assert "no such directory" in capsys.readouterr().err
