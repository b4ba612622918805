"""What a running ``sampan serve`` of this configuration knows about its hosts.

It asks ``/metrics`` where the configuration says that it listens, which need not be running; it guarantees an
answer within a moment, and that no login is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sampan.config.settings import Config
from sampan.errors import ConfigError, HostError
from sampan.upstream.call import Call
from sampan.upstream.host import Host
from sampan.upstream.transport import Transport

ASK_SECONDS = 2.0
BYTES_MAX = 4 * 1024 * 1024
State = Literal["ready", "demoted", "open"]
WORST: tuple[State, ...] = ("open", "demoted", "ready")
_LINE = re.compile(r"sampan_host_state\{(?P<labels>[^}]*)\} 1\.0")
_STRIKES = re.compile(r"sampan_host_strikes\{(?P<labels>[^}]*)\} (?P<count>[0-9]+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Health:
    """Of one host: ``open`` is not asked, ``demoted`` is asked last. ``strikes``: how often it lied."""

    state: State
    strikes: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """``hosts`` by name, those that were asked so far; ``problem``: why nothing is known, as text."""

    url: str
    hosts: Mapping[str, Health]
    problem: str | None = None


async def health_of_running(config: Config, *, ask_seconds: float = ASK_SECONDS) -> Running:
    """What the server of ``config`` says within ``ask_seconds``, if it runs."""
    url = config.server.url
    try:
        text = await _metrics(config, url, ask_seconds)
    except (HostError, ConfigError) as error:
        return Running(url, {}, error.message)
    except TimeoutError:
        return Running(url, {}, f"no answer within {ask_seconds:g} s")
    return Running(url, read_health(text))


def read_health(text: str) -> Mapping[str, Health]:
    """The hosts in the text of ``/metrics``, each with the worst of its states."""
    states: dict[str, set[str]] = {}
    strikes: dict[str, int] = {}
    for match in _LINE.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        states.setdefault(labels.get("host", ""), set()).add(labels.get("state", ""))
    for match in _STRIKES.finditer(text):
        name = dict(_LABEL.findall(match["labels"])).get("host", "")
        strikes[name] = max(strikes.get(name, 0), int(match["count"]))
    worst = {name: next((s for s in WORST if s in found), None) for name, found in states.items()}
    return {name: Health(state, strikes.get(name, 0)) for name, state in worst.items() if state and name}


async def _metrics(config: Config, url: str, seconds: float) -> str:
    certificate = config.server.tls_cert  # one's own is often signed by nobody else
    host = Host.from_url(url, private=True, ca=None if certificate is None else str(certificate))
    transport = Transport((host,))
    try:
        async with asyncio.timeout(seconds):
            call = Call("GET", {})
            async with await transport.request(host, host.base.at("/metrics"), call) as response:
                if response.status != 200:
                    raise ConfigError(f"{host.name}: /metrics answered {response.status}")
                return (await response.read(BYTES_MAX)).decode("utf-8", "replace")
    finally:
        await transport.close()
