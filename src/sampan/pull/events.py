"""What a pull tells as it goes: one value for each thing that happened, each of them one line of JSON.

Guarantees that an event says the same to a person, a progress display and a script. The fields of the JSON
are documented in docs/pull.md; a listener hears of things that happened and must return at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sampan.errors import AllHostsFailed, Attempt, SampanError
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Started:
    """``sink``: its name as announced. ``references``: how many will be pulled."""

    sink: str
    references: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means, and how much of it there is. ``source``: ``store`` or a host's name;
    ``stale``: nobody could confirm the tag. ``size_bytes``: manifests and blobs together. ``behind``: where
    ``source`` had it from, when that is a mirror which says so: ``store`` or a host's name."""

    reference: str
    digest: Digest
    media_type: str
    source: str
    stale: bool
    platforms: tuple[Platform, ...]
    blobs: int
    size_bytes: int
    attempts: tuple[Attempt, ...] = ()
    behind: str = ""


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """A blob that the store lacks is being fetched; ``size`` in bytes."""

    reference: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class BlobProgress:
    """``arrived_bytes`` of it are on disk; ``hosts``: who gives it now."""

    reference: str
    digest: Digest
    size: int
    arrived_bytes: int
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlobDone:
    """A blob is there. ``already``: ``sink`` or ``store`` when nothing was fetched, else empty.
    ``hosts``: bytes by host, of this run; ``resumed_bytes``: found from an earlier one. ``behind``: by host,
    where those that are mirrors and say so had it from: ``store`` or a host's name."""

    reference: str
    digest: Digest
    size: int
    already: str = ""
    hosts: Mapping[str, int] = field(default_factory=dict, hash=False)
    resumed_bytes: int = 0
    seconds: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    behind: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Giving:
    """All of it is here, and the sink is given it."""

    reference: str
    digest: Digest
    sink: str


@dataclass(frozen=True, slots=True)
class ImageDone:
    """The sink has the image."""

    reference: str
    digest: Digest
    sink: str


@dataclass(frozen=True, slots=True)
class Failed:
    """This reference could not be pulled; empty when it was the sink as a whole."""

    reference: str
    error: SampanError
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleDone:
    """A bundle has its name. ``bundle``: the digest of its list of contents; ``files``: all of them;
    ``blobs``: how many are packed, manifests included; ``elsewhere_bytes``: needed, and left out because the
    far side has them."""

    bundle: Digest
    files: tuple[str, ...]
    size_bytes: int
    images: int
    blobs: int
    elsewhere_bytes: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is here of this image is kept in the store; the rest of it is in these ``volumes`` of its bundle,
    which can be loaded any time later. ``bundle``: its title."""

    reference: str
    bundle: str
    volumes: tuple[int, ...]


Event = (
    Started
    | Resolved
    | BlobStarted
    | BlobProgress
    | BlobDone
    | Giving
    | ImageDone
    | Waiting
    | Failed
    | BundleDone
)
Listener = Callable[[Event], None]

_NAMES: Mapping[type, str] = {
    Started: "started",
    Resolved: "resolved",
    BlobStarted: "blob-started",
    BlobProgress: "blob-progress",
    BlobDone: "blob-done",
    Giving: "giving",
    ImageDone: "image-done",
    Waiting: "waiting",
    Failed: "failed",
    BundleDone: "bundle-done",
}


def failed(reference: Reference, error: SampanError) -> Failed:
    """That ``reference`` could not be had, with what was tried."""
    return Failed(str(reference), error, error.attempts if isinstance(error, AllHostsFailed) else ())


def as_json(event: Event) -> str:
    """``event`` as one line: its name under ``event``, then its fields; digests and platforms as text."""
    fields = {name: _plain(getattr(event, name)) for name in event.__slots__}
    return json.dumps({"event": _NAMES[type(event)], **fields}, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, Digest | Platform):
        return str(value)
    if isinstance(value, SampanError):
        return {
            "kind": type(value).__name__,
            "message": value.message,
            "hint": value.hint,
            "exit_code": value.exit_code,
        }
    if isinstance(value, Attempt):
        return {
            "host": value.host,
            "outcome": value.outcome,
            "status": value.status,
            "seconds": round(value.seconds, 3),
            "bytes": value.bytes,
        }
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return round(value, 3) if isinstance(value, float) else value
