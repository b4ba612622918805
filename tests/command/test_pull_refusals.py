"""What `sampan pull` cannot do, by the command: why, what to do about it, the code, and nothing half done."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import mounted
from pulling import AMD64, ENDS_SECONDS, Machine
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, ServerThread, image, random_layer

MIB = 1024 * 1024
SINKS = ["oci-archive:full/a.tar", "docker-archive:full/a.tar", "oci:full/lay"]


@pytest.fixture(scope="module")
def host() -> Iterator[FakeRegistry]:
    host = FakeRegistry("host")
    host.add(image("library/alpine", "3"))
    host.add(image("library/large", "1", layers=[random_layer(1, 3 * MIB)]))
    with ServerThread(host):
        yield host


@pytest.fixture
def machine(tmp_path: Path, host: FakeRegistry) -> Machine:
    return Machine(tmp_path, host.url)


def asked(machine: Machine, *words: str, without_rights: bool = False) -> subprocess.CompletedProcess[str]:
    """The command; ``without_rights``: as somebody for whom the modes of files hold, be it root."""
    command = machine.command(*words, *AMD64)
    if without_rights and os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--", *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=machine.directory,
        env={**machine.environ, "PATH": os.environ["PATH"]} if without_rights else machine.environ,
        timeout=ENDS_SECONDS,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], code: int, error: str, hint: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert any(line.startswith("error: ") and error in line for line in lines), done.stderr
    assert any(line.startswith("hint: ") and hint in line for line in lines), done.stderr


# -- the runtime ------------------------------------------------------------------------------------


def test_a_runtime_that_is_not_here_is_told_before_anything_is_asked(
    tmp_path: Path, host: FakeRegistry
) -> None:
    nowhere = tmp_path / "none.sock"
    machine = Machine(tmp_path, host.url, variables={"DOCKER_HOST": f"unix://{nowhere}"})
    before = len(host.requests)
    check(
        asked(machine, "alpine:3", "--to", "docker"),
        7,
        f"Docker is not here: no socket {nowhere}",
        "DOCKER_HOST",
    )
    words = ("alpine:3", "--to", "containerd", "--containerd-address", str(nowhere))
    check(asked(machine, *words), 7, f"containerd is not here: no socket {nowhere}", "--containerd-address")
    check(asked(machine, "alpine:3", "--to", "podman"), 7, "podman is not here", "install it")
    assert len(host.requests) == before


def test_a_socket_without_permission_is_told_with_who_may(tmp_path: Path, host: FakeRegistry) -> None:
    path = tmp_path / "d.sock"
    machine = Machine(tmp_path, host.url, variables={"DOCKER_HOST": f"unix://{path}"})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        done = asked(machine, "alpine:3", "--to", "docker", without_rights=True)
        check(done, 7, f"no permission for Docker's socket {path}", "root")
        words = ("alpine:3", "--to", "containerd", "--containerd-address", str(path))
        done = asked(machine, *words, without_rights=True)
        check(done, 7, f"no permission for containerd's socket {path}", "root")


def test_an_engine_that_does_not_run_is_told_with_how_to_start_it(tmp_path: Path, host: FakeRegistry) -> None:
    path = tmp_path / "d.sock"
    machine = Machine(tmp_path, host.url, variables={"DOCKER_HOST": f"unix://{path}"})
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    check(asked(machine, "alpine:3", "--to", "docker"), 7, "Docker is not running", "systemctl start docker")


def test_an_engine_elsewhere_is_told_with_what_to_do_instead(tmp_path: Path, host: FakeRegistry) -> None:
    machine = Machine(tmp_path, host.url, variables={"DOCKER_HOST": "tcp://10.0.0.1:2375"})
    done = asked(machine, "alpine:3", "--to", "docker")
    check(done, 7, "DOCKER_HOST is tcp://10.0.0.1:2375", "docker-archive:FILE")


# -- the disk under the sink ------------------------------------------------------------------------


@pytest.mark.parametrize("sink", SINKS)
def test_a_full_disk_leaves_nothing_that_looks_whole_and_nothing_is_fetched_again(
    machine: Machine, host: FakeRegistry, sink: str
) -> None:
    place = machine.directory / "full"
    with mounted(place, "size=1m"):
        done = asked(machine, "large:1", "--to", sink)
        check(done, 6, "No space left on device", "make room there, then pull again")
        if sink.startswith("oci:"):
            assert json.loads((place / "lay/index.json").read_bytes())["manifests"] == []
            assert_store_is_sound(place / "lay")
        else:
            assert list(place.iterdir()) == []
    before = host.count(kind="blob")
    place.rmdir()
    place.mkdir()
    assert asked(machine, "large:1", "--to", sink).returncode == 0
    assert host.count(kind="blob") == before


@pytest.mark.parametrize("sink", SINKS)
def test_a_read_only_disk_is_told_before_anything_is_asked(
    machine: Machine, host: FakeRegistry, sink: str
) -> None:
    before = len(host.requests)
    with mounted(machine.directory / "full", "ro"):
        check(asked(machine, "large:1", "--to", sink), 6, "Read-only file system", "choose another place")
    assert len(host.requests) == before


@pytest.mark.parametrize("sink", SINKS)
def test_a_directory_of_somebody_else_is_told_before_anything_is_asked(
    machine: Machine, host: FakeRegistry, sink: str
) -> None:
    before = len(host.requests)
    (machine.directory / "full").mkdir(mode=0o555)
    done = asked(machine, "alpine:3", "--to", sink, without_rights=True)
    check(done, 6, "Permission denied", "may not write there")
    assert len(host.requests) == before


def test_a_store_that_is_full_is_told_by_itself(machine: Machine) -> None:
    with mounted(machine.directory / "disk", "size=1m"):
        done = asked(machine, "large:1", "--store", "disk/store", "--to", "oci-archive:a.tar")
        assert done.returncode == 6, done.stderr
        assert "a.tar was not written" in done.stderr
    assert not (machine.directory / "a.tar").exists()


# -- names ------------------------------------------------------------------------------------------


def test_a_lock_that_lacks_the_reference_is_told_and_nobody_is_asked(
    machine: Machine, host: FakeRegistry
) -> None:
    (machine.directory / "sampan.lock").write_text("version = 2\n")
    before = len(host.requests)
    done = asked(machine, "alpine:3", "--to", "store", "--lock", "sampan.lock")
    check(
        done, 3, "docker.io/library/alpine:3 is not in the lock that is in force here", "sampan lock create"
    )
    assert len(host.requests) == before
    done = asked(machine, "alpine:3", "--to", "store", "--lock", "none.lock")
    check(done, 2, "none.lock: no such file", "sampan lock create REFERENCE writes one")


def test_a_registry_that_is_not_configured_is_told_with_the_table_to_add(machine: Machine) -> None:
    done = asked(machine, "quay.io/a/b:1", "--to", "store")
    check(done, 3, "the registry quay.io is not configured here", '[registry."quay.io"]')


def test_something_that_is_there_is_told_before_anything_is_asked(
    machine: Machine, host: FakeRegistry
) -> None:
    before = len(host.requests)
    (machine.directory / "a.tar").mkdir()
    (machine.directory / "lay").mkdir()
    (machine.directory / "lay" / "mine").touch()
    check(asked(machine, "alpine:3", "--to", "oci-archive:a.tar"), 2, "a.tar exists", "choose another name")
    check(
        asked(machine, "alpine:3", "--to", "oci:lay"), 2, "lay is not empty and no OCI layout", "new or empty"
    )
    assert len(host.requests) == before


def test_two_pulls_into_one_archive_do_not_write_over_each_other(
    machine: Machine, host: FakeRegistry
) -> None:
    growing = machine.directory / ".a.tar.sampan-part"
    with growing.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = asked(machine, "alpine:3", "--to", "oci-archive:a.tar")
        check(done, 2, "another pull is writing a.tar", "wait for it")
