"""Sinks that are runtimes: how one is found, what is said when it is not there, and what it cannot hold."""

from __future__ import annotations

import json
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from disks import as_nobody
from runtimes import Dockerd, program, wanted_of
from sampan.errors import SinkError, SinkUnavailable, StoreError
from sampan.oci import Platform
from sampan.pull.detect import CONTAINERD_SOCKETS, detect_sink
from sampan.pull.sink import Content, parse_sink
from sampan.pull.sinks import SinkSetting, open_sink
from sampan.pull.sinks.containerd import ContainerdSink, find_ctr
from sampan.pull.sinks.docker import DockerSink, socket_of
from sampan.pull.sinks.engine import Engine
from sampan.pull.sinks.podman import PodmanSink
from sampan.pull.sinks.sockets import probe
from sampan.pull.sinks.stream import feed_of
from sampan.store.disk import DiskStore
from sampan.testing import Image, image, index, random_layer

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store")
    yield store
    store.close()


def one_image() -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed=1, size_bytes=4096)])


# -- sockets ----------------------------------------------------------------------------------------


def look(path: Path) -> None:
    probe(path, runtime="Docker", service="docker", absent="install it")


def test_a_socket_that_is_not_there_is_told_with_the_hint(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable, match="Docker is not here: no socket") as caught:
        look(tmp_path / "d.sock")
    assert (caught.value.hint, caught.value.exit_code) == ("install it", 7)


def test_a_socket_that_a_dead_daemon_left_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "d.sock"))
    with pytest.raises(SinkUnavailable, match="Docker is not running: nobody listens") as caught:
        look(tmp_path / "d.sock")
    assert caught.value.hint == "sudo systemctl start docker"


def test_a_socket_that_we_may_not_use_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d.sock"))
        listening.listen()
        (tmp_path / "d.sock").chmod(0)
        with pytest.raises(SinkUnavailable, match="no permission for Docker's socket") as caught, as_nobody():
            look(tmp_path / "d.sock")
    assert "root" in str(caught.value.hint)


def test_a_socket_whose_path_is_too_long_for_the_kernel_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable, match="too long"):
        look(tmp_path / ("x" * 120))


# -- the stream -------------------------------------------------------------------------------------


def test_a_stream_leaves_out_what_the_runtime_has_and_names_at_its_end(
    store: DiskStore, tmp_path: Path
) -> None:
    wanted = wanted_of(store, one_image())
    layer = wanted.layers[0].digest
    names = ["docker.io/library/alpine:3", "docker.io/library/alpine@sha256:0"]
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        feed_of(wanted, Content(store), names=names, without={layer})(file)
    with tarfile.open(path) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        described = found["index.json"]
        assert described is not None
        entries = json.loads(described.read())["manifests"]
    order = list(found)
    assert (order[0], order[-1]) == ("oci-layout", "index.json")
    assert f"blobs/sha256/{layer.hex}" not in found
    assert [entry["annotations"]["io.containerd.image.name"] for entry in entries] == names
    assert {entry["digest"] for entry in entries} == {str(wanted.root.digest)}


# -- containerd -------------------------------------------------------------------------------------


def test_ctr_may_be_a_part_of_k3s(tmp_path: Path) -> None:
    program(tmp_path / "bin", "k3s", "")
    assert find_ctr({"PATH": str(tmp_path / "bin")}) == (str(tmp_path / "bin" / "k3s"), "ctr")


def test_a_containerd_without_ctr_is_told() -> None:
    with pytest.raises(SinkUnavailable, match="its program ctr is not") as caught:
        find_ctr({"PATH": "/nowhere"})
    assert "oci-archive" in str(caught.value.hint)


def test_the_address_is_what_was_said_before_what_the_environment_says(store: DiskStore) -> None:
    spec = parse_sink("containerd:ci")
    environ = {"CONTAINERD_ADDRESS": "unix:///run/other.sock"}
    said = open_sink(spec, SinkSetting(store, Path("/run/said.sock"), environ))
    told = open_sink(spec, SinkSetting(store, environ=environ))
    assert isinstance(said, ContainerdSink)
    assert isinstance(told, ContainerdSink)
    assert said.name == "containerd (ci)"
    assert (said.address, told.address) == (Path("/run/said.sock"), Path("/run/other.sock"))


