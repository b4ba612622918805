"""What the transport promises whatever stands at the other end: guard, redirects, time, TLS, proxies."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from sampan.errors import ConfigError, HostError, Interrupted, NotARegistry, Unreachable
from sampan.testing import (
    BlackHole,
    ClosedPort,
    FakeProxy,
    FakeRegistry,
    HelloReset,
    Match,
    Silence,
    faults,
    image,
    random_layer,
)
from sampan.upstream import transport as module
from sampan.upstream.call import Call
from sampan.upstream.dialer import Dial, Patience, Resolver
from sampan.upstream.host import Host
from sampan.upstream.proxies import Proxy, ProxySettings
from sampan.upstream.transport import Transport
from sampan.upstream.url import parse_url
from upstreams import ALPINE, HASTY, SHORT_SECONDS, client_for, said

IMAGE = image(ALPINE, "3", layers=[random_layer(seed=5, size_bytes=2_000)])
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def ask(transport: Transport, host: Host, target: str = "/v2/", **options: float) -> bytes:
    call = Call("GET", {}, **options)  # type: ignore[arg-type] # only seconds are given
    async with await transport.request(host, host.base.at(target), call) as response:
        return await response.read(1_000_000)


async def failure(host: Host, patience: Patience = HASTY, proxies: ProxySettings | None = None) -> HostError:
    transport = Transport([host], patience=patience, proxies=proxies)
    try:
        with pytest.raises(HostError) as caught:
            await ask(transport, host, first_byte_seconds=SHORT_SECONDS)
    finally:
        await transport.close()
    return caught.value


@asynccontextmanager
async def serving(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that sends ``answer`` to everybody; yields its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


# -- connections that are not made ------------------------------------------------------------------


async def test_a_refused_connection_is_told_at_once() -> None:
    async with ClosedPort() as end:
        error = await failure(Host.from_url(end.url))
    assert said(error) == "Unreachable refused"
    assert end.netloc in error.message


async def test_a_host_that_drops_every_packet_is_given_up_after_the_time_for_connecting() -> None:
    async with BlackHole() as end:
        error = await failure(Host.from_url(end.url))
    assert said(error) == "Unreachable connect-timeout"
    assert f"within {HASTY.connect_seconds:g} s" in error.message


async def test_a_name_that_does_not_resolve_is_told() -> None:
    error = await failure(Host.from_url("http://does-not-exist.invalid"), Patience(connect_seconds=10))
    assert said(error) == "Unreachable dns"


async def test_a_tls_handshake_that_stalls_has_a_time_of_its_own() -> None:
    patience = Patience(connect_seconds=5, tls_seconds=0.2)
    async with Silence() as end:
        error = await failure(Host.from_url(f"https://{end.netloc}"), patience)
    assert said(error) == "Unreachable tls"
    assert "within 0.2 s" in error.message


async def test_a_reset_at_the_client_hello_is_told_apart_from_a_refusal() -> None:
    async with HelloReset() as end:
        error = await failure(Host.from_url(f"https://{end.netloc}"))
    assert said(error) == "Unreachable reset"
    assert "TLS handshake" in error.message


async def test_plain_http_behind_https_is_a_tls_fault() -> None:
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error = await failure(Host.from_url(f"https://127.0.0.1:{port}"))
    assert error.outcome in ("tls", "reset")


async def test_construction_touches_no_network() -> None:
    async with FakeRegistry(strict=True) as registry:
        transport = Transport([Host.from_url(registry.url)])
        await transport.close()
        assert not registry.requests


# -- the guard --------------------------------------------------------------------------------------


@pytest.mark.row("13")
async def test_a_name_that_resolves_to_loopback_is_not_dialled_unless_the_host_is_private() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        # The name of this machine's loopback, behind a host that is not said to be private.
        host = Host(name="public", url="http://1.1.1.1", private=False)
        call = Call("GET", {})
        transport = Transport([host])
        try:
            for url in (f"http://127.0.0.1:{registry.port}/", f"http://localhost:{registry.port}/"):
                with pytest.raises(Unreachable) as caught:
                    await transport.request(host, parse_url(url), call)
                assert caught.value.outcome == "blocked-address"
                assert "private = true" in (caught.value.hint or "")
        finally:
            await transport.close()
        assert registry.connections == 0


@pytest.mark.row("13")
async def test_the_guard_stands_where_the_socket_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebound(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, str | int]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(Resolver, "resolve", rebound)
    async with FakeRegistry() as registry:
        error = await failure(Host.from_url(f"http://rebinding.example:{registry.port}"), Patience())
        assert registry.connections == 0
    assert said(error) == "Unreachable blocked-address"
    assert "127.0.0.1" in error.message


@pytest.mark.row("13")
@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
    ],
)
async def test_even_a_private_host_leads_to_no_metadata_service(target: str) -> None:
    async with FakeRegistry() as registry:
        registry.script(faults.redirect(target))
        error = await failure(Host.from_url(registry.url))
    assert said(error) == "Unreachable blocked-address"
    assert error.hint is None


# -- redirects --------------------------------------------------------------------------------------


@pytest.mark.row("H14")
async def test_credentials_do_not_come_back_by_way_of_a_stranger() -> None:
    async with FakeRegistry("home") as home, FakeRegistry("stranger") as stranger:
        home.script(faults.redirect(f"{stranger.url}/there"), times=1)
        stranger.script(faults.redirect(f"{home.url}/back"))
        host = Host.from_url(home.url, headers={"X-Key": "secret"})
        transport = Transport([host])
        call = Call("GET", {"Accept": "text/plain"}, authorization="Basic c2VjcmV0")
        async with await transport.request(host, host.base.at("/v2/"), call) as response:
            assert response.served_by == home.netloc
        await transport.close()
    first, back = home.requests
    assert (first.headers["authorization"], first.headers["x-key"]) == ("Basic c2VjcmV0", "secret")
    for request in (*stranger.requests, back):
        assert "authorization" not in request.headers
        assert "x-key" not in request.headers
        assert request.headers["accept"] == "text/plain"


async def test_a_redirect_within_the_host_keeps_its_credentials() -> None:
    async with FakeRegistry() as registry:
        registry.script(faults.redirect_hops(1))
        host = Host.from_url(registry.url, headers={"X-Key": "secret"})
        transport = Transport([host])
        await ask(transport, host)
        await transport.close()
        assert [request.headers["x-key"] for request in registry.requests] == ["secret", "secret"]


@pytest.mark.row("H14")
async def test_a_post_is_never_sent_elsewhere() -> None:
    async with FakeRegistry() as registry:
        registry.script(faults.redirect("/elsewhere"))
        host = Host.from_url(registry.url)
        transport = Transport([host])
        async with await transport.request(
            host, host.base.at("/x"), Call("POST", {}, body=b"a=b")
        ) as response:
            assert response.status == 307
        await transport.close()
        assert registry.count() == 1


# -- what comes back --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "NotARegistry protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "NotARegistry protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", "NotARegistry protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", "NotARegistry protocol"),
        (b"SSH-2.0-OpenSSH\r\n", "NotARegistry protocol"),
        (b"HTTP/9.9 xxx\r\n\r\n", "NotARegistry protocol"),
        (b"", "Interrupted truncated"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "NotARegistry protocol"),
    ],
)
async def test_what_is_not_http_is_said_to_be_so(answer: bytes, expected: str) -> None:
    async with serving(answer) as port:
        assert said(await failure(Host.from_url(f"http://127.0.0.1:{port}"))) == expected


@pytest.mark.row("H13")
@pytest.mark.real_time
async def test_a_flood_of_interim_answers_is_not_read_for_long() -> None:
    ended = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server:
        error = await failure(Host.from_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await ended.wait()
    assert said(error) == "NotARegistry protocol"


@pytest.mark.row("38", "40")
async def test_no_cookie_is_kept_and_nothing_is_decoded() -> None:
    packed = b"\x1f\x8bnot really gzip"
    answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(packed)
    )
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer + packed)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        host = Host.from_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transport = Transport([host])
        assert [await ask(transport, host) for _ in range(2)] == [packed, packed]
        await transport.close()
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


# -- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str, want_client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    if want_client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


def pem(path: Path, authority: trustme.CA) -> str:
    file = path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


async def test_a_configured_ca_is_believed(tmp_path: Path, authority: trustme.CA) -> None:
    async with FakeRegistry(tls=server_tls(authority, "127.0.0.1")) as registry:
        registry.add(IMAGE)
        host = Host.from_url(f"https://{registry.netloc}", ca=pem(tmp_path, authority))
        async with client_for(host) as client:
            assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest


async def test_an_unknown_ca_is_told_with_the_names_of_the_certificate(authority: trustme.CA) -> None:
    async with FakeRegistry(tls=server_tls(authority, "evil.example", "*.evil.example")) as registry:
        error = await failure(Host.from_url(f"https://{registry.netloc}"), Patience())
    assert said(error) == "Unreachable tls"
    assert "issuer" in error.message
    assert "evil.example, *.evil.example" in error.message


@pytest.mark.row("N4")
async def test_a_certificate_for_somebody_else_is_told_with_its_names(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with FakeRegistry(tls=server_tls(authority, "poisoned.example")) as registry:
        host = Host.from_url(f"https://{registry.netloc}", ca=pem(tmp_path, authority))
        error = await failure(host, Patience())
    assert "mismatch" in error.message
    assert "poisoned.example" in error.message


async def test_an_expired_certificate_is_told(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    past = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    authority.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    async with FakeRegistry(tls=context) as registry:
        host = Host.from_url(f"https://{registry.netloc}", ca=pem(tmp_path, authority))
        error = await failure(host, Patience())
    assert "expired" in error.message
    assert "2001" in error.message


async def test_insecure_is_for_the_host_alone(authority: trustme.CA) -> None:
    tls = server_tls(authority, "whoever")
    async with FakeRegistry("home", tls=tls) as home, FakeRegistry("other", tls=tls) as other:
        host = Host.from_url(f"https://{home.netloc}", insecure=True)
        transport = Transport([host])
        await ask(transport, host)
        home.script(faults.redirect(f"https://{other.netloc}/x"))
        with pytest.raises(Unreachable, match="redirected by") as caught:
            await ask(transport, host)
        assert caught.value.outcome == "tls"
        await transport.close()
        assert not other.requests


async def test_a_client_certificate_is_shown_to_its_host_alone(tmp_path: Path, authority: trustme.CA) -> None:
    identity = authority.issue_cert("client@example.com")
    for index, blob in enumerate(identity.cert_chain_pems):
        blob.write_to_path(str(tmp_path / "cert.pem"), append=index > 0)
    identity.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = server_tls(authority, "127.0.0.1", want_client=True)
    async with FakeRegistry("home", tls=tls) as home, FakeRegistry("other", tls=tls) as other:
        home.add(IMAGE)
        other.add(IMAGE)
        host = Host.from_url(
            f"https://{home.netloc}",
            ca=pem(tmp_path, authority),
            client_cert=str(tmp_path / "cert.pem"),
            client_key=str(tmp_path / "key.pem"),
        )
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
            home.script(faults.redirect_to(f"https://{other.netloc}"), on=Match(kind="manifest"))
            with pytest.raises(HostError):
                await client.manifest(host, ALPINE, "3")
        assert not other.requests


@pytest.mark.row("14", "H14")
async def test_https_is_never_left_for_http(tmp_path: Path, authority: trustme.CA) -> None:
    async with FakeRegistry(tls=server_tls(authority, "127.0.0.1")) as home, FakeRegistry() as plain:
        home.script(faults.redirect(f"{plain.url}/x"))
        error = await failure(
            Host.from_url(f"https://{home.netloc}", ca=pem(tmp_path, authority)), Patience()
        )
        assert not plain.requests
    assert said(error) == "NotARegistry redirect"


@pytest.mark.parametrize("key", ["ca", "client_cert"])
@pytest.mark.parametrize("content", [None, b"", b"not PEM at all"])
@pytest.mark.row("N7")
def test_a_file_that_cannot_be_used_is_a_configuration_error_at_start(
    tmp_path: Path, key: str, content: bytes | None
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=key) as caught:
        Transport([Host.from_url("https://a.io", **{key: str(file)})])
    assert caught.value.hint


def test_a_key_with_a_password_is_refused_rather_than_asked_for(
    tmp_path: Path, authority: trustme.CA
) -> None:
    from cryptography.hazmat.primitives import serialization

    identity = authority.issue_cert("x.example")
    identity.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    key = serialization.load_pem_private_key(identity.private_key_pem.bytes(), password=None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(ConfigError, match="client_cert"):
        Transport(
            [
                Host.from_url(
                    "https://a.io",
                    client_cert=str(tmp_path / "cert.pem"),
                    client_key=str(tmp_path / "key.pem"),
                )
            ]
        )


# -- proxies ----------------------------------------------------------------------------------------


async def test_plain_requests_go_through_the_configured_proxy_with_its_password() -> None:
    async with FakeProxy(users={"user": "pass"}) as proxy, FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url, proxy=f"http://user:pass@{proxy.netloc}")
        async with client_for(host) as client:
            assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest
        assert len(proxy.requests) == 1
        assert "proxy-authorization" not in registry.requests[0].headers


async def test_tls_goes_through_a_tunnel_of_the_proxy(tmp_path: Path, authority: trustme.CA) -> None:
    async with (
        FakeProxy(users={"user": "pass"}) as proxy,
        FakeRegistry(tls=server_tls(authority, "127.0.0.1")) as registry,
    ):
        registry.add(IMAGE)
        host = Host.from_url(
            f"https://{registry.netloc}",
            ca=pem(tmp_path, authority),
            proxy=f"http://user:pass@{proxy.netloc}",
        )
        async with client_for(host) as client:
            assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest
        assert [request.method for request in proxy.requests] == ["CONNECT"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.row("N19")
async def test_a_proxy_that_wants_another_password_is_a_proxy_fault_and_not_gone_around(scheme: str) -> None:
    async with FakeProxy(users={"user": "pass"}) as proxy, FakeRegistry(strict=True) as registry:
        host = Host.from_url(f"{scheme}://{registry.netloc}", proxy=f"http://user:hunter2@{proxy.netloc}")
        error = await failure(host, Patience())
    assert said(error) == "Unreachable proxy"
    assert proxy.netloc in error.message
    assert "hunter2" not in error.message


@pytest.mark.parametrize("proxy_scheme", ["http", "socks5"])
async def test_a_proxy_that_is_down_is_a_proxy_fault(proxy_scheme: str) -> None:
    async with ClosedPort() as end:
        host = Host.from_url("http://registry.example", proxy=f"{proxy_scheme}://{end.netloc}")
        error = await failure(host, Patience())
    assert said(error) == "Unreachable proxy"


@pytest.mark.parametrize("proxy_scheme", ["http", "socks5"])
@pytest.mark.row("N19")
async def test_a_proxy_that_says_nothing_is_given_up(proxy_scheme: str) -> None:
    async with Silence() as end:
        host = Host.from_url("https://registry.example", proxy=f"{proxy_scheme}://{end.netloc}")
        error = await failure(host)
    assert said(error) == "Unreachable proxy"


async def test_a_proxy_of_the_environment_is_used_for_others_and_never_for_loopback() -> None:
    async with FakeProxy() as proxy, FakeRegistry() as registry:
        registry.add(IMAGE)
        settings = ProxySettings(http=Proxy.parse(proxy.url))
        here, there = Host.from_url(registry.url), Host.from_url("http://registry.example")
        async with client_for(here, there, proxies=settings) as client:
            await client.manifest(here, ALPINE, "3")
            assert not proxy.requests
            proxy.script(faults.status(503))
            with pytest.raises(HostError):
                await client.manifest(there, ALPINE, "3")
        assert len(proxy.requests) == 1


async def test_literal_addresses_are_guarded_through_a_proxy_too() -> None:
    async with FakeProxy(strict=True) as proxy:
        host = Host.from_url("http://1.1.1.1", proxy=proxy.url)
        transport = Transport([host])
        for url in ("http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/"):
            with pytest.raises(Unreachable, match="not dialled"):
                await transport.request(host, parse_url(url), Call("GET", {}))
        await transport.close()


async def socks5(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[str], to: int
) -> None:
    """Enough of RFC 1928 for one CONNECT by name, which is passed on to the port ``to`` on loopback."""
    await reader.readexactly(2 + 1)
    writer.write(b"\x05\x00")
    head = await reader.readexactly(5)
    seen.append((await reader.readexactly(head[4])).decode())
    await reader.readexactly(2)
    other_reader, other = await asyncio.open_connection("127.0.0.1", to)
    writer.write(b"\x05\x00\x00\x01" + bytes(6))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, other), pump(other_reader, writer))


async def test_a_socks_proxy_resolves_the_name_itself() -> None:
    seen: list[str] = []
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        server = await asyncio.start_server(lambda r, w: socks5(r, w, seen, registry.port), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            host = Host.from_url("http://registry.example", proxy=f"socks5://127.0.0.1:{port}")
            async with client_for(host) as client:
                assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest
    assert seen == ["registry.example"]


def test_a_client_certificate_does_not_go_with_a_proxy_that_would_see_it() -> None:
    with pytest.raises(ConfigError, match="proxy"):
        Transport([Host.from_url("https://a.io", insecure=True, proxy="https://proxy.lan")])


# -- the client's exceptions ------------------------------------------------------------------------


def exceptions_of_the_client() -> list[type[BaseException]]:
    found = inspect.getmembers(aiohttp.client_exceptions, inspect.isclass)
    return [
        kind for _, kind in found if issubclass(kind, Exception) and kind.__module__.startswith("aiohttp")
    ]


# Not about requests of ours: websockets, uploads, and the root of the tree.
NOT_OURS = {
    "ClientError",
    "ClientConnectionError",
    "UploadAbortedError",
    "WSMessageTypeError",
    "HttpProcessingError",
}


@pytest.mark.parametrize("kind", exceptions_of_the_client(), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_http_client_has_a_place(kind: type[BaseException]) -> None:
    mapped = (*module.CONNECT_ERRORS, *module.DROPPED_ERRORS, *module.MALFORMED_ERRORS)
    assert issubclass(kind, mapped) or kind.__name__ in NOT_OURS


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aiohttp.ServerDisconnectedError(), Interrupted),
        (aiohttp.ClientPayloadError("x"), Interrupted),
        (aiohttp.InvalidURL("x"), NotARegistry),
        (aiohttp.ClientError("new in a later version"), Interrupted),
        (OSError(101, "x"), Unreachable),
        (OSError("no number"), Unreachable),
        (ConnectionResetError(104, "x"), Unreachable),
        (ssl.SSLError(1, "x"), Unreachable),
        (ValueError("x"), NotARegistry),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
async def test_an_exception_becomes_ours_and_names_the_place(
    error: BaseException, expected: type[HostError]
) -> None:
    dial = Dial(asyncio.timeout(1), Patience(), 1.0)
    found = module.host_error(error, parse_url("https://a.io/x?token=hunter2"), dial, None)
    assert isinstance(found, expected)
    assert found.message.startswith("a.io: ")
    assert "hunter2" not in found.message
