"""The webhook on a socket: AdmissionReviews over TLS, its limits, and a certificate that changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

import rewrite_table
from reviews import applied, images_of, item, patch_of, review
from sampan.errors import ConfigError
from sampan.rewrite import Rules
from sampan.server.app import Listener
from sampan.server.certificate import Certificate
from sampan.server.settings import ServerSettings
from sampan.server.watch import Watch
from sampan.server.webhook import BODY_BYTES_MAX, WATCH_SECONDS, Exchange, Webhook
from sampan.testing import ManualClock
from serving.wire import Connection, Response, read_response
from standstill import LoopClock, quiet

NAME = "sampan-webhook.sampan.svc"
ANSWER_SECONDS = 10.0


@dataclass
class Pair:
    """Certificate files that are replaced as Kubernetes does it: a link to a directory is turned at once."""

    directory: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def issue(self, authority: trustme.CA | None = None) -> None:
        self.authority = authority or self.authority
        leaf = self.authority.issue_cert(NAME)
        version = self.directory / f"v{len(list(self.directory.iterdir()))}"
        version.mkdir()
        leaf.private_key_pem.write_to_path(str(version / "tls.key"))
        leaf.cert_chain_pems[0].write_to_path(str(version / "tls.crt"))
        link = self.directory / "turning"
        link.symlink_to(version)
        os.replace(link, self.directory / "..data")

    @property
    def files(self) -> tuple[str, str]:
        data = self.directory / "..data"
        return str(data / "tls.crt"), str(data / "tls.key")

    @property
    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@dataclass
class Running:
    listener: Listener[Exchange]
    webhook: Webhook
    clock: ManualClock
    pair: Pair
    rules: list[Rules | ConfigError]

    @contextlib.asynccontextmanager
    async def connect(self, trust: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        host, port = self.listener.address
        reader, writer = await asyncio.open_connection(
            host, port, ssl=trust or self.pair.trust, server_hostname=NAME
        )
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def ask(self, document: Any) -> Response:
        async with self.connect() as connection:
            return await post(connection, json.dumps(document).encode())

    async def get(self, path: str) -> Response:
        async with self.connect() as connection:
            await connection.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return await answer(connection)

    def a_second_passes(self, seconds: float = WATCH_SECONDS) -> None:
        self.clock.advance(seconds)
        self.webhook.tick(0)


async def answer(connection: Connection) -> Response:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await read_response(connection.reader)


async def post(connection: Connection, body: bytes) -> Response:
    head = f"POST /mutate?timeout=2s HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
    await connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return await answer(connection)


@contextlib.asynccontextmanager
async def serving(directory: Path, **settings: Any) -> AsyncIterator[Running]:
    pair = Pair(directory)
    pair.issue()
    file = directory / "sampan.toml"
    file.touch()
    clock = ManualClock()
    rules: list[Rules | ConfigError] = []

    def reread() -> Rules:
        found = rules.pop(0)
        if isinstance(found, ConfigError):
            raise found
        return found

    certificate = Certificate(*pair.files)
    webhook = Webhook(
        rewrite_table.rules("host-mirror"),
        own_namespace="sampan",
        certificate=certificate,
        clock=clock,
        reread=reread,
        files=Watch([file]),
    )
    listener = Listener(webhook, ServerSettings(port=0, **settings), tls=certificate.context, clock=clock)
    await listener.start()
    try:
        yield Running(listener, webhook, clock, pair, rules)
    finally:
        await listener.stop(0.5)


def contents(file: str | Path) -> str:
    return Path(file).read_text()


def write(file: str | Path, text: str) -> None:
    Path(file).write_text(text)


def redirected(response: Response, created: dict[str, Any]) -> dict[str, str]:
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    return images_of("Pod", applied(created, patch_of(json.loads(response.body))))


async def test_a_review_is_answered_over_tls(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        assert redirected(await running.ask(review(item("Pod"))), item("Pod"))["base"] == (
            "docker.m.daocloud.io/library/alpine:3"
        )


async def test_a_connection_is_kept_for_the_next_review(tmp_path: Path) -> None:
    body = json.dumps(review(item("Pod"))).encode()
    async with serving(tmp_path) as running, running.connect() as connection:
        first = await post(connection, body)
        assert "connection" not in first.headers
        assert (await post(connection, body)).body == first.body


async def test_a_body_in_chunks_is_read(tmp_path: Path) -> None:
    body = json.dumps(review(item("Pod"))).encode()
    async with serving(tmp_path) as running, running.connect() as connection:
        await connection.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 500):
            piece = body[start : start + 500]
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")
        assert redirected(await answer(connection), item("Pod"))


@pytest.mark.row("54")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"{",
        b"\xff\xfe{}",
        b"null",
        b"[]",
        b"{}",
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 100_000,
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"\\ud800"}}',
    ],
)
async def test_what_is_no_review_is_refused_and_nothing_breaks(tmp_path: Path, body: bytes) -> None:
    async with serving(tmp_path) as running:
        async with running.connect() as connection:
            assert (await post(connection, body)).status == 400
        assert (await running.ask(review(item("Pod")))).status == 200


@pytest.mark.row("54")
async def test_a_hundred_megabytes_are_refused_unread(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.connect() as connection:
        await connection.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        response = await answer(connection)
        assert response.status == 413
        assert response.headers["connection"] == "close"


@pytest.mark.row("54")
async def test_a_body_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.connect() as connection:
        await connection.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"x" * 65536
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for _ in range(BODY_BYTES_MAX // len(piece) + 2):
                await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert (await answer(connection)).status == 413


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, running.connect() as connection:
        await connection.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        assert (await answer(connection)).status == 408


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("GET /mutate", 405),
        ("PUT /mutate", 405),
        ("POST /healthz", 405),
        ("POST /", 405),
        ("GET /", 404),
        ("GET /v2/", 404),
        ("GET /healthz", 200),
        ("HEAD /readyz", 200),
    ],
)
async def test_other_requests_are_answered_for_what_they_are(tmp_path: Path, asked: str, status: int) -> None:
    async with serving(tmp_path) as running, running.connect() as connection:
        await connection.send(f"{asked} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        head = await connection.reader.readuntil(b"\r\n")
        assert int(head.split()[1]) == status


async def test_a_client_without_tls_gets_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        reader, writer = await asyncio.open_connection(*running.listener.address)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await reader.read()
        writer.close()


async def test_more_connections_than_allowed_are_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path, connections_max=1) as running, running.connect() as first:
        async with running.connect() as second:
            assert (await answer(second)).status == 503
        assert (await post(first, json.dumps(review(item("Pod"))).encode())).status == 200


async def test_a_stopping_webhook_is_not_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        running.webhook.stopping = True
        assert (await running.get("/readyz")).status == 503
        assert (await running.get("/healthz")).status == 200


async def test_a_review_that_has_begun_to_arrive_is_answered_by_one_that_is_told_to_stop(
    tmp_path: Path,
) -> None:
    body = json.dumps(review(item("Pod"))).encode()
    async with serving(tmp_path) as running, running.connect() as connection:
        head = f"POST /mutate?timeout=2s HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(body)}\r\n\r\n"
        await connection.send(head.encode() + body[:10])
        await quiet()
        stopping = asyncio.create_task(running.listener.stop(5.0))
        await quiet()
        await connection.send(body[10:])
        assert (await answer(connection)).status == 200
        await stopping


async def test_a_connection_that_is_just_being_made_does_not_keep_one_that_is_told_to_stop(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as running:
        clock = LoopClock()
        reader, writer = await asyncio.open_connection(*running.listener.address)
        await quiet()
        began = clock.monotonic()
        stopping = asyncio.create_task(running.listener.stop(3600.0))
        await quiet()
        await writer.start_tls(running.pair.trust, server_hostname=NAME)
        assert await reader.read() == b""
        await stopping
        assert clock.monotonic() - began < 1
        writer.close()


@pytest.mark.row("X8")
async def test_the_metrics_count_what_was_answered(tmp_path: Path) -> None:
    mine = review(item("Pod"), namespace="sampan")
    async with serving(tmp_path) as running:
        for document in (review(item("Pod")), review(item("Pod")), mine, {}):
            await running.ask(document)
        text = (await running.get("/metrics")).body.decode()
    assert 'sampan_webhook_reviews_total{outcome="rewritten"} 2.0' in text
    assert 'sampan_webhook_reviews_total{outcome="skipped"} 1.0' in text
    assert "sampan_webhook_images_rewritten_total 6.0" in text
    assert "sampan_webhook_review_seconds_count 3.0" in text
    assert 'sampan_webhook_refused_total{status="400"} 1.0' in text
    assert "_created" not in text


@pytest.mark.row("X8")
async def test_a_new_certificate_is_shown_within_ten_seconds_and_the_old_connections_go_on(
    tmp_path: Path,
) -> None:
    assert WATCH_SECONDS < 10
    body = json.dumps(review(item("Pod"))).encode()
    async with serving(tmp_path) as running, running.connect() as old:
        running.pair.issue(trustme.CA())
        with pytest.raises(ssl.SSLCertVerificationError):
            async with running.connect():
                pass
        running.a_second_passes()
        assert (await running.ask(review(item("Pod")))).status == 200
        assert (await post(old, body)).status == 200
        assert (
            'reloads_total{outcome="ok",what="certificate"} 1.0'
            in (await running.get("/metrics")).body.decode()
        )


async def test_no_review_fails_while_certificates_change_under_load(tmp_path: Path) -> None:
    authorities = [trustme.CA() for _ in range(4)]
    anyone = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(anyone)
    body = json.dumps(review(item("Pod"))).encode()
    done = asyncio.Event()
    answered = 0

    async def load(running: Running) -> None:
        nonlocal answered
        while not done.is_set():
            async with running.connect(anyone) as connection:
                for _ in range(3):
                    assert redirected(await post(connection, body), item("Pod"))
                    answered += 1

    async with serving(tmp_path) as running:
        running.pair.issue(authorities[0])
        running.a_second_passes()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(load(running))
            for authority in authorities[1:]:
                aim = answered + 12
                while answered < aim:
                    await asyncio.sleep(0)
                running.pair.issue(authority)
                running.a_second_passes()
            done.set()
    assert answered >= 36


@pytest.mark.parametrize(
    "broken", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.row("X8")
async def test_a_bad_certificate_leaves_the_old_until_it_is_good(tmp_path: Path, broken: str) -> None:
    async with serving(tmp_path) as running:
        before = running.pair.trust
        running.pair.issue(trustme.CA())
        certificate = running.pair.files[0]
        good = contents(certificate)
        write(certificate, broken)
        for _ in range(2):
            running.a_second_passes()
            async with running.connect(before) as connection:
                assert (await post(connection, json.dumps(review(item("Pod"))).encode())).status == 200
        write(certificate, good)
        running.a_second_passes()
        assert (await running.ask(review(item("Pod")))).status == 200


async def test_a_key_of_another_certificate_leaves_the_old(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        before = running.pair.trust
        key = contents(running.pair.files[1])
        running.pair.issue(trustme.CA())
        write(running.pair.files[1], key)
        running.a_second_passes()
        async with running.connect(before) as connection:
            assert (await post(connection, json.dumps(review(item("Pod"))).encode())).status == 200
        assert 'reloads_total{outcome="failed",what="certificate"} 1.0' in (
            running.webhook.metrics.render(0).decode()
        )


async def test_new_rules_are_taken_up_and_bad_ones_leave_the_old(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        file = tmp_path / "sampan.toml"
        running.rules += [ConfigError("bad"), rewrite_table.rules("path-prefix")]
        write(file, "bad")
        running.a_second_passes()
        created = item("Pod")
        assert redirected(await running.ask(review(created)), created)["base"].startswith("docker.m.")
        write(file, "good")
        running.a_second_passes()
        assert redirected(await running.ask(review(created)), created)["base"] == (
            "m.daocloud.io/docker.io/library/alpine:3"
        )


@pytest.mark.row("X8")
def test_the_end_of_a_certificate_is_known(tmp_path: Path) -> None:
    for ends in (datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2061, 5, 6, 7, 8, 9, tzinfo=UTC)):
        leaf = trustme.CA().issue_cert(NAME, not_after=ends)
        leaf.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
        leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
        certificate = Certificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
        assert certificate.expires == ends.timestamp()
