"""A bundle made: what it needs is found out, laid out, brought to its place, sealed and named.

Guarantees that every blob was hashed where it lies before the bundle has its name; that whatever ends it,
the same call goes on from the last byte that came, and with the same content though tags have moved
meanwhile; and that the disk holds each blob once: those that the store lacks go straight to their place.
It decides the order of things; hosts are the mirror's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampan.bundle.contents import Contents
from sampan.bundle.finish import publish, published, seal, take_back, write_frame
from sampan.bundle.order import Order, check_same
from sampan.bundle.packing import Plan, Stamp, arrange
from sampan.bundle.partial import Partial
from sampan.bundle.recovery import write_recovery
from sampan.bundle.rows import recovery_bytes
from sampan.bundle.survey import Survey, Surveyed
from sampan.bundle.target import Target
from sampan.bundle.transfer import Supply, Transfer
from sampan.errors import SampanError
from sampan.mirror.opening import opened
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.pull import events
from sampan.pull.events import Event, Failed, Resolved, Started
from sampan.pull.service import Report, pull
from sampan.pull.sinks.files import in_thread

Sign = Callable[[Digest], bytes]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reports``: one a reference. ``files`` and ``contents``: of the bundle; none when it was not made."""

    reports: tuple[Report, ...]
    files: tuple[Path, ...] = ()
    contents: Contents | None = None


async def create(supply: Supply, target: Target, order: Order, *, stamp: Stamp, sign: Sign) -> Outcome:
    """Make the bundle ``order`` at ``target``. ``sign`` gives the signature of a list by its digest.

    An error of one reference is in its report, and the bundle is not made then; what came is kept for the
    next call. Raises BundleExists, StoreError (the disk), UsageError (volumes that cannot be).
    """
    partial = await opened(lambda: Partial(target), lambda partial: partial.close())
    try:
        return await _Creation(supply, partial, order, stamp, sign).run()
    finally:
        await asyncio.to_thread(partial.close)


class _Creation:
    def __init__(self, supply: Supply, partial: Partial, order: Order, stamp: Stamp, sign: Sign) -> None:
        self._supply = supply
        self._listener = supply.listener
        self._partial = partial
        self._order = order
        self._stamp = stamp
        self._sign = sign

    async def run(self) -> Outcome:
        begun = await asyncio.to_thread(self._begun)
        if begun is None:
            reports, begun = await self._begin()
            if begun is None:
                return Outcome(reports)
        else:
            self._tell_begun(begun[0])
            if (files := await asyncio.to_thread(published, self._partial, *begun)) is not None:
                return self._done(files, *begun)
            await asyncio.to_thread(take_back, self._partial, *begun)
        contents, raw = begun
        errors = await Transfer(self._supply, self._partial, contents).run()
        if errors:
            return Outcome(tuple(self._failed(contents, errors)))
        return await self._finish(contents, raw)

    # -- beginning ---------------------------------------------------------------------------------

    def _begun(self) -> tuple[Contents, bytes] | None:
        """What an earlier run left, when it was asked the same."""
        begun = self._partial.plan()
        if begun is None:
            return None
        check_same(begun[0].asked, self._order.asked, self._partial.path)
        return begun

    async def _begin(self) -> tuple[tuple[Report, ...], tuple[Contents, bytes] | None]:
        """Find out what is needed, and lay it out; None when not all of it could be found out."""
        if not self._order.volume_bytes:
            await asyncio.to_thread(self._partial.target.check_free)
        survey = Survey(str(self._partial.target))
        reports = await self._survey(survey)
        if any(report.error is not None for report in reports):
            return tuple(reports), None
        asked, held = self._order.asked, self._order.held
        plan = await asyncio.to_thread(arrange, survey.images, asked, held, self._stamp)
        await asyncio.to_thread(take_back, self._partial, plan.contents, plan.raw)
        await asyncio.to_thread(self._partial.check_room, _size_of(plan))
        await asyncio.to_thread(self._partial.begin, plan, _manifests(survey.images))
        return tuple(reports), (plan.contents, plan.raw)

    async def _survey(self, survey: Survey) -> list[Report]:
        def heard(event: Event) -> None:
            if isinstance(event, Started | Resolved | Failed):
                self._listener(event)

        return await pull(
            self._supply.mirror,
            self._order.references,
            sink=survey,
            platforms=self._order.platforms,
            listener=heard,
            with_referrers=self._order.referrers,
            behind=self._supply.behind,
        )

    def _tell_begun(self, contents: Contents) -> None:
        """The same events for what was found out by an earlier run."""
        images = [image for image in contents.images if image.attached_to is None]
        self._listener(Started(str(self._partial.target), len(images)))
        blobs = {blob.digest: blob for blob in contents.blobs}
        sizes = {blob.digest: blob.size for blob in contents.blobs}
        sizes |= {blob.digest: blob.size for blob in contents.elsewhere}
        for image in images:
            self._listener(
                Resolved(
                    str(image.reference),
                    image.root,
                    blobs[image.root].media_type,
                    self._partial.path.name,
                    False,
                    tuple(map(Platform.parse, image.platforms)),
                    len(image.blobs),
                    sum(sizes[digest] for digest in image.needs),
                )
            )

    # -- the end -----------------------------------------------------------------------------------

    def _failed(self, contents: Contents, errors: dict[Digest, SampanError]) -> Iterator[Report]:
        """One a reference; what is attached to an image fails it."""
        spoilt = contents.images_with(errors)
        for image in contents.images:
            if image.attached_to is None:
                mine = [one for one in spoilt if image.reference in (one.reference, one.attached_to)]
                lost = [digest for one in mine for digest in one.needs if digest in errors]
                error = errors[lost[0]] if lost else None
                if error is not None:
                    self._listener(events.failed(image.reference, error))
                yield Report(image.reference, image.root, error)

    async def _finish(self, contents: Contents, raw: bytes) -> Outcome:
        name = str(self._partial.target)
        self._listener(events.Giving("", Digest.of(raw), name))
        contents, raw = await asyncio.to_thread(seal, self._partial, contents, raw)
        signature = self._sign(Digest.of(raw))
        await asyncio.to_thread(write_frame, self._partial, contents, raw, signature)
        await in_thread(lambda stop: write_recovery(self._partial, contents, raw, signature, stop))
        return self._done(await asyncio.to_thread(publish, self._partial, contents), contents, raw)

    def _done(self, files: Sequence[Path], contents: Contents, raw: bytes) -> Outcome:
        name, reports = str(self._partial.target), []
        for image in contents.images:
            if image.attached_to is None:
                self._listener(events.ImageDone(str(image.reference), image.root, name))
                reports.append(Report(image.reference, image.root))
        self._listener(_bundle_done(Digest.of(raw), files, contents))
        return Outcome(tuple(reports), tuple(files), contents)


def _size_of(plan: Plan) -> int:
    """Of all files together, in bytes."""
    parity = plan.contents.asked.parity
    recovery = parity * recovery_bytes(plan.contents, len(plan.raw)) if parity else 0
    return plan.contents.size_bytes + recovery


def _manifests(images: Iterable[Surveyed]) -> dict[Digest, bytes]:
    return {manifest.digest: manifest.raw for image in images for manifest in image.wanted.manifests}


def _bundle_done(bundle: Digest, files: Sequence[Path], contents: Contents) -> events.BundleDone:
    return events.BundleDone(
        bundle,
        tuple(map(str, files)),
        sum(path.stat().st_size for path in files if path.is_file()) or contents.size_bytes,
        len([image for image in contents.images if image.attached_to is None]),
        len(contents.blobs),
        sum(blob.size for blob in contents.elsewhere),
    )
