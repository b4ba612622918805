"""The name of an image, as it was given: whether it means what whoever typed it meant."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.errors import InvalidReference, printable
from sampan.oci.reference import Reference

SUBJECT_CHARACTERS_MAX = 100


async def check_names(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What is no reference at all."""
    for text in scene.typed:
        try:
            Reference.parse(text)
        except InvalidReference as error:
            subject = printable(text, characters_max=SUBJECT_CHARACTERS_MAX)
            yield Finding("NAME_INVALID", subject, error.message, hint=error.hint)
