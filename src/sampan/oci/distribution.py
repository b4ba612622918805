"""The wire of the distribution spec: ``/v2`` paths, headers, ranges and error documents, without any I/O.

Guarantees that what a client or a registry sends is either a value in the grammar or a
:class:`~sampan.errors.SampanError`, in constant work per character and never past a limit. Which registry
a request means is decided here and nowhere else; whether it may be asked, and where, is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from sampan.errors import (
    InvalidReference,
    InvalidRequest,
    RegistryUnknown,
    Unsupported,
    printable,
    without_login,
)
from sampan.oci.digest import Digest
from sampan.oci.headers import ByteRange as ByteRange  # the wire's headers are found here too
from sampan.oci.headers import accepts as accepts
from sampan.oci.headers import parse_content_range as parse_content_range
from sampan.oci.headers import parse_link_next as parse_link_next
from sampan.oci.headers import parse_page_size as parse_page_size
from sampan.oci.headers import parse_range as parse_range
from sampan.oci.headers import parse_retry_after as parse_retry_after
from sampan.oci.reference import (
    DOCKER_HUB,
    canonical_registry,
    normalise_repository,
    parse_registry,
    parse_repository,
    parse_tag,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCKER_CONTENT_DIGEST = "Docker-Content-Digest"
DOCKER_API_VERSION = "Docker-Distribution-Api-Version"
OCI_NAMESPACE = "OCI-Namespace"
OCI_SUBJECT = "OCI-Subject"  # the registry has noted what a manifest refers to
OCI_FILTERS_APPLIED = "OCI-Filters-Applied"
RATE_LIMIT, RATE_REMAINING = "ratelimit-limit", "ratelimit-remaining"  # as Docker Hub counts pulls
MIRROR_SOURCE = "X-Sampan-Source"  # where a mirror of ours had it from: its store, or a host

# A registry, a repository and a sha512 digest at their longest, every character percent-encoded.
PATH_CHARACTERS_MAX = 3 * (261 + 255 + 135 + 16)
ERROR_MESSAGE_CHARACTERS_MAX = 2000


class Kind(Enum):
    """What a request asks for."""

    BASE = "base"
    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for, and of which registry.

    ``object`` is a tag or a digest for MANIFEST, a digest for BLOB and REFERRERS, else None; ``repository``
    is empty for BASE. The repository is the registry's own: docker.io's one-part names have ``library/``.
    """

    kind: Kind
    registry: str
    repository: str
    object: str | Digest | None


@dataclass(frozen=True, slots=True)
class Registries:
    """Which registries may be meant: those ``named``, any other when ``wildcard``, ``default`` for none."""

    named: frozenset[str]
    wildcard: bool
    default: str

    def find(self, host: str) -> str | None:
        """The configured registry that ``host`` (already checked) means, or None.

        Hosts are the same in any case. Under the wildcard a registry must show by a ``.`` or a ``:`` that
        it is one.
        """
        if host in self.named:
            return host
        for name in (canonical_registry(host), canonical_registry(host.lower())):
            if name in self.named:
                return name
        return canonical_registry(host.lower()) if self.wildcard and _looks_like_host(host) else None


def parse_target(raw_path: str, *, ns: Sequence[str], registries: Registries) -> Target:
    """The target of a request: ``raw_path`` as it was sent, still encoded; ``ns`` all values of that query.

    The registry is that of ``ns``, else a first path part that is a configured one (or looks like a host
    while the wildcard is configured), else the default. A first part that looks like a host but is none
    that we serve is refused where it cannot be a repository of the default: Docker Hub has no namespace
    with a dot. Paths are read from the right, so repositories may have parts called ``blobs``.

    Raises :class:`InvalidReference`, :class:`InvalidDigest`, :class:`RegistryUnknown`,
    :class:`InvalidRequest` for a path that is no endpoint (``_catalog`` is none: a mirror cannot know), and
    :class:`Unsupported` for uploads.
    """
    path = _decode(raw_path)
    if not path.startswith("/v2/"):
        if path != "/v2":
            raise InvalidRequest(f"no such endpoint: {_shown(path)}", hint="the API is under /v2/")
        path = "/v2/"
    if len(ns) > 1:
        raise InvalidRequest(f"the query names {len(ns)} registries (ns), expected one at most")
    if path == "/v2/":
        return Target(Kind.BASE, _registry_of_ns(ns[0], registries) if ns else registries.default, "", None)
    kind, name, text = _split(path)
    registry, repository = _registry_and_repository(name, ns, registries)
    repository = parse_repository(normalise_repository(registry, repository))
    return Target(kind, registry, repository, _object(kind, text))


