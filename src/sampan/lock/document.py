"""What tags mean, written down: the content of ``sampan.lock`` as a value, and its one way to be written.

Guarantees that equal locks are equal bytes: images and platforms are sorted, one fact stands on a line, and
an image whose content is what it was keeps the time and the witnesses it had. The text is TOML; it is read
in :mod:`sampan.config.lockfile`, which can name lines. Nothing is asked of anybody here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sampan.oci import Digest, Reference

VERSION = 2  # of the format that is written
READABLE = (1, VERSION)  # the first had no sizes of platforms; a reader refuses what it does not know
HEADER = (
    "# What each tag means, as the hosts named below agreed. Written by `sampan lock create`;\n"
    "# to be kept beside what uses the images. To forget an image, remove its tables.\n"
)

Name = tuple[str, str, str]
"""Registry, repository, tag."""


@dataclass(frozen=True, slots=True)
class PlatformManifest:
    """The image manifest for one platform; ``size`` in bytes, None in a lock that did not hold it yet."""

    digest: Digest
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """One tag. ``size`` is that of the manifest or index in bytes; ``platforms`` is sorted by name and
    empty where none is known; ``hosts`` and ``groups`` said so at ``resolved_at`` (UTC, whole seconds).
    """

    reference: Reference
    digest: Digest
    media_type: str
    size: int
    platforms: Mapping[str, PlatformManifest]
    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    resolved_at: datetime

    @property
    def name(self) -> Name:
        """What a mirror is asked for."""
        return self.reference.registry, self.reference.repository, self.reference.tag or ""

    def says_the_same(self, other: Locked) -> bool:
        """Whether both hold the same content, whoever said so and when."""
        return (
            (self.name, self.digest) == (other.name, other.digest)
            and (self.media_type, self.size) == (other.media_type, other.size)
            and dict(self.platforms) == dict(other.platforms)
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """Each image once, in the order of the file."""

    images: tuple[Locked, ...] = ()

    @property
    def digests(self) -> Mapping[Name, Digest]:
        """What a mirror needs of it."""
        return {image.name: image.digest for image in self.images}

    def find(self, reference: Reference) -> Locked | None:
        """The image of that name."""
        return next((image for image in self.images if image.reference == reference), None)

    def renewed(self, images: Iterable[Locked]) -> Lock:
        """With ``images`` added or in place of their former selves, all others as they are.

        A former self that says the same stays, unless there are new groups among the witnesses.
        """
        table = {image.name: image for image in self.images}
        for image in images:
            former = table.get(image.name)
            if former is None or not former.says_the_same(image) or set(image.groups) - set(former.groups):
                table[image.name] = image
        return Lock(tuple(sorted(table.values(), key=lambda image: str(image.reference))))

    def text(self) -> str:
        """The file."""
        return "\n".join((f"{HEADER}version = {VERSION}\n", *(_table(image) for image in self.images)))


def _table(image: Locked) -> str:
    name = f"image.{_quoted(str(image.reference))}"
    lines = [
        f"[{name}]",
        f"digest = {_quoted(str(image.digest))}",
        f"media_type = {_quoted(image.media_type)}",
        f"size = {image.size}",
        f"groups = {_listed(image.groups)}",
        f"hosts = {_listed(image.hosts)}",
        f'resolved_at = "{image.resolved_at:%Y-%m-%dT%H:%M:%SZ}"',
    ]
    if image.platforms:
        lines += ["", f"[{name}.platforms]"]
        lines += [f"{_quoted(key)} = {_described(of)}" for key, of in sorted(image.platforms.items())]
    return "\n".join(lines) + "\n"


def _described(manifest: PlatformManifest) -> str:
    digest = _quoted(str(manifest.digest))
    return digest if manifest.size is None else f"{{ digest = {digest}, size = {manifest.size} }}"


def _listed(words: Iterable[str]) -> str:
    return f"[{', '.join(_quoted(word) for word in sorted(words))}]"


def _quoted(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's as well; DEL alone is bare in one and not in the other."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
