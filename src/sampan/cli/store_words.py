"""What ``sampan store`` says, to people and to programs.

It guarantees that people are told in their language, and programs the same in English; times are UTC, and
names that strangers gave are made printable.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sampan.errors import printable
from sampan.oci.digest import Digest
from sampan.store import Outcome, Removal, ScrubReport, Stock, StoredBlob, StoredImage, SweepReport, TagRecord
from sampan.store.removal import listed, when
from sampan.words import Language, Text, in_language, sentence, size_text

DIGEST_CHARACTERS = len("sha256:") + 12  # of a digest, for people; --json has all of it
NAME_CHARACTERS_MAX = 300
PROGRESS_BYTES = 64 * 1024 * 1024  # between two signs of life

# -- tables ---------------------------------------------------------------------------------------


def image_table(stock: Stock, language: Language) -> Iterator[str]:
    """A line for each name of each image, those used last first."""
    heads = [
        sentence("IMAGE"),
        sentence("DIGEST"),
        sentence("SIZE"),
        sentence("OWN"),
        sentence("LAST USED"),
        sentence("SAID BY"),
        sentence("NOTES"),
    ]
    rows = [row for image in stock.images for row in _image_rows(image, language)]
    return _table([in_language(head, language) for head in heads], rows)


def _image_rows(image: StoredImage, language: Language) -> Iterator[list[str]]:
    notes = [sentence("pinned")] if image.pinned else []
    if image.missing:
        notes.append(sentence("{count} blobs are missing", count=image.missing))
    facts = [short(image.root), size_text(image.size), size_text(image.own_bytes), when(image.used_at)]
    said = in_language(listed(notes), language) if notes else ""
    for tag in image.tags:
        yield [_name(tag.name), *facts, _name(tag.host), said]
    if not image.tags:
        yield [in_language(sentence("(no tag)"), language), *facts, "", said]


def blob_table(stock: Stock, language: Language) -> Iterator[str]:
    """A line for each blob, the largest first."""
    heads = [
        sentence("DIGEST"),
        sentence("SIZE"),
        sentence("LAST USED"),
        sentence("ROLE"),
        sentence("IMAGES"),
        sentence("NOTES"),
    ]
    pinned = in_language(sentence("pinned"), language)
    rows = [
        [
            str(blob.digest),
            size_text(blob.size),
            when(blob.used_at),
            blob.role,
            str(len(blob.images)),
            pinned if blob.pinned else "",
        ]
        for blob in stock.blobs
    ]
    return _table([in_language(head, language) for head in heads], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    for row in (heads, *rows) if rows else ():
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _width(text: str) -> int:
    """In columns of a terminal, where a Chinese character has two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def short(digest: Digest) -> str:
    """Enough of it to know it by, and for the command line."""
    return str(digest)[:DIGEST_CHARACTERS]


def _name(text: str) -> str:
    return printable(text, characters_max=NAME_CHARACTERS_MAX)


# -- sentences ------------------------------------------------------------------------------------


def stock_sum(stock: Stock, path: Path, max_size_bytes: int | None) -> Text:
    """How much there is in all."""
    parts = [
        sentence("{count} images", count=len(stock.images)),
        sentence("{size} in {count} blobs", count=len(stock.blobs), size=size_text(stock.blob_bytes)),
    ]
    lone = [blob for blob in stock.blobs if not blob.images]
    if lone:
        size = size_text(sum(blob.size for blob in lone))
        parts.append(sentence("{count} of them of no image ({size})", count=len(lone), size=size))
    if stock.partials:
        size = size_text(sum(each.size for each in stock.partials))
        parts.append(sentence("{count} unfinished ({size})", count=len(stock.partials), size=size))
    if stock.quarantined:
        size = size_text(sum(each.size for each in stock.quarantined))
        parts.append(sentence("{count} in quarantine ({size})", count=len(stock.quarantined), size=size))
    if max_size_bytes is not None:
        parts.append(sentence("the limit is {size}", size=size_text(max_size_bytes)))
    return sentence("{path}: {facts}", path=_name(str(path)), facts=listed(parts))


def removal_lines(report: SweepReport, language: Language) -> Iterator[str]:
    """What goes: each image with its blobs, each other file with its reason."""
    images = {gone.root: gone for gone in report.images}
    told: set[Digest] = set()
    for removal in report.removals:
        gone = images.get(removal.image) if removal.image is not None else None
        if gone is None:
            yield f"{_removal(removal)}: {in_language(removal.why, language)}"
            continue
        if gone.root not in told:
            told.add(gone.root)
            name = ", ".join(map(_name, gone.tags)) or str(gone.root)
            facts = [removal.why]
            if gone.shared_bytes:
                size = size_text(gone.shared_bytes)
                facts.append(sentence("{size} of it stay, for other images need them", size=size))
            yield f"{name}: {in_language(listed(facts), language)}"
        yield f"  {_removal(removal)}"


def _removal(removal: Removal) -> str:
    return f"{size_text(removal.size):>9}  {removal.kind:11}  {removal.name}"


