"""Hosts at the end of slow lines: network namespaces, each joined to the client's by a shaped link.

    with lines(3, mbit=50) as net:
        host = net.hosts[0]
        with host.begun(ServerThread(FakeRegistry(host=host.address, port=80))), net.client.inside():
            subprocess.run(["curl", f"http://{host.address}/v2/"])
        host.shape(mbit=1)

It guarantees that nothing can leave: there is no way from these namespaces to the machine's network or to
loopback outside. They have no names: whatever ends this process, a kill too, the kernel takes them away
once the processes begun in them are gone. What a host sends is shaped, what it receives is not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interop import peers

COMMAND_TIMEOUT_SECONDS = 20.0
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of linux/sched.h; Python has unshare and setns from 3.12 on
OWN = "/proc/thread-self/ns/net"
BURST_BYTES = 64 * 1024  # more than the kernel hands to a link at once, and than 100 Mbit/s carries in a tick
QUEUE_BYTES = 256 * 1024  # 20 ms at 100 Mbit/s
QUEUE = ("burst", BURST_BYTES, "limit", QUEUE_BYTES)
DEVICE = "line"

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, eq=False)
class Namespace:
    """``handle``: an open file that keeps it alive."""

    handle: int

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is there while it lasts: the sockets it opens, and the processes and threads that it
        begins, stay there for good. Not for a part of an event loop's life: its tasks would hop."""
        with _back_again():
            _call("setns", self.handle, NEW_NETWORK)
            yield

    @contextlib.contextmanager
    def begun(self, thing: AbstractContextManager[T]) -> Iterator[T]:
        """``thing`` entered in there, and left from here: a running program, a ServerThread."""
        with contextlib.ExitStack() as stack:
            with self.inside():
                entered = stack.enter_context(thing)
            yield entered

    def run(self, name: str, *words: object) -> str:
        """Standard output of a program in there. Raises RuntimeError with its words when it fails."""
        command = [str(peers.program(name)), *map(str, words)]
        with self.inside():
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True, eq=False)
class Line(Namespace):
    """A host's namespace; at ``address`` the client reaches whatever listens in there."""

    address: str

    def shape(self, *, mbit: float) -> None:
        """From now on it sends no more than that many megabits a second, headers of packets included:
        a body gets 95 % of them."""
        rate = f"{round(mbit * 1000)}kbit"
        self.run("tc", "qdisc", "replace", "dev", DEVICE, "root", "tbf", "rate", rate, *QUEUE)

    @property
    def sent_bytes(self) -> int:
        """Of whole packets, since the line was laid."""
        with self.inside():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        fields = next(line.partition(":")[2] for line in lines if line.strip().startswith(f"{DEVICE}:"))
        return int(fields.split()[8])  # eight fields of what was received stand before


@dataclass(frozen=True, slots=True)
class Lines:
    """The client's namespace, from which every host can be reached, and the hosts'."""

    client: Namespace
    hosts: tuple[Line, ...]


@contextlib.contextmanager
def lines(count: int, *, mbit: float) -> Iterator[Lines]:
    """``count`` hosts (250 at most), each at the end of a line of its own. Raises PeerMissing where this is
    not root."""
    if os.geteuid() != 0:
        raise peers.PeerMissing("shaped lines are network namespaces, which only root may make")
    with contextlib.ExitStack() as stack:
        client = Namespace(_new_namespace(stack))
        client.run("ip", "link", "set", "lo", "up")
        hosts = tuple(_laid(client, number, _new_namespace(stack)) for number in range(1, count + 1))
        for host in hosts:
            host.shape(mbit=mbit)
        yield Lines(client, hosts)


def _laid(client: Namespace, number: int, handle: int) -> Line:
    """A link between the client and a host: the addresses are private ones, known in there alone."""
    host = Line(handle, f"10.231.{number}.2")
    near = f"host{number}"
    there = f"/proc/{os.getpid()}/fd/{handle}"
    client.run("ip", "link", "add", near, "type", "veth", "peer", "name", DEVICE, "netns", there)
    for place, device, address in ((client, near, f"10.231.{number}.1"), (host, DEVICE, host.address)):
        place.run("ip", "address", "add", f"{address}/30", "dev", device)
        place.run("ip", "link", "set", device, "up")
    host.run("ip", "link", "set", "lo", "up")
    return host


def _new_namespace(stack: contextlib.ExitStack) -> int:
    with _back_again():
        _call("unshare", NEW_NETWORK)
        handle = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, handle)
    return handle


@contextlib.contextmanager
def _back_again() -> Iterator[None]:
    """Wherever this thread goes meanwhile."""
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _call("setns", own, NEW_NETWORK)
        finally:
            os.close(own)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
