"""``sampan serve``: the mirror on a port, until a signal ends it.

It guarantees that nothing is started before the whole configuration is known to be good, and that a
bad one at SIGHUP changes nothing. The server itself is in :mod:`sampan.server`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click

from sampan.bundle.carried import Carried
from sampan.bundle.served import BundleMirror
from sampan.bundle.stock import Stock, teach
from sampan.bundle.trust import check_trust
from sampan.cli.command import Command, Invocation
from sampan.clock import Clock, SystemClock
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.config.environment import MIRRORS
from sampan.mirror.service import Mirror
from sampan.oci import Registries
from sampan.server.app import Server
from sampan.server.lifecycle import serve
from sampan.server.log import configure_logging
from sampan.server.metrics import Metrics
from sampan.server.notify import Supervisor
from sampan.server.settings import ServerSettings

_log = logging.getLogger("sampan.serve")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line said, to say it again at each reload."""

    config: str | None
    listen: str | None
    store: str | None
    log_format: str
    bundles: tuple[Path, ...] = ()
    keys: tuple[Path, ...] = ()

    def load(self) -> Config:
        return Config.load(self.config, listen=self.listen, store=self.store)

    def serves_alone(self, config: Config) -> bool:
        """Whether there are bundles, and nobody said that there is anything else: no file, no store, no
        mirrors in the environment. Then nothing is dialled and nothing written."""
        said = config.path is not None or self.store is not None or MIRRORS in config.environ
        return bool(self.bundles) and not said


@click.command(
    cls=Command,
    example="sampan serve\nsampan serve --listen 127.0.0.1:5050 --store ~/images --config ./sampan.toml\n"
    "sampan serve --bundle /media/usb/images.tar",
)
@click.option("--listen", metavar="HOST:PORT", help="Listen here; stands above server.listen.")
@click.option("--store", metavar="DIR", help="Keep content here; stands above store.path.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    help="Serve what is in this bundle or archive, from where it lies; may be given again.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE",
    help="A public key that is trusted: bundles that it has not signed are refused.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How lines of the log are written to stderr.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    listen: str | None,
    store: str | None,
    bundles: tuple[str, ...],
    keys: tuple[str, ...],
    log_format: str,
) -> None:
    """Run the mirror until SIGTERM; SIGHUP reloads the configuration."""
    paths = tuple(map(Path, bundles)), tuple(map(Path, keys))
    asked = _Asked(invocation.config, listen, store, log_format, *paths)
    config = asked.load()
    configure_logging(log_format, sys.stderr)
    asyncio.run(_serve(asked, config))


async def _serve(asked: _Asked, config: Config) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        stock = await open_stock(asked.bundles, asked.keys, clock) if asked.bundles else None
        if stock is not None:
            stack.push_async_callback(stock.close)
        lasting = None if asked.serves_alone(config) else Lasting.of(config, clock)
        if lasting is not None:
            stack.callback(lasting.close)
            keeping = lasting.keeping(config)
            await asyncio.to_thread(keeping.recall)
            await stack.enter_async_context(keeping)
        running = _Running(asked, config, lasting, Metrics(clock), stock)
        mirror = running.mirror(config)
        server = Server(mirror, running.settings(config), metrics=running.metrics, clock=clock)
        if lasting is not None:
            await lasting.room.tidy()
        if stock is not None and lasting is not None:
            await asyncio.to_thread(teach, stock, lasting.store, lasting.tag_store)
        supervisor = Supervisor(config.environ.get("NOTIFY_SOCKET"))
        await serve(server, reload=running.reload, started=running.tell, supervisor=supervisor)


@dataclass(frozen=True, slots=True)
class _Running:
    """What a reload starts from: ``config`` is the one of the start, whose address and store stay.
    ``lasting``: None when bundles are served alone; ``stock``: None when there are none."""

    asked: _Asked
    config: Config
    lasting: Lasting | None
    metrics: Metrics
    stock: Stock | None
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)

    def mirror(self, config: Config) -> Mirror | BundleMirror:
        """What answers by ``config``. Raises :class:`ConfigError`, :class:`StoreError`."""
        if self.lasting is None:
            assert self.stock is not None
            nothing = Registries(frozenset(), wildcard=False, default=config.server.default_registry)
            return BundleMirror(self.stock, behind=None, registries=nothing)
        mirror = build(config, lasting=self.lasting, observer=self.metrics)
        if self.stock is None:
            return mirror
        return BundleMirror(self.stock, behind=mirror, registries=config.registries)

    async def reload(self) -> tuple[Mirror | BundleMirror, ServerSettings]:
        """A mirror of the configuration as it is now. Raises :class:`ConfigError` when it is bad."""
        config = await asyncio.to_thread(self.asked.load)
        for key, old, new in (
            ("server.listen", self.config.server.listen, config.server.listen),
            ("store.path", self.config.store.path, config.store.path),
            ("server.tls_cert", bool(self.config.server.tls_cert), bool(config.server.tls_cert)),
        ):
            if old != new:
                _log.warning("%s has changed: it is taken up at the next start", key)
        return self.mirror(config), self.settings(config)

    def settings(self, config: Config) -> ServerSettings:
        """What the server is told by ``config``."""
        server = config.server
        return ServerSettings(
            host=server.listen.host,
            port=server.listen.port,
            tls_cert=_text(server.tls_cert),
            tls_key=_text(server.tls_key),
            htpasswd=_text(server.htpasswd),
            anonymous=server.anonymous,
            log_format=self.asked.log_format,
            instance=self.instance if self.lasting is None else self.lasting.instance,
        )

    def tell(self, server: Server) -> None:
        """One line for whoever started it: where it listens, by which file, with which store and bundles."""
        source = self.config.path or "the built-in configuration"
        profile = f", profile {self.config.profile}" if self.config.profile else ""
        store = f", store {self.config.store.path}" if self.lasting is not None else ", no host is asked"
        bundles = f", {self.stock.title}" if self.stock is not None else ""
        _log.info("serving at %s by %s%s%s%s", server.url, source, profile, store, bundles)


async def open_stock(bundles: Sequence[Path], keys: Sequence[Path], clock: Clock) -> Stock:
    """What ``bundles`` hold, if ``keys`` vouch for them. Raises BundleError, UsageError."""

    def opened() -> Stock:
        carried = Carried.opened(bundles)
        try:
            check_trust(carried, keys, datetime.now(UTC))
            return Stock.of(carried, clock)
        except BaseException:
            carried.close()
            raise

    return await asyncio.to_thread(opened)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
