"""The pull of Docker's classic image store (graph drivers): a host is asked for all of it, then the next.

Mirrors are for docker.io alone, the registry itself is last, and its error is the one that is shown, whatever
the mirrors said. A manifest that one host has given is not asked of the next, content is. Seen with 20.10.24
and 28.5.2, which do the same: tests/golden/chain/docker.txt.
"""

from __future__ import annotations

import json
from collections.abc import Generator

from sampan.doctor.chain.contract import Answer, Ask, Chain, Entry, Outcome, Part, Walk
from sampan.doctor.chain.simple_login import SimpleLogin, TokenFailed
from sampan.doctor.chain.words import Failed, status
from sampan.errors import InvalidManifest
from sampan.oci.digest import Digest
from sampan.oci.manifest import ACCEPT, Descriptor, Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference, familiar

LAYER_TRIES = 5  # with growing pauses, 50 s in all
DEPTH_MAX = 4
# A message that is its code's own is not said.
_USUAL = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "UNKNOWN": "unknown error",
}


def walk(chain: Chain, platform: Platform, *, layers_max: int | None = None) -> Walk:
    """The pull of ``chain``'s reference. ``layers_max``: so many layers are asked for, not all."""
    if chain.refusal is not None:
        return Outcome(chain.refusal)
    have: dict[str, bytes] = {}
    last = "no host may be asked"
    for entry in chain.entries:
        try:
            yield from _OneHost(chain, entry, platform, layers_max, have).run()
        except Failed as error:
            last = error.text
        else:
            return Outcome()
    return Outcome(last)


class _OneHost:
    """All of an image from ``entry``, but for the manifests in ``have``."""

    def __init__(
        self,
        chain: Chain,
        entry: Entry,
        platform: Platform,
        layers_max: int | None,
        have: dict[str, bytes],
    ) -> None:
        self.reference, self.entry, self.platform = chain.reference, entry, platform
        self.layers_max, self.have = layers_max, have
        self.login = SimpleLogin(f"repository:{chain.reference.repository}:pull", chain.verified)

    def run(self) -> Generator[Ask, Answer, None]:
        yield from self._ping()
        manifest = yield from self._manifest()
        first: Failed | None = None  # config and layers are fetched side by side
        for descriptor in (manifest.config, *manifest.layers[: self.layers_max]):
            try:
                yield from self._blob(descriptor, tries=1 if descriptor is manifest.config else LAYER_TRIES)
            except Failed as error:
                first = first or error
        if first is not None:
            raise first

    def _ping(self) -> Generator[Ask, Answer, None]:
        """``/v2/``: no status of it matters, but the challenge of a 401."""
        ask = Ask(self.entry, "ping", "GET", f"{self.entry.base}{self.entry.path}/")
        answer = yield ask
        if answer.failure is not None and self.entry.may_be_http:
            self.entry = self.entry.by_http()
            ask = Ask(self.entry, "ping", "GET", f"{self.entry.base}{self.entry.path}/")
            answer = yield ask
        if answer.failure is not None:
            raise Failed(self._unanswered(ask, answer.failure))
        if answer.status == 401:
            self.login.learn(answer)

    # -- manifests -------------------------------------------------------------------------------

    def _manifest(self) -> Generator[Ask, Answer, Manifest]:
        item = yield from self._meaning()
        for _ in range(DEPTH_MAX):
            body = self.have.get(item)
            if body is None:
                body = yield from self._get_manifest(item)
            found = self._parsed(body)
            if isinstance(found, Manifest):
                return found
            suited = found.select(self.platform)
            if suited is None:
                raise Failed(f"no matching manifest for {self.platform} in the manifest list entries")
            item = str(suited.digest)
        raise Failed("an index in an index in an index")

    def _meaning(self) -> Generator[Ask, Answer, str]:
        """What the tag means; itself where the host answers no HEAD."""
        if self.reference.digest is not None:
            return str(self.reference.digest)
        item = self.reference.object
        ask, answer = yield from self._send("head", "HEAD", "manifests", item, ACCEPT)
        if answer.failure is not None:
            raise Failed(self._unanswered(ask, answer.failure))
        told = answer.headers.get("docker-content-digest", "")
        return told if answer.status == 200 and told else item

    def _get_manifest(self, item: str) -> Generator[Ask, Answer, bytes]:
        ask, answer = yield from self._send("manifest", "GET", "manifests", item, ACCEPT)
        if answer.failure is not None:
            raise Failed(self._unanswered(ask, answer.failure))
        if answer.status != 200:
            raise Failed(_translated(self.reference, _refused(answer), answer))
        if item.startswith("sha256:") and item != str(Digest.of(answer.body)):
            raise Failed(f"manifest verification failed for digest {item}")
        self.have[item] = answer.body
        return answer.body

    def _parsed(self, body: bytes) -> Manifest | Index:
        try:
            return parse_manifest(body)
        except InvalidManifest as error:
            raise Failed(f"… ({error.message})") from error

    # -- content ---------------------------------------------------------------------------------

    def _blob(self, descriptor: Descriptor, *, tries: int = 1) -> Generator[Ask, Answer, None]:
        """A blob. A layer is tried again where its host is in trouble; a denial is asked for twice."""
        digest = str(descriptor.digest)
        answer = yield from self._once(descriptor, again=False)
        for number in range(1, tries * 2 if tries > 1 else 1):
            lasting = (answer.status or 0) < 500 and number > 1
            if answer.status in (200, 206) or lasting:
                break
            answer = yield from self._once(descriptor, again=True)
        if answer.status not in (200, 206):
            raise Failed("unknown blob" if answer.status == 404 else _refused(answer))
        if answer.whole and answer.broken is None and str(Digest.of(answer.body)) != digest:
            kind = "filesystem layer" if tries > 1 else "image config"
            raise Failed(f"{kind} verification failed for digest {digest}")

    def _once(self, descriptor: Descriptor, *, again: bool) -> Generator[Ask, Answer, Answer]:
        digest, size = str(descriptor.digest), descriptor.size
        ask, answer = yield from self._send("blob", "GET", "blobs", digest, "*/*", size=size, again=again)
        if answer.failure is not None:
            raise Failed(self._unanswered(ask, answer.failure))
        return answer

    def _send(
        self,
        part: Part,
        method: str,
        kind: str,
        item: str,
        accept: str,
        *,
        size: int | None = None,
        again: bool = False,
    ) -> Generator[Ask, Answer, tuple[Ask, Answer]]:
        url = f"{self.entry.base}{self.entry.target(self.reference.repository, kind, item)}"
        try:
            authorization = yield from self.login.authorize(self.entry)
        except TokenFailed as error:
            words = f'{method.title()} "{url}": {_token_words(error)}'
            raise Failed(words) from error
        ask = Ask(self.entry, part, method, url, accept, authorization, again=again, size_bytes=size)
        return ask, (yield ask)

    def _unanswered(self, ask: Ask, failure: str) -> str:
        return f'{ask.method.title()} "{ask.url}": {self.login.verified(failure)}'


