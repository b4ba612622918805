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
from functools import partial

from sampan.errors import SampanError
from sampan.server.answering import ExchangeT
from sampan.server.app import GRACE_SECONDS, Listener, Server
from sampan.server.contract import MirrorApi
from sampan.server.delay import DelayWatch
from sampan.server.notify import Supervisor
from sampan.server.settings import ServerSettings

Reload = Callable[[], Awaitable[tuple[MirrorApi, ServerSettings]]]

FILES_OF_OUR_OWN = 64  # the store's directories, the loop's own, the log, idle connections to hosts
FILES_PER_CONNECTION = 3  # the client's, the file that it is given, the host's that it is fetched from

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

    async def load() -> None:
        if reload is not None:
            await load_again(partial(_reload, server, reload), server.metrics.reloaded)

    tell = None if started is None else partial(started, server)
    with DelayWatch(server.metrics.loop_was_late):
        await run(server, hangup=load, started=tell, supervisor=supervisor, grace_seconds=grace_seconds)


async def run(
    listener: Listener[ExchangeT],
    *,
    hangup: Callable[[], Awaitable[None]],
    started: Callable[[], None] | None = None,
    supervisor: Supervisor = _NOBODY,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """:func:`serve` for whatever listens; ``hangup`` is called at SIGHUP and raises nothing."""
    _allow_all_descriptors()
    _keep_within_descriptors(listener)
    stop = asyncio.Event()
    hung_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: hung_up}
    for number, event in signals.items():
        loop.add_signal_handler(number, event.set)
    try:
        await listener.start()
        if started is not None:
            started()
        supervisor.ready(listener.url)
        async with _hanging_up(hung_up, hangup, supervisor, listener.url):
            await stop.wait()
        supervisor.stopping()
        _log.info("stopping")
    finally:
        await listener.stop(grace_seconds)
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _hanging_up(
    hung_up: asyncio.Event, hangup: Callable[[], Awaitable[None]], supervisor: Supervisor, url: str
) -> AsyncIterator[None]:
    async def wait() -> None:
        while True:
            await hung_up.wait()
            hung_up.clear()
            supervisor.reloading()
            await hangup()
            supervisor.ready(url)

    task = asyncio.create_task(wait())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def load_again(load: Callable[[], Awaitable[None]], reloaded: Callable[..., None]) -> None:
    """Load a configuration while running: a bad one is told, and ``load`` has then changed nothing."""
    try:
        await load()
    except SampanError as error:
        reloaded(well=False)
        hint = f" (hint: {error.hint})" if error.hint else ""
        _log.error("the new configuration is bad, the old one is kept: %s%s", error.message, hint)
    else:
        reloaded(well=True)
        _log.info("configuration loaded")


async def _reload(server: Server, reload: Reload) -> None:
    await _replace(server, *await reload())


async def _replace(server: Server, mirror: MirrorApi, settings: ServerSettings) -> None:
    try:
        server.replace_mirror(mirror, settings)
    except SampanError:
        await mirror.close()
        raise


def _keep_within_descriptors(listener: Listener[ExchangeT]) -> None:
    """Who comes when all files are open is told to come back (503), rather than cut off in mid-answer."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return
    bearable = max((soft - FILES_OF_OUR_OWN) // FILES_PER_CONNECTION, 1)
    if bearable < listener.connections_max:
        _log.warning("only %d connections at a time: of open files %d are allowed", bearable, soft)
        listener.connections_max = bearable


def _allow_all_descriptors() -> None:
    """Shells and systemd give 1024 open files unless asked, a connection each and a file for its answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
