"""Requests that no honest client sends, byte for byte: each is refused in bounded time, or answered
without harm, and the server goes on serving others. None reaches the mirror."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from sampan.oci.digest import Digest
from sampan.server.app import BODY_BYTES_MAX, TICK_SECONDS, TLS_HANDSHAKE_SECONDS
from serving.mirror import LAYER, FakeMirror
from serving.wire import ask, connected, running

ALPINE = "/v2/library/alpine"
LAYER_PATH = f"{ALPINE}/blobs/{Digest.of(LAYER)}"
SHA = "a" * 64


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd/manifests/3",
        "/v2/a/../b/manifests/3",
        "/v2/./x/manifests/3",
        "/v2/a//b/manifests/3",
        "/v2//a/manifests/3",
        "/v2/a/manifests/",
        "/v2/%2e%2e/%2e%2e/etc/manifests/3",
        "/v2/%2e%2e%2f%2e%2e%2fetc/manifests/3",
        "/v2/library%2Falpine/manifests/3",
        "/v2/library/alpine%252f/manifests/3",
        "/v2/library/alpine%00/manifests/3",
        "/v2/library/alpine%0d%0aX-Evil:1/manifests/3",
        "/v2/library/%c0%af/manifests/3",
        "/v2/library/al%e2%80%8bpine/manifests/3",
        "/v2/library/alpine/manifests/3%5c",
        "/v2/Library/alpine/manifests/3",
        "/v2/library/a..b/manifests/3",
        "/v2/library/-a/manifests/3",
        "/v2/library/a___b/manifests/3",
        "/v2/" + "a/" * 1000 + "manifests/3",
        "/v2/" + "a" * 300 + "/manifests/3",
        "/v2/library/alpine/manifests/" + "t" * 129,
        "/v2/library/alpine/manifests/.tag",
        "/v2/library/alpine/manifests/-tag",
        "/v2/library/alpine/manifests/tag@sha256",
        f"/v2/library/alpine/manifests/sha256:{SHA}a",
        f"/v2/library/alpine/blobs/sha256:{SHA[1:]}",
        f"/v2/library/alpine/blobs/sha256:{SHA.upper()}",
        "/v2/library/alpine/blobs/md5:" + "a" * 32,
        "/v2/library/alpine/blobs/sha256:../../x",
        "/v2/library/alpine/blobs/sha256:",
        "/v2/library/alpine/blobs/latest",
        "/v2/user:pw@host/x/manifests/3",
        "/v2/169.254.169.254/x/manifests/3",
        "/v2/0x7f.1/x/manifests/3",
        "/v2/x/manifests/3?ns=169.254.169.254",
        "/v2/x/manifests/3?ns=localhost:6443",
        "/v2/x/manifests/3?ns=a&ns=b",
        "/v2/x/manifests/3?ns=evil/..",
        "/v2/x/manifests/3?ns=" + "a" * 7000,
        "/v2/x/manifests/3?ns=a%0d%0ab",
        "/v2/_catalog?n=99999999999",
    ],
)
async def test_a_bad_path_is_refused_before_the_mirror_is_asked(path: str) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        response = await ask(server, path)
        assert response.status in (400, 404)
        assert response.error["code"] in ("NAME_INVALID", "DIGEST_INVALID", "NAME_UNKNOWN", "UNSUPPORTED")
        assert not any(name.startswith("x-evil") for name in response.headers)
        assert len(response.body) < 2000
    assert not mirror.asked


MALFORMED = {
    "two content lengths": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": (
        b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two hosts": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "a folded header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
    "a negative length": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length in other digits": "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: ٣\r\n\r\n".encode(),
    "a length of 10^30": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1%s\r\n\r\n" % (b"0" * 30),
    "a nul in a header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "a bare carriage return": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\rX-Evil: c\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    "a version of its own": b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bad URL": b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "spaces in the path": b"GET /v2/a b/manifests/3 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a request line of 100 KB": b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header of 100 KB": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAccept: " + b"a" * 100_000 + b"\r\n\r\n",
    "10,000 headers": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.row("19", "23")
@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_not_http_is_refused_and_the_connection_closed(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        async with connected(server) as connection:
            await connection.send(raw)
            response = await connection.receive()
            assert response.status in (400, 405, 431), response
            assert response.headers["connection"] == "close"
            assert response.error["code"] == "UNSUPPORTED"
            assert "x-evil" not in response.headers
            assert b"Traceback" not in response.body
            assert await connection.is_closed()
        assert (await ask(server, "/healthz")).status == 200
    assert not mirror.asked
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xef\xbc\x8f", b"a\\b", b"a\x7f", b"\xe2\x80\xae"])
async def test_a_name_in_other_bytes_than_ascii_is_refused(name: bytes) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server, connected(server) as connection:
        await connection.send(b"GET /v2/" + name + b"/manifests/3 HTTP/1.1\r\nHost: x\r\n\r\n")
        response = await connection.receive()
        assert response.status == 400
        assert response.body.isascii()
    assert not mirror.asked


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused_with_the_methods_that_are_allowed(method: str) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        for path in ("/v2/", LAYER_PATH, "/v2/x/blobs/uploads/", "/metrics"):
            response = await ask(server, path, method=method)
            assert response.status == 405
            assert response.error["code"] == "UNSUPPORTED"
            assert response.headers["allow"] == "GET, HEAD"
    assert not mirror.asked


@pytest.mark.row("21")
async def test_connect_is_refused_and_no_tunnel_opened() -> None:
    async with running(FakeMirror()) as server, connected(server) as connection:
        await connection.send(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert (await connection.receive()).status == 405
        assert await connection.is_closed()


async def test_a_websocket_is_not_opened() -> None:
    async with running(FakeMirror()) as server, connected(server) as connection:
        await connection.send(
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert (await connection.receive()).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
async def test_an_endless_body_is_answered_and_not_read_to_its_end(framing: str) -> None:
    async with running(FakeMirror()) as server, connected(server) as connection:
        await connection.send(f"PUT {LAYER_PATH} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n" if "chunked" in framing else b"x" * 65536
        sent = await connection.send_until_refused(chunk)
        # What the server reads and what the sockets on both sides hold.
        assert sent < BODY_BYTES_MAX + 16 * 1024 * 1024


async def test_the_sender_of_a_body_sees_why_it_was_refused() -> None:
    async with running(FakeMirror()) as server, connected(server) as connection:
        body = b"x" * 500_000
        await connection.send(
            f"PUT {LAYER_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        response = await connection.receive()
        assert response.status == 405
        assert response.headers["connection"] == "close"
        assert await connection.is_closed()


@pytest.mark.row("24")
async def test_a_get_with_a_body_is_answered_and_its_body_is_no_request() -> None:
    mirror = FakeMirror()
    smuggled = f"GET {ALPINE}/manifests/3 HTTP/1.1\r\nHost: x\r\n\r\n"
    async with running(mirror) as server, connected(server) as connection:
        await connection.send(
            f"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n{smuggled}".encode()
        )
        assert (await connection.receive()).status == 200
        assert await connection.is_closed()
    assert not mirror.asked


async def test_a_bad_chunk_ends_the_connection() -> None:
    mirror = FakeMirror()
    async with running(mirror) as server, connected(server) as connection:
        await connection.send(
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"
            + f"GET {ALPINE}/manifests/3 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        response = await connection.receive()
        assert response.headers["connection"] == "close"
        assert await connection.is_closed()
    assert not mirror.asked


@pytest.mark.row("23")
async def test_ten_thousand_requests_at_once_are_answered_in_order_and_a_few_at_a_time() -> None:
    mirror = FakeMirror()
    async with running(mirror) as server, connected(server) as connection:
        request = f"GET {ALPINE}/manifests/none HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        sending = asyncio.create_task(connection.send(request * 10_000))
        await connection.receive()
        await asyncio.sleep(0)
        assert len(mirror.asked) < 1000, "they are not all taken in while nobody reads the answers"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_head_that_never_ends_is_given_up() -> None:
    async with running(FakeMirror(), request_head_seconds=0.05) as server:
        async with connected(server) as connection:
            await connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ")
            await connection.send_until_refused(b"b")
        async with connected(server) as connection:
            assert await connection.is_closed()
        assert (await ask(server, "/healthz")).status == 200


@pytest.mark.row("23")
async def test_hundreds_of_half_open_connections_do_not_keep_others_waiting() -> None:
    async with running(FakeMirror()) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(300):
            idle = await stack.enter_async_context(connected(server))
            await idle.send(b"GET /v2/")
        assert (await ask(server, LAYER_PATH)).body == LAYER


@pytest.mark.row("P8")
async def test_connections_beyond_the_limit_are_told_to_come_back() -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        running(FakeMirror(), connections_max=2) as server,
        connected(server) as first,
        connected(server) as second,
    ):
        for held in (first, second):
            await held.send(request)
            assert (await held.receive()).status == 200
        async with connected(server) as third:
            response = await third.receive()
            assert response.status == 503
            assert response.error["code"] == "UNAVAILABLE"
            assert "retry-after" in response.headers
            assert await third.is_closed()
        await first.send(request)
        assert (await first.receive()).status == 200


async def test_connections_that_come_all_at_once_are_held_to_the_limit_as_well() -> None:
    """The server is busy meanwhile, and takes them in one go."""
    async with running(FakeMirror(), connections_max=2) as server, AsyncExitStack() as opened:
        pairs = [socket.create_connection(server.address) for _ in range(10)]
        for one in pairs:
            opened.callback(one.close)
            one.setblocking(False)
        loop, statuses = asyncio.get_running_loop(), []
        for one in pairs:
            await loop.sock_sendall(one, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            statuses.append((await loop.sock_recv(one, 4096))[9:12])
        assert statuses == [b"200"] * 2 + [b"503"] * 8


@pytest.mark.standstill
async def test_connections_that_never_shook_hands_count_for_as_long_as_they_may_take(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(pem := tmp_path / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    gc.disable()  # which would let go of them sooner or later
    try:
        async with running(FakeMirror(), connections_max=3, tls_cert=str(pem), tls_key=str(pem)) as server:
            for _ in range(3):
                socket.create_connection(server.address).close()
            await asyncio.sleep(TLS_HANDSHAKE_SECONDS + 2 * TICK_SECONDS)
            _, writer = await asyncio.open_connection(*server.address, ssl=context)
            writer.close()
            await writer.wait_closed()
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Original-URL"])
async def test_what_a_client_says_of_proxies_changes_nothing(name: str) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        response = await ask(server, f"{ALPINE}/manifests/3", **{name.replace("-", "_"): "/v2/evil/x"})
        assert response.status == 200
    assert mirror.asked == [("manifest", "docker.io", "library/alpine", "3")]
    assert "link" not in response.headers


async def test_a_hostile_accept_header_is_not_even_parsed() -> None:
    async with running(FakeMirror()) as server:
        response = await ask(server, f"{ALPINE}/manifests/3", Accept="a/b;q=0.1," * 800)
        assert response.status == 200
