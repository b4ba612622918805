"""Real images as one OCI image layout, built once from Debian packages and kept in the cache.

The layout's ``index.json`` names each image by its reference in Docker Hub ("library/alpine:3").
It guarantees that one machine builds the same bytes again: times, owners, order and compression
are fixed. Nothing here runs a container or speaks to a network; the packages come from
:mod:`interop.peers`.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from interop import peers

MIB = 1024 * 1024
BUILD = 5  # raise when the builder changes, so that caches are built anew
CREATED = "2026-01-01T00:00:00Z"
MODIFIED_SECONDS = 1767225600  # the same moment

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPES = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
LAYER_TYPES = {
    ("oci", "gzip"): "application/vnd.oci.image.layer.v1.tar+gzip",
    ("oci", "zstd"): "application/vnd.oci.image.layer.v1.tar+zstd",
    ("docker", "gzip"): "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
REFERENCE_NAME = "org.opencontainers.image.ref.name"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: ``root`` is what its layers hold, ``dialect`` whose manifests, ``listed`` whether several
    platforms stand in an index."""

    reference: str
    root: str
    dialect: str = "oci"
    compression: str = "gzip"
    listed: bool = True


RECIPES = (
    Recipe("library/alpine:3", "busybox as alpine"),
    Recipe("library/busybox:oci-gzip", "busybox"),
    Recipe("library/busybox:oci-zstd", "busybox", compression="zstd"),
    Recipe("library/busybox:docker", "busybox", dialect="docker"),
    Recipe("library/busybox:docker-one-platform", "busybox", dialect="docker", listed=False),
    Recipe("library/debian:oci-gzip", "debian"),
    Recipe("library/debian:oci-zstd", "debian", compression="zstd"),
    Recipe("library/debian:docker", "debian", dialect="docker"),
    Recipe("library/big:64m", "64 random MiB", listed=False),
    Recipe("library/big:256m", "256 random MiB", listed=False),
)
SMALL = tuple(recipe.reference for recipe in RECIPES if "random" not in recipe.root)
DEBIAN_LAYERS = (("usr/lib",), ("usr/bin", "usr/sbin"), ("usr/share", "var"))  # the rest is the fourth


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the layout: ``digest`` and ``media_type`` are what its tag means."""

    library: Library
    reference: str
    digest: str
    media_type: str

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]

    @property
    def manifests(self) -> dict[str, str]:
        """Architecture -> digest of the image manifest for it; one entry when there is no index."""
        top = self.library.document(self.digest)
        if "manifests" not in top:
            return {peers.architecture(): self.digest}
        return {entry["platform"]["architecture"]: entry["digest"] for entry in top["manifests"]}

    def manifest_digest(self, architecture: str | None = None) -> str:
        return self.manifests[architecture or peers.architecture()]

    def config_digest(self, architecture: str | None = None) -> str:
        """What runtimes call the image's ID."""
        manifest = self.library.document(self.manifest_digest(architecture))
        return str(manifest["config"]["digest"])

    def layer_digests(self, architecture: str | None = None) -> list[str]:
        manifest = self.library.document(self.manifest_digest(architecture))
        return [str(layer["digest"]) for layer in manifest["layers"]]

    def digests(self, architecture: str | None = None) -> list[str]:
        """All that a pull for one architecture needs: tag's manifest, image manifest, config, layers."""
        own = [self.manifest_digest(architecture), self.config_digest(architecture)]
        return list(dict.fromkeys([self.digest, *own, *self.layer_digests(architecture)]))

    def documents(self) -> Iterator[tuple[str, str]]:
        """(digest, media type) of every manifest of the image, those that an index names before it."""
        top = self.library.document(self.digest)
        for entry in top.get("manifests", ()):
            yield entry["digest"], entry["mediaType"]
        yield self.digest, self.media_type

    def blobs(self) -> list[str]:
        """Configs and layers of all platforms."""
        found = []
        for architecture in self.manifests:
            found += [self.config_digest(architecture), *self.layer_digests(architecture)]
        return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Library:
    """The built layout in ``directory``."""

    directory: Path

    def path(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")

    def document(self, digest: str) -> Json:
        """A manifest, index or config as JSON."""
        parsed = json.loads(self.path(digest).read_bytes())
        assert isinstance(parsed, dict)
        return parsed

    def image(self, reference: str) -> Image:
        """The image of that name: ``library.image("library/alpine:3")``."""
        return self.images()[reference]

    def images(self) -> dict[str, Image]:
        index = json.loads((self.directory / "index.json").read_bytes())
        return {
            (name := entry["annotations"][REFERENCE_NAME]): Image(
                self, name, entry["digest"], entry["mediaType"]
            )
            for entry in index["manifests"]
        }


# -- building ---------------------------------------------------------------------------------------


def library() -> Library:
    """The layout, built when this machine's cache does not hold it yet (some 20 s).

    Raises :class:`interop.peers.PeerMissing` when the packages have not been fetched.
    """
    home = peers.CACHE / "images" / _key()
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            growing = home.with_name(f".{home.name}")
            shutil.rmtree(growing, ignore_errors=True)
            _Builder(growing).build()
            growing.rename(home)
    return Library(home)


def _key() -> str:
    """Names what the images depend on: the builder, the recipes, the packages, the compressors."""
    inputs = [BUILD, RECIPES, zlib.ZLIB_RUNTIME_VERSION, zstandard.ZSTD_VERSION, peers.architecture()]
    inputs += [peers.version("busybox"), peers.version("busybox-foreign")]
    inputs += [peers.material(name).stat().st_size for name in ("debian", "debian-foreign")]
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]


