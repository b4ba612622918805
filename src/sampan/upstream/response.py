"""An answer whose body is still on the wire: status, headers, and bytes as they come.

Guarantee: a body that ends before its Content-Length, or that pauses for longer than it may, raises;
it never looks like a short body. The bytes are as sent, nothing is decoded. It does not judge them.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Protocol, Self

from sampan.errors import HostError, NotARegistry, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.upstream.url import Url

DISCARD_BYTES_MAX = 64 * 1024  # more is cheaper to get rid of by closing the connection
DISCARD_SECONDS = 1.0
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)


class _Headers(Protocol):
    def get(self, key: str) -> str | None: ...
    def getall(self, key: str, default: list[str]) -> list[str]: ...


class _Content(Protocol):
    async def readany(self) -> bytes: ...


class Raw(Protocol):
    """What is needed of the HTTP client's response."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> _Headers: ...
    @property
    def content(self) -> _Content: ...
    def close(self) -> None: ...


class Response:
    """Read with :meth:`read_some` or :meth:`read`, then :meth:`close`; or use it in ``async with``.

    ``url`` is where the answer came from in the end, after redirects; ``behind`` names the machine
    when it is another than the one that was asked.
    """

    def __init__(
        self,
        raw: Raw,
        url: Url,
        *,
        read_seconds: float,
        broken: Callable[[BaseException, Url], HostError | None],
    ) -> None:
        self._raw = raw
        self._broken = broken
        self._read_seconds = read_seconds
        self.url = url
        self.behind: str | None = None
        self.status = raw.status
        try:
            self.content_length = self._content_length()
        except NotARegistry:
            raw.close()
            raise

    @property
    def served_by(self) -> str:
        """The name of the machine that answered, for people."""
        return self.url.netloc

    def headers(self, name: str) -> list[str]:
        """Every value of the header ``name``, in order."""
        return self._raw.headers.getall(name, [])

    def header(self, name: str) -> str | None:
        """The first value of the header ``name``."""
        return self._raw.headers.get(name)

    async def read_some(self) -> bytes:
        """The next bytes, empty at the end. Raises Interrupted, TimedOut (outcome ``stalled``)."""
        limit = asyncio.timeout(self._read_seconds)
        try:
            async with limit:
                return await self._raw.content.readany()
        except TimeoutError as error:
            self.close()
            if not limit.expired():
                raise self._named(error) from error
            raise TimedOut(
                f"{self.url.netloc}: no bytes for {self._read_seconds:g} s", outcome="stalled"
            ) from error
        except Exception as error:
            self.close()
            raise self._named(error) from error

    async def read(self, limit_bytes: int) -> bytes:
        """The body, cut after ``limit_bytes``. Raises as :meth:`read_some`."""
        pieces, count = [], 0
        while count < limit_bytes and (piece := await self.read_some()):
            pieces.append(piece)
            count += len(piece)
        return b"".join(pieces)[:limit_bytes]

    async def discard(self) -> None:
        """Done with it: a short rest is read so that the connection can serve again."""
        try:
            if (self.content_length or 0) <= DISCARD_BYTES_MAX:
                async with asyncio.timeout(DISCARD_SECONDS):
                    await self.read(DISCARD_BYTES_MAX)
        except (HostError, TimeoutError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Lets go. A body that was not read to its end takes the connection with it."""
        self._raw.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _named(self, error: BaseException) -> BaseException:
        return self._broken(error, self.url) or error

    def _content_length(self) -> int | None:
        values = {part.strip() for value in self.headers("Content-Length") for part in value.split(",")}
        if not values:
            return None
        if len(values) > 1 or not _LENGTH.fullmatch(next(iter(values))):
            raise NotARegistry(f"{self.url.netloc}: no single Content-Length", outcome="protocol")
        return int(values.pop())
