"""`sampan serve`: a server from its start to the signal that ends it.

Guarantees that SIGTERM ends it after the answers under way, that SIGHUP never leaves it without a working
configuration (a bad new one is reported and the old one kept), and that its supervisor knows of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from sampan.errors import SampanError
from sampan.server.app import GRACE_SECONDS, Server
from sampan.server.contract import MirrorApi
from sampan.server.notify import Supervisor
from sampan.server.settings import ServerSettings

Reload = Callable[[], Awaitable[tuple[MirrorApi, ServerSettings]]]

_NOBODY = Supervisor()
_log = logging.getLogger("sampan.server")


async def serve(
    server: Server,
    *,
    reload: Reload | None = None,
    started: Callable[[Server], None] | None = None,
    supervisor: Supervisor = _NOBODY,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Start ``server``, call ``started``, run until SIGTERM or SIGINT, stop. Raises :class:`ConfigError`.

    ``reload`` reads the configuration anew at SIGHUP and raises :class:`SampanError` for a bad one.
    """
    _allow_all_descriptors()
    stop = asyncio.Event()
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hangup}
    for number, event in signals.items():
        loop.add_signal_handler(number, event.set)
    try:
        await server.start()
        if started is not None:
            started(server)
        supervisor.ready(server.url)
        async with _reloading(hangup, server, reload, supervisor):
            await stop.wait()
        supervisor.stopping()
        _log.info("stopping")
    finally:
        await server.stop(grace_seconds)
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _reloading(
    hangup: asyncio.Event, server: Server, reload: Reload | None, supervisor: Supervisor
) -> AsyncIterator[None]:
    task = asyncio.create_task(_reload_at(hangup, server, reload, supervisor))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _reload_at(
    hangup: asyncio.Event, server: Server, reload: Reload | None, supervisor: Supervisor
) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        supervisor.reloading()
        if reload is not None:
            await _reload(server, reload)
        supervisor.ready(server.url)


async def _reload(server: Server, reload: Reload) -> None:
    try:
        await _replace(server, *await reload())
    except SampanError as error:
        server.metrics.reloaded(well=False)
        hint = f" (hint: {error.hint})" if error.hint else ""
        _log.error("the new configuration is bad, the old one is kept: %s%s", error.message, hint)
    else:
        server.metrics.reloaded(well=True)
        _log.info("configuration loaded")


async def _replace(server: Server, mirror: MirrorApi, settings: ServerSettings) -> None:
    try:
        server.replace_mirror(mirror, settings)
    except SampanError:
        await mirror.close()
        raise


def _allow_all_descriptors() -> None:
    """Shells and systemd give 1024 open files unless asked, a connection each and a file for its answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