class _Builder:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tars: dict[tuple[str, bool], list[bytes]] = {}
        self.layers: dict[tuple[str, str, str], Json] = {}

    def build(self) -> None:
        (self.directory / "blobs" / "sha256").mkdir(parents=True)
        entries = []
        for recipe in RECIPES:
            entry = self._image(recipe)
            entries.append({**entry, "annotations": {REFERENCE_NAME: recipe.reference}})
        (self.directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        (self.directory / "index.json").write_text(json.dumps(index, indent=1))

    def _image(self, recipe: Recipe) -> Json:
        if not recipe.listed:
            return self._manifest(recipe, foreign=False)
        entries = []
        for foreign in (False, True):
            platform = {"architecture": _architecture(foreign=foreign), "os": "linux"}
            platform |= {"variant": "v8"} if platform["architecture"] == "arm64" else {}
            entries.append({**self._manifest(recipe, foreign=foreign), "platform": platform})
        kind = OCI_INDEX if recipe.dialect == "oci" else DOCKER_LIST
        return self._document(kind, {"schemaVersion": 2, "mediaType": kind, "manifests": entries})

    def _manifest(self, recipe: Recipe, *, foreign: bool) -> Json:
        tars = self._tars(recipe.root, foreign=foreign)
        layers = [self._layer(tar, recipe) for tar in tars]
        config = {
            "architecture": _architecture(foreign=foreign),
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "created": CREATED,
            "history": [{"created": CREATED, "created_by": recipe.reference} for _ in tars],
            "os": "linux",
            "rootfs": {"diff_ids": [_digest(tar) for tar in tars], "type": "layers"},
        }
        kind = OCI_MANIFEST if recipe.dialect == "oci" else DOCKER_MANIFEST
        described = self._document(CONFIG_TYPES[recipe.dialect], config)
        document = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": layers}
        return self._document(kind, document)

    def _tars(self, root: str, *, foreign: bool) -> list[bytes]:
        if (root, foreign) not in self.tars:
            self.tars[root, foreign] = _tars_of(root, foreign=foreign)
        return self.tars[root, foreign]

    def _layer(self, tar: bytes, recipe: Recipe) -> Json:
        key = _digest(tar), recipe.dialect, recipe.compression
        if key not in self.layers:
            squeezed = _COMPRESSORS[recipe.compression](tar)
            self.layers[key] = self._blob(LAYER_TYPES[recipe.dialect, recipe.compression], squeezed)
        return self.layers[key]

    def _document(self, media_type: str, document: Json) -> Json:
        return self._blob(media_type, json.dumps(document, separators=(",", ":")).encode())

    def _blob(self, media_type: str, data: bytes) -> Json:
        digest = _digest(data)
        (self.directory / "blobs" / digest.replace(":", "/")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _gzip(data: bytes) -> bytes:
    level = 0 if len(data) >= 64 * MIB else 6  # random bytes do not get smaller, only slower
    return gzip.compress(data, level, mtime=0)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "zstd": _zstd}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _architecture(*, foreign: bool) -> str:
    return peers.FOREIGN[peers.architecture()] if foreign else peers.architecture()


def _tars_of(root: str, *, foreign: bool) -> list[bytes]:
    if root.startswith("busybox"):
        return [_busybox(root.rpartition(" ")[2], foreign=foreign)]
    if root == "debian":
        return _debian(foreign=foreign)
    return [_noise(int(root.split()[0]))]


def _busybox(name: str, *, foreign: bool) -> bytes:
    """One layer: the program, a link for each of its applets, and what a small system has."""
    binary = peers.program("busybox-foreign" if foreign else "busybox").read_bytes()
    told = subprocess.run([peers.program("busybox"), "--list"], capture_output=True, check=True, text=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var"):
            _add(tar, directory, mode=0o1777 if directory == "tmp" else 0o755, kind=tarfile.DIRTYPE)
        _add(tar, "bin/busybox", binary, mode=0o755)
        for applet in sorted(set(told.stdout.split()) - {"busybox"}):
            # A hard link's mode is set on what it links to: 0644 here, and nothing of this image would run.
            _add(tar, f"bin/{applet}", mode=0o755, kind=tarfile.LNKTYPE, link="bin/busybox")
        _add(tar, "usr/bin/env", kind=tarfile.SYMTYPE, link="../../bin/env")
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\n")
        _add(tar, "etc/os-release", f"NAME={name}\nID={name}\n".encode())
    return buffer.getvalue()


def _noise(size_mib: int) -> bytes:
    """One layer of one file that no compressor makes smaller."""
    source = random.Random(size_mib)  # a fixed seed: the same bytes every time
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "noise", b"".join(source.randbytes(MIB) for _ in range(size_mib)))
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), mode, MODIFIED_SECONDS
    member.type, member.linkname = kind, link
    tar.addfile(member, io.BytesIO(data))


