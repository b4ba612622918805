"""The ground of one run: the stock, the origin that serves it, and the parties, started over and over.

It guarantees that a party begins with an empty store unless it is said to host, and that its files
are gone with its ``with`` block, so that disks do not fill.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.hosting import host
from bench.origin import Origin, origin
from bench.stock import Stock, make_stock
from interop import registries
from interop.processes import Process
from interop.serving import serving

LOOSE_PER_ROUND = 4  # blobs that nobody has asked for yet, for the first byte


class Party(Protocol):
    """A running server: ours or a peer."""

    @property
    def netloc(self) -> str: ...
    @property
    def process(self) -> Process: ...


@dataclass(frozen=True, slots=True)
class Stage:
    directory: Path
    rounds: int
    stock: Stock
    origin: Origin
    hosted: Path

    @contextlib.contextmanager
    def sampan(self, *, verify: str | None = None) -> Iterator[Party]:
        """`sampan serve` with an empty store, in front of the origin."""
        mirror = {"url": self.origin.url, **({"verify": verify} if verify else {})}
        with self._home() as home, serving(home, [mirror]) as party:
            yield party

    @contextlib.contextmanager
    def registry_proxy(self) -> Iterator[Party]:
        """docker-registry with an empty store, as a proxy of the origin."""
        with self._home() as home, registries.docker_registry(home, proxy_of=self.origin.url) as party:
            yield party

    @contextlib.contextmanager
    def registry_host(self) -> Iterator[Party]:
        """docker-registry that has the image of its own."""
        with self._home() as home, registries.docker_registry(home, storage=self.hosted) as party:
            yield party

    @contextlib.contextmanager
    def nginx_files(self) -> Iterator[Party]:
        """nginx over the stock's files."""
        with self._home() as home, registries.nginx(home, root=self.stock.root) as party:
            yield party

    @contextlib.contextmanager
    def nginx_cache(self) -> Iterator[Party]:
        """nginx with an empty proxy_cache, in front of the origin."""
        with self._home() as home, registries.nginx(home, proxy_of=self.origin.url) as party:
            yield party

    @contextlib.contextmanager
    def _home(self) -> Iterator[Path]:
        home = Path(tempfile.mkdtemp(prefix="party", dir=self.directory))
        try:
            yield home
        finally:
            shutil.rmtree(home)


@contextlib.contextmanager
def stage(directory: Path, *, rounds: int) -> Iterator[Stage]:
    """Everything below ``directory``, which the caller removes."""
    stock = make_stock(directory / "stock", loose=rounds * LOOSE_PER_ROUND)
    hosted = directory / "hosted"
    with registries.docker_registry(directory, storage=hosted) as registry:
        host(registry.netloc, stock)
    with origin(directory / "origin", stock.root, [stock.image]) as upstream:
        yield Stage(directory, rounds, stock, upstream, hosted)
