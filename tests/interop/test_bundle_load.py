"""A bundle behind the gap: loaded into real runtimes and a registry, and served to a containerd that has no
route to anywhere. And what other programs pack, loaded."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from interop import peers
from interop.clients import Skopeo
from interop.containerd import CLOSED, VERSIONS, Containerd, containerd
from interop.engines import ENGINES, Docker, docker, podman
from interop.images import Library
from interop.lines import lines
from interop.processes import CommandFailed, answers, free_port, run, running, surroundings
from interop.registries import Web, docker_registry
from interop.sentinel import Sentinel
from interop.serving import configuration

pytestmark = pytest.mark.interop

# Two platforms each, but for one; shared layers, zstd, Docker's and OCI's manifests.
NAMES = (
    "alpine:3",
    "busybox:oci-zstd",
    "busybox:docker-one-platform",
    "debian:oci-gzip",
    "debian:docker",
    "debian:oci-zstd",
)
SECONDS_MAX = 300.0


def sampan(*words: str | Path, home: Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of ``sampan WORDS``, which finds no configuration but that of ``home``."""
    command = [sys.executable, "-m", "sampan.cli", *words]
    own = {**(environment or surroundings()), "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    return run(command, environment=own, timeout_seconds=SECONDS_MAX)


@pytest.fixture(scope="module")
def bundle(origin: Web, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the images, with all platforms, made where the network is."""
    home = tmp_path_factory.mktemp("connected")
    (home / "sampan.toml").write_text(configuration(home, "127.0.0.1:0", [origin.url], CLOSED))
    words = ("--config", home / "sampan.toml", "--platform", "all", "-o", home / "images.tar")
    sampan("bundle", "create", *words, *NAMES, home=home)
    return home / "images.tar"


def load(*words: str | Path, home: Path, environment: dict[str, str] | None = None) -> str:
    return sampan("bundle", "load", "--store", home / "store", *words, home=home, environment=environment)


# -- runtimes ---------------------------------------------------------------------------------------


@pytest.fixture(params=VERSIONS)
def node(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Containerd]:
    """Where containers can run: not in memory, which is mounted without that right."""
    with containerd(request.param, Path("/tmp")) as running_one:
        yield running_one


def with_ctr(node: Containerd) -> dict[str, str]:
    directory = peers.beside(node.name, "ctr").parent
    return surroundings(PATH=f"{directory}:{surroundings()['PATH']}")


def ctr(node: Containerd, *words: str) -> str:
    where = ["--address", str(node.socket), "--namespace", "k8s.io"]
    return run([peers.beside(node.name, "ctr"), *where, *words])


def assert_the_cri_has_all(node: Containerd, library: Library, names: Sequence[str] = NAMES) -> None:
    for name in names:
        image, found = library.image(f"library/{name}"), node.cri.image(name)
        assert found is not None, name
        assert found.id == image.config_digest()
        assert f"docker.io/{image.repository}@{image.digest}" in found.digests
    assert node.corrupt() == []


def assert_alpine_runs(node: Containerd, container: str = "once") -> None:
    said = ctr(node, "run", "--rm", "docker.io/library/alpine:3", container, "cat", "/etc/os-release")
    assert said == "NAME=alpine\nID=alpine\n"


def test_a_bundle_in_containerd_is_listed_by_the_cri_and_runs(
    node: Containerd, bundle: Path, library: Library, tmp_path: Path
) -> None:
    words = ("--to", "containerd", "--containerd-address", node.socket, bundle)
    load(*words, home=tmp_path, environment=with_ctr(node))
    assert_the_cri_has_all(node, library)
    assert_alpine_runs(node)
    assert not list((tmp_path / "store/blobs").rglob("*/*")), "blobs were copied on their way"
    said = load("--json", *words, home=tmp_path, environment=with_ctr(node))
    layers = {digest for name in NAMES for digest in library.image(f"library/{name}").layer_digests()}
    events = [json.loads(line) for line in said.splitlines()]
    done = [event for event in events if event["event"] == "blob-done" and event["digest"] in layers]
    assert {event["already"] for event in done} == {"sink"}


def test_what_containerd_has_is_left_out_of_the_next_bundle_and_found_again(
    node: Containerd, origin: Web, library: Library, tmp_path: Path
) -> None:
    (tmp_path / "sampan.toml").write_text(configuration(tmp_path, "127.0.0.1:0", [origin.url], CLOSED))
    environment = with_ctr(node)
    create = ("--config", tmp_path / "sampan.toml", "bundle", "create", "-o")
    sampan(*create, tmp_path / "old.tar", "debian:oci-gzip", "alpine:3", home=tmp_path)
    there = ("--containerd-address", node.socket)
    load("--to", "containerd", *there, tmp_path / "old.tar", home=tmp_path, environment=environment)
    inventory = ("bundle", "inventory", "--of", "containerd", *there, "-o", tmp_path / "node.json")
    sampan(*inventory, home=tmp_path, environment=environment)
    wanted = ("--missing-from", tmp_path / "node.json", "debian:docker", "alpine:3")
    sampan(*create, tmp_path / "new.tar", *wanted, home=tmp_path)
    assert (tmp_path / "new.tar").stat().st_size < 200_000 < (tmp_path / "old.tar").stat().st_size
    load("--to", "containerd", *there, tmp_path / "new.tar", home=tmp_path, environment=environment)
    assert_the_cri_has_all(node, library, ["debian:oci-gzip", "debian:docker", "alpine:3"])


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, complete: None, way_out: Sentinel) -> Iterator[Docker]:
    with docker(request.param) as running_one:
        yield running_one


def test_a_bundle_is_in_docker_by_its_tags(engine: Docker, bundle: Path, tmp_path: Path) -> None:
    words = ("--to", "docker", bundle)
    held = set(NAMES)
    if engine.name == "docker-20":  # it cannot read zstd, and says so; the others are loaded
        held.remove("busybox:oci-zstd")  # debian's layers are there already, from gzip
        with pytest.raises(CommandFailed, match="they are zstd"):
            load(*words, home=tmp_path, environment=engine.environ)
    else:
        load(*words, home=tmp_path, environment=engine.environ)
    assert engine.tags() == held


def test_a_bundle_is_in_podman_by_its_tags_and_digests(
    complete: None, way_out: Sentinel, bundle: Path, library: Library, tmp_path: Path
) -> None:
    with podman() as pods:
        load("--to", "podman", bundle, home=tmp_path, environment=pods.environ)
        for name in NAMES:
            image = library.image(f"library/{name}")
            told = pods("image", "inspect", "--format", "{{.Id}}", f"docker.io/library/{name}")
            assert told.strip() == image.config_digest().removeprefix("sha256:")


def test_a_bundle_is_in_a_registry_whole_and_by_the_original_digests(
    bundle: Path, library: Library, tmp_path: Path, complete: None
) -> None:
    with docker_registry(tmp_path) as registry:
        load("--to", f"registry:{registry.netloc}/mirror/{{repository}}", bundle, home=tmp_path)
        for name in NAMES:
            image = library.image(f"library/{name}")
            connection = http.client.HTTPConnection(registry.netloc, timeout=10)
            with contextlib.closing(connection):
                headers = {"Accept": image.media_type}
                url = f"/v2/mirror/{image.repository}/manifests/{image.tag}"
                connection.request("HEAD", url, headers=headers)
                assert connection.getresponse().headers["Docker-Content-Digest"] == image.digest
        place = f"registry:{registry.netloc}/mirror/library/debian"
        listed = sampan("bundle", "inventory", "--of", place, "-o", "-", home=tmp_path)
        held = {blob["digest"] for blob in json.loads(listed)["blobs"]}
        assert set(library.image("library/debian:oci-zstd").layer_digests()) <= held


# -- served, without a route ------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_containerd_without_a_route_pulls_by_the_ordinary_name_from_a_bundle_that_is_served(
    version: str, complete: None, way_out: Sentinel, bundle: Path, library: Library, tmp_path: Path
) -> None:
    netloc = f"127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "sampan.cli",
        "serve",
        "--listen",
        netloc,
        "--bundle",
        bundle,
    ]
    serve = running(
        "sampan",
        command,
        directory=tmp_path,
        ready=lambda: answers(f"http://{netloc}/readyz"),
        environment=surroundings(HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path)),
    )
    with (
        lines(0, mbit=1) as net,
        net.client.begun(serve),
        net.client.begun(containerd(version, Path("/tmp"))) as node,
    ):
        node.use("docker.io", [f"http://{netloc}"])
        for name in NAMES:
            node.cri.pull(name)  # what imagePullPolicy: Always asks, each time
        node.cri.pull("alpine:3")
        assert_the_cri_has_all(node, library)
        assert_alpine_runs(node)
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / ".local").exists()


def test_what_was_loaded_into_the_store_of_a_mirror_is_served_without_a_route(
    complete: None, way_out: Sentinel, bundle: Path, library: Library, tmp_path: Path
) -> None:
    load("--to", "store", bundle, home=tmp_path)
    netloc = f"127.0.0.1:{free_port()}"
    (tmp_path / "sampan.toml").write_text(
        f'[server]\nlisten = "{netloc}"\n[store]\npath = "{tmp_path}/store"\n'
        '[registry."docker.io"]\norigin = "never"\n[tags]\nfresh_for = "0s"\n'
    )
    serve = running(
        "sampan",
        [sys.executable, "-m", "sampan.cli", "serve", "--config", tmp_path / "sampan.toml"],
        directory=tmp_path,
        ready=lambda: answers(f"http://{netloc}/readyz"),
    )
    with (
        lines(0, mbit=1) as net,
        net.client.begun(serve),
        net.client.begun(containerd("containerd-2")) as node,
    ):
        node.use("docker.io", [f"http://{netloc}"])
        for name in NAMES:
            node.cri.pull(name)
        assert_the_cri_has_all(node, library)


# -- what other programs pack -----------------------------------------------------------------------


def stored_tags(home: Path) -> set[str]:
    return {path.name.removesuffix(".json") for path in (home / "store/tags").rglob("*.json")}


def test_what_skopeo_packs_is_loaded(library: Library, tmp_path: Path, complete: None) -> None:
    skopeo = Skopeo(tmp_path)
    source = f"oci:{library.directory}:library/debian:oci-gzip"
    skopeo.copy_any(source, f"oci-archive:{tmp_path}/oci.tar:docker.io/library/debian:from-oci")
    skopeo.copy_any(source, f"docker-archive:{tmp_path}/docker.tar:docker.io/library/debian:from-docker")
    skopeo.copy_any(source, f"oci:{tmp_path}/layout:docker.io/library/debian:from-directory")
    run(["gzip", "-k", tmp_path / "docker.tar"])
    load("--to", "store", tmp_path / "oci.tar", tmp_path / "docker.tar", tmp_path / "layout", home=tmp_path)
    assert stored_tags(tmp_path) == {"from-oci", "from-docker", "from-directory"}
    load("--to", "store", tmp_path / "docker.tar.gz", home=tmp_path / "other")
    assert stored_tags(tmp_path / "other") == {"from-docker"}


def test_what_docker_saves_is_loaded_and_runs_elsewhere(
    engine: Docker, bundle: Path, library: Library, tmp_path: Path
) -> None:
    names = ("debian:oci-gzip", "debian:docker", "alpine:3")
    with contextlib.suppress(CommandFailed):  # Docker 20 takes all but one
        load("--to", "docker", bundle, home=tmp_path, environment=engine.environ)
    saved = engine.raw("/images/get?" + "&".join(f"names={name}" for name in names))
    assert saved is not None
    (tmp_path / "saved.tar").write_bytes(saved)
    with containerd("containerd-1.7", Path("/tmp")) as node:
        there = ("--to", "containerd", "--containerd-address", node.socket)
        load(*there, tmp_path / "saved.tar", home=tmp_path, environment=with_ctr(node))
        for name in names:
            found = node.cri.image(name)
            assert found is not None
            assert found.id == library.image(f"library/{name}").config_digest()
        assert_alpine_runs(node)


def test_what_ctr_exports_is_loaded(node: Containerd, bundle: Path, tmp_path: Path) -> None:
    there = ("--to", "containerd", "--containerd-address", node.socket)
    load(*there, bundle, home=tmp_path, environment=with_ctr(node))
    names = [f"docker.io/library/{name}" for name in ("alpine:3", "debian:oci-zstd")]
    ctr(node, "images", "export", str(tmp_path / "ctr.tar"), *names)
    load("--to", "store", tmp_path / "ctr.tar", home=tmp_path / "other")
    assert stored_tags(tmp_path / "other") == {"3", "oci-zstd"}


def test_what_podman_saves_is_loaded(
    complete: None, way_out: Sentinel, bundle: Path, library: Library, tmp_path: Path
) -> None:
    names = ("docker.io/library/alpine:3", "docker.io/library/debian:oci-gzip")
    with podman() as pods:
        load("--to", "podman", bundle, home=tmp_path, environment=pods.environ)
        pods("save", "--multi-image-archive", "-o", str(tmp_path / "many.tar"), *names)
        pods("save", "--format", "oci-archive", "-o", str(tmp_path / "one.tar"), names[0])
        pods("save", "--format", "oci-dir", "-o", str(tmp_path / "one"), names[1])
        load("--to", "store", tmp_path / "many.tar", home=tmp_path / "archive")
        assert stored_tags(tmp_path / "archive") == {"3", "oci-gzip"}
        load("--to", "store", tmp_path / "one.tar", tmp_path / "one", home=tmp_path / "layouts")
        assert stored_tags(tmp_path / "layouts") == {"3", "oci-gzip"}
        inventory = sampan(
            "bundle", "inventory", "--of", "podman", "-o", "-", home=tmp_path, environment=pods.environ
        )
        held = {blob["digest"] for blob in json.loads(inventory)["blobs"]}
        assert set(library.image("library/debian:oci-gzip").layer_digests()) <= held
