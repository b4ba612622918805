"""What a running ``sampan serve`` of this configuration knows about its hosts, or knew when it ended.

It asks ``/metrics`` where the configuration says that it listens, which need not be running; it guarantees an
answer within a moment, and that no login is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sampan.clock import Clock, SystemClock
from sampan.config.build import configured_hosts
from sampan.config.settings import Config
from sampan.errors import ConfigError, HostError
from sampan.mirror.keeping import Keeping
from sampan.upstream import health as remembered
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
    """``hosts`` by name or URL, those that were asked so far; ``problem``: why the server says nothing, as
    text. ``kept_at``: then this is what it wrote down last, at that time (wall clock); None: nothing is.
    """

    url: str
    hosts: Mapping[str, Health]
    problem: str | None = None
    kept_at: float | None = None

    def of(self, host: Host) -> Health | None:
        """The worst that is known of ``host`` and of the machine that it is on."""
        known = [self.hosts[name] for name in (host.name, host.url) if name in self.hosts]
        if not known:
            return None
        worst = min((health.state for health in known), key=WORST.index)
        return Health(worst, max(health.strikes for health in known))


async def health_of_running(
    config: Config, *, ask_seconds: float = ASK_SECONDS, clock: Clock | None = None
) -> Running:
    """What the server of ``config`` says within ``ask_seconds``, if it runs; else what it wrote down last."""
    url = config.server.url
    try:
        text = await _metrics(config, url, ask_seconds)
    except (HostError, ConfigError) as error:
        return await asyncio.to_thread(_kept, config, error.message, clock or SystemClock())
    except TimeoutError:
        return await asyncio.to_thread(
            _kept, config, f"no answer within {ask_seconds:g} s", clock or SystemClock()
        )
    return Running(url, read_health(text))


def _kept(config: Config, problem: str, clock: Clock) -> Running:
    """What the server that does not answer left in its store."""
    health = remembered.Health(clock)
    kept_at = Keeping(config.store.path, health, configured_hosts(config), clock).look()
    return Running(config.server.url, _worst(health.states()), problem, kept_at)


def _worst(states: Iterable[remembered.HostState]) -> Mapping[str, Health]:
    """By host, the worst of its states."""
    worst: dict[str, Health] = {}
    for each in states:
        known = worst.get(each.host, Health("ready"))
        state = next(one for one in WORST if one in (each.state, known.state))
        worst[each.host] = Health(state, max(each.strikes, known.strikes))
    return worst


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
