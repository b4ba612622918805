"""``sampan webhook``: redirects the images of a cluster where pods are admitted.

It guarantees that nothing is started before the certificate and the rules are known to be good. What is
answered is in :mod:`sampan.server.webhook`; what a cluster is told of it is this command's other half.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial

import click

from sampan.cli.command import Command, CommandGroup, Invocation
from sampan.cli.webhook_certificate import certificate
from sampan.cli.webhook_manifests import manifests
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.address import parse_address
from sampan.config.rewrite import rewriter
from sampan.rewrite.rules import Rules
from sampan.server.app import Listener
from sampan.server.certificate import Certificate
from sampan.server.lifecycle import run
from sampan.server.log import configure_logging
from sampan.server.settings import ServerSettings
from sampan.server.watch import Watch
from sampan.server.webhook import CONNECTIONS_MAX, PATH, Exchange, Webhook

LISTEN = ":8443"

_log = logging.getLogger("sampan.webhook")


@click.group(
    cls=CommandGroup,
    example="sampan webhook manifests | kubectl apply -f -\nsampan webhook manifests --policy",
)
def command() -> None:
    """Redirect the images of a whole Kubernetes cluster, by a webhook or by a policy without any server."""


@command.command(
    cls=Command, example="sampan webhook serve --cert /tls/tls.crt --key /tls/tls.key --own-namespace sampan"
)
@click.option(
    "--listen", metavar="HOST:PORT", default=LISTEN, show_default=True, help="Listen here, with TLS."
)
@click.option(
    "--cert", required=True, metavar="FILE", help="The certificate, PEM; read again when it changes."
)
@click.option("--key", required=True, metavar="FILE", help="Its key, PEM.")
@click.option(
    "--own-namespace", metavar="NAME", default="", help="Leave pods of this Kubernetes namespace alone."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How lines of the log are written to stderr.",
)
@click.pass_obj
def serve(
    invocation: Invocation, listen: str, cert: str, key: str, own_namespace: str, log_format: str
) -> None:
    """Answer AdmissionReviews at /mutate, over TLS, until SIGTERM.

    The certificate and the rules are taken up when they change, and at SIGHUP.
    """
    address = parse_address(listen)
    load = partial(Config.load, invocation.config, locked=False)
    config = load()
    rules = rewriter(config)
    shown = Certificate(cert, key)
    configure_logging(log_format, sys.stderr)
    clock = SystemClock()

    def reread() -> Rules:
        return rewriter(load())

    webhook = Webhook(
        rules,
        own_namespace=own_namespace,
        certificate=shown,
        clock=clock,
        reread=reread,
        files=Watch([] if config.path is None else [config.path]),
    )
    settings = ServerSettings(
        host=address.host, port=address.port, anonymous=True, connections_max=CONNECTIONS_MAX
    )
    listener = Listener(webhook, settings, tls=shown.context, clock=clock)
    asyncio.run(_serve(listener, webhook, rules, config))


async def _serve(listener: Listener[Exchange], webhook: Webhook, rules: Rules, config: Config) -> None:
    async def reload() -> None:
        webhook.reload()

    def tell() -> None:
        source = config.path or "the built-in configuration"
        _log.info("serving at %s%s by %s", listener.url, PATH, source)
        if not rules:
            _log.warning("there is no rule: every image stays as it is")

    await run(listener, hangup=reload, started=tell)


command.add_command(manifests)
command.add_command(certificate)
