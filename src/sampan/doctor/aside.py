"""What blocks, beside the event loop, in a thread that nobody has to wait for.

Guarantees that whoever is cancelled while waiting goes on at once, and that what hangs (a disk that is gone,
a daemon that does not answer) does not keep the program from ending: the threads of :func:`asyncio.to_thread`
would.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def aside(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    """What ``function`` returns or raises. Its thread is left alone when the caller is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
            tell(lambda: future.set_exception(failure))
        else:
            tell(lambda: future.set_result(result))

    def tell(settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    threading.Thread(target=work, name=f"aside-{function}", daemon=True).start()
    return await future
