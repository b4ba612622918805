"""containerd's pull as it asks: the tag of the hosts that may resolve, then manifests, config and layers.

The CRI, ctr and nerdctl pull so, and Docker's containerd image store. No host is remembered as dead: each
question begins with the first one again. A status of 400 or more, or no answer, leads to the next host; an
answer of 200 is taken, whatever it is. See docs/chain.md.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

from sampan.doctor.chain.contract import Answer, Ask, Chain, Entry, Outcome, Part, Walk
from sampan.doctor.chain.dialect import Dialect, dialect_for
from sampan.doctor.chain.docker_words import as_docker
from sampan.doctor.chain.login import Logins
from sampan.doctor.chain.words import (
    BARE,
    FINAL,
    NOT_FOUND,
    Denied,
    Failed,
    first_message,
    get_refused,
    head_refused,
    no_answer,
)
from sampan.errors import InvalidDigest, InvalidManifest
from sampan.oci.digest import Digest
from sampan.oci.manifest import (
    ACCEPT,
    DOCKER_CONFIG,
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from sampan.oci.platform import Platform

RETRIES_MAX = 5
REOPENED_MAX = 50  # ours: a host that gives a little each time is asked on until somebody's patience ends
FRUITLESS_MAX = 3  # in a row
END = "EOF"
DEPTH_MAX = 4
_AGAIN_AT_ONCE = (408, 429)
_AGAIN_OF_THE_LAST = (500, 503, 504)
_DENIED = "pull access denied, repository does not exist or may require authorization"
MANIFEST_BYTES_MAX = 4 * 1048 * 1048  # the program's own limit, which is not 4 MiB


@dataclass(frozen=True, slots=True)
class _Found:
    """What a tag means, as a host said: its ``media_type`` is the Content-Type, whatever that is."""

    media_type: str
    digest: str
    size: int


def walk(chain: Chain, platform: Platform, *, layers_max: int | None = None) -> Walk:
    """The pull of ``chain``'s reference. ``layers_max``: so many layers are asked for, not all."""
    if chain.refusal is not None:
        return Outcome(chain.refusal)
    dialect = dialect_for(chain.version, beside=chain.beside)
    pull = _Pull(chain, dialect, platform, layers_max)
    try:
        yield from pull.run()
    except Failed as error:
        return Outcome(as_docker(error, chain, platform) if chain.beside else error.text)
    return Outcome()


