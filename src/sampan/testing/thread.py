"""Fakes in a thread with an event loop of its own, for callers that have none or must not share theirs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType


T = TypeVar("T")


class ServerThread:
    """Runs ``servers`` from ``__enter__`` to ``__exit__``; what they complain of is raised there.

    with ServerThread(FakeRegistry("good")) as thread: ...

    Records may be read and faults scripted from any thread; whatever touches sockets (``refuse``,
    ``cut``) must go through :meth:`call`.
    """

    def __init__(self, *servers: AbstractAsyncContextManager[object]) -> None:
        self._servers = servers
        self._thread = threading.Thread(target=self._run, name="sampan.testing", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._loop is None:
            self._thread.join()
            self._raise()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if error is None:
            self._raise()

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the thread of the servers and return what it returns."""

        async def called() -> T:
            return function()

        return self.run(called())

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """What ``coroutine`` returns when it is run to its end there: ``thread.run(registry.accept())``."""
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the servers are not running")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for server in self._servers:
                await stack.enter_async_context(server)
            self._stop = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._stop.wait()
