"""What the runtimes of this machine have: images, each with its digest, and of containerd the bytes too.

Guarantees that an image is named by the digest that the runtime has, so that what is packed is what runs
here; and that content of a runtime is only offered: whoever takes it hashes it. containerd keeps blobs as
they were pulled and is asked for them by ``ctr``; Docker's classic store and podman keep none, so theirs come
from the store or the hosts, by digest.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sampan.bundle.from_files import Left
from sampan.errors import (
    ContentMismatch,
    InvalidDigest,
    InvalidManifest,
    InvalidReference,
    UsageError,
    printable,
)
from sampan.oci.digest import Digest
from sampan.oci.manifest import INDEX_DEPTH_MAX, MANIFEST_BYTES_MAX, Index, parse_manifest
from sampan.oci.reference import IMAGE_ID, Reference
from sampan.pull.detect import CONTAINERD_SOCKETS, DOCKER_SOCKETS, PODMAN, Probe
from sampan.pull.sink import SMALL_BYTES_MAX
from sampan.pull.sinks.containerd import content_of, find_ctr
from sampan.pull.sinks.docker import socket_of
from sampan.pull.sinks.engine import Engine
from sampan.pull.sinks.program import find_program, refused, run_program
from sampan.store.content import Store

CHUNK_BYTES = 1024 * 1024
BLOB_BYTES_MAX = 2**63
_ID = re.compile(f"(?:sha256:)?{IMAGE_ID}")  # as the CRI names an image beside its names
NONE = "<none>"  # Docker's word for no name or no tag
LOCAL = "localhost"  # podman's registry for what was built here

Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Node:
    """``images`` and ``left`` of all runtimes; ``contents``: where blobs can be had."""

    images: tuple[Reference, ...]
    left: tuple[Left, ...]
    contents: tuple[ContainerdContent, ...] = ()


class ContainerdContent:
    """The content store of one namespace. ``command``: its ``ctr`` with address and namespace."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environ = environ

    async def images(self) -> str:
        """The table of ``ctr images ls``. Raises SinkError."""
        return await _output(
            [*self._command, "images", "ls"], self._environ, "cannot list containerd's images"
        )

    @property
    def name(self) -> str:
        """Where bytes come from, in the words of a pull."""
        return f"containerd ({self._command[-1]})"

    async def digests(self) -> frozenset[Digest]:
        """What it has. Raises SinkError."""
        return await content_of(self._command, self._environ)

    async def pour(self, digest: Digest, take: Take, *, bytes_max: int = BLOB_BYTES_MAX) -> bool:
        """All of a blob to ``take``, in a thread, piece by piece; False when it does not have it, or has more
        than ``bytes_max``."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "content",
            "get",
            str(digest),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=dict(self._environ),
            limit=CHUNK_BYTES,
        )
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(CHUNK_BYTES):
                bytes_max -= len(data)
                if bytes_max < 0:
                    return False
                await asyncio.to_thread(take, data)
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def images_of_node(probe: Probe, environ: Mapping[str, str], containerd: Path | None) -> Node:
    """What all the runtimes that there are have. ``containerd``: its socket, None for the usual ones.

    Raises UsageError when there is no runtime, SinkError when one does not answer.
    """
    nodes = [
        await of_containerd(socket, environ)
        for socket in ((containerd,) if containerd else CONTAINERD_SOCKETS)
        if probe.has_socket(socket)
    ]
    if any(probe.has_socket(path) for path in (*DOCKER_SOCKETS, socket_of(environ))):
        nodes.append(docker_images(await asyncio.to_thread(Engine(socket_of(environ)).images)))
    if (podman := find_program(PODMAN, environ)) is not None:
        nodes.append(await of_podman(podman, environ))
    if not nodes:
        raise UsageError(
            "no runtime is here: neither containerd's socket nor Docker's, and no podman",
            hint="--containerd-address SOCKET names another socket; DOCKER_HOST that of Docker",
        )
    return Node(
        tuple(dict.fromkeys(image for node in nodes for image in node.images)),
        tuple(left for node in nodes for left in node.left),
        tuple(content for node in nodes for content in node.contents),
    )


async def of_containerd(socket: Path, environ: Mapping[str, str]) -> Node:
    """The images of every namespace behind ``socket``. Raises SinkError."""
    ctr = (*find_ctr(environ), "--address", str(socket))
    listed = await _output([*ctr, "namespaces", "ls", "-q"], environ, "cannot list containerd's namespaces")
    images: list[Reference] = []
    contents = []
    for namespace in listed.split():
        content = ContainerdContent([*ctr, "--namespace", namespace], environ)
        images += images_in_table(await content.images())
        contents.append(content)
    return Node(tuple(images), (), tuple(contents))


def images_in_table(table: str) -> list[Reference]:
    """What ``ctr images ls`` lists: name, type and digest of each, after a line of titles. An image that has
    a tag is not named by its digest or ID as well."""
    rows = [line.split() for line in table.splitlines()[1:]]
    named = [(row[0], row[2]) for row in rows if len(row) > 2]
    found = [reference for name, digest in named if (reference := _pinned(name, digest)) is not None]
    tagged = {reference.digest for reference in found if reference.tag}
    return [reference for reference in found if reference.tag or reference.digest not in tagged]


def docker_images(entries: Iterable[Mapping[str, object]]) -> Node:
    """The images that Docker lists, each under all its tags; by its digest when it has none."""
    images, left = [], []
    for entry in entries:
        digests = dict(_split(text, "@") for text in _texts(entry, "RepoDigests"))
        tags = [text for text in _texts(entry, "RepoTags") if NONE not in text]
        pinned = [(text, digests.get(_split(text, ":")[0], "")) for text in tags] or list(digests.items())
        for text, digest in pinned:
            reference = _pinned(text, digest)
            if reference is not None:
                images.append(reference)
            elif NONE not in text:
                left.append(Left(f"docker: {printable(text)}", "it was built here, and no registry has it"))
    return Node(tuple(images), tuple(left))


async def of_podman(program: Path, environ: Mapping[str, str]) -> Node:
    """The images of podman. Raises SinkError."""
    listed = await _output(
        [str(program), "images", "--format", "json"], environ, "cannot list podman's images"
    )
    return podman_images(_objects(listed))


def podman_images(entries: Iterable[Mapping[str, object]]) -> Node:
    """The images that podman lists, each under all its names."""
    images, left = [], []
    for entry in entries:
        for text in _texts(entry, "Names"):
            reference = _pinned(text, str(entry.get("Digest") or ""))
            if reference is None or reference.registry == LOCAL:
                left.append(Left(f"podman: {printable(text)}", "it was built here, and no registry has it"))
            else:
                images.append(reference)
    return Node(tuple(images), tuple(left))


def _pinned(name: str, digest: str) -> Reference | None:
    """``name`` with ``digest``; None for what is no reference, or an image's ID."""
    if _ID.fullmatch(name):
        return None
    try:
        reference = Reference.parse(name, default_tag=None)
        pinned = Digest.parse(digest)
    except (InvalidReference, InvalidDigest):
        return None
    return Reference(reference.registry, reference.repository, reference.tag, pinned)


