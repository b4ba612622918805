"""Dead ends, TLS, a proxy and a process of its own: what surrounds the fake registry."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from contract.raw_client import ask
from sampan.testing import (
    BlackHole,
    ClosedPort,
    FakeProxy,
    FakeRegistry,
    HelloReset,
    Image,
    Silence,
    faults,
    image,
    index,
    random_layer,
)
from sampan.testing.layout import read_layout

SHORT_SECONDS = 0.05


def tls_client(authority: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


async def connect(host: str, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> bytes:
    """The first bytes that come without a word from us."""
    async with asyncio.timeout(SHORT_SECONDS):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name)
        try:
            return await reader.read(10)
        finally:
            writer.transport.abort()


async def test_a_closed_port_refuses() -> None:
    async with ClosedPort() as port:
        with pytest.raises(ConnectionRefusedError):
            await connect(port.host, port.port)
        assert port.url == f"http://127.0.0.1:{port.port}"


async def test_a_black_hole_never_lets_anybody_in() -> None:
    async with BlackHole() as hole:
        with socket.socket() as client:
            client.settimeout(SHORT_SECONDS)
            with pytest.raises(TimeoutError):
                client.connect((hole.host, hole.port))


async def test_silence_lets_everybody_in_and_says_nothing() -> None:
    async with Silence() as silence:
        with socket.create_connection((silence.host, silence.port)) as client:
            client.settimeout(SHORT_SECONDS)
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)


async def test_a_hello_is_reset() -> None:
    async with HelloReset() as censor:
        with pytest.raises(ConnectionResetError):
            await connect(censor.host, censor.port, tls_client(), "registry.test")
        assert censor.connections == 1


async def test_a_registry_speaks_tls_under_its_own_name() -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.test").configure_cert(context)
    async with FakeRegistry(tls=context, hostname="registry.test") as registry:
        assert registry.url == f"https://registry.test:{registry.port}"
        reader, writer = await asyncio.open_connection(
            registry.host, registry.port, ssl=tls_client(authority), server_hostname="registry.test"
        )
        writer.write(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            await connect(registry.host, registry.port, tls_client(other), "registry.test")
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
            await connect(registry.host, registry.port, tls_client(authority), "elsewhere.test")


async def test_a_proxy_passes_plain_requests_on_and_records_them() -> None:
    async with FakeProxy() as proxy, FakeRegistry() as registry:
        registry.add(image("a/b", "1"))
        seen = await ask(
            proxy, f"{registry.url}/v2/a/b/tags/list?n=5", headers={"Proxy-Authorization": "Basic eDp5"}
        )
        assert json.loads(seen.body)["tags"] == ["1"]
        assert registry.requests[0].target == "/v2/a/b/tags/list?n=5"
        assert "proxy-authorization" not in registry.requests[0].headers
        assert proxy.count("proxy") == 1


async def test_a_proxy_opens_tunnels() -> None:
    async with FakeProxy() as proxy, FakeRegistry() as registry:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(f"CONNECT {registry.netloc} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /v2/ HTTP/1.1\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        await writer.wait_closed()


async def test_a_proxy_can_want_a_password_refuse_or_find_nobody() -> None:
    async with FakeProxy(users={"ann": "secret"}) as proxy, ClosedPort() as nobody:
        right = {"Proxy-Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        assert (await ask(proxy, nobody.netloc, "CONNECT")).status == 407
        assert (await ask(proxy, nobody.netloc, "CONNECT", headers=right)).status == 502
        proxy.script(faults.status(403))
        assert (await ask(proxy, nobody.netloc, "CONNECT", headers=right)).status == 403


def write_layout(directory: Path, held: Image) -> None:
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (*held.manifests, *held.blobs):
        (blobs / content.digest.removeprefix("sha256:")).write_bytes(content.read())
    named = held.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": held.tag})
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))


async def test_the_images_of_a_layout_can_be_held(tmp_path: Path) -> None:
    made = index("a/b", "1")
    write_layout(tmp_path, made)
    async with FakeRegistry() as registry:
        (held,) = read_layout(tmp_path, "x/y")
        registry.add(held)
        assert (await ask(registry, "/v2/x/y/manifests/1")).body == made.raw
        for blob in made.blobs:
            assert (await ask(registry, f"/v2/x/y/blobs/{blob.digest}")).body == blob.read()


async def test_a_sparse_layout_holds_what_is_there(tmp_path: Path) -> None:
    made = index("a/b", "1")
    write_layout(tmp_path, made)
    (tmp_path / "blobs/sha256" / made.images[1].digest.removeprefix("sha256:")).unlink()
    (held,) = read_layout(tmp_path, "a/b")
    assert [child.digest for child in held.images] == [made.images[0].digest]


@pytest.mark.real_time
@pytest.mark.parametrize("with_layout", [False, True], ids=["its own image", "a layout"])
async def test_a_registry_runs_in_a_process_of_its_own(tmp_path: Path, with_layout: bool) -> None:
    arguments = ["--fault", "blob 502"]
    if with_layout:
        write_layout(tmp_path, image("library/alpine", "3", layers=[random_layer(1, 5000)]))
        arguments += ["--serve-dir", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "sampan.testing", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url, line = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
    reference, digest = line.split()
    assert f"http://{reference}" == f"{url}/library/alpine:3"
    there = FakeRegistry(port=int(url.rpartition(":")[2]))
    assert (await ask(there, f"/v2/library/alpine/manifests/{digest}")).status == 200
    blob = json.loads((await ask(there, "/v2/library/alpine/manifests/3")).body)["layers"][0]["digest"]
    assert (await ask(there, f"/v2/library/alpine/blobs/{blob}")).status == 502
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
