"""Clients that do harm: rows 18 to 27 of the catalogue, on a whole mirror and by raw sockets.

What the HTTP front makes of bytes that are no request is in tests/faults/test_bad_requests.py; what a Range,
an Accept and a page size may be, in tests/unit/test_headers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from abuse.bounds import ALPINE, CALLS_MAX, MIB, assert_harmless, assert_refused, bounded, files, unasked
from faults.trial import trial
from rig import HUB
from sampan.clock import SystemClock
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.secret import Secret
from sampan.server.app import BODY_BYTES_MAX
from sampan.store.disk import DiskStore
from sampan.store.sweep import remove
from sampan.store.tags import TagStore
from sampan.testing import BasicAuth, FakeRegistry, ManualClock, faults, image, random_layer
from sampan.upstream.host import Host
from serving.wire import Connection, connected
from standstill import quiet

pytestmark = pytest.mark.standstill

MANIFEST = "/v2/library/alpine/manifests/3"
LAYER = ALPINE.layers[0]
BLOB = f"/v2/library/alpine/blobs/{LAYER.digest}"
GET = f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\n".encode()
INJECTION = "%0d%0aX-Evil:%201%0d%0a%0d%0aGET%20/evil%20HTTP/1.1"


async def test_row_18_line_ends_in_paths_and_queries_go_nowhere(tmp_path: Path) -> None:
    served = [
        f"/v2/library/alpine/tags/list?n=1&last={INJECTION}",
        f"/v2/library/alpine/referrers/{ALPINE.digest}?artifactType={INJECTION}",
        f"{MANIFEST}?x={INJECTION}",
    ]
    refused = [
        f"/v2/library/alpine{INJECTION}/manifests/3", f"{MANIFEST}{INJECTION}",
        f"{MANIFEST}?ns=docker.io{INJECTION}",
        f"/v2/{INJECTION}/x/manifests/3", f"/{INJECTION}",
    ]  # fmt: skip
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            for target in (*served, *refused):
                answer = await endured.ask(target)
                assert answer.status == 200 if target in served else answer.status in (400, 404)
                assert not any("evil" in f"{name}: {value}".lower() for name, value in answer.headers.items())
            assert_harmless(endured.written())
        for request in host.requests:
            assert "evil" not in f"{request.target} {request.headers}".lower()


@pytest.mark.parametrize(
    "name", ["User-Agent", "X-Sampan-Loop", "If-None-Match", "Range", "Accept", "Authorization"]
)
async def test_row_18_what_is_in_a_header_is_not_passed_on(tmp_path: Path, name: str) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            value = "evil \x85 \xff, evil/evil;q=1"
            answer = await endured.ask(MANIFEST, **{name.replace("-", "_"): value})
            assert answer.status == 200
            assert "evil" not in str(answer.headers)
            assert_harmless(endured.written())
        assert "evil" not in str([request.headers for request in host.requests])


TWO_READINGS = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "two lengths in one": b"Content-Length: 0, 44\r\n\r\n",
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and something": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked by another name": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked behind a tab": b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 44\r\n\r\n",
    "a length of hexadecimal digits": b"Content-Length: 0x2c\r\n\r\n",
    "a length with a sign": b"Content-Length: +44\r\n\r\n",
    "a length with an underscore": b"Content-Length: 4_4\r\n\r\n",
    "a length that is folded": b"Content-Length:\r\n 44\r\n\r\n",
    "a chunk of no number": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk of a negative number": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk beyond all numbers": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "two hosts": b"Host: y\r\n\r\n",
    "a header without a name": b": x\r\n\r\n",
    "a header without a colon": b"Content-Length\r\n\r\n",
    "a NUL": b"A: b\0\r\n\r\n",
    "a bare carriage return": b"A: b\rContent-Length: 44\r\n\r\n",
    "a bare line feed": b"A: b\nContent-Length: 44\n\n",
    "a name in other letters": "Content-Length\u00ad: 44\r\n\r\n".encode(),
}


async def answers(connection: Connection) -> list[int]:
    """The status of each answer, until the connection ends."""
    found = []
    while True:
        try:
            found.append((await connection.receive()).status)
        except (asyncio.IncompleteReadError, ConnectionError):
            return found


@pytest.mark.parametrize("rest", TWO_READINGS.values(), ids=TWO_READINGS.keys())
async def test_row_19_what_may_be_read_in_two_ways_ends_the_connection(tmp_path: Path, rest: bytes) -> None:
    """What follows, which another reader could take for a request of its own, is never answered."""
    async with unasked(tmp_path, calls_max=2 * CALLS_MAX) as endured, connected(endured.server) as connection:
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + rest + GET + b"\r\n")
        assert await answers(connection) == [400]


async def test_row_19_digits_of_other_scripts_are_none(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            for digits in ("٣-", "３-5", "0-९"):
                answer = await endured.ask(BLOB, Range="bytes=" + digits.encode().decode("latin-1"))
                assert (answer.status, answer.body) == (200, LAYER.read())


RANGES = {
    "bytes=500-0": 416, "bytes=-0": 416, f"bytes={10**30}-": 416,
    "bytes=5-": 206, "bytes=0-0": 206, f"bytes=0-{10**30}": 206, f"bytes=-{10**30}": 206,
    "bytes=0-0,5-9": 200, "bytes=" + "0-0," * 4000: 200, "bytes=-": 200, "bytes=": 200, "bytes=--1": 200,
    "bytes=" + "9" * 16_000 + "-": 200, "bytes=0-0-0": 200, "items=0-1": 200,
}  # fmt: skip


async def test_row_20_any_range_is_one_a_refusal_or_all(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
            for header, status in RANGES.items():
                with bounded(calls_max=CALLS_MAX):
                    answer = await endured.ask(BLOB, Range=header)
                assert answer.status == status, header[:50]
                if status == 416:
                    assert answer.headers["content-range"] == f"bytes */{LAYER.size}"
                else:
                    assert answer.body in LAYER.read()
                    assert status == 206 or answer.body == LAYER.read()


async def test_row_21_nothing_is_written_by_any_method(tmp_path: Path) -> None:
    methods = ("PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "MKCOL", "PROPFIND", "get")
    targets = (
        "/v2/",
        MANIFEST,
        BLOB,
        "/v2/x/blobs/uploads/",
        "/v2/library/alpine/blobs/uploads/?mount=x&from=y",
    )
    async with unasked(tmp_path, requests=len(methods) * len(targets)) as endured:
        for method in methods:
            for target in targets:
                answer = await endured.ask(target, method=method)
                assert (answer.status, answer.error["code"]) in (
                    (405, "UNSUPPORTED"),
                    (400, "UNSUPPORTED"),
                ), method
    async with unasked(tmp_path / "other") as endured, connected(endured.server) as connection:
        await connection.send(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"\r\n")
        assert await answers(connection) == [405]


@pytest.mark.parametrize("framing", [f"Content-Length: {10**12}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_row_24_a_body_without_end_is_left(tmp_path: Path, framing: str, method: str) -> None:
    """Row 21 as well: what is written to a mirror is read no further than so that its sender sees why not."""
    async with FakeRegistry("host", strict=True) as host, trial(tmp_path, [host]) as endured:
        before = files(tmp_path)
        with bounded(calls_max=200_000, bytes_max=24 * MIB):
            async with connected(endured.server) as connection:
                await connection.send(f"{method} /v2/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
                piece = b"10000\r\n" + bytes(65536) + b"\r\n" if "chunked" in framing else bytes(65536)
                sent = await connection.send_until_refused(piece)
        assert sent < BODY_BYTES_MAX + 16 * MIB  # and what the sockets of both sides hold
        assert files(tmp_path) == before


@pytest.mark.parametrize(
    "query", ["n=99999999999", "n=-1", "n=abc", "n=" + "9" * 4000, "n=1e9", "n=0", "n=%00"]
)
async def test_row_22_a_number_of_tags_takes_no_memory(tmp_path: Path, query: str) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            await endured.ask("/v2/library/alpine/tags/list")
            with bounded(calls_max=10 * CALLS_MAX, bytes_max=4 * MIB):
                answer = await endured.ask(f"/v2/library/alpine/tags/list?{query}")
                assert answer.status == 200
                assert answer.body.count(b'"3"') == (query != "n=0")
                assert_refused(await endured.ask(f"/v2/_catalog?{query}"), "UNSUPPORTED", "NAME_UNKNOWN")


TOO_MUCH = {
    "a request line of 100 KB": b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a request line without end": b"GET /v2/" + b"a" * 1_000_000,
    "10,000 headers": GET + b"A: b\r\n" * 10_000 + b"\r\n",
    "a header of 1 MB": GET + b"A: " + b"b" * 1_000_000 + b"\r\n\r\n",
    "the name of a header of 1 MB": GET + b"A" * 1_000_000 + b": b\r\n\r\n",
    "a method of 1 MB": b"G" * 1_000_000 + b" /v2/ HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("raw", TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_row_23_heads_that_are_too_long(tmp_path: Path, raw: bytes) -> None:
    async with unasked(tmp_path, calls_max=40_000, bytes_max=8 * MIB) as endured:
        async with connected(endured.server) as connection:
            with contextlib.suppress(ConnectionError):
                await connection.send(raw)
            assert await answers(connection) in ([400], [431], [])
        assert (await endured.ask("/healthz")).status == 200


async def test_row_23_a_byte_a_second_is_given_half_a_minute(tmp_path: Path) -> None:
    async with unasked(tmp_path, calls_max=40_000) as endured, connected(endured.server) as connection:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ")
        with contextlib.suppress(ConnectionError):
            while not connection.reader.at_eof():
                await connection.send(b"b")
                await asyncio.sleep(1.0)
                assert loop.time() - began < 40.0
        assert loop.time() - began > 20.0


async def test_row_23_ten_thousand_requests_in_one_breath(tmp_path: Path) -> None:
    """All are answered. That they are not all taken in at once is in tests/faults/test_bad_requests.py."""
    async with FakeRegistry("host", strict=True) as host, trial(tmp_path, [host]) as endured:
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        async with connected(endured.server) as connection:
            sending = asyncio.create_task(connection.send(request * 10_000))
            for _ in range(10_000):
                assert (await connection.receive()).status == 200
            await sending


async def test_row_25_what_a_client_accepts_changes_nothing(tmp_path: Path) -> None:
    hostile = [
        "a/b;q=0.1," * 1500,
        ";" * 16_000,
        "*/*;q=" + "9" * 16_000,
        "\xff" * 1000,
        "application/vnd.evil+json",
        "",
    ]
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
            for accept in hostile:
                with bounded(calls_max=CALLS_MAX):
                    answer = await endured.ask(MANIFEST, Accept=accept)
                assert (answer.status, answer.body) == (200, ALPINE.raw)
                assert answer.headers["content-type"] == ALPINE.manifest.media_type
            assert (await endured.ask(MANIFEST, Accept="a/b," * 250_000)).status == 431


USER, PASSWORD = "robot", "correct-horse-battery"
OTHER = "harbor.example"


async def test_row_26_private_content_is_for_who_may_use_the_mirror(tmp_path: Path) -> None:
    """All clients of a mirror are equal, and content by digest is the same whatever it is called: who may ask
    may have what the mirror has. Nobody may ask by the name of a registry that is not configured."""
    secret = image("team/secret", "1", layers=[random_layer(7, 20_000)])
    async with (
        FakeRegistry("private", auth=BasicAuth({USER: PASSWORD})) as private,
        FakeRegistry("public", host="127.0.0.2", strict=True) as public,
    ):
        private.add(secret)
        hosts = {
            OTHER: [Host.from_url(private.url, username=USER, password=Secret(PASSWORD))],
            HUB: [Host.from_url(public.url)],
        }
        async with trial(tmp_path, hosts) as endured:
            blob = secret.layers[0]
            mine = await endured.ask(f"/v2/team/secret/blobs/{blob.digest}?ns={OTHER}")
            assert (mine.status, mine.body) == (200, blob.read())
            shared = await endured.ask(f"/v2/library/alpine/blobs/{blob.digest}?ns={HUB}")
            assert (shared.status, shared.body) == (200, blob.read())
            await endured.ask(f"/v2/team/secret/manifests/1?ns={OTHER}")
            foreign = await endured.ask(f"/v2/team/secret/blobs/{blob.digest}?ns=elsewhere.example")
            assert_refused(foreign, "NAME_UNKNOWN")
            by_path = await endured.ask(f"/v2/elsewhere.example/team/secret/manifests/{secret.digest}")
            assert_refused(by_path, "NAME_UNKNOWN")
        assert public.connections == 0


async def test_row_26_whoever_may_not_use_the_mirror_gets_nothing_of_it(tmp_path: Path) -> None:
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("robot:$2b$04$bVRkTkqv1UKMIMq4mqpmZOE7Wnm2wTKvoLJ3ZkO0hAYqiOPBoQNZO\n")
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
        async with trial(tmp_path, [host], settings={"htpasswd": str(htpasswd)}) as endured:
            host.requests.clear()
            for target in (MANIFEST, BLOB, f"/v2/x/manifests/{ALPINE.digest}", "/v2/"):
                answer = await endured.ask(target)
                assert (answer.status, answer.error["code"]) == (401, "UNAUTHORIZED")
                assert answer.body.count(b"sha256") == 0
        assert not host.requests


async def test_row_27_a_tag_that_its_hosts_deny_is_no_longer_served_when_it_may_not_be_stale(
    tmp_path: Path,
) -> None:
    """``tags.stale_for`` says for how long: what is denied is then not found, whatever is in the store."""
    clock = ManualClock()
    policy = TagPolicy(fresh_for_seconds=60.0, stale_for_seconds=0.0)
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host], policy=policy, clock=clock) as endured:
            await endured.pull(ALPINE)
            host.script(faults.denied())
            clock.advance(61)
            answer = await endured.ask(MANIFEST)
            assert (answer.status, answer.error["code"]) == (404, "MANIFEST_UNKNOWN")


async def test_row_27_what_is_removed_from_the_store_is_not_remembered(tmp_path: Path) -> None:
    """By another process, as ``sampan store remove`` is one: neither by tag nor by digest, from no memory."""
    clock = Later()
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host], store_clock=clock) as endured:
            await endured.pull(ALPINE)
            await quiet()  # a client has the last byte before the file has its name
            host.script(faults.denied())
            await asyncio.to_thread(removed, tmp_path / "store")
            clock.passed_seconds += 3.0
            for target in (MANIFEST, BLOB, f"/v2/library/alpine/manifests/{ALPINE.digest}"):
                answer = await endured.ask(target)
                assert answer.status == 404, (target, answer)


def removed(path: Path) -> None:
    """What ``sampan store remove`` does, in a store of its own on the same directory."""
    store, tags = DiskStore(path, SystemClock()), TagStore(path / "tags", SystemClock())
    try:
        _, outcomes = remove(store, tags, [(Digest.parse(ALPINE.digest), None)])
        assert all(outcome.is_removed for outcome in outcomes)
    finally:
        tags.close()
        store.close()


class Later(SystemClock):
    """The machine's time; what has passed is as a test says."""

    passed_seconds = 0.0

    def monotonic(self) -> float:
        return self.passed_seconds


async def test_row_27_a_registry_that_is_no_longer_configured_is_not_served(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        both = {HUB: [Host.from_url(host.url)], OTHER: [Host.from_url(host.url)]}
        async with trial(tmp_path, both) as endured:
            assert (await endured.ask(f"{MANIFEST}?ns={OTHER}")).status == 200
        async with trial(tmp_path, {HUB: both[HUB]}) as endured:
            for target in (MANIFEST, BLOB, f"/v2/library/alpine/manifests/{ALPINE.digest}"):
                assert_refused(await endured.ask(f"{target}?ns={OTHER}"), "NAME_UNKNOWN")
