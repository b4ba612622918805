"""One look at one host: the questions, in their order, and after which answers it is no use to go on.

Guarantees at most :data:`REQUESTS_MAX` requests to the host, those for its tokens among them; its storage
is asked twice more. It judges nothing and keeps nothing: what was found is in :class:`Notes`.
"""

from __future__ import annotations

import asyncio

from sampan.doctor.contract import Answer, Part
from sampan.doctor.hosts.image import created_in, has_config, layer_of, read_range, read_whole
from sampan.doctor.hosts.notes import Notes
from sampan.errors import Denied, HostError, Interrupted, Missing, RateLimited, TimedOut, Unreachable
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor, Index, Manifest
from sampan.oci.platform import Platform
from sampan.upstream.certificate import Certificate
from sampan.upstream.client import RegistryClient
from sampan.upstream.dialer import CONNECT_SECONDS, Names
from sampan.upstream.trail import Hop
from sampan.words import sentence

REQUESTS_MAX = 8
NAMES_SHOWN_MAX = 3
# What ends the way at /v2/. After any other answer there the manifest is asked for all the same.
_ENDS = (Unreachable, TimedOut, Interrupted, RateLimited)


class Look:
    """Goes the way to an image once, and fills in ``notes``. ``names`` None: a proxy looks names up."""

    def __init__(self, notes: Notes, client: RegistryClient, platform: Platform, names: Names | None) -> None:
        self._notes = notes
        self._client = client
        self._platform = platform
        self._names = names
        self._host = notes.host
        self._repository = notes.reference.repository
        self._object: str | Digest = notes.reference.digest or notes.reference.object
        self._manifest: Manifest | Index | None = None

    async def run(self) -> None:
        """Ask until an answer says that it is no use to go on."""
        if not self._is_meant() or not await self._resolve():
            return
        if await self._ping() and await self._head() and await self._get():
            image = await self._image()
            if image is not None:
                await self._read(image)

    def _is_meant(self) -> bool:
        """Whether the host's settings let it be asked for this at all."""
        if self._host.repository_for(self._repository) is not None:
            return True
        words = f"{self._host.name}: not asked for {self._repository}, its settings leave it out"
        self._notes.fail("manifest", Missing(words, outcome="missing"))
        return False

    # -- the way there -----------------------------------------------------------------------------

    async def _resolve(self) -> bool:
        notes, base = self._notes, self._host.base
        notes.begin("dns")
        if base.address is not None:
            notes.addresses = (str(base.address),)
            return True
        if self._names is None:
            notes.step("dns", sentence("the proxy looks names up"), outcome="skipped")
            return True
        problem = "the name does not resolve"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await self._names.resolve(base.host, base.port)
        except TimeoutError:
            problem = f"the name did not resolve within {CONNECT_SECONDS:g} s"
        except OSError:
            pass
        else:
            notes.addresses = tuple(str(one["host"]) for one in found)
            notes.answers = (Answer("system", notes.addresses),)
            notes.step("dns", ", ".join(notes.addresses))
            return True
        notes.answers = (Answer("system", problem=problem),)
        notes.fail("dns", Unreachable(f"{self._host.name}: {problem}", outcome="dns"))
        return False

    async def _ping(self) -> bool:
        notes = self._notes
        notes.begin("ping")
        try:
            ping = await self._client.ping(self._host, self._repository)
        except HostError as error:
            part = self._connection(error)
            return self._failed(part, error, ends=isinstance(error, _ENDS))
        self._connection(None)
        notes.realm = ping.realm
        if ping.status == 401:
            notes.step("ping", sentence("a registry that wants a token"))
        else:
            notes.step("ping", sentence("a registry, open to everybody"))
        return True

    def _connection(self, error: HostError | None) -> Part:
        """Notes how far the connection came; the part that ``error`` is of."""
        first = next(iter(self._notes.hops()), None)
        if first is None:
            return "connect"
        part = _broken_part(first, error)
        if part == "ping" or "tls" in first.phases:
            self._notes.step("connect", _connected(first), seconds=first.seconds("connect") or 0.0)
        if part == "ping" and first.url.scheme == "https":
            words = _shown(first.certificate)
            self._notes.step("tls", words, seconds=first.seconds("tls") or 0.0)
        return part

    # -- what the reference means ------------------------------------------------------------------

    async def _head(self) -> bool:
        notes = self._notes
        notes.begin("head")
        try:
            found = await self._client.head_manifest(self._host, self._repository, self._object)
        except HostError as error:
            part = self._login(error) or "head"
            # A token that is not let in is not let in by GET either; else GET says more than HEAD can.
            ends = part == "login" or isinstance(error, (Unreachable, TimedOut, RateLimited))
            return self._failed(part, error, ends=ends or (isinstance(error, Denied) and error.status == 401))
        self._login(None)
        if found is None:
            notes.step("head", sentence("no answer of use to HEAD"))
        else:
            notes.head_digest = found.digest
            notes.step("head", str(found.digest))
        return True

    def _login(self, error: HostError | None) -> Part | None:
        """Notes how the login went; ``login`` when ``error`` is of it."""
        hops = self._notes.hops()
        logins = [hop for hop in hops if hop.login]
        if error is not None and ((hops and hops[-1].login) or (not logins and error.status == 401)):
            return "login"
        if logins:
            self._notes.realm = realm = logins[-1].url.netloc
            seconds = (logins[-1].ended or logins[-1].began) - logins[-1].began
            self._notes.step("login", sentence("a token from {realm}", realm=realm), seconds=seconds)
        return None

    async def _get(self) -> bool:
        notes = self._notes
        notes.begin("manifest")
        try:
            self._manifest = await self._client.manifest(self._host, self._repository, self._object)
        except HostError as error:
            return self._failed(self._login(error) or "manifest", error)
        self._login(None)
        notes.digest = self._manifest.digest
        notes.step("manifest", str(notes.digest))
        if notes.head_digest not in (None, notes.digest):
            words = sentence("HEAD says {head}, GET gives {get}", head=notes.head_digest, get=notes.digest)
            notes.step("head", words, outcome="wrong-content", seconds=notes.steps["head"].seconds)
        return True

    async def _image(self) -> Manifest | None:
        """The image for this platform, or the first that there is: a blob is wanted, whose is no matter."""
        notes, manifest = self._notes, self._manifest
        if not isinstance(manifest, Index):
            return manifest
        entry = manifest.select(self._platform) or next(iter(manifest.manifests), None)
        if entry is None:
            return None
        notes.begin("manifest")
        try:
            image = await self._client.manifest(self._host, self._repository, entry.digest)
        except HostError as error:
            self._failed("manifest", error)
            return None
        return image if isinstance(image, Manifest) else None

    # -- its bytes ---------------------------------------------------------------------------------

    async def _read(self, image: Manifest) -> None:
        notes = self._notes
        notes.begin("blob")
        layer = layer_of(image)
        try:
            if has_config(image):
                config = await read_whole(self._client, self._host, self._repository, image.config)
                notes.created = created_in(image, config)
            if layer is not None:
                notes.sample = await read_range(self._client, self._host, self._repository, layer)
        except HostError as error:
            is_led_away = self._led(error)
            self._failed("redirect" if is_led_away else "blob", error)
            return
        self._led(None)
        notes.step("blob", _read_words(image, layer, notes))

    def _failed(self, part: Part, error: HostError, *, ends: bool = True) -> bool:
        """Notes that ``part`` failed; whether to go on. What we ourselves do not ask is no failure."""
        if isinstance(error, RateLimited) and error.status is None:
            self._notes.step(part, sentence("not asked: it had its share of requests"), outcome="skipped")
            return False
        self._notes.fail(part, error, ends=ends)
        return not ends

    def _led(self, error: HostError | None) -> bool:
        """Notes where blobs really are; whether ``error`` is of the way there."""
        notes, home = self._notes, self._host.base.netloc
        away = [hop for hop in notes.hops() if not hop.login and hop.url.netloc != home]
        if not away:
            return False
        notes.blob_host = away[-1].url.netloc
        if error is not None and error.behind is not None and away[-1].status not in (200, 206):
            return True
        seconds = (away[0].ended or away[0].began) - away[0].began
        notes.step("redirect", sentence("blobs are at {host}", host=notes.blob_host), seconds=seconds)
        return False


def _broken_part(first: Hop, error: HostError | None) -> Part:
    """Which part of the way ``error``, of the first request, is of."""
    if not isinstance(error, Unreachable) or error.behind is not None:
        return "ping"
    if error.outcome == "dns":
        return "dns"
    return "tls" if error.outcome == "tls" or "tls" in first.phases else "connect"


def _connected(hop: Hop) -> str:
    if hop.reused:
        return sentence("by a connection that was there")
    return ", ".join(dict.fromkeys(hop.dialled))


def _shown(certificate: Certificate | None) -> str:
    if certificate is None:
        return ""
    names = ", ".join(certificate.names[:NAMES_SHOWN_MAX])
    return sentence("a certificate of {issuer} for {names}", issuer=certificate.issuer, names=names)


def _read_words(image: Manifest, layer: Descriptor | None, notes: Notes) -> str:
    checked = has_config(image) or (notes.sample is not None and notes.sample.is_verified)
    size = 0 if layer is None or notes.sample is None else notes.sample.size_bytes
    if checked:
        return sentence("{size} bytes of a layer; what was read whole is right", size=size)
    return sentence("{size} bytes of a layer", size=size)
