"""Blobs of one host, whole and in part, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from sampan.errors import HostError, Interrupted, RateLimited, TimedOut
from sampan.oci.digest import Digest
from sampan.testing import (
    FakeCdn,
    FakeRegistry,
    Fault,
    ManualClock,
    Match,
    Reply,
    Request,
    faults,
    image,
    random_layer,
)
from sampan.upstream.client import BlobStream, RegistryClient
from sampan.upstream.host import Host
from upstreams import ALPINE, client_for, said

LAYER = random_layer(seed=7, size_bytes=300_000)
IMAGE = image(ALPINE, "3", layers=[LAYER])
DATA = IMAGE.blobs[-1].read()
DIGEST, SIZE = Digest.parse(IMAGE.blobs[-1].digest), len(DATA)
BLOB = Match(kind="blob")


async def read(
    client: RegistryClient,
    host: Host,
    *,
    offset: int = 0,
    stop: int | None = None,
    size: int | None = SIZE,
) -> tuple[bytes, int, int | None]:
    """What came, where it begins, and how large the whole is said to be."""
    async with client.blob(host, ALPINE, DIGEST, offset=offset, stop=stop, size=size) as stream:
        return b"".join([piece async for piece in stream]), stream.offset, stream.size


async def collect(stream: BlobStream, into: bytearray) -> None:
    async for piece in stream:
        into += piece


@pytest.mark.parametrize("offset", [0, 1, 100_000, SIZE - 1])
@pytest.mark.parametrize("size", [SIZE, None])
async def test_a_blob_comes_from_where_it_was_asked_for(offset: int, size: int | None) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            data, begins, whole = await read(client, host, offset=offset, size=size)
    assert (data, begins, whole) == (DATA[offset:], offset, SIZE)


async def test_a_blob_from_a_cdn_says_who_sent_it_and_no_credential_went_there() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url, headers={"Authorization": "Secret of mine"})
        async with client_for(host) as client, client.blob(host, ALPINE, DIGEST, size=SIZE) as stream:
            assert stream.served_by == cdn.netloc
            assert b"".join([piece async for piece in stream]) == DATA
        assert registry.requests[0].headers["authorization"] == "Secret of mine"
        assert cdn.leaks == []


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (faults.status(403), "denied"),
        (faults.status(503), "server-error"),
        (faults.page(), "not-a-registry"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_a_failure_of_the_storage_names_it_and_one_of_the_host_does_not(
    fault: Fault, outcome: str
) -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            cdn.script(fault)
            with pytest.raises(HostError) as caught:
                await read(client, host)
            assert (caught.value.behind, caught.value.outcome) == (cdn.netloc, outcome)
            registry.script(fault)
            with pytest.raises(HostError) as caught:
                await read(client, host)
            assert (caught.value.behind, caught.value.outcome) == (None, outcome)


async def test_a_body_that_the_storage_cuts_short_is_its_failure_also_for_who_only_reads() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        cdn.script(faults.truncated(1000))
        host = Host.from_url(registry.url)
        async with client_for(host) as client, client.blob(host, ALPINE, DIGEST, size=SIZE) as stream:
            with pytest.raises(Interrupted) as caught:
                await collect(stream, bytearray())
            assert caught.value.behind == cdn.netloc


async def test_a_redirect_into_a_private_network_is_not_the_hosts_own_connection() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.redirect("http://169.254.169.254/x"), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host)
        assert (caught.value.outcome, caught.value.behind) == ("blocked-address", "169.254.169.254")


async def test_an_expired_signature_is_renewed_once() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        cdn.script(faults.status(403), times=1)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert (await read(client, host))[0] == DATA
        assert registry.count(kind="blob") == 2


async def test_a_cdn_that_keeps_refusing_is_a_denial_with_its_name() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        cdn.script(faults.status(403))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError, match=cdn.netloc) as caught:
                await read(client, host)
        assert said(caught.value) == "Denied denied"
        assert (registry.count(), len(cdn.requests)) == (2, 2)


async def test_the_challenge_of_a_cdn_is_not_answered() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(IMAGE)
        cdn.script(faults.unauthorized(f'Bearer realm="{cdn.url}/token"'))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host)
        assert (said(caught.value), caught.value.status) == ("Denied denied", 401)
        assert len(cdn.requests) == 1


async def test_a_cdn_that_cannot_be_reached_is_named() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.redirect(f"{faults.UNREACHABLE_URL}/data?signature=hunter2"), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError, match=r"127\.0\.0\.1:1:") as caught:
                await read(client, host)
    assert said(caught.value) == "Unreachable refused"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.denied(), "Denied denied"),
        (faults.status(404), "Missing missing"),
        (faults.status(429), "RateLimited rate-limited"),
        (faults.status(503), "ServerFault server-error"),
        (faults.page(), "NotARegistry not-a-registry"),
        (faults.status_line(204), "NotARegistry protocol"),
        (faults.gzip_encoded(), "NotARegistry not-a-registry"),
        (faults.truncated(), "Interrupted truncated"),
        (faults.empty(), "Interrupted truncated"),
        (faults.resets(), "Interrupted reset"),
        (faults.hang_up(), "Interrupted truncated"),
        (faults.stalls(), "TimedOut stalled"),
        (faults.silence(), "TimedOut first-byte-timeout"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_fault_of_a_blob_has_a_name(fault: Fault, expected: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(fault, on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host, short_seconds=0.1) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host)
    assert said(caught.value) == expected


@pytest.mark.parametrize(
    "fault",
    [
        faults.chunked(),
        faults.http_1_0(),
        faults.longer_by(),
        faults.resets_at_the_end(),
        faults.header("Content-Encoding", "x-gzip"),
        faults.header("Content-Type", "text/html"),
    ],
    ids=lambda fault: fault.name,
)
async def test_a_blob_is_as_long_as_it_should_be_whatever_surrounds_it(fault: Fault) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(fault, on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert (await read(client, host))[0] == DATA


async def test_more_bytes_than_the_blob_has_are_never_given() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.chunked(), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            data, _, size = await read(client, host, size=1000)
    assert (data, size) == (DATA[:1000], 1000)


async def test_a_host_that_ignores_range_says_so_by_the_offset() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.range_ignored(), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await read(client, host, offset=1000) == (DATA, 0, SIZE)


@pytest.mark.parametrize(
    "fault",
    [
        faults.wrong_range(f"bytes 0-{SIZE - 1001}/{SIZE}"),
        faults.wrong_range(f"bytes 1000-{SIZE}/{SIZE + 1}"),
        faults.wrong_range(f"bytes 1000-{SIZE - 2}/{SIZE}"),
        faults.wrong_range("nonsense"),
        faults.no_header("Content-Range"),
        faults.status(416),
    ],
    ids=lambda fault: fault.name,
)
async def test_a_range_that_was_not_asked_for_is_refused(fault: Fault) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(fault, on=Match(kind="blob", ranged=True))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host, offset=1000)
    assert said(caught.value) == "NotARegistry protocol"


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 1000), (1000, 100_000), (SIZE - 1, SIZE), (0, SIZE)])
@pytest.mark.parametrize("size", [SIZE, None])
async def test_a_piece_of_a_blob_comes_from_where_and_to_where_it_was_asked_for(
    start: int, stop: int, size: int | None
) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with (
            client_for(host) as client,
            client.blob(host, ALPINE, DIGEST, offset=start, stop=stop, size=size) as stream,
        ):
            assert (stream.offset, stream.stop, stream.size) == (start, stop, SIZE)
            assert b"".join([piece async for piece in stream]) == DATA[start:stop]
        assert registry.requests[0].headers["range"] == f"bytes={start}-{stop - 1}"


async def test_one_piece_after_another_takes_one_connection() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            for start in (0, 200_000, 100_000):
                await read(client, host, offset=start, stop=start + 100_000)
        assert registry.connections == 1


async def test_a_host_that_ignores_range_says_so_by_the_end_of_a_piece_that_begins_at_zero() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.range_ignored(), on=BLOB)
        host = Host.from_url(registry.url)
        async with (
            client_for(host) as client,
            client.blob(host, ALPINE, DIGEST, offset=0, stop=1000, size=SIZE) as stream,
        ):
            assert (stream.offset, stream.stop, stream.size) == (0, SIZE, SIZE)


@pytest.mark.parametrize(
    "given",
    [
        f"bytes 1000-1998/{SIZE}",  # shorter
        f"bytes 1000-2000/{SIZE}",  # longer
        f"bytes 999-1999/{SIZE}",
        f"bytes 1001-2000/{SIZE}",
        f"bytes 1000-{SIZE - 1}/{SIZE}",
        f"bytes 1000-1999/{SIZE + 1}",
        f"bytes 1000-1999/{SIZE - 1}",
        "bytes 1000-1998/*",
        "bytes 1000-2000/*",
        "bytes 1000-1999",
    ],
)
async def test_another_piece_than_the_one_that_was_asked_for_is_refused(given: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        registry.script(faults.wrong_range(given), on=Match(kind="blob", ranged=True))
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host, offset=1000, stop=2000)
    assert said(caught.value) == "NotARegistry protocol"


@pytest.mark.parametrize("given", ["bytes 1000-2000/*", "bytes 1000-1998/*", f"bytes 1000-{SIZE}/*"])
async def test_another_end_is_refused_though_nobody_tells_the_size(given: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        as_given = faults.wrong_range(given)

        def change(request: Request, right: Reply) -> Reply:
            return as_given.change(request, right).without_header("Content-Length")

        registry.script(Fault("another end", change), on=Match(kind="blob", ranged=True))
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host, offset=1000, stop=2000, size=None)
    assert said(caught.value) == "NotARegistry protocol"


async def test_a_piece_whose_total_is_not_told_is_taken() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        registry.script(faults.wrong_range("bytes 1000-1999/*"), on=Match(kind="blob", ranged=True))
        async with client_for(host) as client:
            for size in (SIZE, None):
                given = await read(client, host, offset=1000, stop=2000, size=size)
                assert given == (DATA[1000:2000], 1000, size)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.truncated(500), "Interrupted truncated"),
        (faults.stalls(500), "TimedOut stalled"),
        (faults.resets(500), "Interrupted reset"),
        (faults.short_by(10), "NotARegistry protocol"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_piece_that_ends_early_is_not_taken_for_the_whole_piece(fault: Fault, expected: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(fault, on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host, short_seconds=0.1) as client:
            with pytest.raises(HostError) as caught:
                await read(client, host, offset=1000, stop=2000)
    assert said(caught.value) == expected


async def test_a_host_has_room_while_not_all_of_its_connections_are_taken() -> None:
    gate = asyncio.Event()
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.held(gate, at=1000), on=BLOB)
        host = Host.from_url(registry.url, max_connections=1)
        prefixed = Host.from_url(f"{registry.url}/docker.io", max_connections=1)
        async with client_for(host) as client:
            assert client.has_room(host)
            reading = asyncio.create_task(read(client, host))
            await registry.wait_for()
            assert not client.has_room(host)
            assert not client.has_room(prefixed), "it is the same machine"
            gate.set()
            await reading
            assert client.has_room(host)


async def test_a_short_body_without_a_size_from_anybody_cannot_be_told() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.http_1_0(), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await read(client, host, size=None) == (DATA, 0, None)


async def test_what_came_before_a_cut_is_given() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.truncated(100_000), on=BLOB)
        host = Host.from_url(registry.url)
        got = bytearray()
        async with client_for(host) as client, client.blob(host, ALPINE, DIGEST, size=SIZE) as stream:
            with pytest.raises(Interrupted):
                await collect(stream, got)
    assert DATA.startswith(bytes(got))


async def test_a_stall_is_only_counted_while_somebody_waits_for_bytes() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.stalls(50_000), on=BLOB)
        host = Host.from_url(registry.url)
        async with (
            client_for(host, short_seconds=0.05) as client,
            client.blob(host, ALPINE, DIGEST, size=SIZE) as stream,
        ):
            assert await anext(stream)
            with pytest.raises(TimedOut, match="no bytes"):
                await collect(stream, bytearray())


async def test_leaving_early_gives_the_slot_back() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url, max_connections=1)
        async with client_for(host) as client:
            for _ in range(3):
                async with client.blob(host, ALPINE, DIGEST, size=SIZE) as stream:
                    await anext(stream)
            assert (await read(client, host))[0] == DATA


async def test_no_more_connections_are_made_than_the_host_allows() -> None:
    gate = asyncio.Event()
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.held(gate), on=BLOB)
        host = Host.from_url(registry.url, max_connections=2)
        async with client_for(host) as client, asyncio.TaskGroup() as group:
            reads = [group.create_task(read(client, host)) for _ in range(5)]
            await registry.wait_for(times=2)
            for _ in range(20):
                await asyncio.sleep(0)
            assert registry.count() == 2
            gate.set()
            for one in reads:
                assert (await one)[0] == DATA


async def test_a_request_too_many_in_a_minute_is_not_made() -> None:
    clock = ManualClock()
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url, requests_per_minute=1)
        async with client_for(host, clock=clock) as client:
            await read(client, host)
            with pytest.raises(RateLimited) as caught:
                await read(client, host)
            assert caught.value.retry_after_seconds == pytest.approx(60)
            clock.advance(60)
            await read(client, host)
        assert registry.count() == 2


@pytest.mark.parametrize(
    "fault",
    [None, faults.status(405), faults.status(501), faults.no_header("Content-Length")],
    ids=lambda fault: getattr(fault, "name", "head works"),
)
async def test_the_size_of_a_blob_is_learnt_without_its_bytes(fault: Fault | None) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        if fault is not None:
            registry.script(fault, on=Match(method="HEAD"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await client.stat_blob(host, ALPINE, DIGEST) == SIZE


async def test_the_size_of_a_blob_that_is_not_there_is_missing() -> None:
    async with FakeRegistry() as registry:
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await client.stat_blob(host, ALPINE, DIGEST)
    assert said(caught.value) == "Missing missing"
