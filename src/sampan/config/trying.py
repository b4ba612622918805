"""Hosts tried from here: with this configuration's logins, and this machine's nameservers.

It guarantees that everything that was opened is closed again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from sampan.clock import Clock, SystemClock
from sampan.config.probing import build_probe
from sampan.config.settings import Config
from sampan.doctor.hosts.names import nameservers_of
from sampan.doctor.hosts.probe import HostProbe
from sampan.doctor.hosts.trial import Candidate, Trial, try_all
from sampan.errors import UsageError, printable
from sampan.oci.reference import Reference
from sampan.pull.detect import platform_of_machine
from sampan.runtimes.tree import Tree
from sampan.upstream.nameserver import PORT, Nameserver, is_nameserver


async def try_all_registries(
    config: Config, wanted: Sequence[tuple[Reference, Sequence[Candidate]]]
) -> Sequence[Trial]:
    """Look at the candidates of several registries, all at once: a trial each, in their order."""
    clock = SystemClock()
    probe = _probe(config, clock, ())
    try:
        trials = (try_all(probe, reference, candidates, clock) for reference, candidates in wanted)
        return await asyncio.gather(*trials)
    finally:
        await probe.close()


async def try_candidates(
    config: Config,
    reference: Reference,
    candidates: Sequence[Candidate],
    *,
    nameservers: Sequence[Nameserver] = (),
) -> Trial:
    """Look at ``candidates`` from this machine; ``nameservers`` are asked beside its own. Raises ConfigError
    when a certificate or a proxy of a configured host cannot be used."""
    clock = SystemClock()
    probe = _probe(config, clock, nameservers)
    try:
        return await try_all(probe, reference, candidates, clock)
    finally:
        await probe.close()


def _probe(config: Config, clock: Clock, nameservers: Sequence[Nameserver]) -> HostProbe:
    servers = (*nameservers_of(Tree(Path("/"))), *nameservers)
    return build_probe(config, clock, platform_of_machine(os.uname().machine), nameservers=servers)


def parse_nameserver(text: str) -> Nameserver:
    """``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``. Raises UsageError."""
    address, port = text, str(PORT)
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not is_nameserver(address) or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(
            f"--nameserver: not an address: {printable(text, characters_max=60)}",
            hint="as in 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:53",
        )
    return Nameserver(address, int(port))
