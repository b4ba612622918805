"""Into containerd, by the ``ctr`` of its own package: the one way that 1.6, 1.7 and 2.x have in common.

Guarantees that an image is under its names whole and unpacked, or not at all: it enters under its digest
first, and the tag is set when that has worked. What is in the content store already is not given again. In
the namespace of a kubelet it returns when the CRI knows the image. It runs no container.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sampan.errors import InvalidDigest, SinkError, SinkUnavailable
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor, Manifest
from sampan.oci.platform import Platform
from sampan.pull.closure import UNKNOWN, AnyManifest, Wanted
from sampan.pull.detect import CONTAINERD_SOCKET, CONTAINERD_SOCKETS
from sampan.pull.image import CONFIG_TYPES, platform_of_config
from sampan.pull.sink import DEFAULT_NAMESPACE, Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.program import FEED_TIMEOUT_SECONDS, Feed, find_program, refused, run_program
from sampan.pull.sinks.sockets import probe
from sampan.pull.sinks.stream import feed_of

CTR_DIRECTORIES = ("/var/lib/rancher/rke2/bin", "/snap/bin")
CRI_WAIT_SECONDS = 5.0  # its list follows within 100 ms; an image for another machine never enters it
CRI_POLL_SECONDS = 0.05
CRI_LABEL = "io.cri-containerd.image=managed"  # the CRI sets it on what it knows
# References by which containerd's garbage collector keeps content: any name may follow the prefix.
KEEP_LABEL = "containerd.io/gc.ref.content.sampan"


def open_sink(spec: SinkSpec, setting: SinkSetting) -> ContainerdSink:
    """The sink for a ``containerd[:NAMESPACE]``."""
    address = setting.containerd_address or _address(setting.environ)
    return ContainerdSink(address, spec.namespace or DEFAULT_NAMESPACE, setting.environ)


def _address(environ: Mapping[str, str]) -> Path:
    """As ``ctr`` is told it; else the first socket that there is; else the usual one, for the message."""
    told = environ.get("CONTAINERD_ADDRESS")
    there = (address for address in CONTAINERD_SOCKETS if address.exists())
    return Path(told.removeprefix("unix://")) if told else next(there, CONTAINERD_SOCKET)


class ContainerdSink:
    """``address``: containerd's socket. ``environ``: for ``ctr``, and where to look for it."""

    def __init__(self, address: Path, namespace: str, environ: Mapping[str, str]) -> None:
        self.address = address
        self._namespace = namespace
        self._environ = environ
        self._ctr: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"containerd ({self._namespace})"

    async def check(self) -> None:
        """Raises SinkUnavailable: no socket, no permission, nobody listening, no ``ctr``."""
        probe(
            self.address,
            runtime="containerd",
            service="containerd",
            absent="name its socket with --containerd-address, or choose another sink with --to",
        )
        self._ctr = find_ctr(self._environ)
        await self._run("version", doing="containerd does not answer")

    async def has_cri(self) -> bool:
        """Whether the CRI plugin is on: then a kubelet may use this containerd."""
        listed = await self._run("plugins", "ls", "id==cri", doing="cannot list containerd's plugins")
        return any(line.split()[1:2] == ["cri"] and line.split()[-1] == "ok" for line in listed.splitlines())

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002
        """What its content store holds, in this namespace."""
        held = await content_of(self._command, self._environ)
        return held & {layer.digest for layer in wanted.layers}

    async def put(self, wanted: Wanted, content: Content) -> None:
        """Raises SinkError, SinkUnavailable; what was named on the way is then without its name again."""
        parts = await asyncio.to_thread(_parts, wanted, content)
        names = [_by_digest(part.wanted) for part in parts]
        ids = [str(config.digest) for config in wanted.configs]  # as the CRI names what it sees
        before = await self._named([*names, *ids])
        try:
            for part in parts:
                await self._import(part, content)
            await self._keep(wanted)
            await self._tag(wanted)
        except BaseException:
            await self._forget([name for name in [*names, *ids] if name not in before])
            raise
        if self._namespace == DEFAULT_NAMESPACE:
            await self._await_cri(wanted)

    async def finish(self) -> None:
        """Nothing: each image is visible when it was put."""

    async def close(self) -> None:
        """Nothing is held."""

    async def _import(self, part: _Part, content: Content) -> None:
        held = await self.present(part.wanted, content)
        feed = feed_of(part.wanted, content, names=[_by_digest(part.wanted)], without=held)
        what = f"containerd did not take {part.wanted.reference}"
        await self._run("images", "import", *part.flags, "-", doing=what, feed=feed)

    async def _keep(self, wanted: Wanted) -> None:
        """``ctr`` marks what the platform that it imported needs; the others would be collected."""
        others = [manifest.digest for manifest in wanted.manifests[1:]]
        if len(wanted.chosen) > 1:
            labels = [f"{KEEP_LABEL}.{number}={digest}" for number, digest in enumerate(others)]
            root = str(wanted.root.digest)
            await self._run("content", "label", root, *labels, doing="cannot label containerd's content")

    async def _tag(self, wanted: Wanted) -> None:
        if wanted.reference.tag is not None:
            names = _by_digest(wanted), _by_tag(wanted)
            await self._run("images", "tag", "--force", *names, doing=f"cannot name {wanted.reference}")

    async def _named(self, names: Sequence[str]) -> frozenset[str]:
        """Those of ``names`` that stand for an image."""
        filters = [f"name=={name}" for name in names]
        listed = await self._run("images", "ls", "-q", *filters, doing="cannot list containerd's images")
        return frozenset(listed.split())

    async def _forget(self, names: Sequence[str]) -> None:
        """Best effort: the reason for it is what is to be told."""
        if names:
            command = [*self._command, "images", "rm", *names]
            try:
                await run_program(command, environ=self._environ)
            except SinkError:
                return

    async def _await_cri(self, wanted: Wanted) -> None:
        """Until the CRI has seen the image, which it is told of by an event; not for ever."""
        if not await self.has_cri():
            return
        name = _by_tag(wanted) if wanted.reference.tag is not None else _by_digest(wanted)
        for _ in range(int(CRI_WAIT_SECONDS / CRI_POLL_SECONDS)):
            listed = await self._run("images", "ls", f"name=={name}", doing="cannot list containerd's images")
            if CRI_LABEL in listed:
                return
            await asyncio.sleep(CRI_POLL_SECONDS)

    @property
    def _command(self) -> tuple[str, ...]:
        return (*self._ctr, "--address", str(self.address), "--namespace", self._namespace)

    async def _run(self, *words: str, doing: str, feed: Feed | None = None) -> str:
        command = [*self._command, *words]
        if feed is None:
            ended = await run_program(command, environ=self._environ)
        else:
            ended = await run_program(
                command, environ=self._environ, feed=feed, timeout_seconds=FEED_TIMEOUT_SECONDS
            )
        if ended.code:
            raise refused(doing, ended.words)
        return ended.output


