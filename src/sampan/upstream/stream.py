"""A blob on its way: where its body begins, and its bytes until the last one that is due.

Guarantee: the iteration ends normally only after exactly the bytes that were announced; a body that
stops short raises Interrupted, a pause raises TimedOut, and bytes beyond the size are never given.
Nothing is verified here: whoever writes the bytes hashes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sampan.errors import HostError, Interrupted, NotARegistry, OtherSize
from sampan.oci.headers import parse_content_range
from sampan.upstream.answers import is_page

if TYPE_CHECKING:
    from sampan.upstream.response import Response


class BlobStream:
    """``offset``: where in the blob the body begins, 0 although more was asked for when the host
    ignores Range; ``stop``: where it ends, None while nobody said. ``size``: of the whole blob, likewise.
    ``served_by``: the machine that sends it, after redirects.
    """

    def __init__(self, response: Response, *, offset: int, stop: int | None, size: int | None) -> None:
        self._response = response
        self.offset = offset
        self.stop = stop
        self.size = size
        self.served_by = response.served_by
        self._position = offset

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except HostError as error:
            error.behind = error.behind or self._response.behind
            raise

    async def _next(self) -> bytes:
        left = None if self.stop is None else self.stop - self._position
        if left == 0:
            # The end of the message is still to be seen, or the connection cannot serve again.
            await self._response.discard()
            raise StopAsyncIteration
        data = await self._response.read_some()
        if not data:
            if left is None:
                raise StopAsyncIteration
            raise Interrupted(f"{self.served_by}: the body ended {left} bytes early", outcome="truncated")
        if left is not None and len(data) > left:
            data = data[:left]
        self._position += len(data)
        return data


def open_stream(
    response: Response, *, asked_offset: int, asked_stop: int | None = None, size: int | None
) -> BlobStream:
    """The stream in ``response``, a 200 or 206. Raises NotARegistry when it cannot be what was asked for,
    OtherSize when its size is not ``size``, as the manifest says: who of the two is wrong is not known."""
    who = response.served_by
    length = response.content_length
    if response.status == 206:
        stop, total = _check_range(response, asked_offset, asked_stop, size)
        return BlobStream(response, offset=asked_offset, stop=stop, size=size if size is not None else total)
    if size is not None and length != size and is_page(response.header("Content-Type")):
        raise NotARegistry(f"{who}: a web page in place of a blob of {size} bytes", outcome="not-a-registry")
    if size is not None and length not in (None, size):
        if response.header("Content-Encoding"):  # where it tells no length, the bytes may be the blob's own
            what = f"something encoded in place of a blob of {size} bytes"
            raise NotARegistry(f"{who}: {what}", outcome="not-a-registry")
        raise OtherSize(f"{who}: {length} bytes in place of a blob of {size} bytes", outcome="other-size")
    whole = size if size is not None else length
    return BlobStream(response, offset=0, stop=whole, size=whole)


def _check_range(
    response: Response, asked_offset: int, asked_stop: int | None, size: int | None
) -> tuple[int, int | None]:
    """Where a 206 ends, and the total that it gives. Raises NotARegistry unless it is the range that was
    asked for."""
    who = response.served_by
    if asked_offset == 0 and asked_stop is None:
        raise NotARegistry(f"{who}: 206 without being asked for a range", outcome="protocol", status=206)
    given = parse_content_range(response.header("Content-Range"))
    if given is None:
        raise NotARegistry(f"{who}: 206 without a usable Content-Range", outcome="protocol", status=206)
    start, stop, total = given
    whole = total if size is None else size
    due = whole if asked_stop is None else asked_stop
    if (
        start != asked_offset
        or due not in (None, stop)
        or total not in (None, whole)
        or response.content_length not in (None, stop - start)
    ):
        raise NotARegistry(
            f"{who}: the range {start}-{stop}/{total} in place of {asked_offset}-{due}/{whole}",
            outcome="protocol",
            status=206,
        )
    return stop, total
