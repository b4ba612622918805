"""What the server needs of a mirror, and nothing more: :class:`sampan.mirror.service.Mirror` has it.

The Protocols exist because the tests serve another mirror than the real one. All methods that ask
something raise :class:`~sampan.errors.SampanError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import BinaryIO, Protocol

from sampan.errors import Attempt
from sampan.oci.digest import Digest
from sampan.oci.distribution import Registries
from sampan.oci.manifest import Index, Manifest


class Window(Protocol):
    """``count`` bytes of ``file`` from ``offset`` that may be sent now."""

    @property
    def file(self) -> BinaryIO: ...

    @property
    def offset(self) -> int: ...

    @property
    def count(self) -> int: ...


class ManifestReply(Protocol):
    """``source``: ``store`` or a host's name. ``age_seconds``: since a tag was last confirmed."""

    @property
    def manifest(self) -> Manifest | Index: ...

    @property
    def source(self) -> str: ...

    @property
    def stale(self) -> bool: ...

    @property
    def age_seconds(self) -> float | None: ...

    @property
    def attempts(self) -> tuple[Attempt, ...]: ...


class BlobReply(Protocol):
    """A blob that may be answered now: ``size`` in bytes. To be closed by whoever got it."""

    @property
    def size(self) -> int: ...

    @property
    def source(self) -> str: ...

    @property
    def attempts(self) -> tuple[Attempt, ...]: ...

    def windows(self, start: int, stop: int, /) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop``, in order; raises when they will not all come."""

    def close(self) -> None: ...


class HostStatus(Protocol):
    """How one host stands for one ``kind`` of request: ``state`` is ``ready``, ``demoted`` or ``open``."""

    @property
    def host(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def strikes(self) -> int: ...


class PullsLeft(Protocol):
    """``left`` of the ``limit`` pulls that ``place``, a URL, gives."""

    @property
    def place(self) -> str: ...

    @property
    def limit(self) -> int: ...

    @property
    def left(self) -> int: ...


class Quota(Protocol):
    def known(self) -> Sequence[PullsLeft]: ...


class RefusalsLeft(Protocol):
    """How many ``refusals`` more until the hosts of ``operator`` are not asked."""

    @property
    def operator(self) -> str: ...

    @property
    def refusals(self) -> int: ...


class Budget(Protocol):
    def left(self) -> Sequence[RefusalsLeft]: ...


class Health(Protocol):
    def states(self) -> Sequence[HostStatus]: ...

    def usual_seconds(self) -> Iterable[tuple[str, str, float]]:
        """(host, step, seconds): how long a host usually takes for each step of a question."""

    @property
    def quota(self) -> Quota: ...

    @property
    def budget(self) -> Budget: ...


class Store(Protocol):
    """Both methods may block: they are called in a thread."""

    def usage(self) -> int:
        """Bytes under the store."""

    def check_writable(self) -> None:
        """Raises :class:`~sampan.errors.StoreError`."""


class MirrorApi(Protocol):
    """The mirror, as its server sees it."""

    @property
    def registries(self) -> Registries: ...

    @property
    def downloads_in_flight(self) -> int: ...

    @property
    def health(self) -> Health: ...

    @property
    def store(self) -> Store: ...

    async def manifest(self, registry: str, repository: str, wanted: str | Digest, /) -> ManifestReply: ...

    async def blob(self, registry: str, repository: str, digest: Digest, /) -> BlobReply: ...

    async def stat_blob(self, registry: str, repository: str, digest: Digest, /) -> tuple[int, str]: ...

    async def tags(self, registry: str, repository: str, /) -> list[str]: ...

    async def referrers(self, registry: str, repository: str, digest: Digest, /) -> Index: ...

    async def close(self) -> None: ...
