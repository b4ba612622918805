"""The server on real sockets: what clients see, and what happens when they or the hosts leave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from sampan.errors import AllHostsFailed, Attempt, ConfigError, StoreError
from sampan.oci.digest import Digest
from sampan.server.app import Server
from sampan.server.contract import MirrorApi
from sampan.server.lifecycle import serve
from sampan.server.settings import ServerSettings
from sampan.testing import ManualClock
from serving.mirror import CONFIG, LAYER, FakeMirror
from serving.wire import ask, connected, running

ALPINE = "/v2/library/alpine"
LAYER_PATH = f"{ALPINE}/blobs/{Digest.of(LAYER)}"
BIG = bytes(range(256)) * 4 * 4096  # 4 MiB: more than socket buffers hold


async def test_an_image_is_pulled_over_one_connection() -> None:
    mirror = FakeMirror()
    async with running(mirror) as server, connected(server) as connection:
        for path, content in (
            ("/v2/", b"{}"),
            (f"{ALPINE}/manifests/3", mirror.image.raw),
            (f"{ALPINE}/blobs/{Digest.of(CONFIG)}", CONFIG),
            (LAYER_PATH, LAYER),
        ):
            await connection.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            response = await connection.receive()
            assert (response.status, response.body) == (200, content)
            assert "connection" not in response.headers
            assert "date" in response.headers
    assert [blob.closed for blob in mirror.given] == [1, 1]
    assert mirror.closed


async def test_a_head_is_followed_by_no_body() -> None:
    async with running(FakeMirror()) as server, connected(server) as connection:
        for path in (f"{ALPINE}/manifests/3", LAYER_PATH, f"{ALPINE}/manifests/none", "/healthz"):
            await connection.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert int((await connection.receive(is_head=True)).headers["content-length"]) > 0
        await connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.receive()).body == b"{}"


async def test_a_client_of_http_1_0_gets_its_answer_and_the_end() -> None:
    async with running(FakeMirror()) as server:
        async with connected(server) as connection:
            await connection.send(f"GET {LAYER_PATH} HTTP/1.0\r\n\r\n".encode())
            assert (await connection.receive()).body == LAYER
            assert await connection.is_closed()
        async with connected(server) as connection:
            for _ in range(2):
                await connection.send(b"GET /v2/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (await connection.receive()).headers["connection"] == "keep-alive"


async def test_a_range_is_sent_alone() -> None:
    async with running(FakeMirror()) as server:
        response = await ask(server, LAYER_PATH, Range="bytes=100-299")
        assert (response.status, response.body) == (206, LAYER[100:300])


async def test_a_blob_that_arrives_in_pieces_is_streamed() -> None:
    mirror = FakeMirror()
    digest = mirror.add_blob(BIG, stride=100_000, source="a.example")
    async with running(mirror) as server:
        response = await ask(server, f"{ALPINE}/blobs/{digest}")
        assert hashlib.sha256(response.body).hexdigest() == digest.hex
        assert response.headers["x-sampan-source"] == "a.example"
        response = await ask(server, f"{ALPINE}/blobs/{digest}", Range="bytes=1000000-3999999")
        assert response.body == BIG[1_000_000:4_000_000]


async def test_a_blob_of_no_bytes_is_complete() -> None:
    mirror = FakeMirror()
    digest = mirror.add_blob(b"")
    async with running(mirror) as server:
        response = await ask(server, f"{ALPINE}/blobs/{digest}")
        assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("error", [AllHostsFailed("x", []), StoreError("disk"), OSError(5, "I/O error")])
async def test_an_answer_that_cannot_be_completed_is_cut_short(error: Exception) -> None:
    async def fail(position: int) -> None:
        if position:
            raise error

    mirror = FakeMirror()
    digest = mirror.add_blob(BIG, stride=1_000_000, before=fail)
    async with running(mirror) as server, connected(server) as connection:
        await connection.send(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = await connection.receive()
        assert response.status == 200
        assert not response.complete
        assert len(response.body) <= 1_000_000
        assert b"sampan_answers_cut_total 1.0" in (await ask(server, "/metrics")).body
    assert [blob.closed for blob in mirror.given] == [1]


async def test_a_file_that_is_shorter_than_its_blob_is_no_quiet_end() -> None:
    mirror = FakeMirror()
    digest = mirror.add_blob(LAYER, short_by=10)
    async with running(mirror) as server, connected(server) as connection:
        await connection.send(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = await connection.receive()
        assert not response.complete
        assert await connection.is_closed()


async def test_a_client_that_leaves_takes_nobody_with_it() -> None:
    go_on = asyncio.Event()

    async def wait(position: int) -> None:
        if position:
            await go_on.wait()

    mirror = FakeMirror()
    digest = mirror.add_blob(BIG, stride=1_000_000, before=wait)
    request = f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with running(mirror) as server, connected(server) as staying:
        async with connected(server) as leaving:
            await leaving.send(request)
            await leaving.reader.readexactly(1000)
            await staying.send(request)
            await staying.reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            while [blob.closed for blob in mirror.given].count(1) < 1:
                await asyncio.sleep(0)
        go_on.set()
        assert await staying.reader.readexactly(len(BIG)) == BIG
        assert b"sampan_clients_left_total 1.0" in (await ask(server, "/metrics")).body


async def test_a_client_that_leaves_while_waiting_ends_its_request() -> None:
    mirror = FakeMirror()
    mirror.wait = asyncio.Event()
    async with running(mirror) as server:
        async with connected(server) as connection:
            await connection.send(f"GET {LAYER_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            async with asyncio.timeout(5):
                while not mirror.asked:
                    await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while server.front._serving.in_flight:
                await asyncio.sleep(0)


async def test_a_client_that_takes_no_bytes_is_dropped_but_not_before_the_limit() -> None:
    mirror = FakeMirror()
    digest = mirror.add_blob(BIG * 4)
    clock = ManualClock()
    async with running(mirror, clock=clock) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(server.address)
            client.sendall(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            async with asyncio.timeout(5):
                while not server.stalls._waiting:
                    await asyncio.sleep(0.001)
            assert server.stalls.sweep() == 0
            clock.advance(299.0)
            server.stalls.sweep()
            clock.advance(2.0)
            server.stalls.sweep()
            clock.advance(300.0)
            server.stalls.sweep()
            async with asyncio.timeout(5):
                while server.front._serving.in_flight:
                    await asyncio.sleep(0)
    assert [blob.closed for blob in mirror.given] == [1]


async def test_an_unexpected_error_is_a_500_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    mirror = FakeMirror()
    mirror.error = ZeroDivisionError("secret detail")
    async with running(mirror) as server:
        response = await ask(server, f"{ALPINE}/manifests/3")
        assert response.status == 500
        assert response.error["code"] == "UNKNOWN"
        assert b"secret" not in response.body
        assert b"Traceback" not in response.body
    assert "secret detail" in caplog.text


async def test_health_and_readiness() -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        assert (await ask(server, "/healthz")).body == b"ok\n"
        assert (await ask(server, "/readyz")).status == 200
        mirror.store.error = StoreError("cannot write to /store: Read-only file system")
        response = await ask(server, "/readyz")
        assert response.status == 503
        assert "Read-only" in response.error["message"]
        assert (await ask(server, "/healthz")).status == 200
        assert (await ask(server, "/metrics")).status == 200


async def test_there_is_nothing_outside_the_api() -> None:
    async with running(FakeMirror()) as server:
        for path in ("/", "/index.html", "/V2/", "/metrics/", "/v1/_ping"):
            response = await ask(server, path)
            assert response.status == 404, path
            assert response.error["code"] == "NAME_UNKNOWN"


async def test_a_whole_url_as_the_request_target_is_understood() -> None:
    async with running(FakeMirror()) as server:
        assert (await ask(server, f"http://elsewhere.example{LAYER_PATH}")).body == LAYER


@pytest.mark.row("P7")
async def test_the_mirror_is_replaced_while_the_old_one_ends_its_requests() -> None:
    go_on = asyncio.Event()

    async def wait(position: int) -> None:
        if position:
            await go_on.wait()

    old, new = FakeMirror(), FakeMirror()
    digest = old.add_blob(BIG, stride=1_000_000, before=wait)
    async with running(old) as server, connected(server) as connection:
        await connection.send(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await connection.reader.readuntil(b"\r\n\r\n")
        server.replace_mirror(new)
        assert (await ask(server, LAYER_PATH)).body == LAYER
        assert len(new.asked) == 1
        assert not old.closed
        go_on.set()
        assert await connection.reader.readexactly(len(BIG)) == BIG
        async with asyncio.timeout(5):
            while not old.closed:
                await asyncio.sleep(0)
        assert not new.closed
    assert new.closed


async def test_stopping_waits_for_answers_under_way_and_takes_no_more() -> None:
    go_on = asyncio.Event()

    async def wait(position: int) -> None:
        if position:
            await go_on.wait()

    mirror = FakeMirror()
    digest = mirror.add_blob(BIG, stride=1_000_000, before=wait)
    server = Server(mirror, ServerSettings(port=0))
    await server.start()
    address = server.address
    async with connected(server) as busy, connected(server) as idle:
        await busy.send(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await busy.reader.readuntil(b"\r\n\r\n")
        stopping = asyncio.create_task(server.stop(grace_seconds=5.0))
        assert await idle.is_closed()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)
        assert not mirror.closed
        go_on.set()
        assert await busy.reader.readexactly(len(BIG)) == BIG
        await stopping
    assert mirror.closed


@pytest.mark.row("X4")
async def test_a_request_that_outlasts_the_grace_is_cut() -> None:
    mirror = FakeMirror()
    mirror.wait = asyncio.Event()
    async with running(mirror) as server:
        connection = await asyncio.open_connection(*server.address)
        connection[1].write(f"GET {LAYER_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(5):
            while not mirror.asked:
                await asyncio.sleep(0)
        await server.stop(grace_seconds=0.01)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await connection[0].readexactly(1)
        connection[1].close()


async def test_signals_reload_and_stop() -> None:
    first, second = FakeMirror(), FakeMirror()
    outcomes = [ConfigError("sampan.toml:3: unknown key"), None]
    reloaded = asyncio.Event()

    async def reload() -> tuple[MirrorApi, ServerSettings]:
        reloaded.set()
        error = outcomes.pop(0)
        if error:
            raise error
        return second, ServerSettings()

    started = asyncio.Event()
    server = Server(first, ServerSettings(port=0))
    task = asyncio.create_task(serve(server, reload=reload, started=lambda _: started.set()))
    async with asyncio.timeout(5):
        await started.wait()
        for mirror in (first, second):
            reloaded.clear()
            os.kill(os.getpid(), signal.SIGHUP)
            await reloaded.wait()
            await ask(server, LAYER_PATH)
            assert len(mirror.asked) == 1
        metrics = (await ask(server, "/metrics")).body
        assert b'sampan_reloads_total{outcome="failed"} 1.0' in metrics
        assert b'sampan_reloads_total{outcome="ok"} 1.0' in metrics
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert first.closed
    assert second.closed


async def test_a_new_mirror_that_may_not_serve_is_closed_again() -> None:
    first, second = FakeMirror(), FakeMirror()

    async def reload() -> tuple[MirrorApi, ServerSettings]:
        return second, ServerSettings()  # asks for no login, on an address open to others

    started = asyncio.Event()
    server = Server(first, ServerSettings(host="0.0.0.0", port=0, anonymous=True))
    task = asyncio.create_task(serve(server, reload=reload, started=lambda _: started.set()))
    async with asyncio.timeout(5):
        await started.wait()
        os.kill(os.getpid(), signal.SIGHUP)
        while not second.closed:
            await asyncio.sleep(0)
        assert not first.closed
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert first.closed


async def test_an_address_in_use_is_an_error_for_people() -> None:
    async with running(FakeMirror()) as server:
        other = Server(FakeMirror(), ServerSettings(port=server.address[1]))
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:"):
            await other.start()
        await other.stop(0)


async def test_tls_serves_the_same_bytes_and_nothing_older_than_1_2(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    mirror = FakeMirror()
    digest = mirror.add_blob(BIG, stride=3_000_000)
    async with running(mirror, tls_cert=cert, tls_key=key) as server:
        assert server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        reader, writer = await asyncio.open_connection(*server.address, ssl=context)
        writer.write(f"GET {ALPINE}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(BIG)) == BIG
        writer.close()
        await writer.wait_closed()
        assert server._tls is not None
        assert server._tls.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_certificate_that_cannot_be_read_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot load the certificate"):
        Server(FakeMirror(), ServerSettings(tls_cert=str(tmp_path / "a"), tls_key=str(tmp_path / "b")))


async def test_errors_reach_the_client_as_the_specs_json() -> None:
    mirror = FakeMirror()
    mirror.error = AllHostsFailed("x", [Attempt("a.example", "server-error", 0.5, 502)])
    async with running(mirror) as server:
        response = await ask(server, f"{ALPINE}/manifests/3")
        assert response.status == 503
        assert response.headers["content-type"] == "application/json"
        assert response.headers["retry-after"] == "3"
        assert json.loads(response.body)["errors"][0]["detail"]["attempts"][0]["host"] == "a.example"