def _refused(answer: Answer) -> str:
    """An error status, in the words of distribution's client."""
    number = answer.status or 0
    errors = _errors(answer.body)
    if errors and number < 500:
        return errors[0] if len(errors) == 1 else "errors:\n" + "".join(f"{each}\n" for each in errors)
    if number >= 500 or not number >= 400:
        return f"received unexpected HTTP status: {status(answer)}"
    return f"error parsing HTTP {number} response body: …"


def _errors(body: bytes) -> list[str]:
    try:
        found = [(str(each["code"]), str(each.get("message", ""))) for each in json.loads(body)["errors"]]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []
    lines = [(code.replace("_", " ").lower(), message, _USUAL.get(code)) for code, message in found]
    return [code if message in ("", usual) else f"{code}: {message}" for code, message, usual in lines]


def _translated(reference: Reference, text: str, answer: Answer) -> str:
    """What the daemon makes of a manifest's error."""
    name, short = familiar(reference), familiar(Reference(reference.registry, reference.repository))
    if text.startswith(("manifest unknown", "name unknown")):
        return f"manifest for {name} not found: {text}"
    if text.startswith(("denied", "unauthorized")) or answer.status == 401:
        denied = "denied: requested access to the resource is denied"
        reason = denied if text.startswith("unauthorized") else text
        text = f"pull access denied for {short}, repository does not exist or may require 'docker login'"
        return f"{text}: {reason}"
    return text


def _token_words(error: TokenFailed) -> str:
    if error.ask is not None and error.answer is not None and error.answer.failure is None:
        return _refused(error.answer)
    return error.text