def _debian(*, foreign: bool) -> list[bytes]:
    """Four layers of a Debian root file system, each with the directories that its files need."""
    with tarfile.open(peers.material("debian-foreign" if foreign else "debian")) as source:
        members = sorted(source.getmembers(), key=lambda member: member.name)
        for member in members:
            member.name = member.name.removeprefix("./")
            member.linkname = member.linkname.removeprefix("./") if member.islnk() else member.linkname
        directories = {member.name: member for member in members if member.isdir()}
        parts: list[list[tarfile.TarInfo]] = [[] for _ in range(len(DEBIAN_LAYERS) + 1)]
        for member in members:
            if not (member.isdir() or member.isdev()):
                parts[_debian_layer(member)].append(member)
        parts[-1] += [member for name, member in directories.items() if name not in ("", ".")]
        return [_repack(source, part, directories) for part in parts]


def _debian_layer(member: tarfile.TarInfo) -> int:
    name = member.linkname if member.islnk() else member.name  # a hard link stays with its target
    found = (i for i, roots in enumerate(DEBIAN_LAYERS) if name.startswith(tuple(f"{r}/" for r in roots)))
    return next(found, len(DEBIAN_LAYERS))


def _repack(
    source: tarfile.TarFile, part: Sequence[tarfile.TarInfo], directories: dict[str, tarfile.TarInfo]
) -> bytes:
    wanted = {member.name: member for member in part}
    for member in part:
        for parent in map(str, Path(member.name).parents):
            if parent in directories and parent != ".":
                wanted[parent] = directories[parent]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        # Links after the files that they name, directories first because they sort before what they hold.
        for member in sorted(wanted.values(), key=lambda m: (m.islnk(), m.name)):
            member.mtime, member.pax_headers = MODIFIED_SECONDS, {}
            tar.addfile(member, source.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()
