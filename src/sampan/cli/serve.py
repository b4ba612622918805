"""``sampan serve``: the mirror on a port, until a signal ends it.

It guarantees that nothing is started before the whole configuration is known to be good, and that a
bad one at SIGHUP changes nothing. The server itself is in :mod:`sampan.server`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from sampan.cli.command import Command, Invocation
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.mirror.service import Mirror
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

    def load(self) -> Config:
        return Config.load(self.config, listen=self.listen, store=self.store)


@click.command(
    cls=Command,
    example="sampan serve\nsampan serve --listen 127.0.0.1:5050 --store ~/images --config ./sampan.toml",
)
@click.option("--listen", metavar="HOST:PORT", help="Listen here; stands above server.listen.")
@click.option("--store", metavar="DIR", help="Keep content here; stands above store.path.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How lines of the log are written to stderr.",
)
@click.pass_obj
def command(invocation: Invocation, listen: str | None, store: str | None, log_format: str) -> None:
    """Run the mirror until SIGTERM; SIGHUP reloads the configuration."""
    asked = _Asked(invocation.config, listen, store, log_format)
    config = asked.load()
    configure_logging(log_format, sys.stderr)
    asyncio.run(_serve(asked, config))


async def _serve(asked: _Asked, config: Config) -> None:
    lasting = Lasting.of(config)
    try:
        metrics = Metrics(lasting.clock)
        mirror = build(config, lasting=lasting, observer=metrics)
        server = Server(mirror, _settings(asked, config, lasting), metrics=metrics, clock=lasting.clock)
        running = _Running(asked, config, lasting, metrics)
        await mirror.tidy()
        supervisor = Supervisor(config.environ.get("NOTIFY_SOCKET"))
        await serve(server, reload=running.reload, started=partial(_tell, config), supervisor=supervisor)
    finally:
        lasting.close()


@dataclass(frozen=True, slots=True)
class _Running:
    """What a reload starts from: ``config`` is the one of the start, whose address and store stay."""

    asked: _Asked
    config: Config
    lasting: Lasting
    metrics: Metrics

    async def reload(self) -> tuple[Mirror, ServerSettings]:
        """A mirror of the configuration as it is now. Raises :class:`ConfigError` when it is bad."""
        config = await asyncio.to_thread(self.asked.load)
        for key, old, new in (
            ("server.listen", self.config.server.listen, config.server.listen),
            ("store.path", self.config.store.path, config.store.path),
            ("server.tls_cert", bool(self.config.server.tls_cert), bool(config.server.tls_cert)),
        ):
            if old != new:
                _log.warning("%s has changed: it is taken up at the next start", key)
        mirror = build(config, lasting=self.lasting, observer=self.metrics)
        return mirror, _settings(self.asked, config, self.lasting)


def _settings(asked: _Asked, config: Config, lasting: Lasting) -> ServerSettings:
    server = config.server
    return ServerSettings(
        host=server.listen.host,
        port=server.listen.port,
        tls_cert=_text(server.tls_cert),
        tls_key=_text(server.tls_key),
        htpasswd=_text(server.htpasswd),
        anonymous=server.anonymous,
        log_format=asked.log_format,
        instance=lasting.instance,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _tell(config: Config, server: Server) -> None:
    """One line for whoever started it: where it listens, by which file, with which store."""
    source = config.path or "the built-in configuration"
    profile = f", profile {config.profile}" if config.profile else ""
    _log.info("serving at %s by %s%s, store %s", server.url, source, profile, config.store.path)
