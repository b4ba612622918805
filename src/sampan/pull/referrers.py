"""What is attached to an image: signatures, attestations, bills of materials, and what is attached to those.

Guarantees that all three ways are looked at (the referrers of OCI 1.1, the tag that stands in for them, the
``.sig``, ``.att`` and ``.sbom`` tags of cosign), that each thing is found once, and that no list is followed
without end. Only a denial counts as "nothing there": hosts that fail are an error, for a signature that
was asked for and is silently left out would be missed. Nothing is verified but the digests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sampan.errors import InvalidManifest, NotFound
from sampan.mirror.service import Mirror
from sampan.oci.attached import attached_tags
from sampan.oci.digest import Digest
from sampan.oci.manifest import Index, Manifest
from sampan.oci.reference import Reference
from sampan.pull.closure import Steps, Wanted, closure

DEPTH_MAX = 3  # a signature of an attestation of an image; nobody has been seen to go further
ATTACHED_MAX = 500  # of one image: an endless list of signatures is an attack (notation GHSA-9m3v-v4r5-ppx7)
QUESTIONS_AT_ONCE = 4

T = TypeVar("T")
AnyManifest = Manifest | Index

log = logging.getLogger(__name__)


async def attached(mirror: Mirror, image: Wanted) -> tuple[Wanted, ...]:
    """Everything attached to the manifests of ``image``, each as something to be pulled like an image:
    under the tag where it stands, else by its digest. What was found first comes first.

    Raises AllHostsFailed when hosts failed, InvalidManifest for more than anybody needs.
    """
    search = _Search(mirror, image.reference)
    subjects: Sequence[Digest] = [manifest.digest for manifest in image.manifests]
    for _ in range(DEPTH_MAX):
        before = len(search.found)
        await _together([search.look(subject) for subject in search.new(subjects)])
        subjects = [wanted.root.digest for wanted in list(search.found.values())[before:]]
    return tuple(search.found.values())


@dataclass(slots=True)
class _Search:
    """``found`` by the text of the reference; ``seen``: the subjects that were looked at."""

    mirror: Mirror
    image: Reference
    found: dict[str, Wanted] = field(default_factory=dict)
    seen: set[Digest] = field(default_factory=set)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(QUESTIONS_AT_ONCE))

    def new(self, subjects: Sequence[Digest]) -> list[Digest]:
        """Those that were not looked at yet, each once."""
        fresh = [subject for subject in dict.fromkeys(subjects) if subject not in self.seen]
        self.seen.update(fresh)
        return fresh

    async def look(self, subject: Digest) -> None:
        """At all that is attached to ``subject`` itself."""
        image = self.image
        async with self.room:
            listed = await self.mirror.referrers(image.registry, image.repository, subject)
        entries = [entry.digest for entry in listed.references]
        self._check(len(entries))
        found = await _together(
            [
                *(
                    self._named(Reference(image.registry, image.repository, tag))
                    for tag in attached_tags(subject)
                ),
                *(self._named(Reference(image.registry, image.repository, None, d)) for d in entries),
            ]
        )
        for wanted in found:
            if wanted is not None:
                self.found.setdefault(str(wanted.reference), wanted)
        self._check(0)

    async def _named(self, reference: Reference) -> Wanted | None:
        """What stands there, with all that it needs; None: nothing."""
        try:
            root = await self._manifest(reference.digest or reference.object)
            return await self._walk(closure(reference, root, None))
        except NotFound as error:
            if reference.digest is not None:
                log.warning("%s is listed as attached to %s, and nobody has it", reference, self.image)
            log.debug("%s", error.message)
            return None

    async def _walk(self, steps: Steps) -> Wanted:
        try:
            needed = next(steps)
            while True:
                needed = steps.send(await _together([self._manifest(entry.digest) for entry in needed]))
        except StopIteration as stop:
            wanted: Wanted = stop.value
            return wanted

    async def _manifest(self, wanted: str | Digest) -> AnyManifest:
        async with self.room:
            answer = await self.mirror.manifest(self.image.registry, self.image.repository, wanted)
        return answer.manifest

    def _check(self, more: int) -> None:
        if len(self.found) + more > ATTACHED_MAX:
            raise InvalidManifest(f"more than {ATTACHED_MAX} things are attached to {self.image}")


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of ``work`` side by side; the first error cancels the rest and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]