def _split(text: str, mark: str) -> tuple[str, str]:
    """Name and what follows the last ``mark``."""
    name, _, rest = text.rpartition(mark)
    return name, rest


def _texts(entry: Mapping[str, object], key: str) -> Iterator[str]:
    listed = entry.get(key)
    yield from (text for text in (listed if isinstance(listed, list) else ()) if isinstance(text, str))


def _objects(text: str) -> list[dict[str, object]]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [entry for entry in (listed if isinstance(listed, list) else ()) if isinstance(entry, dict)]


async def _output(command: Sequence[str], environ: Mapping[str, str], doing: str) -> str:
    ended = await run_program(command, environ=environ)
    if ended.code:
        raise refused(doing, ended.words)
    return ended.output


# -- what must be known of an image before its layers are packed -------------------------------------


async def keep_manifests(node: Node, store: Store) -> None:
    """The manifests and configs of all images that containerd has, into ``store``: no host is asked then.

    What is damaged or odd there is left to the hosts. Raises StoreError.
    """
    for content in node.contents:
        held = await content.digests()
        for reference in node.images:
            if reference.digest in held:
                await _keep(content, reference.digest, held, store, INDEX_DEPTH_MAX)


async def _keep(
    content: ContainerdContent, digest: Digest, held: frozenset[Digest], store: Store, depth: int
) -> None:
    """A manifest, and below an index those that are there."""
    if digest not in held or not depth or store.stat(digest) is not None:
        return
    data = bytearray()
    if not await content.pour(digest, data.extend, bytes_max=MANIFEST_BYTES_MAX):
        return
    try:
        manifest = parse_manifest(bytes(data), algorithm=digest.algorithm)
    except InvalidManifest:
        return
    if manifest.digest != digest:
        return
    await asyncio.to_thread(store.put_manifest, manifest)
    if isinstance(manifest, Index):
        for entry in manifest.references:
            await _keep(content, entry.digest, held, store, depth - 1)
    else:
        await _keep_config(content, manifest.config.digest, held, store)


async def _keep_config(
    content: ContainerdContent, digest: Digest, held: frozenset[Digest], store: Store
) -> None:
    data = bytearray()
    if digest in held and await content.pour(digest, data.extend, bytes_max=SMALL_BYTES_MAX):
        with suppress(ContentMismatch):
            await asyncio.to_thread(store.put, digest, bytes(data))