async def test_the_words_of_ctr_are_told_and_the_name_is_taken_back(store: DiskStore, tmp_path: Path) -> None:
    log = tmp_path / "log"
    refusal = 'cat > /dev/null; echo "ctr: bad layer" >&2; exit 1'
    script = f'shift 4; echo "$@" >> {log}; case "$2" in import) {refusal};; esac'
    environ = program(tmp_path / "bin", "ctr", script)
    with listening(tmp_path / "c.sock"):
        sink = ContainerdSink(tmp_path / "c.sock", "k8s.io", environ)
        await sink.check()
        wanted = wanted_of(store, one_image())
        with pytest.raises(
            SinkUnavailable, match=r"did not take docker\.io/library/alpine:3: ctr: bad layer"
        ):
            await sink.put(wanted, Content(store))
    by_digest = f"docker.io/library/alpine@{wanted.root.digest}"
    assert log.read_text().splitlines()[-1] == f"images rm {by_digest} {wanted.configs[0].digest}"


async def test_what_had_its_name_before_keeps_it(store: DiskStore, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wanted = wanted_of(store, one_image())
    by_digest = f"docker.io/library/alpine@{wanted.root.digest}"
    script = (
        f'shift 4; echo "$@" >> {log}; case "$2" in ls) echo {by_digest}; echo {wanted.configs[0].digest};; '
    )
    environ = program(tmp_path / "bin", "ctr", f"{script} import) exit 1;; esac")
    with listening(tmp_path / "c.sock"):
        sink = ContainerdSink(tmp_path / "c.sock", "k8s.io", environ)
        await sink.check()
        with pytest.raises(SinkUnavailable):
            await sink.put(wanted, Content(store))
    assert "images rm" not in log.read_text()


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


class Looking:
    """A machine with these sockets, and the CRI on."""

    def __init__(self, *found: Path) -> None:
        self._found = found
        self.asked: list[Path] = []

    def has_socket(self, path: Path) -> bool:
        return path in self._found

    def has_program(self, name: str) -> bool:
        return False

    def has_cri(self, socket: Path) -> bool:
        self.asked.append(socket)
        return True


@pytest.mark.parametrize("path", CONTAINERD_SOCKETS)
def test_containerd_is_found_where_distributions_put_it(path: Path) -> None:
    machine = Looking(path)
    assert detect_sink(machine, ["containerd"]).kind == "containerd"
    assert machine.asked == [path]


def test_a_socket_that_was_named_is_the_only_one_looked_at(tmp_path: Path) -> None:
    named = tmp_path / "c.sock"
    assert detect_sink(Looking(*CONTAINERD_SOCKETS), ["containerd"], containerd_address=named).kind == "store"
    assert detect_sink(Looking(named), ["containerd"], containerd_address=named).kind == "containerd"


# -- Docker -----------------------------------------------------------------------------------------


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Dockerd]:
    server = Dockerd(tmp_path / "d.sock")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def sink_of(dockerd: Dockerd, environ: dict[str, str] | None = None) -> DockerSink:
    sink = DockerSink(dockerd.path, environ or {"PATH": "/nowhere"})
    await sink.check()
    return sink


async def test_an_image_is_sent_whole_and_found_by_its_tag(dockerd: Dockerd, store: DiskStore) -> None:
    wanted = wanted_of(store, one_image())
    await (await sink_of(dockerd)).put(wanted, Content(store))
    assert dockerd.loaded is not None
    assert len(dockerd.loaded) % 512 == 0
    assert b"manifest.json" in dockerd.loaded


async def test_an_error_inside_a_success_is_an_error(dockerd: Dockerd, store: DiskStore) -> None:
    dockerd.answer = b'{"stream":"x"}\r\n{"errorDetail":{"message":"bad tar"},"error":"bad tar"}\r\n'
    with pytest.raises(SinkUnavailable, match=r"Docker did not take docker\.io/library/alpine:3: bad tar"):
        await (await sink_of(dockerd)).put(wanted_of(store, one_image()), Content(store))