def freed(report: SweepReport, *, dry_run: bool) -> Text:
    """How much room that makes."""
    size, left = size_text(report.freed_bytes), size_text(report.used_bytes)
    if dry_run:
        return sentence("would free {size}, and {left} are left", size=size, left=left)
    return sentence("freed {size}, and {left} are left", size=size, left=left)


def damaged_lines(damaged: Mapping[Digest, Sequence[str]], language: Language) -> Iterator[str]:
    """What is in quarantine now, and whose it was."""
    for digest, images in damaged.items():
        names = ", ".join(map(_name, images))
        text = sentence("{digest} was damaged, and is set aside", digest=digest)
        of = sentence("{text}: it belongs to {names}", text=text, names=names)
        yield in_language(of if names else text, language)


def scrubbed(report: ScrubReport) -> Text:
    """What was looked at."""
    size = size_text(report.checked_bytes)
    if report.damaged:
        bad = len(report.damaged)
        return sentence("{count} blobs, {size}: {bad} damaged", count=report.checked, size=size, bad=bad)
    return sentence("{count} blobs, {size}: all are right", count=report.checked, size=size)


class Progress:
    """How far a scrub is, on one line of a terminal that is written over."""

    def __init__(self) -> None:
        self._next_bytes = 0

    def __call__(self, blobs: int, count_bytes: int) -> None:
        if count_bytes >= self._next_bytes:
            self._next_bytes = count_bytes + PROGRESS_BYTES
            click.echo(f"\r\x1b[K{blobs}: {size_text(count_bytes)}", err=True, nl=False)

    def end(self) -> None:
        """The line is free for others."""
        click.echo("\r\x1b[K", err=True, nl=False)


# -- for programs ---------------------------------------------------------------------------------


def stock_json(stock: Stock, path: Path, max_size_bytes: int | None, *, blobs: bool) -> dict[str, Any]:
    """All of it; ``blobs``: one by one, too."""
    document: dict[str, Any] = {
        "store": str(path),
        "max_size_bytes": max_size_bytes,
        "used_bytes": stock.used_bytes,
        "blob_bytes": stock.blob_bytes,
        "pins": sorted(map(str, stock.pins)),
        "images": [_image_json(image) for image in stock.images],
        "partials": [{"name": each.name, "size": each.size} for each in stock.partials],
        "quarantined": [{"name": each.name, "size": each.size} for each in stock.quarantined],
    }
    if blobs:
        document["blobs"] = [_blob_json(blob) for blob in stock.blobs]
    return document


def _image_json(image: StoredImage) -> dict[str, Any]:
    return {
        "digest": str(image.root),
        "media_type": image.media_type,
        "tags": [_tag_json(tag) for tag in image.tags],
        "size": image.size,
        "own_bytes": image.own_bytes,
        "used_at": image.used_at,
        "pinned": image.pinned,
        "platforms": list(image.platforms),
        "missing": image.missing,
        "missing_bytes": image.missing_bytes,
        "blobs": [str(digest) for digest in image.blobs],
    }


def _tag_json(tag: TagRecord) -> dict[str, Any]:
    return {
        "name": tag.name,
        "host": tag.host,
        "checked_at": tag.checked_at,
        "changed_at": tag.changed_at,
        "previous": None if tag.previous is None else str(tag.previous),
    }


def _blob_json(blob: StoredBlob) -> dict[str, Any]:
    return {
        "digest": str(blob.digest),
        "size": blob.size,
        "used_at": blob.used_at,
        "role": blob.role,
        "images": [str(digest) for digest in blob.images],
        "pinned": blob.pinned,
    }


def sweep_json(report: SweepReport, *, dry_run: bool) -> dict[str, Any]:
    """What went, or would go."""
    return {
        "dry_run": dry_run,
        "freed_bytes": report.freed_bytes,
        "used_bytes": report.used_bytes,
        "reason": str(report.reason),
        "images": [
            {
                "digest": str(gone.root),
                "tags": list(gone.tags),
                "used_at": gone.used_at,
                "freed_bytes": gone.freed_bytes,
                "shared_bytes": gone.shared_bytes,
            }
            for gone in report.images
        ],
        "removals": [
            {
                "name": removal.name,
                "kind": removal.kind,
                "size": removal.size,
                "why": str(removal.why),
                "image": None if removal.image is None else str(removal.image),
            }
            for removal in report.removals
        ],
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What became of one that was named."""
    return {
        "name": outcome.name,
        "digest": str(outcome.digest),
        "removed": outcome.is_removed,
        "unnamed": outcome.is_unnamed,
        "told": str(outcome.told),
    }


def scrub_json(report: ScrubReport, damaged: Mapping[Digest, Sequence[str]]) -> dict[str, Any]:
    """What was found."""
    return {
        "checked": report.checked,
        "checked_bytes": report.checked_bytes,
        "damaged": [{"digest": str(digest), "images": list(images)} for digest, images in damaged.items()],
    }
