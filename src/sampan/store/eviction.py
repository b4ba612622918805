"""Images and lone blobs, as a sweep removes them: whole, and the manifest first.

Guarantees that what another image needs stays, and what is pinned, being served, or wanted by anybody since
the sweep began; and that a manifest is gone by the disk's word before what it names is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sampan.store.images import Images, Unit
from sampan.store.removal import Account, Gone, Kind, Outcome, Removal, when
from sampan.words import Text, sentence

if TYPE_CHECKING:
    from sampan.oci.digest import Digest
    from sampan.store.disk import DiskStore
    from sampan.store.tags import TagRecord, TagStore


class Eviction:
    """Of ``store`` as it is now. ``pinned`` and ``mark`` are of the moment when the sweep began."""

    def __init__(
        self,
        store: DiskStore,
        tags: TagStore,
        account: Account,
        pinned: frozenset[Digest],
        mark: int,
        *,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._tags = tags
        self._account = account
        self._pinned = pinned
        self._mark = mark
        self._dry_run = dry_run
        self._named: dict[Digest, list[TagRecord]] = {}
        for record in tags.records():
            self._named.setdefault(record.descriptor.digest, []).append(record)
        self._images = images_of(store, (*self._named, *pinned))

    def drop_until(self, max_size_bytes: int) -> None:
        """The least recently used image or lone blob, and again, until it fits."""
        for unit in self._images.least_recent_first():
            if self._account.used_bytes <= max_size_bytes:
                return
            reason = self._why_not(unit)
            if reason is not None:
                self._account.kept[reason] += 1
            else:
                self._remove(unit, self._why(unit))

    def drop(self, root: Digest, tag: TagRecord | None) -> Outcome:
        """The image of that root, or a lone blob; with ``tag``, only that name while others need it."""
        name = str(root) if tag is None else tag.name
        other = self._another(root, tag)
        if tag is not None and other is not None:
            self._forget(tag)
            told = sentence(
                "{name} is no name of it any more; it stays: {other} needs it", name=name, other=other
            )
            return Outcome(root, name, False, True, told)
        if other is not None:
            return Outcome(
                root, name, False, False, sentence("{name} stays: {other} needs it", name=name, other=other)
            )
        unit = self._images.unit(root)
        if unit is None:
            return self._drop_stale(root, name)
        reason = self._why_not(unit)
        if reason is None and self._remove(unit, sentence("it was to be removed")):
            return Outcome(root, name, True, True, sentence("{name} is removed", name=name))
        reason = reason or sentence("in use")
        return Outcome(root, name, False, False, sentence("{name} stays: {reason}", name=name, reason=reason))

    def _another(self, root: Digest, tag: TagRecord | None) -> str | None:
        """Who else needs it: for one of its names another name, for either another image."""
        names = [] if tag is None else [each.name for each in self._named.get(root, ()) if each != tag]
        names += [self._name(user.root) for user in self._images.users(root) if user.root != root]
        return min(names, default=None)

    def _drop_stale(self, root: Digest, name: str) -> Outcome:
        """Names of what is gone."""
        for record in list(self._named.get(root, ())):
            self._forget(record)
        return Outcome(root, name, True, True, sentence("{name} is removed: its content was gone", name=name))

    def _forget(self, record: TagRecord) -> None:
        self._named[record.descriptor.digest].remove(record)
        if not self._dry_run:
            digest = record.descriptor.digest
            self._tags.forget(record.registry, record.repository, record.tag, digest=digest)

    def _name(self, root: Digest) -> str:
        """Its first tag, or its digest."""
        return min((record.name for record in self._named.get(root, ())), default=str(root))

    def _why(self, unit: Unit) -> Text:
        used = when(self._images.used_at(unit))
        if not self._images.is_manifest(unit.root):
            return sentence("no image needs it, and it was last used {time}: longest ago", time=used)
        return sentence(
            "only {image} needs it, last used {time}: longest ago", image=self._name(unit.root), time=used
        )

    def _why_not(self, unit: Unit) -> Text | None:
        if unit.root in self._pinned:
            return sentence("pinned")
        if any(self._store.is_held(digest) for digest in (unit.root, *self._images.exclusive(unit))):
            return sentence("being served")
        return None

    def _remove(self, unit: Unit, why: Text) -> bool:
        """Whether all of it went that only it needs."""
        mine = self._images.exclusive(unit)
        used_at, before = self._images.used_at(unit), self._account.used_bytes
        names = sorted(record.name for record in self._named.get(unit.root, ()))
        kept = self._remove_all(unit, mine, why)
        if unit.root in mine and unit.root not in kept and self._images.is_manifest(unit.root):
            shared = sum(self._images.blob(digest).size for digest in set(unit.needs).difference(mine))
            freed = before - self._account.used_bytes
            self._account.images.append(Gone(unit.root, tuple(names), used_at, freed, shared))
        if kept:
            self._account.kept[sentence("in use")] += 1
            return False
        self._images.drop(unit)
        return True

    def _remove_all(self, unit: Unit, digests: Iterable[Digest], why: Text) -> set[Digest]:
        """Manifests, then the disk's word that they are gone, then the rest. A manifest that was used
        meanwhile stays, and all that it needs with it: what stays is returned."""
        kept: set[Digest] = set()
        manifests = [digest for digest in digests if self._images.is_manifest(digest)]
        for digest in manifests:
            if digest in kept or not self._remove_one(unit, digest, why):
                kept.update(self._images.closure(digest))
                continue
            for record in list(self._named.get(digest, ())):
                self._forget(record)
        if manifests and not self._dry_run:
            self._store.sync_removals()
        for digest in digests:
            is_manifest = self._images.is_manifest(digest)
            if digest not in kept and not is_manifest and not self._remove_one(unit, digest, why):
                kept.add(digest)
        return kept

    def _remove_one(self, unit: Unit, digest: Digest, why: Text) -> bool:
        blob, is_manifest = self._images.blob(digest), self._images.is_manifest(digest)
        if not self._dry_run and not self._store.remove(digest, mark=self._mark, stamp=blob.stamp):
            return False
        image = unit.root if self._images.is_manifest(unit.root) else None
        kind: Kind = "manifest" if is_manifest else "blob"
        self._account.count(Removal(str(digest), kind, blob.size, why, digest, image))
        return True


def images_of(store: DiskStore, roots: Iterable[Digest]) -> Images:
    """What is stored, as images. The blobs are listed first: a manifest that comes meanwhile stamps what it
    names, so that a sweep notices."""
    blobs, references = list(store.blobs()), {}
    for digest in store.manifest_digests():
        if (manifest := store.peek_manifest(digest)) is not None:
            references[digest] = tuple(descriptor.digest for descriptor in manifest.references)
    return Images(blobs, references, roots)
