"""What ``sampan rewrite`` says: lists, diffs and JSON on stdout, problems and a summary on stderr."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

import click

from sampan.config import Config
from sampan.errors import InvalidDocument, SampanError
from sampan.rewrite.diff import unified_diff
from sampan.rewrite.place import Edited, Place
from sampan.rewrite.rules import Reason, Rewriting
from sampan.rewrite.tree import encode

# In the order of the summary.
_WORDS = {
    Reason.REWRITTEN: "rewritten",
    Reason.MIRRORED: "at a mirror already",
    Reason.NO_RULE: "without a rule",
    Reason.EXCEPTED: "excepted",
    Reason.TEMPLATE: "with variables, left",
    Reason.SCRATCH: "scratch",
    Reason.IMAGE_ID: "by id, left",
    Reason.NO_NAME: "that no mirror can name",
    Reason.INVALID: "no valid reference, left",
}


def tell_no_rules(config: Config) -> None:
    """That nothing can change, since no mirror is configured."""
    where = "there is no configuration" if config.path is None else f"{config.path} has no mirrors"
    click.echo(f"nothing is redirected: {where}", err=True)
    click.echo('hint: SAMPAN_MIRRORS="docker.io=https://mirror.example" is enough', err=True)


def tell_problem(error: SampanError, name: str | None = None) -> None:
    """One error among others, with the file and line that it is about."""
    line = f":{error.line}" if isinstance(error, InvalidDocument) else ""
    place = "" if name is None else f"{name}{line}: "
    click.echo(f"error: {place}{error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def tell_images(name: str, edited: Edited, *, changes_alone: bool = False) -> None:
    """``FILE:LINE: IMAGE`` of each image, and what becomes of it when only changes are wanted."""
    for place, rewriting in edited.images:
        if changes_alone and not rewriting.changed:
            continue
        becomes = f" -> {rewriting.after}" if changes_alone else ""
        click.echo(f"{name}:{place.line}: {place.image}{becomes}")


def tell_diff(name: str, before: str, edited: Edited) -> None:
    """A unified diff, as patch reads it; nothing when nothing changes."""
    sys.stdout.buffer.write(encode(unified_diff(name, before, edited)))
    sys.stdout.buffer.flush()


def tell_summary(found: Sequence[Edited | None], *, in_place: bool, listing: bool) -> None:
    """How many images, in how many files, and what became of them; None: a file that could not be read."""
    done = [edited for edited in found if edited is not None]
    count = Counter(rewriting.reason for edited in done for _, rewriting in edited.images)
    files, images = _many(len(found), "file"), _many(count.total(), "image")
    parts = [f"{count[reason]} {_WORDS[reason]}" for reason in Reason if count[reason]]
    changed = sum(bool(edited.changes) for edited in done)
    sentence = f"{files}, {images}"
    if not listing:
        sentence += f": {', '.join(parts)}" if parts else ""
        sentence += f"; {_many(changed, 'file')} {'written' if in_place else 'would change'}"
    broken = len(found) - len(done)
    click.echo(sentence + (f"; {_many(broken, 'file')} not done" if broken else ""), err=True)


def reference_json(rewriting: Rewriting) -> dict[str, object]:
    """One reference: as it was given, what it becomes, and why."""
    return {
        "reference": rewriting.before,
        "result": rewriting.after,
        "changed": rewriting.changed,
        "reason": str(rewriting.reason),
    }


def file_json(
    name: str,
    edited: Edited | None,
    error: SampanError | None,
    written: bool,
) -> dict[str, object]:
    """One file: its images, or what was wrong with it."""
    images = [_image_json(place, rewriting) for place, rewriting in edited.images] if edited else []
    line = error.line if isinstance(error, InvalidDocument) else None
    wrong = None if error is None else {"line": line, "message": error.message, "hint": error.hint}
    return {"file": name, "images": images, "written": written, "error": wrong}


def echo_json(document: dict[str, object]) -> None:
    """``document`` on stdout, for programs."""
    click.echo(json.dumps(document, indent=2))


def _image_json(place: Place, rewriting: Rewriting) -> dict[str, object]:
    return {"line": place.line, **reference_json(rewriting)}


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