async def content_of(command: Sequence[str], environ: Mapping[str, str]) -> frozenset[Digest]:
    """The blobs of a containerd; ``command``: its ``ctr``, with address and namespace. Raises SinkError."""
    ended = await run_program([*command, "content", "ls", "-q"], environ=environ)
    if ended.code:
        raise refused("cannot list containerd's content", ended.words)
    return frozenset(filter(None, map(_digest, ended.output.split())))


def find_ctr(environ: Mapping[str, str]) -> tuple[str, ...]:
    """How ``ctr`` is called here. Raises SinkUnavailable."""
    ctr = find_program("ctr", environ, more=CTR_DIRECTORIES)
    if ctr is not None:
        return (str(ctr),)
    k3s = find_program("k3s", environ)
    if k3s is not None:
        return (str(k3s), "ctr")
    raise SinkUnavailable(
        "containerd is here, but its program ctr is not",
        hint="install it (it comes with containerd), or write an archive: --to oci-archive:FILE",
    )


# -- what is imported, and how ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """One import: ``wanted`` with one platform in it, ``flags`` for ``ctr images import``."""

    wanted: Wanted
    flags: tuple[str, ...]


def _parts(wanted: Wanted, content: Content) -> list[_Part]:
    """The whole as it is when there is one platform in it; else each image under its own digest, and the
    index last: ``ctr`` takes one platform at a time, or all, and then none may be missing."""
    images = wanted.images
    if len(images) == 1:
        return [_Part(wanted, _flags(_platform(wanted.chosen[0], images[0], content)))]
    chosen = list(zip(wanted.chosen, images, strict=True))
    parts = [
        _Part(_alone(wanted, entry, image), _flags(_platform(entry, image, content)))
        for entry, image in chosen
    ]
    indexes = tuple(manifest for manifest in wanted.manifests if not isinstance(manifest, Manifest))
    first = next((part for part in parts if "--platform" in part.flags), parts[0])
    whole = replace(wanted, manifests=(*indexes, *first.wanted.manifests), blobs=first.wanted.blobs)
    return [*parts, _Part(whole, first.flags)]


def _alone(wanted: Wanted, entry: Descriptor, image: Manifest) -> Wanted:
    """``image`` without the index that lists it."""
    manifests: tuple[AnyManifest, ...] = (image,)
    return replace(wanted, root=image, manifests=manifests, blobs=image.references, chosen=(entry,))


def _platform(entry: Descriptor, image: Manifest, content: Content) -> Platform | None:
    """What the image is for: the index says it, else its config; None when it cannot be unpacked."""
    if image.config.media_type not in CONFIG_TYPES or entry.platform == UNKNOWN:
        return None
    if entry.platform is not None:
        return entry.platform
    told = platform_of_config(content.read(image.config.digest))
    return None if told == UNKNOWN else told


def _flags(platform: Platform | None) -> tuple[str, ...]:
    return ("--platform", str(platform)) if platform else ("--all-platforms", "--no-unpack")


def _by_digest(wanted: Wanted) -> str:
    return f"{wanted.reference.name}@{wanted.root.digest}"


def _by_tag(wanted: Wanted) -> str:
    return f"{wanted.reference.name}:{wanted.reference.tag}"


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except InvalidDigest:
        return None
