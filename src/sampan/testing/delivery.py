"""Writing a reply to a connection, at its pace and to its end, be that good or bad.

It guarantees that what stands before a reset or a stall has really left: a reset waits until the
kernel has delivered it. It does not decide anything; see :class:`sampan.testing.wire.Delivery`.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING

from sampan.testing.body import Body, FilePart
from sampan.testing.wire import BEFORE_HEAD, Delivery, Ending, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.testing.tap import Tap

WRITE_BYTES = 256 * 1024
SENDFILE_BYTES = 8 * 1024 * 1024  # between two counts of what was sent
PACES_PER_SECOND = 20  # how often a limited answer gets its next piece
DRAIN_SECONDS_MAX = 5.0  # a peer that does not read cannot delay a reset for ever
NO_BODY = frozenset({204, 304})
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


async def deliver(
    reply: Reply, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Send ``reply``, counting its body in ``request.bytes_sent``; True: the connection is still good."""
    how = reply.delivery
    await asyncio.sleep(how.delay_seconds)
    if how.hold_at == BEFORE_HEAD:
        await _hold(how)
    if how.stop_at != BEFORE_HEAD:
        writer.write(reply.preface + reply.head())
        if request.method != "HEAD" and reply.status not in NO_BODY:
            await _send_body(reply, request, writer)
        await writer.drain()
    return await _end(how.ending, reader, writer) and _is_delimited(reply, request)


def _is_delimited(reply: Reply, request: Request) -> bool:
    return (
        request.method == "HEAD"
        or reply.status in NO_BODY
        or reply.chunked
        or bool(reply.header("Content-Length"))
    )


async def _send_body(reply: Reply, request: Request, writer: asyncio.StreamWriter) -> None:
    how = reply.delivery
    stop = reply.body.size if how.stop_at is None else min(how.stop_at, reply.body.size)
    hold = stop if how.hold_at is None else min(max(how.hold_at, 0), stop)
    await _send(reply.body.slice(0, hold), reply, request, writer)
    if how.hold_at is not None and how.hold_at != BEFORE_HEAD:
        await writer.drain()
        await _hold(how)
    await _send(reply.body.slice(hold, stop), reply, request, writer)
    if reply.chunked and how.stop_at is None:
        writer.write(b"0\r\n\r\n")


async def _hold(how: Delivery) -> None:
    if how.gate is not None:
        await how.gate.wait()


async def _send(body: Body, reply: Reply, request: Request, writer: asyncio.StreamWriter) -> None:
    if reply.delivery.tap is not None:
        await _send_from(reply.delivery.tap, body, reply, request, writer)
        return
    for part in body.parts:
        if isinstance(part, FilePart) and not reply.chunked and reply.delivery.bytes_per_second is None:
            await _send_file(part, request, writer)
        else:
            await _send_pieces(Body((part,)), reply, request, writer)


async def _send_from(
    tap: Tap, body: Body, reply: Reply, request: Request, writer: asyncio.StreamWriter
) -> None:
    position = 0
    while position < body.size:
        await writer.drain()
        count = await tap.draw(min(body.size - position, WRITE_BYTES))
        writer.write(_framed(body.slice(position, position + count).read(), reply))
        position += count
        request.bytes_sent += count


def _framed(piece: bytes, reply: Reply) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece


async def _send_file(part: FilePart, request: Request, writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    with open(part.path, "rb") as file:  # noqa: ASYNC230 (opening takes no time worth a thread)
        for start, count in _spans(part.offset, part.count):
            if writer.transport.is_closing():
                raise ConnectionResetError("the client has gone")
            request.bytes_sent += await asyncio.get_running_loop().sendfile(
                writer.transport, file, start, count
            )


def _spans(offset: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(offset, offset + count, SENDFILE_BYTES):
        yield start, min(SENDFILE_BYTES, offset + count - start)


async def _send_pieces(body: Body, reply: Reply, request: Request, writer: asyncio.StreamWriter) -> None:
    rate = reply.delivery.bytes_per_second
    size = WRITE_BYTES if rate is None else min(WRITE_BYTES, max(1, int(rate / PACES_PER_SECOND)))
    for piece in body.pieces(size):
        writer.write(_framed(piece, reply))
        await writer.drain()
        request.bytes_sent += len(piece)
        if rate is not None:
            await asyncio.sleep(len(piece) / rate)


async def _end(ending: Ending, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if ending is Ending.STALL:
        while await reader.read(WRITE_BYTES):
            pass  # whatever the client still says, it gets no answer
    elif ending is Ending.RESET:
        await reset(writer)
    return ending is Ending.KEEP


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, but not before what was written has reached the peer's kernel."""
    connection: socket.socket = writer.get_extra_info("socket")
    for _ in range(int(DRAIN_SECONDS_MAX * 1000)):
        is_closed = connection.fileno() < 0  # the peer was quicker
        if is_closed or not (writer.transport.get_write_buffer_size() or _unacknowledged_bytes(connection)):
            break
        await asyncio.sleep(0.001)
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()


def _unacknowledged_bytes(connection: socket.socket) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return count[0]
