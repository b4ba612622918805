"""Misbehaving hosts that hold the real images: the test kit's registry beside real programs.

:func:`host` runs one in a thread of its own, so that tests can wait for programs meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from interop import images
from sampan.testing import FakeRegistry, ServerThread
from sampan.testing.images import Image
from sampan.testing.layout import read_layout


def as_content(image: images.Image) -> Image:
    """An image of the library in the words of the test kit, its bytes still in the library's files."""
    found = next(
        one for one in read_layout(image.library.directory, image.repository) if one.digest == image.digest
    )
    return replace(found, tag=image.tag)


@contextlib.contextmanager
def host(name: str, image: images.Image) -> Iterator[tuple[FakeRegistry, Image, ServerThread]]:
    """A fake registry with that image, running; what touches its sockets goes through the thread."""
    registry = FakeRegistry(name)
    content = registry.add(as_content(image))
    with ServerThread(registry) as thread:
        yield registry, content, thread