def manifest_path(repository: str, tag_or_digest: str | Digest) -> str:
    """The path of a manifest by tag or digest. Both were checked when they were parsed."""
    return f"/v2/{repository}/manifests/{tag_or_digest}"


def blob_path(repository: str, digest: Digest) -> str:
    """The path of a blob."""
    return f"/v2/{repository}/blobs/{digest}"


def tags_path(repository: str) -> str:
    """The path of a repository's tags."""
    return f"/v2/{repository}/tags/list"


def referrers_path(repository: str, digest: Digest) -> str:
    """The path of what refers to a manifest."""
    return f"/v2/{repository}/referrers/{digest}"


def error_document(code: str, message: str, detail: object = None) -> bytes:
    """The spec's JSON for one error; ``detail`` is left out when None, else anything that JSON can say."""
    error: dict[str, object] = {
        "code": code,
        "message": "\n".join(
            printable(line, characters_max=400) for line in message[:ERROR_MESSAGE_CHARACTERS_MAX].split("\n")
        ),
    }
    if detail is not None:
        error["detail"] = detail
    return json.dumps({"errors": [error]}).encode("ascii")


def _decode(raw_path: str) -> str:
    """Percent-decoding, once. What decodes to anything beyond the grammar is refused by it, later."""
    if len(raw_path) > PATH_CHARACTERS_MAX:
        raise InvalidReference(f"a path has at most {PATH_CHARACTERS_MAX} characters, got {len(raw_path)}")
    if "%" not in raw_path:
        return raw_path
    if not raw_path.isascii() or "%2f" in raw_path.lower():
        raise InvalidReference(f"not a path of this API: {_shown(raw_path)}", hint="slashes are not encoded")
    decoded = unquote_to_bytes(raw_path).decode("latin-1")
    if "%" in decoded:
        raise InvalidReference(f"not a path of this API: {_shown(raw_path)}", hint="paths are encoded once")
    return decoded


def _split(path: str) -> tuple[Kind, str, str]:
    """Kind, name and object of ``path``, which begins with ``/v2/``."""
    head, _, text = path.rpartition("/")
    name, _, endpoint = head.rpartition("/")
    kind = _ENDPOINTS.get(endpoint)
    if _is_upload(name, endpoint, text):
        raise Unsupported("this mirror only serves: nothing can be uploaded to it")
    if kind is None or (kind is Kind.TAGS and text != "list"):
        raise InvalidRequest(f"no such endpoint: {_shown(path)}")
    return kind, name[4:], text


_ENDPOINTS = {"manifests": Kind.MANIFEST, "blobs": Kind.BLOB, "tags": Kind.TAGS, "referrers": Kind.REFERRERS}


def _is_upload(name: str, endpoint: str, text: str) -> bool:
    return (endpoint == "uploads" and name.endswith("/blobs")) or (endpoint == "blobs" and text == "uploads")


def _object(kind: Kind, text: str) -> str | Digest | None:
    if kind is Kind.TAGS:
        return None
    if kind is Kind.MANIFEST and ":" not in text:
        return parse_tag(text)
    return Digest.parse(text)


def _registry_and_repository(name: str, ns: Sequence[str], registries: Registries) -> tuple[str, str]:
    if ns:
        return _registry_of_ns(ns[0], registries), name
    first, slash, rest = name.partition("/")
    if slash and first in registries.named:
        return first, rest
    if (slash and "." in first) or ":" in first:
        registry = registries.find(parse_registry(first))
        if registry is not None and slash:
            return registry, rest
        if ":" in first or registries.default == DOCKER_HUB:
            raise _unknown(first)
    if registries.default not in registries.named and not registries.wildcard:
        raise _unknown(registries.default)
    return registries.default, name


def _registry_of_ns(text: str, registries: Registries) -> str:
    registry = text if text in registries.named else registries.find(parse_registry(text))
    if registry is None:
        raise _unknown(text)
    return registry


def _unknown(registry: str) -> RegistryUnknown:
    return RegistryUnknown(
        f"registry {_shown(registry)} is not configured here",
        hint=f'add a table [registry."{printable(registry, characters_max=80)}"], or [registry."*"]',
    )


def _looks_like_host(text: str) -> bool:
    return "." in text or ":" in text


def _shown(text: str) -> str:
    return repr(printable(without_login(text), characters_max=100))
