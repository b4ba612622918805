"""What ``sampan bundle`` says of bundles, in the language of whoever reads it.

It guarantees that data goes to standard output and talk to standard error. Sentences are translated in
``data/zh/bundle.toml``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import click

from sampan.bundle.create import Outcome
from sampan.bundle.from_files import Left
from sampan.bundle.head import Head
from sampan.bundle.keys import PublicKey
from sampan.bundle.recovered import is_recoverable
from sampan.bundle.signature import fingerprint_of, read_signature
from sampan.bundle.verify import Verification
from sampan.cli.tally import size_text
from sampan.errors import printable
from sampan.words import Language, Text, in_language, sentence


def say(text: str, language: Language) -> None:
    """Talk."""
    click.echo(in_language(text, language), err=True)


def tell_left(left: Iterable[Left], language: Language) -> None:
    """What was found and is not packed."""
    for one in left:
        say(sentence("left out: {place}: {reason}", place=one.place, reason=one.reason), language)


def tell_outcome(outcome: Outcome, language: Language) -> None:
    """What a bundle came to, when it was made."""
    contents = outcome.contents
    if contents is None:
        return
    say(
        sentence(
            "{file}: {images} images, {blobs} blobs and manifests, {size}",
            file=outcome.files[0] if len(outcome.files) == 1 else f"{outcome.files[0]} …",
            images=sum(image.attached_to is None for image in contents.images),
            blobs=len(contents.blobs),
            size=size_text(contents.size_bytes),
        ),
        language,
    )
    if contents.elsewhere:
        size = size_text(sum(blob.size for blob in contents.elsewhere))
        say(sentence("left out, for the far side has it: {size}", size=size), language)
    if len(outcome.files) > 1:
        count, spare = len(contents.volumes), contents.asked.parity
        say(
            sentence("{count} volumes, and {spare} to recover any of them", count=count, spare=spare),
            language,
        )


# -- inspect ---------------------------------------------------------------------------------------


def contents_lines(head: Head) -> Iterator[str]:
    """What is inside, for people."""
    contents = head.contents
    yield sentence("bundle {digest}", digest=head.bundle)
    yield sentence(
        "made by {by} at {at}", by=printable(contents.created_by), at=printable(contents.created_at)
    )
    yield _signed_line(head)
    yield from _volume_lines(head)
    sizes = {blob.digest: blob.size for blob in contents.blobs}
    absent = {blob.digest for blob in contents.elsewhere}
    for image in contents.images:
        size = size_text(sum(sizes.get(digest, 0) for digest in image.needs))
        platforms = f"  {printable(', '.join(image.platforms))}" if image.platforms else ""
        lacking = sum(digest in absent for digest in image.blobs)
        yield f"{image.reference}  {image.root}  {size}{platforms}"
        if lacking:
            yield sentence("  {count} of its blobs are not here: the far side has them", count=lacking)
    yield sentence(
        "{images} images, {blobs} blobs and manifests, {size}",
        images=len(contents.images),
        blobs=len(contents.blobs),
        size=size_text(sum(sizes.values())),
    )
    for one in contents.asked.without:
        yield sentence("made for what is not in: {of}", of=printable(one.of))


def _signed_line(head: Head) -> Text:
    document = read_signature(head.signature)
    if document is None:
        return sentence("not signed")
    key = fingerprint_of(document)
    if not document.expires_at:
        return sentence("signed by {key}; verify checks it", key=key)
    until = printable(document.expires_at)
    return sentence("signed by {key} until {until}; verify checks it", key=key, until=until)


def _volume_lines(head: Head) -> Iterator[Text]:
    volume, contents = head.volume, head.contents
    if volume is None or (len(contents.volumes) == 1 and not contents.asked.parity):
        return
    count, spare = len(contents.volumes), contents.asked.parity
    if volume.kind == "data":
        yield sentence("volume {number} of {count}", number=volume.number, count=count)
    else:
        yield sentence("recovery volume {number} of {spare}", number=volume.number, spare=spare)
    yield sentence("{count} volumes, and {spare} to recover any of them", count=count, spare=spare)


def contents_json(head: Head) -> dict[str, object]:
    """The same for programs: the list of contents as it is, with what stands round it."""
    document = read_signature(head.signature)
    signed = None
    if document is not None:
        signed = {
            "key": fingerprint_of(document),
            "signed_at": document.signed_at,
            "expires_at": document.expires_at or None,
        }
    volume = None
    if head.volume is not None:
        volume = {"kind": head.volume.kind, "number": head.volume.number}
    return {
        "bundle": str(head.bundle),
        "volume": volume,
        "signature": signed,
        "contents": json.loads(head.raw),
    }


# -- verify ----------------------------------------------------------------------------------------


def tell_verification(found: Verification, key: PublicKey | None, language: Language) -> None:
    """What was found: on standard output for each file, the rest as talk."""
    volumes = found.volumes
    damaged = {damage.file for damage in found.damages}
    for path in (*volumes.data.values(), *volumes.recovery.values()):
        line = (
            sentence("{file}: damaged", file=path)
            if path in damaged
            else sentence("{file}: right", file=path)
        )
        click.echo(in_language(line, language))
    for path in volumes.unreadable:
        click.echo(in_language(sentence("{file}: no volume that can be read", file=path), language))
    for line in _verification_talk(found, key):
        say(line, language)


def _verification_talk(found: Verification, key: PublicKey | None) -> Iterator[Text]:
    volumes = found.volumes
    for damage in found.damages:
        yield sentence("{file}: {member} is not what the list says", file=damage.file, member=damage.member)
    for image in found.spoilt:
        yield sentence("spoilt: {reference}", reference=image.reference)
    if volumes.missing:
        numbers = ", ".join(map(str, volumes.missing))
        count = len(volumes.contents.volumes)
        yield sentence("not here: volumes {numbers} of {count}", numbers=numbers, count=count)
        if is_recoverable(volumes) and not found.damages:
            yield sentence("the recovery volumes make up for them: sampan bundle repair, or load")
    if key is not None:
        yield sentence("signed by {key}, which is trusted", key=key.fingerprint)
    elif read_signature(volumes.head.signature) is not None:
        yield sentence("it is signed, and nobody was asked about the signature: --key FILE checks it")


def verification_json(found: Verification, key: PublicKey | None) -> dict[str, object]:
    """The same for programs."""
    volumes = found.volumes
    files = [
        *({"file": str(path), "kind": "data", "number": n} for n, path in volumes.data.items()),
        *({"file": str(path), "kind": "recovery", "number": n} for n, path in volumes.recovery.items()),
    ]
    return {
        "bundle": str(volumes.bundle),
        "signed_by": None if key is None else key.fingerprint,
        "files": files,
        "unreadable": [str(path) for path in volumes.unreadable],
        "damages": [
            {"file": str(d.file), "member": d.member, "digest": d.digest and str(d.digest)}
            for d in found.damages
        ],
        "missing": list(volumes.missing),
        "recoverable": is_recoverable(volumes),
        "spoilt": [str(image.reference) for image in found.spoilt],
    }
