"""An inventory taken: of a store, a runtime, a repository of a registry.

Guarantees that what is listed is what a load into the same place will find there by itself, so that a bundle
may leave it out. Configs of runtimes and registries are never listed: whoever loads has to read them first,
and they are small. What a runtime does not tell is not guessed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import InvalidDigest, SinkError, SinkUnavailable
from sampan.oci.digest import Digest
from sampan.oci.manifest import Index, Manifest
from sampan.oci.reference import Reference
from sampan.pull.sinks.docker import socket_of
from sampan.pull.sinks.engine import Engine
from sampan.pull.sinks.layers import digests_in_storage
from sampan.pull.sinks.podman import LAYERS_BYTES_MAX, STORAGE_FORM
from sampan.pull.sinks.program import find_program, refused, run_program
from sampan.store.disk import DiskStore
from sampan.upstream.client import RegistryClient
from sampan.upstream.host import Host

TAGS_MAX = 10_000  # of one repository
AT_ONCE = 4
_SIZE = re.compile(r"([0-9.]+)(B|KiB|MiB|GiB|TiB)")
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_CONFIG_LABEL = "containerd.io/gc.ref.content.config="  # on a manifest, since containerd 1.4
_DIFF_IDS = Path("distribution/diffid-by-digest/sha256")  # where Docker notes what it pulled

Blobs = Iterable[tuple[Digest, int]]


@dataclass(frozen=True, slots=True)
class Taken:
    """``of``: what it was taken of, in words; ``blobs``: digests with sizes in bytes, 0 where none is."""

    of: str
    blobs: tuple[tuple[Digest, int], ...]


def of_store(store: DiskStore, path: Path) -> Taken:
    """All that is committed there. Blocks. Raises StoreError."""
    return Taken(f"store {path}", tuple((blob.digest, blob.size) for blob in store.blobs()))


# -- containerd ------------------------------------------------------------------------------------


async def of_containerd(command: Sequence[str], environ: Mapping[str, str], namespace: str) -> Taken:
    """The content of a namespace; ``command``: its ``ctr``, with address and namespace. Raises SinkError."""
    ended = await run_program([*command, "content", "ls"], environ=environ)
    if ended.code:
        raise refused("cannot list containerd's content", ended.words)
    return Taken(f"containerd {namespace}", tuple(listed_by_ctr(ended.output)))


def listed_by_ctr(table: str) -> Iterator[tuple[Digest, int]]:
    """The blobs in the table of ``ctr content ls``, configs left out. It tells sizes to four digits."""
    found, configs = list[tuple[Digest, int]](), set[str]()
    for line in table.splitlines()[1:]:
        digest, *rest = line.split() or [""]
        labels = rest[-1].split(",") if rest else []
        configs |= {one.removeprefix(_CONFIG_LABEL) for one in labels if one.startswith(_CONFIG_LABEL)}
        with suppress(InvalidDigest):
            found.append((Digest.parse(digest), _bytes(rest[0] if rest else "")))
    return ((digest, size) for digest, size in found if str(digest) not in configs)


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0


# -- Docker, podman --------------------------------------------------------------------------------


async def of_docker(environ: Mapping[str, str], find_ctr: Sequence[str]) -> Taken:
    """With the containerd image store what its containerd has; ``find_ctr``: how ``ctr`` is called, empty
    when there is none. Else the layers that it pulled, by its own notes, and those that are known by their
    diff IDs. Raises SinkUnavailable."""
    engine = Engine(socket_of(environ))
    info = await asyncio.to_thread(engine.info)
    told = info.get("Containerd")
    if "io.containerd.snapshotter" in str(info.get("DriverStatus")):
        if not isinstance(told, dict) or not find_ctr:
            raise SinkUnavailable(
                "this Docker keeps images in its containerd, and does not tell what it has",
                hint="install ctr, and run this as root; or take it of containerd: --of containerd:moby",
            )
        namespaces = told.get("Namespaces")
        namespace = str(namespaces.get("Containers")) if isinstance(namespaces, dict) else "moby"
        command = (*find_ctr, "--address", str(told.get("Address")), "--namespace", namespace)
        return Taken("docker", (await of_containerd(command, environ, namespace)).blobs)
    chains = await asyncio.to_thread(engine.chains)
    notes = Path(str(info.get("DockerRootDir")), "image", str(info.get("Driver")), _DIFF_IDS)
    held = {diff_id for chain in chains for diff_id in chain}
    blobs = await asyncio.to_thread(lambda: [*_noted(notes, held), *_digests(held)])
    return Taken("docker", tuple((digest, 0) for digest in dict.fromkeys(blobs)))


def _noted(notes: Path, held: set[str]) -> Iterator[Digest]:
    """The layers that Docker pulled, of those that an image still has; none when its notes are not ours to
    read."""
    try:
        entries = list(notes.iterdir())
    except OSError:
        return
    for entry in entries:
        with suppress(OSError, InvalidDigest, UnicodeDecodeError):
            if entry.read_text().strip() in held:
                yield Digest("sha256", entry.name)


def _digests(texts: Iterable[str]) -> Iterator[Digest]:
    for text in texts:
        with suppress(InvalidDigest):
            yield Digest.parse(text)


async def of_podman(environ: Mapping[str, str]) -> Taken:
    """The layers in its storage, as they were before they were unpacked. Raises SinkError."""
    program = find_program("podman", environ)
    if program is None:
        raise SinkUnavailable("podman is not here", hint="name another place with --of")
    ended = await run_program([program, "info", "--format", STORAGE_FORM], environ=environ)
    is_remote, _, place = ended.output.strip().partition(" ")
    driver, _, root = place.partition(" ")
    if ended.code or is_remote != "false" or not root:
        raise refused("podman does not tell where its storage is", ended.words)
    path = Path(root, f"{driver}-layers", "layers.json")
    try:
        raw = await asyncio.to_thread(_read, path)
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror or error}") from error
    return Taken("podman", tuple((digest, 0) for digest in digests_in_storage(raw)))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LAYERS_BYTES_MAX)


# -- a registry ------------------------------------------------------------------------------------


async def of_registry(client: RegistryClient, host: Host, target: Reference) -> Taken:
    """All that the tags of a repository lead to, or one tag. Raises HostError."""
    repository = target.repository
    tags = [target.tag] if target.tag else (await client.tags(host, repository))[:TAGS_MAX]
    blobs: dict[Digest, int] = {}
    seen: set[Digest] = set()
    room = asyncio.Semaphore(AT_ONCE)

    async def follow(name: str | Digest) -> None:
        async with room:
            manifest = await client.manifest(host, repository, name)
        if manifest.digest not in seen:
            seen.add(manifest.digest)
            blobs.update(_named(manifest))
            if isinstance(manifest, Index):
                for entry in manifest.references:
                    await follow(entry.digest)

    async with asyncio.TaskGroup() as group:
        for tag in tags:
            group.create_task(follow(tag))
    return Taken(f"registry {target}", tuple(blobs.items()))


def _named(manifest: Manifest | Index) -> Iterator[tuple[Digest, int]]:
    yield manifest.digest, manifest.size
    if isinstance(manifest, Manifest):
        yield from ((layer.digest, layer.size) for layer in manifest.layers)