async def test_a_full_disk_of_docker_is_told_as_that(dockerd: Dockerd, store: DiskStore) -> None:
    dockerd.answer = b'{"error":"write /var/lib/docker/x: no space left on device"}'
    with pytest.raises(SinkError) as caught:
        await (await sink_of(dockerd)).put(wanted_of(store, one_image()), Content(store))
    assert caught.value.exit_code == 6


async def test_what_docker_names_and_cannot_unpack_loses_its_name(dockerd: Dockerd, store: DiskStore) -> None:
    dockerd.driver = "snap"
    dockerd.answer = (
        b'{"stream":"Loaded image: alpine:3\\n"}\r\n{"stream":"Error unpacking image x: y\\n"}\r\n'
    )
    with pytest.raises(SinkUnavailable, match="Error unpacking image x: y"):
        await (await sink_of(dockerd)).put(wanted_of(store, one_image()), Content(store))
    assert dockerd.asked[-1] == "DELETE /images/docker.io/library/alpine:3?noprune=false"


async def test_the_name_goes_back_to_the_image_that_had_it(dockerd: Dockerd, store: DiskStore) -> None:
    dockerd.driver = "snap"
    dockerd.images["docker.io/library/alpine:3"] = "sha256:old"
    dockerd.answer = b'{"error":"no"}'
    with pytest.raises(SinkUnavailable):
        await (await sink_of(dockerd)).put(wanted_of(store, one_image()), Content(store))
    assert dockerd.asked[-1] == "POST /images/sha256:old/tag?repo=docker.io%2Flibrary%2Falpine&tag=3"


def test_a_body_that_breaks_off_is_not_ended_as_if_it_were_whole(dockerd: Dockerd) -> None:
    def breaks_off(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise StoreError("vanished")

    with pytest.raises(StoreError, match="vanished"):
        Engine(dockerd.path).load(breaks_off, doing="x")
    assert dockerd.loaded is None


async def test_the_classic_store_is_not_given_what_it_would_lose(dockerd: Dockerd, store: DiskStore) -> None:
    sink = await sink_of(dockerd)
    both = index("library/alpine", "3")
    with pytest.raises(SinkUnavailable, match=r"keeps one platform of docker\.io/library/alpine:3, not 2"):
        await sink.put(wanted_of(store, both, AMD64, ARM64), Content(store))
    by_digest = wanted_of(store, both, name=f"alpine@{both.digest}")
    with pytest.raises(SinkUnavailable, match="keeps no digests"):
        await sink.put(by_digest, Content(store))
    assert dockerd.loaded is None


def test_docker_host_names_the_socket_and_nothing_else() -> None:
    assert socket_of({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}) == Path(
        "/run/user/1000/docker.sock"
    )
    assert socket_of({}) == Path("/var/run/docker.sock")
    for other in ("tcp://10.0.0.1:2375", "ssh://me@host", "unix:"):
        with pytest.raises(SinkUnavailable, match="only a unix socket"):
            socket_of({"DOCKER_HOST": other})


# -- podman -----------------------------------------------------------------------------------------


async def test_a_machine_without_podman_is_told() -> None:
    with pytest.raises(SinkUnavailable, match="podman is not here"):
        await PodmanSink({"PATH": "/nowhere"}).check()


async def test_a_podman_that_does_not_work_is_told_in_its_own_words(tmp_path: Path) -> None:
    environ = program(tmp_path / "bin", "podman", "echo 'cannot find newuidmap' >&2; exit 125")
    with pytest.raises(SinkUnavailable, match="podman does not work: cannot find newuidmap"):
        await PodmanSink(environ).check()


async def test_podman_is_fed_the_archive_and_its_refusal_is_told(store: DiskStore, tmp_path: Path) -> None:
    got = tmp_path / "got.tar"
    script = f'case "$1" in load) cat > {got}; echo "Error: no room" >&2; exit 125;; esac'
    sink = PodmanSink(program(tmp_path / "bin", "podman", script))
    await sink.check()
    with pytest.raises(SinkUnavailable, match=r"podman did not take .*: Error: no room"):
        await sink.put(wanted_of(store, one_image()), Content(store))
    assert got.stat().st_size > 2000