class _Pull:
    def __init__(self, chain: Chain, dialect: Dialect, platform: Platform, layers_max: int | None) -> None:
        self.chain, self.dialect, self.platform, self.layers_max = chain, dialect, platform, layers_max
        self.name = str(chain.reference)
        self.repository = chain.reference.repository
        self.logins = self._strangers()

    def _strangers(self) -> Logins:
        """Nobody is known yet."""
        return Logins(self.chain, self.dialect, f"repository:{self.repository}:pull")

    def run(self) -> Generator[Ask, Answer, None]:
        prefix = "" if self.chain.beside else f'failed to pull and unpack image "{self.name}": '
        try:
            found = yield from self._resolve()
        except Failed as error:
            where = "image" if self.chain.transfer else f'reference "{self.name}"'
            raise error.within(f"{prefix}failed to resolve {where}: {error.text}") from error
        if not self.chain.beside:
            self.logins = self._strangers()  # what was learnt of tokens is forgotten between the two
        try:
            yield from self._content(found)
        except Failed as error:
            raise error.within(error.text if error.rank == BARE else f"{prefix}{error.text}") from error

    # -- what the tag means ----------------------------------------------------------------------

    def _resolve(self) -> Generator[Ask, Answer, _Found]:
        reference = self.chain.reference
        kinds = ("manifests",) if reference.digest is None else ("manifests", "blobs")
        able = [e for e in self.chain.entries if (e.resolves if reference.digest is None else e.pulls)]
        if not able:
            raise Failed(f"no resolve hosts: {NOT_FOUND}")
        first: Failed | None = None
        for kind in kinds:
            for entry in able:
                try:
                    return (yield from self._ask_meaning(entry, kind, last=entry is able[-1]))
                except Denied as error:
                    first = self._worse(first, error.within(f"{_DENIED}: {error.text}"))
                except Failed as error:
                    if error.rank == FINAL:
                        raise
                    first = self._worse(first, error)
        raise first or Failed(f"{self.name}: {NOT_FOUND}")

    def _worse(self, first: Failed | None, error: Failed) -> Failed | None:
        """Which of two is shown."""
        if self.dialect.ranks:
            return error if first is None or error.rank > first.rank else first
        return first if first is not None or error.missing else error

    def _ask_meaning(self, entry: Entry, kind: str, *, last: bool) -> Generator[Ask, Answer, _Found]:
        """One host's answer. Raises Failed; of rank ``_FINAL`` it ends the pull."""
        item, digest = self.chain.reference.object, self.chain.reference.digest
        ask, answer = yield from self._send(entry, "head", "HEAD", kind, item, ACCEPT, last=last)
        number = answer.status or 0
        if number == 404:
            raise Failed(f"{self.name}: {NOT_FOUND}", missing=True, rank=2)
        if number > 299:
            text = head_refused(ask, answer, item, self.dialect)
            raise Failed(text, rank=3 if number > 399 else FINAL, has_status=True)
        told = answer.headers.get("docker-content-digest", "") if digest is None else str(digest)
        size = _length(answer)
        if told and size is not None:
            _check_digest(told)
        else:
            try:
                ask, answer = yield from self._send(entry, "manifest", "GET", kind, item, ACCEPT, last=True)
            except Failed as error:
                raise Failed(error.text, rank=FINAL) from error
            size = len(answer.body)
            told = str(Digest.of(answer.body)) if digest is None else told
        if size > MANIFEST_BYTES_MAX:
            raise Failed(f"rejecting {size} byte manifest for {self.name}: {NOT_FOUND}", missing=True, rank=4)
        return _Found(_media_type(answer), told, size)

    # -- what it is made of ----------------------------------------------------------------------

    def _content(self, found: _Found) -> Generator[Ask, Answer, None]:
        """All of it, from the manifest down. Raises Failed."""
        for _ in range(DEPTH_MAX):
            kind = "manifests" if found.media_type in MANIFEST_TYPES else "blobs"
            body = yield from self._fetch(kind, found)
            manifest = self._parsed(found, body)
            if isinstance(manifest, Manifest):
                break
            suited = manifest.select(self.platform)
            if suited is None:
                raise self._no_platform(manifest.digest)
            found = _of(suited)
        else:
            raise Failed("an index in an index in an index")
        yield from self._fetch("blobs", _of(manifest.config))
        for layer in manifest.layers[: self.layers_max]:
            yield from self._fetch("blobs", _of(layer))

    def _parsed(self, found: _Found, body: bytes) -> Manifest | Index:
        if found.media_type not in MANIFEST_TYPES:
            text = f"unexpected media type {found.media_type} for {found.digest}: {NOT_FOUND}"
            if self.chain.transfer:
                raise Failed(f"get image config descriptor: {text}", rank=BARE)
            raise Failed(f"failed to unpack image on snapshotter overlayfs: {text}")
        try:
            return parse_manifest(body, media_type=found.media_type)
        except InvalidManifest as error:
            raise Failed(f"… ({error.message})") from error

    def _no_platform(self, digest: Digest) -> Failed:
        if self.chain.transfer:
            text = f"get image config descriptor: no match for platform in manifest {digest}: {NOT_FOUND}"
            return Failed(text, rank=BARE)
        named = f" {digest}" if self.dialect.ranks else ""
        return Failed(f"no match for platform in manifest{named}: {NOT_FOUND}")

    def _fetch(self, kind: str, found: _Found) -> Generator[Ask, Answer, bytes]:
        """The bytes. What was cut is gone on with, from the first host again. Raises Failed."""
        if not any(entry.pulls for entry in self.chain.entries):
            raise Failed(f"no pull hosts: {NOT_FOUND}")
        body, tries = b"", 0
        for _ in range(REOPENED_MAX):
            answer = yield from self._open(kind, found, len(body))
            skipped = len(body) if answer.status == 200 else 0
            body += answer.body[skipped:]
            if answer.broken is None:
                return self._checked(body, found) if answer.whole else body
            if answer.broken != END:
                raise Failed(f"failed to copy: {answer.broken}")
            tries = 0 if len(answer.body) > skipped else tries + 1
            if tries > FRUITLESS_MAX:
                break
        return self._checked(body, found)

    def _open(self, kind: str, found: _Found, offset: int) -> Generator[Ask, Answer, Answer]:
        """The answer of the first host that has it. Raises Failed."""
        first: Failed | None = None
        for entry in self.chain.entries:
            try:
                return (yield from self._get(entry, kind, found, offset))
            except Failed as error:
                first = first or error
        assert first is not None
        text = first.text
        if first.missing and kind == "blobs":
            what = f"{found.digest} ({found.media_type})"
            text = f"could not fetch content descriptor {what} from remote: {NOT_FOUND}"
        raise first.within(f"failed to copy: httpReadSeeker: failed open: {text}")

    def _get(self, entry: Entry, kind: str, found: _Found, offset: int) -> Generator[Ask, Answer, Answer]:
        """One host's. Raises Failed."""
        part: Part = "manifest" if kind == "manifests" else "blob"
        accept, last = f"{found.media_type}, */*", entry is self.chain.entries[-1]
        ask, answer = yield from self._send(
            entry, part, "GET", kind, found.digest, accept, last=last, size=found.size, offset=offset
        )
        if answer.status == 404:
            raise Failed(f"content at {ask.url} {NOT_FOUND}: {NOT_FOUND}", missing=True)
        if (answer.status or 0) > 299:
            text = get_refused(ask, answer, self.dialect)
            raise Failed(text, has_status=True, said=first_message(answer.body))
        return answer

    def _checked(self, body: bytes, found: _Found) -> bytes:
        """``body``, when it is what was asked for. Raises Failed."""
        got = len(body)
        if got < found.size:
            raise Failed(self.dialect.short_read(got, found.size))
        name, digest = f"{_role(found.media_type)}-{found.digest}", Digest.of(body)
        text = f'failed commit on ref "{name}": '
        if got > found.size:
            raise Failed(f'{text}"{name}" failed size validation: {got} != {found.size}: failed precondition')
        if str(digest) != found.digest:
            raise Failed(
                f"{text}unexpected commit digest {digest}, expected {found.digest}: failed precondition"
            )
        return body

    # -- one request, and the ones that it takes ------------------------------------------------------

    def _send(
        self,
        entry: Entry,
        part: Part,
        method: str,
        kind: str,
        item: str,
        accept: str,
        *,
        last: bool = False,
        size: int | None = None,
        offset: int = 0,
    ) -> Generator[Ask, Answer, tuple[Ask, Answer]]:
        """The last answer of those that the resolver's own retries lead to. Raises Failed."""
        url = f"{entry.base}{entry.target(self.repository, kind, item)}"
        answers: list[Answer] = []
        again = False
        while True:
            authorization = yield from self.logins.authorize(entry)
            ask = Ask(
                entry, part, method, url, accept, authorization, again=again, offset=offset, size_bytes=size
            )
            answer = yield ask
            if answer.failure is not None:
                failure = self.chain.verified(answer.failure)
                raise Failed(f"failed to do request: {no_answer(ask, failure, self.dialect)}")
            answers.append(answer)
            again = False
            if len(answers) > RETRIES_MAX:
                return ask, answer
            if answer.status == 401 and self.logins.learn(entry, answers):
                continue
            if answer.status == 405 and method == "HEAD" and kind == "manifests":
                method = "GET"
                continue
            again = answer.status in _AGAIN_AT_ONCE or (
                last
                and self.dialect.retries_last
                and len(answers) == 1
                and answer.status in _AGAIN_OF_THE_LAST
            )
            if not again:
                return ask, answer


