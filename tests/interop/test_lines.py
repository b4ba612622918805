"""The shaped lines themselves: who can reach whom, at which rate, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from interop.lines import OWN, Lines, Namespace, lines
from interop.processes import answers, running
from sampan.testing import FakeRegistry, ServerThread

pytestmark = pytest.mark.interop


def rate_of(net: Lines, number: int) -> int:
    """As the kernel has it, in bytes a second."""
    (queue,) = json.loads(net.hosts[number].run("tc", "-json", "qdisc", "show", "dev", "line"))
    rate: int = queue["options"]["rate"]
    return rate


def own_devices() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def inode(namespace: str | int) -> int:
    return os.stat(namespace).st_ino


def test_the_client_reaches_a_host_and_another_host_does_not() -> None:
    with lines(2, mbit=100) as net:
        host, other = net.hosts
        registry = FakeRegistry(host=host.address)
        with host.begun(ServerThread(registry)):
            with net.client.inside():
                assert answers(f"{registry.url}/v2/")
            with other.inside():
                assert not answers(f"{registry.url}/v2/")
        assert registry.connections == 1


def test_a_rate_can_be_changed_while_others_stay() -> None:
    with lines(2, mbit=50) as net:
        assert [rate_of(net, number) for number in (0, 1)] == [6_250_000, 6_250_000]
        net.hosts[1].shape(mbit=1)
        assert [rate_of(net, number) for number in (0, 1)] == [6_250_000, 125_000]


def test_what_a_host_sends_is_counted() -> None:
    with lines(1, mbit=1000) as net:
        host = net.hosts[0]
        before = host.sent_bytes
        with host.inside(), socket.create_server((host.address, 0)) as server:
            with net.client.inside():
                client = socket.create_connection(server.getsockname())
            taken, _ = server.accept()
            with client, taken:
                taken.sendall(bytes(100_000))
                left = 100_000
                while left:
                    left -= len(client.recv(left))
        assert 100_000 < host.sent_bytes - before < 120_000


def test_nothing_is_left_after_an_error() -> None:
    devices, here = own_devices(), inode(OWN)
    seen: list[Namespace] = []

    def fail() -> None:
        with lines(3, mbit=50) as net, net.client.inside():
            seen.extend([net.client, *net.hosts])
            assert inode(OWN) != here
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert inode(OWN) == here
    assert own_devices() == devices
    for namespace in seen:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(namespace.handle)


def test_a_program_begun_inside_stays_there(tmp_path: Path) -> None:
    sleep = running("sleep", ["sleep", "60"], directory=tmp_path, ready=lambda: True)
    with lines(1, mbit=100) as net, net.client.begun(sleep) as process:
        there = inode(f"/proc/{process.popen.pid}/ns/net")
        assert there == inode(net.client.handle)
        assert there != inode(OWN)


def test_a_program_that_fails_inside_says_why() -> None:
    with lines(1, mbit=100) as net, pytest.raises(RuntimeError, match="nowhere"):
        net.client.run("ip", "link", "show", "nowhere")
