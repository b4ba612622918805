"""Every error that sampan raises on purpose, and what each means to those who meet it.

    SampanError
    ├── UsageError                 the command line asked for something impossible
    ├── ConfigError                sampan.toml, the environment, a credentials file
    ├── InvalidReference           text that is not an image reference, repository or tag
    ├── InvalidDigest              text that is not a digest
    ├── InvalidManifest            bytes that are not a manifest or an index
    ├── InvalidDocument            a file in which images are looked for, and which is not what it should be
    ├── InvalidRequest             a request of a client that cannot be answered as asked
    ├── UnsatisfiableRange         a Range beyond the end of a blob
    ├── Unsupported                a method or an endpoint that a pull-only mirror does not have
    ├── Unauthorized               the client must log in to this mirror
    ├── RegistryUnknown            a registry that is not configured: never dialled
    ├── NotLocked                  a tag that the lock file in force does not hold
    ├── HostError                  one host's answer to one request (below)
    ├── AllHostsFailed             no host could serve it: the attempts are listed
    │   └── NotFound               every eligible host denied that it exists
    ├── PlatformMissing            an image that there is, but not for the platform asked for
    ├── ContentMismatch            bytes that do not hash to their digest
    ├── StoreError                 the disk under the store
    │   ├── StoreFull              no room, also after evicting
    │   └── NotStored              an image or a blob that the command line named, and that is not there
    ├── SinkError                  where a pulled image goes: full, read-only, not answering
    │   ├── SinkExists             something is there already, and is not overwritten
    │   └── SinkUnavailable        a runtime that is missing, unsupported or refuses us
    ├── NodeError                  a machine's files that were to be changed, and are as they were
    │   ├── PlanMismatch           a file that is not as the plan saw it, or must not be touched: the diff
    │   ├── ApplyFailed            writing, a reload or what was checked after it: all is undone
    │   └── RuntimeUnsupported     a runtime, or a version of one, that sampan does not know
    └── BundleError                a bundle or an archive that is not what it should be
        ├── InvalidBundle          no bundle, one that contradicts itself, or of a version not known
        ├── BundleDamaged          bytes that are not what the list of contents says: which
        ├── BundleIncomplete       a volume that is missing, a file that is not whole
        ├── BundleUntrusted        a signature that is required and missing, foreign or expired
        └── BundleExists           something is there already, and is not overwritten

    HostError
    ├── Unreachable                no connection: DNS, refused, unroutable, TLS, proxy, blocked address
    ├── TimedOut                   connected, then silence or a crawl
    ├── Interrupted                the connection ended before the body did
    ├── Denied                     401 or 403, or a login that failed
    ├── Missing                    404
    ├── RateLimited                429
    │   └── PullLimited            429 of a host that counts pulls: its manifests alone
    ├── OverBudget                 not asked: it has refused so often that one more could mean a ban
    ├── ServerFault                5xx
    ├── NotARegistry               an answer that no registry gives: HTML, a portal, malformed HTTP
    ├── OtherSize                  a blob of another size than its manifest says: one of the two is wrong
    └── WrongContent               bytes that do not hash to the digest asked for: a strike

Each class says how it appears on the wire (``oci_code``, ``http_status``) and in the shell
(``exit_code``); nothing else in the project maps an error to a status. Messages never hold a
secret: URLs pass through :func:`redact` when an error is made, not when it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sampan.cleaning import printable as printable
from sampan.cleaning import redact as redact
from sampan.cleaning import without_login as without_login

_SILENCE = frozenset({"first-byte-timeout", "stalled", "slow", "beaten"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one host: ``outcome`` is ``ok`` or the word of the :class:`HostError`."""

    host: str
    outcome: str
    seconds: float
    status: int | None = None
    bytes: int = 0
    detail: str = ""

    def __str__(self) -> str:
        status = f" ({self.status})" if self.status else ""
        detail = f"{self.detail}: ".removeprefix(f"{self.host}: ").removeprefix(f"{self.status}: ")
        detail = detail.removesuffix(": ")
        return f"{self.host}: {self.outcome}{status}{f': {detail}' if detail else ''}"


class SampanError(Exception):
    """Base of all; ``hint`` says what to do about it."""

    oci_code: ClassVar[str] = "UNKNOWN"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        redacted = redact(message)
        super().__init__(message if redacted == message else redacted)  # it may know its translation
        self.hint = hint

    @property
    def message(self) -> str:
        message: str = self.args[0]
        return message


class UsageError(SampanError):
    exit_code = 2


class ConfigError(SampanError):
    exit_code = 2


class InvalidReference(SampanError):
    oci_code, http_status, exit_code = "NAME_INVALID", 400, 2


class InvalidDigest(SampanError):
    oci_code, http_status, exit_code = "DIGEST_INVALID", 400, 2


class InvalidManifest(SampanError):
    oci_code, http_status, exit_code = "MANIFEST_INVALID", 502, 4


