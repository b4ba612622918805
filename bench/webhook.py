"""The admission webhook: how many reviews one process answers in a second over TLS, and how late.

The process has one core to itself where there are two: the clients have the other. There is no peer here that
could be run: it is measured against what is asked of it, as quotients of the two.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import trustme

from bench.processor import cpu_seconds
from bench.stage import Stage
from bench.table import Bound, Row
from reviews import item, review
from webhook_process import NAME, RULES, serve, write_certificate

REVIEWS_PER_SECOND = 2000.0  # wanted
P99_MILLISECONDS = 5.0  # wanted
CONNECTIONS = 4  # of three API servers and a fourth: each keeps a few
LOAD_SECONDS = 4.0
PACED_SECONDS = 4.0
TICK_SECONDS = 0.002  # 4 connections, one review each: 2,000 a second
MEASURE = "admission webhook"


@dataclass
class _Seen:
    """Reviews a second of the webhook's processor time; 99th percentiles."""

    rates: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


def measure(stage: Stage) -> list[Row]:
    """Reviews of a pod with three images, over kept TLS connections."""
    directory = stage.directory / "webhook"
    directory.mkdir()
    authority = trustme.CA()
    write_certificate(directory, authority)
    (directory / "sampan.toml").write_text(RULES)
    seen = _Seen()
    with serve(directory) as served, _apart_from(served.process.pid):
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        for _ in range(stage.rounds):
            before = cpu_seconds(served.process.pid)
            answered = _as_many_as_possible(served.port, trust)
            seen.rates.append(answered / (cpu_seconds(served.process.pid) - before))
            with _before_others(served.process.pid):
                seen.late_ms.append(_paced(served.port, trust))
    wanted_rate, wanted_ms = [REVIEWS_PER_SECOND] * stage.rounds, [P99_MILLISECONDS] * stage.rounds
    return [
        Row(
            f"{MEASURE}, a CPU second",
            "wanted",
            "reviews",
            seen.rates,
            wanted_rate,
            Bound("at least", 1),
        ),
        Row(f"{MEASURE}, p99 at 2,000/s", "wanted", "ms", seen.late_ms, wanted_ms, Bound("less than", 1)),
    ]


@contextmanager
def _apart_from(pid: int) -> Iterator[None]:
    """The last core for the webhook, the others for us; one of one core is shared."""
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        last = max(cores)
        os.sched_setaffinity(pid, {last})
        os.sched_setaffinity(0, cores - {last})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _before_others(pid: int) -> Iterator[None]:
    """Both sides go before whatever else the machine does, where that is allowed: what is measured is the
    webhook, not the queue for a core. Together they need less than one."""
    with suppress(PermissionError):
        for each in (pid, 0):
            os.sched_setscheduler(each, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        for each in (pid, 0):
            os.sched_setscheduler(each, os.SCHED_OTHER, os.sched_param(0))


def _request() -> bytes:
    body = json.dumps(review(item("Pod"))).encode()
    head = f"POST /mutate?timeout=2s HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Client:
    """A kept connection. Blocking and as plain as can be: it must cost less than what it measures."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        plain = socket.create_connection((NAME, port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = trust.wrap_socket(plain, server_hostname=NAME)
        self._request = _request()

    def ask(self) -> None:
        """Returns when the whole answer is there."""
        self._socket.sendall(self._request)
        answer = self._socket.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        while len(body) < size:
            body += self._socket.recv(65536)
        if not head.startswith(b"HTTP/1.1 200") or b'"patch"' not in body:
            raise RuntimeError(f"the webhook answered {head!r}")

    def close(self) -> None:
        self._socket.close()


def _with_clients(
    port: int, trust: ssl.SSLContext, run: Callable[[_Client, int], list[float]]
) -> list[float]:
    """What ``run`` returned for each of the connections, in threads, together."""
    clients = [_Client(port, trust) for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(run, clients, range(CONNECTIONS)))
    for client in clients:
        client.close()
    return [value for each in found for value in each]


def _as_many_as_possible(port: int, trust: ssl.SSLContext) -> int:
    deadline = time.perf_counter() + LOAD_SECONDS

    def run(client: _Client, _: int) -> list[float]:
        count = 0
        while time.perf_counter() < deadline:
            client.ask()
            count += 1
        return [count]

    return int(sum(_with_clients(port, trust, run)))


def _paced(port: int, trust: ssl.SSLContext) -> float:
    """The 99th percentile in milliseconds of reviews that come at a steady 2,000 a second, each counted from
    when it should have been sent: waiting for the one before it is waiting too."""
    began = time.perf_counter() + TICK_SECONDS * 10

    def run(client: _Client, number: int) -> list[float]:
        late = []
        for turn in range(int(PACED_SECONDS / TICK_SECONDS)):
            due = began + (turn + number / CONNECTIONS) * TICK_SECONDS
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            client.ask()
            late.append(time.perf_counter() - due)
        return late

    late = sorted(_with_clients(port, trust, run))
    return late[int(len(late) * 0.99)] * 1000
