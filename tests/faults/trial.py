"""A fault, and a whole mirror between it and a client: what each row of the catalogue asserts.

The six things: how it ended for the client, that every byte is right, how often the faulty host was asked,
how long it took, what the store holds, and that the log and the metrics give the reason. Time is the event
loop's own, which stands still while anything happens (``tests/standstill.py``): bounds are exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from prometheus_client.parser import text_string_to_metric_families

from rig import HUB, Rig, Watcher, assert_store_is_sound, mirror_of
from sampan.clock import Clock
from sampan.errors import Attempt
from sampan.oci import Digest
from sampan.server.app import Server
from sampan.server.metrics import Metrics
from sampan.server.settings import ServerSettings
from sampan.testing import FakeRegistry, Image
from sampan.upstream.host import Host
from serving.wire import Response, read_response
from standstill import LoopClock, quiet

LINE_BYTES = 256 * 1024


@dataclass
class _Told(Watcher):
    """Writes down what it hears, and tells the server's own metrics, as ``sampan serve`` does."""

    metrics: Metrics = field(kw_only=True)

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:
        super().attempted(registry, kind, attempt)
        self.metrics.attempted(registry, kind, attempt)

    def received(self, host: str, count_bytes: int) -> None:
        super().received(host, count_bytes)
        self.metrics.received(host, count_bytes)

    def answered(self, registry: str, kind: str, source: str, *, stale: bool) -> None:
        super().answered(registry, kind, source, stale=stale)
        self.metrics.answered(registry, kind, source, stale=stale)

    def download_ended(self, registry: str, outcome: str) -> None:
        super().download_ended(registry, outcome)
        self.metrics.download_ended(registry, outcome)


class _Lines(logging.Handler):
    """Every line of the log, as it is written."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class AheadClock(LoopClock):
    """The loop's time, and the machine's, and as much more as the test says."""

    ahead_seconds = 0.0

    def advance(self, seconds: float) -> None:
        self.ahead_seconds += seconds

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_seconds

    def time(self) -> float:
        return super().time() + self.ahead_seconds


@dataclass
class Trial:
    """A mirror on a port, hosts behind it, and a client. ``seconds``: what the last pull or question took."""

    clock: Clock
    rig: Rig
    server: Server
    store: Path
    log: _Lines
    seconds: float = 0.0

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> Response:
        """One request on a connection of its own; ``headers`` with ``_`` for ``-``. An answer that is cut
        short is not ``complete``."""
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection(*self.server.address, limit=LINE_BYTES)
        try:
            lines = [f"{method} {path} HTTP/1.1", "Host: sampan.test", "Connection: close"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            return await read_response(reader, is_head=method == "HEAD")
        finally:
            self.seconds = asyncio.get_running_loop().time() - began
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def pull(self, image: Image, *, by: str | None = None) -> None:
        """What a runtime does: the manifest by its tag, then what it names side by side. Every byte of it is
        compared with the image's own. ``by``: another tag, or a digest."""
        began = asyncio.get_running_loop().time()
        manifest = await self.ask(f"/v2/{image.repository}/manifests/{by or image.tag}")
        assert (manifest.status, manifest.body) == (200, image.raw), manifest
        assert manifest.headers["docker-content-digest"] == image.digest
        blobs = [self.ask(f"/v2/{image.repository}/blobs/{blob.digest}") for blob in image.blobs]
        for blob, answer in zip(image.blobs, await asyncio.gather(*blobs), strict=True):
            assert (answer.status, answer.complete) == (200, True), answer.status
            assert answer.body == blob.read()
        self.seconds = asyncio.get_running_loop().time() - began

    def later(self, seconds: float) -> None:
        """So much time has gone by for the mirror, in which nobody asked for anything: at once, where the
        loop would wake each second."""
        assert isinstance(self.clock, AheadClock)
        self.clock.ahead_seconds += seconds

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name which have these labels, as ``/metrics`` says now."""
        text = (await self.server.metrics.render(0)).decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def pass_seconds(self, seconds: float) -> None:
        """Time goes by, as long as it takes for a host's rest to be over, say."""
        await asyncio.sleep(seconds)

    def written(self) -> str:
        """The log so far, pulls that are not over included."""
        self.server.front.log.flush()
        return "\n".join(self.log.lines)

    async def assert_endured(
        self,
        bad: FakeRegistry | str,
        *,
        reasons: Iterable[str],
        requests_max: int = 3,
        seconds_max: float = 0.5,
        holds: Sequence[Image] = (),
        resumable: bool = False,
    ) -> None:
        """All but the client's own outcome: ``bad`` (or its name, where nobody listens) was asked for at
        the most ``requests_max`` things, the last pull took no more than ``seconds_max``, the store is
        sound, has ``holds`` and nothing half-done unless ``resumable``; and each of ``reasons`` (outcomes
        of attempts) stands in the log and in the metrics, under the host's name."""
        await quiet()
        name = bad if isinstance(bad, str) else bad.url.partition("://")[2]
        if isinstance(bad, FakeRegistry):
            assert len(bad.requests) <= requests_max, [f"{r.method} {r.target}" for r in bad.requests]
        assert self.seconds <= seconds_max, self.seconds
        assert_store_is_sound(self.store)
        for image in holds:
            for digest in (image.digest, *(blob.digest for blob in image.blobs)):
                one = Digest.parse(digest)
                assert (self.store / "blobs" / one.algorithm / one.hex).exists(), digest
        if not resumable:
            assert [path.name for path in (self.store / "ingest").glob("*")] == []
        log = self.written()
        for reason in reasons:
            assert f"{name}: {reason}" in log, (reason, log)
            assert await self.metric("sampan_attempts_total", host=name, outcome=reason) >= 1, reason


@contextlib.asynccontextmanager
async def trial(
    path: Path,
    hosts: Iterable[FakeRegistry | Host] | Mapping[str, Sequence[Host]],
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Trial]:
    """A mirror of ``hosts`` with its store in ``path/store``. ``options``: those of ``mirror_of``."""
    clock: Clock = options.pop("clock", None) or AheadClock()
    told = _Told(metrics=Metrics(clock))
    lines = _Lines()
    logger = logging.getLogger("sampan")
    before, level = logger.handlers[:], logger.level
    logger.handlers = [lines]
    logger.setLevel(logging.INFO)  # not by the attribute: what was asked before is remembered
    try:
        async with mirror_of(path / "store", hosts, clock=clock, watcher=told, **options) as rig:
            server = Server(
                rig.mirror,
                ServerSettings(port=0, **(settings or {})),
                metrics=told.metrics,
                clock=clock,
            )
            await server.start()
            try:
                yield Trial(clock, rig, server, path / "store", lines)
            finally:
                await server.stop(grace_seconds=0.0)
    finally:
        logger.handlers = before
        logger.setLevel(level)


def tls_of(*names: str, authority: trustme.CA | None = None, days: int = 30) -> ssl.SSLContext:
    """A server's, with a certificate for ``names`` that ends in ``days``."""
    now = datetime.now(UTC)
    begin, end = now + timedelta(days=days - 90), now + timedelta(days=days)
    leaf = (authority or trustme.CA()).issue_cert(*names, not_before=begin, not_after=end)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(made)
    return made


def names(hosts: Iterable[FakeRegistry]) -> list[str]:
    """As they stand in logs and metrics."""
    return [host.url.partition("://")[2] for host in hosts]


__all__ = ["HUB", "Trial", "names", "tls_of", "trial"]
