"""buildx itself: new builders get the file that sampan writes, old ones keep theirs, which is told."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop import peers
from interop.engines import docker
from interop.processes import CommandFailed, run
from interop.sentinel import Sentinel
from sampan.runtimes.buildkit import BuildKit
from sampan.runtimes.buildkit.files import builders
from sampan.runtimes.contract import Change, Installed
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Gateway, Hop, Route, Wanted
from sampan.runtimes.writing import Attributes, make_directory, put_file

PLUGIN = "/usr/libexec/docker/cli-plugins/docker-buildx"
DEFAULT = "/root/.docker/buildx/buildkitd.default.toml"
Buildx = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for directory in (Path(PLUGIN).parent, Path(DEFAULT).parent):
        (tmp_path / str(directory).lstrip("/")).mkdir(parents=True)
    (tmp_path / PLUGIN.lstrip("/")).write_text("")
    return tmp_path


@pytest.fixture
def buildx(complete: None, way_out: Sentinel, root: Path) -> Iterator[Buildx]:
    with docker("docker-28") as engine:
        environment = engine.environ | {"HOME": str(root / "root")}
        yield lambda *words: run([peers.program("buildx"), *words], environment=environment)


def wanted(base: str) -> Wanted:
    hops = (Hop(base, gateway=Gateway()), Hop("https://registry-1.docker.io", origin=True))
    return Wanted((Route("docker.io", hops),))


def write(root: Path, base: str) -> Change:
    (change,) = BuildKit().plan(Tree(root), Installed(), wanted(base)).changes
    assert change.path == DEFAULT
    make_directory(root, str(Path(DEFAULT).parent))
    put_file(root, DEFAULT, change.after or b"", Attributes(change.mode))
    return change


def made(root: Path) -> dict[str, object]:
    """The builders that buildx has noted, and what each was given."""
    return {builder.name: builder.text.table for builder in builders(Tree(root))}


def codes(root: Path) -> list[str]:
    return [finding.code for finding in BuildKit().status(Tree(root), Installed()).findings]


def test_a_new_builder_has_the_file_and_keeps_it_when_the_file_changes(root: Path, buildx: Buildx) -> None:
    first = write(root, "http://10.99.0.1:5050")
    buildx("create", "--name", "first", "--driver", "docker-container")
    assert made(root) == {"first": tomllib.loads((first.after or b"").decode())}
    assert codes(root) == []
    second = write(root, "http://10.99.0.2:5050")
    assert codes(root) == ["BUILDER_IS_OLDER"]
    buildx("rm", "first")
    buildx("create", "--name", "first", "--driver", "docker-container")
    assert made(root) == {"first": tomllib.loads((second.after or b"").decode())}
    assert codes(root) == []


def test_buildx_makes_no_builder_of_a_file_that_does_not_parse(root: Path, buildx: Buildx) -> None:
    (root / DEFAULT.lstrip("/")).write_text("[registry\n")
    with pytest.raises(CommandFailed, match="failed to parse buildkit config"):
        buildx("create", "--name", "first", "--driver", "docker-container")
    assert codes(root) == ["BUILDKITD_TOML_PARSE"]
