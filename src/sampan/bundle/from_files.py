"""The images that files name: Kubernetes YAML, Helm's output, compose files, Dockerfiles, CI files.

Guarantees that what cannot be an image (a template that nobody filled in) is told of with its place and keeps
no other from being found. How a file is read is :mod:`sampan.rewrite`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sampan.errors import InvalidDocument, InvalidReference, UsageError, printable
from sampan.oci.reference import Reference
from sampan.rewrite.documents import Kind, find_images
from sampan.rewrite.fields import Fields
from sampan.rewrite.tree import Source, read


@dataclass(frozen=True, slots=True)
class Left:
    """What was found at ``place`` (``FILE:LINE``) and left out, with the reason."""

    place: str
    reason: str


def images_in_files(files: Iterable[Source], fields: Fields) -> Iterator[Reference | Left]:
    """The images of ``files``, in their order. Raises UsageError, with its name, for a file that cannot be
    read or is not what it should be."""
    for source in files:
        name = printable(str(source.path))
        try:
            text = read(source.path, source.kind)
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from error
        except InvalidDocument as error:
            raise UsageError(f"{name}:{error.line}: {error.message}", hint=error.hint) from error
        yield from images_in_text(text, source.kind, fields, name)


def images_in_text(text: str, kind: Kind | None, fields: Fields, name: str) -> Iterator[Reference | Left]:
    """The images of one document, or of several in one text; ``name`` is for messages."""
    try:
        places = find_images(text, kind, fields)
    except InvalidDocument as error:
        raise UsageError(f"{name}:{error.line}: {error.message}", hint=error.hint) from error
    for place in places:
        try:
            yield Reference.parse(place.image)
        except InvalidReference as error:
            yield Left(f"{name}:{place.line}", error.message)
