"""A tap: bodies leave as far as a test pours."""

from __future__ import annotations

import asyncio

from sampan.testing import FakeRegistry, Match, Tap, faults, image, random_layer

ALPINE = image("a/b", "1", layers=[random_layer(seed=1, size_bytes=120_000)])
PATH = f"/v2/a/b/blobs/{ALPINE.layers[0].digest}"
BLOB = Match(kind="blob")


async def ask(registry: FakeRegistry, path: str) -> bytes:
    """The body, however long it takes."""
    reader, writer = await asyncio.open_connection(registry.host, registry.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


async def drained(tap: Tap) -> None:
    while not tap.waiting or not tap.is_dry:
        await asyncio.sleep(0)


async def test_what_was_poured_leaves_and_no_more() -> None:
    tap = Tap()
    async with FakeRegistry() as registry:
        registry.add(ALPINE)
        registry.script(tap.fault(), on=BLOB)
        asking = asyncio.create_task(ask(registry, PATH))
        await drained(tap)
        for count in (1, 70_000, 0):
            tap.pour(count)
            await drained(tap)
        assert registry.requests[0].bytes_sent == tap.passed_bytes == 70_001
        tap.open()
        assert await asking == ALPINE.layers[0].read()
    assert tap.passed_bytes == 120_000


async def test_a_tap_is_a_line_that_answers_share() -> None:
    tap = Tap()
    async with FakeRegistry() as registry:
        registry.add(ALPINE)
        registry.script(tap.fault(), on=BLOB)
        asking = [asyncio.create_task(ask(registry, PATH)) for _ in range(2)]
        while tap.waiting < 2:
            await asyncio.sleep(0)
        tap.pour(1000)
        await drained(tap)
        assert [request.bytes_sent for request in registry.requests] == [500, 500]
        tap.open()
        assert [len(await one) for one in asking] == [120_000] * 2


async def test_what_was_poured_and_not_used_is_gone() -> None:
    tap = Tap()
    tap.pour(5000)
    tap.pour(10)
    assert tap.is_dry, "nobody wants it"
    assert await tap.draw(8000) == 10


async def test_a_tap_is_joined_to_a_fault_of_the_bytes() -> None:
    tap = Tap()
    async with FakeRegistry() as registry:
        registry.add(ALPINE)
        registry.script(faults.truncated(1000).joined(tap.fault()), on=BLOB)
        asking = asyncio.create_task(ask(registry, PATH))
        await drained(tap)
        tap.pour(5000)
        assert await asking == ALPINE.layers[0].read()[:1000]
        assert registry.requests[0].fault == "truncated, tapped"


async def test_a_chunked_body_leaves_in_chunks() -> None:
    tap = Tap()
    async with FakeRegistry() as registry:
        registry.add(ALPINE)
        registry.script(faults.chunked().joined(tap.fault()), on=BLOB)
        asking = asyncio.create_task(ask(registry, PATH))
        await drained(tap)
        tap.pour(10)
        await drained(tap)
        tap.open()
        data = ALPINE.layers[0].read()
        assert (await asking).startswith(b"a\r\n" + data[:10] + b"\r\n")