class InvalidDocument(SampanError):
    """``line`` counts from 1; the message does not repeat it, for whoever read the file knows its name."""

    oci_code, http_status, exit_code = "UNSUPPORTED", 400, 2

    def __init__(self, message: str, *, line: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class InvalidRequest(SampanError):
    oci_code, http_status, exit_code = "UNSUPPORTED", 400, 2


class UnsatisfiableRange(SampanError):
    """``size_bytes`` is the size of the blob, for ``Content-Range: bytes */N``."""

    oci_code, http_status, exit_code = "SIZE_INVALID", 416, 2

    def __init__(self, message: str, *, size_bytes: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.size_bytes = size_bytes


class Unsupported(SampanError):
    oci_code, http_status, exit_code = "UNSUPPORTED", 405, 2


class Unauthorized(SampanError):
    oci_code, http_status, exit_code = "UNAUTHORIZED", 401, 2


class RegistryUnknown(SampanError):
    oci_code, http_status, exit_code = "NAME_UNKNOWN", 404, 3


class PlatformMissing(SampanError):
    oci_code, http_status, exit_code = "MANIFEST_UNKNOWN", 404, 3


class NotLocked(SampanError):
    """403, not 404: the tag may well exist, and clients name the status when they give up."""

    oci_code, http_status, exit_code = "DENIED", 403, 3


class ContentMismatch(SampanError):
    oci_code, http_status, exit_code = "DIGEST_INVALID", 502, 4


class StoreError(SampanError):
    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 6


class StoreFull(StoreError):
    pass


class NotStored(StoreError):
    oci_code, http_status, exit_code = "MANIFEST_UNKNOWN", 404, 3


class SinkError(SampanError):
    exit_code = 6


class SinkExists(SinkError):
    exit_code = 2


class SinkUnavailable(SinkError):
    exit_code = 7


class NodeError(SampanError):
    exit_code = 7


class PlanMismatch(NodeError):
    """``diff`` is what stands in the way, or what the plan would be now, as a unified diff; may be empty."""

    def __init__(self, message: str, *, diff: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.diff = diff


class ApplyFailed(NodeError):
    pass


class RuntimeUnsupported(NodeError):
    pass


class BundleError(SampanError):
    exit_code = 8


class InvalidBundle(BundleError):
    pass


class BundleDamaged(BundleError):
    pass


class BundleIncomplete(BundleError):
    pass


class BundleUntrusted(BundleError):
    pass


class BundleExists(BundleError):
    exit_code = 2


class HostError(SampanError):
    """What one host answered, when it was not what was asked for. The next host may be tried.

    ``outcome`` is one lower-case word for logs, metrics and JSON. ``denial``: who says it says that
    it does not have it (see :attr:`denies`). ``strike``: it lied about content. ``behind``: the
    other machine, as ``host[:port]``, that the host led to and that failed; None when it was the host
    itself.
    """

    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 5
    denial: ClassVar[bool] = False
    strike: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        outcome: str,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        hint: str | None = None,
        behind: str | None = None,
    ) -> None:
        super().__init__(printable(redact(message), characters_max=400), hint=hint)
        self.outcome = outcome
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.behind = behind

    @property
    def denies(self) -> bool:
        """Whether the host has denied that it has it. When the storage behind it refuses (403), it has
        not: it said where the content is."""
        return self.denial and (self.behind is None or isinstance(self, Missing))

    @property
    def is_dear(self) -> bool:
        """Whether it cost a time-out: one is enough. A refusal costs nothing and may be a restart."""
        return isinstance(self, TimedOut) or self.outcome in ("connect-timeout", "unroutable")


class Unreachable(HostError):
    """outcome: dns, refused, unroutable, reset, connect-timeout, tls, proxy, blocked-address."""


class TimedOut(HostError):
    """outcome: first-byte-timeout, stalled, slow."""

    http_status = 504


class Interrupted(HostError):
    """outcome: truncated, reset."""


class Denied(HostError):
    """outcome: denied, login."""

    oci_code, http_status = "DENIED", 404
    denial = True


class Missing(HostError):
    """outcome: missing."""

    http_status = 404
    denial = True


class RateLimited(HostError):
    """outcome: rate-limited; ``retry_after_seconds`` as the host said, an hour at most, or None."""

    oci_code, http_status = "TOOMANYREQUESTS", 429


class PullLimited(RateLimited):
    """outcome: pull-limit; what the host gives to this address or login within hours is used up."""


class OverBudget(HostError):
    """outcome: over-budget; nothing was sent. ``retry_after_seconds``: until it may be asked again."""


class ServerFault(HostError):
    """outcome: server-error."""


class NotARegistry(HostError):
    """outcome: not-a-registry, protocol, redirect."""


class OtherSize(HostError):
    """outcome: other-size."""


class WrongContent(HostError):
    """outcome: wrong-content."""

    strike = True


class AllHostsFailed(SampanError):
    """No host could serve ``what``. The status tells the truth about why: 429 when some host would
    have served but for its rate limit, 504 when the last hope was silence, 503 otherwise."""

    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 5

    def __init__(
        self,
        what: str,
        attempts: Sequence[Attempt],
        *,
        retry_after_seconds: float | None = None,
        hint: str | None = None,
    ) -> None:
        lines = "".join(f"\n  {attempt}" for attempt in attempts)
        many = f"all {len(attempts)} attempts failed" if len(attempts) > 1 else "the only attempt failed"
        many = many if attempts else "no host may be asked for it"
        super().__init__(f"cannot serve {what}: {many}{lines}", hint=hint)
        self.what = what
        self.attempts = tuple(attempts)
        self.retry_after_seconds = retry_after_seconds

    @property
    def status(self) -> int:
        outcomes = {a.outcome for a in self.attempts}
        if not outcomes.isdisjoint({"rate-limited", "pull-limit"}):
            return 429
        if self.http_status == 503 and outcomes and outcomes <= _SILENCE:
            return 504
        return self.http_status


class NotFound(AllHostsFailed):
    """Every eligible host denied that it exists."""

    oci_code, http_status, exit_code = "MANIFEST_UNKNOWN", 404, 3

    @property
    def status(self) -> int:
        return 404