def _check_digest(text: str) -> None:
    try:
        Digest.parse(text)
    except InvalidDigest:
        algorithm, _, digits = text.partition(":")
        wrong = "length" if algorithm == "sha256" and re.fullmatch("[0-9a-f]+", digits) else "format"
        reason = f"invalid checksum digest {wrong}"
        raise Failed(f'"{text}" in header not a valid digest: {reason}', rank=FINAL) from None


def _role(media_type: str) -> str:
    """What the content store calls content of that type while it arrives."""
    if media_type in INDEX_TYPES:
        return "index"
    if media_type in MANIFEST_TYPES:
        return "manifest"
    if media_type.endswith("config.v1+json") or media_type == DOCKER_CONFIG:
        return "config"
    return "layer" if ".layer." in media_type or ".diff." in media_type else "unknown"


def _of(descriptor: Descriptor) -> _Found:
    return _Found(descriptor.media_type, str(descriptor.digest), descriptor.size)


def _length(answer: Answer) -> int | None:
    found = answer.headers.get("content-length", "")
    return int(found) if re.fullmatch(r"\d{1,18}", found, re.ASCII) else None


def _media_type(answer: Answer) -> str:
    found = answer.headers.get("content-type", "").partition(";")[0]
    return "application/vnd.docker.distribution.manifest.v1+prettyjws" if found == "text/plain" else found
