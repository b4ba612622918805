"""The pull of containers/image (podman, skopeo, buildah, CRI-O): one host is chosen by its manifest, and
has to give everything else.

Mirrors first, then the registry itself: a failure before the manifest is there leads on, none after it. All
failures are shown. Seen with podman 4.3.1 (tests/golden/chain/podman.txt); programs from mid-2026 on go on
with other hosts for blobs too, which is not told here.
"""

from __future__ import annotations

from collections.abc import Generator

from sampan.doctor.chain.contract import Answer, Ask, Chain, Entry, Outcome, Part, Walk
from sampan.doctor.chain.simple_login import SimpleLogin, TokenFailed
from sampan.doctor.chain.words import Failed, registry_errors, status
from sampan.errors import InvalidManifest
from sampan.oci.digest import Digest
from sampan.oci.manifest import ACCEPT, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import familiar


def walk(chain: Chain, platform: Platform, *, layers_max: int | None = None) -> Walk:
    """The pull of ``chain``'s reference. ``layers_max``: so many layers are asked for, not all."""
    if chain.refusal is not None:
        return Outcome(chain.refusal)
    source = f"docker://{familiar(chain.reference)}"
    failures: list[str] = []
    for entry in chain.entries:
        host = _OneHost(chain, entry, platform, layers_max)
        reason = chain.blocked if entry.is_origin and chain.blocked is not None else entry.unusable
        if reason is not None:
            failures.append(f"{host.name}: {reason}")
            continue
        try:
            body = yield from host.manifest()
        except Failed as error:
            failures.append(f"{host.name}: {error.text}")
            continue
        try:
            yield from host.content(source, body)
        except Failed as error:
            return Outcome(f"Error: {error.text}")
        return Outcome()
    return Outcome(f"Error: initializing source {source}: {_joined(failures)}")


def _joined(failures: list[str]) -> str:
    *mirrors, last = failures or [": no host may be asked"]
    if not mirrors:
        return last.partition(": ")[2]
    shown = "\n".join(f"[{each}]" for each in mirrors)
    return f"(Mirrors also failed: {shown}): {last}"


class _OneHost:
    def __init__(self, chain: Chain, entry: Entry, platform: Platform, layers_max: int | None) -> None:
        self.reference, self.entry, self.platform = chain.reference, entry, platform
        self.layers_max = layers_max
        self.repository = entry.repository or chain.reference.repository
        self.login = SimpleLogin(f"repository:{self.repository}:pull", chain.verified)
        joint = "@" if chain.reference.digest is not None else ":"
        shown = chain.reference.registry if entry.is_origin else entry.netloc
        self.name = f"{shown}/{self.repository}{joint}{chain.reference.object}"

    def manifest(self) -> Generator[Ask, Answer, bytes]:
        """Its answer, whatever it is. Raises Failed."""
        yield from self._ping()
        item = self.reference.object
        ask, answer = yield from self._send("manifest", "manifests", item, ACCEPT)
        if answer.failure is not None:
            raise Failed(self._unanswered(ask, answer.failure))
        if answer.status != 200:
            where = f"{self.name.rpartition('@' if self.reference.digest else ':')[0]}"
            raise Failed(f"reading manifest {item} in {where}: {_refused(answer)}")
        return answer.body

    def content(self, source: str, body: bytes) -> Generator[Ask, Answer, None]:
        """All that the manifest ``body`` names. Raises Failed."""
        manifest = yield from self._image(source, body)
        config = manifest.config
        ask, answer = yield from self._send("blob", "blobs", str(config.digest), "*/*", config.size)
        if answer.failure is not None or answer.status not in (200, 206):
            raise Failed(f"parsing image configuration: {self._no_blob(ask, answer)}")
        for layer in manifest.layers[: self.layers_max]:
            digest = str(layer.digest)
            ask, answer = yield from self._send("blob", "blobs", digest, "*/*", layer.size)
            if answer.failure is not None or answer.status not in (200, 206):
                raise Failed(f"reading blob {digest}: {self._no_blob(ask, answer)}")
            if answer.whole and answer.broken is None and Digest.of(answer.body) != layer.digest:
                found = Digest.of(answer.body)
                raise Failed(f"writing blob: … Digest did not match, expected {digest}, got {found}")

    def _image(self, source: str, body: bytes) -> Generator[Ask, Answer, Manifest]:
        try:
            found = parse_manifest(body)
        except InvalidManifest as error:
            raise Failed(f"initializing image from source {source}: … ({error.message})") from error
        if isinstance(found, Manifest):
            return found
        suited = found.select(self.platform)
        if suited is None:
            machine = f'architecture {self.platform.architecture}, variant "{self.platform.variant}"'
            text = f"no image found in image index for {machine}, OS {self.platform.os}"
            raise Failed(f"choosing an image from manifest list {source}: {text}")
        ask, answer = yield from self._send("manifest", "manifests", str(suited.digest), ACCEPT)
        if answer.failure is not None or answer.status != 200:
            words = self._unanswered(ask, answer.failure) if answer.failure else _refused(answer)
            raise Failed(f"initializing image from source {source}: {words}")
        inner = parse_manifest(answer.body)
        if not isinstance(inner, Manifest):
            raise Failed(f"initializing image from source {source}: …")
        return inner

    def _ping(self) -> Generator[Ask, Answer, None]:
        """``/v2/`` by HTTPS, by HTTP too where it is insecure; then the way of old registries is tried."""
        first: str | None = None
        for entry in (self.entry, *((self.entry.by_http(),) if self.entry.insecure else ())):
            ask = Ask(entry, "ping", "GET", f"{entry.base}/v2/")
            answer = yield ask
            if answer.failure is not None:
                first = first or self._unanswered(ask, answer.failure)
                continue
            self.entry = entry
            if answer.status == 401:
                self.login.learn(answer)
            elif answer.status != 200:
                yield Ask(entry, "ping", "GET", f"{entry.base}/v1/_ping")
                raise Failed(f"pinging container registry {entry.netloc}: {_code(answer)}")
            return
        raise Failed(f"pinging container registry {self.entry.netloc}: {first}")

    def _send(
        self, part: Part, kind: str, item: str, accept: str, size: int | None = None
    ) -> Generator[Ask, Answer, tuple[Ask, Answer]]:
        url = f"{self.entry.base}/v2/{self.repository}/{kind}/{item}"
        try:
            authorization = yield from self.login.authorize(self.entry)
        except TokenFailed as error:
            words = error.text
            if error.answer is not None and error.answer.status is not None:
                words = f"requesting bearer token: {_code(error.answer)}"
            raise Failed(words) from error
        ask = Ask(self.entry, part, "GET", url, accept, authorization, size_bytes=size)
        return ask, (yield ask)

    def _no_blob(self, ask: Ask, answer: Answer) -> str:
        if answer.failure is not None:
            return self._unanswered(ask, answer.failure)
        return f"Error fetching blob: {_code(answer)}"

    def _unanswered(self, ask: Ask, failure: str) -> str:
        return f'{ask.method.title()} "{ask.url}": {self.login.verified(failure)}'


def _code(answer: Answer) -> str:
    number, _, phrase = status(answer).partition(" ")
    return f"invalid status code from registry {number} ({phrase})"


def _refused(answer: Answer) -> str:
    return registry_errors(answer.body) or _code(answer)
