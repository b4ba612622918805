"""The bytes of an image that a look reads: a config, whole and checked, and the beginning of a layer.

Guarantees that no more than :data:`RANGE_BYTES` of a layer and :data:`CONFIG_BYTES_MAX` of a config are read,
the layer for no longer than :data:`RANGE_SECONDS`; and that bytes of known digest are checked wherever all of
them were read.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from sampan.errors import TimedOut, WrongContent
from sampan.lock.findings import moment
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import Descriptor, Manifest
from sampan.pull.image import CONFIG_TYPES
from sampan.upstream.client import RegistryClient
from sampan.upstream.host import Host
from sampan.upstream.stream import BlobStream

CONFIG_BYTES_MAX = 256 * 1024  # real ones have some kilobytes
RANGE_BYTES = 1024 * 1024  # of one layer: enough to tell fast from slow, little enough to be polite
SILENT_SHARE = 0.9  # of the time that there was, after a beginning
RANGE_SECONDS = 3.0  # what has come by then says how fast it is
RATE_BYTES_MIN = 64 * 1024  # fewer come in one packet or two, and say nothing of speed
CREATED = "org.opencontainers.image.created"


@dataclass(frozen=True, slots=True)
class Sample:
    """Of a layer: ``size_bytes`` were read. ``is_verified``: they were all of it, and the right ones."""

    first_byte_seconds: float | None = None
    bytes_per_second: float | None = None
    size_bytes: int = 0
    is_verified: bool = False


def has_config(image: Manifest) -> bool:
    """Whether it has a config that is worth a request."""
    return image.config.media_type in CONFIG_TYPES and 0 < image.config.size <= CONFIG_BYTES_MAX


def layer_of(image: Manifest) -> Descriptor | None:
    """The largest layer that the registry itself has: speed is measured by it."""
    layers = [layer for layer in image.layers if not layer.urls and layer.size > 0]
    return max(layers, key=lambda layer: layer.size, default=None)


def created_in(image: Manifest, config: bytes) -> float | None:
    """When it was built, seconds since 1970, as its annotation or its config says."""
    try:
        document = json.loads(config)
    except (ValueError, RecursionError):
        document = None
    written = document.get("created") if isinstance(document, dict) else None
    named = image.annotations.get(CREATED) or written
    built = moment(named) if isinstance(named, str) else None
    return None if built is None else built.timestamp()


async def read_whole(client: RegistryClient, host: Host, repository: str, blob: Descriptor) -> bytes:
    """All of ``blob``, a small one. Raises HostError, WrongContent when it is another."""
    async with client.blob(host, repository, blob.digest, size=blob.size) as stream:
        data = b"".join([piece async for piece in stream])
    if Digest.of(data, blob.digest.algorithm) != blob.digest:
        raise WrongContent(
            f"{stream.served_by}: {blob.size} bytes that are not {blob.digest}", outcome="wrong-content"
        )
    return data


async def read_range(
    client: RegistryClient,
    host: Host,
    repository: str,
    blob: Descriptor,
    *,
    range_seconds: float = RANGE_SECONDS,
) -> Sample:
    """The beginning of ``blob``, as much of it as comes within ``range_seconds``. Raises
    HostError, WrongContent when all of it was read and is another."""
    loop = asyncio.get_running_loop()
    stop = min(blob.size, RANGE_BYTES)
    began = loop.time()
    whole = client.blob(
        host, repository, blob.digest, stop=None if stop == blob.size else stop, size=blob.size
    )
    async with whole as stream:
        answered = loop.time()
        first, digest, count = await _take(stream, stop, blob.digest.algorithm, range_seconds)
        seconds = loop.time() - answered
    is_whole = count == blob.size
    if is_whole and digest != blob.digest:
        raise WrongContent(
            f"{stream.served_by}: {blob.size} bytes that are not {blob.digest}", outcome="wrong-content"
        )
    return Sample(
        None if first is None else first - began, _rate(count, seconds, range_seconds), count, is_whole
    )


def _rate(count: int, seconds: float, range_seconds: float) -> float | None:
    # Whatever has come when the time is over says something: that it is slow.
    enough = count >= RATE_BYTES_MIN or seconds >= range_seconds
    return count / seconds if enough and seconds > 0 else None


async def _take(
    stream: BlobStream, stop: int, algorithm: str, seconds: float
) -> tuple[float | None, Digest, int]:
    """When the first byte came, the digest of what came, and how much that was, ``seconds`` later at most."""
    loop, hasher, count, first = asyncio.get_running_loop(), new_hasher(algorithm), 0, None
    limit, last = asyncio.timeout(None), 0.0
    try:
        async with limit:
            async for piece in stream:
                if first is None:
                    first = loop.time()
                    limit.reschedule(first + seconds)
                last = loop.time()
                hasher.update(piece)
                count += len(piece)
                if count >= stop and stream.stop != stop:
                    break  # it has taken no notice of the range
    except TimeoutError:
        if not limit.expired():
            raise
        if loop.time() - last >= seconds * SILENT_SHARE:  # nothing came: that is not slow
            said = f"no bytes for {seconds:g} s after {count}"
            raise TimedOut(f"{stream.served_by}: {said}", outcome="stalled") from None
    return first, Digest.from_hasher(hasher), count
