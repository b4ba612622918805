"""Tag lists and referrers: pages put together, within limits.

Guarantee: pages are only fetched from the host that gave the first one, each once, and never more
than a bounded number; whatever they say is checked to be what it should be. A list cannot be
verified, so it is worth as much as its host.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sampan.errors import InvalidManifest, InvalidReference, NotARegistry
from sampan.oci.attached import attached_tags
from sampan.oci.distribution import referrers_path, tags_path
from sampan.oci.headers import parse_link_next
from sampan.oci.manifest import (
    DESCRIPTORS_MAX,
    MANIFEST_BYTES_MAX,
    OCI_INDEX,
    Index,
    Manifest,
    parse_manifest,
)
from sampan.oci.reference import parse_tag
from sampan.upstream.url import Url, follow

if TYPE_CHECKING:
    from sampan.oci.digest import Digest

ACCEPT = f"{OCI_INDEX}, application/json"
PAGES_MAX = 100
TAGS_MAX = 50_000  # the largest repositories of Docker Hub have some ten thousand
ENTRIES_MAX = DESCRIPTORS_MAX  # an endless list of signatures is an attack (notation GHSA-9m3v-v4r5-ppx7)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: ``url`` is what was asked, ``links`` its Link headers."""

    url: Url
    body: bytes
    served_by: str
    links: list[str]


FetchPage = Callable[[str], Awaitable[Page]]


async def tags(fetch: FetchPage, name: str) -> list[str]:
    """All tags of ``name``. Raises NotARegistry for a list that is none, or that has no end."""
    found: dict[str, None] = {}
    for document, page in await _all(fetch, tags_path(name)):
        listed = document.get("tags")
        if listed is None:
            continue  # an empty repository: some write null
        if not isinstance(listed, list):
            raise _not_a_list(page, "tags")
        for tag in listed:
            try:
                found[parse_tag(tag)] = None
            except (InvalidReference, TypeError) as error:
                raise _not_a_list(page, "tags") from error
        if len(found) > TAGS_MAX:
            raise NotARegistry(f"{page.served_by}: more than {TAGS_MAX} tags", outcome="protocol")
    return list(found)


async def referrers(fetch: FetchPage, name: str, digest: Digest, artifact_type: str | None) -> Index:
    """All that refers to ``digest``, as one index. Raises Missing where there is no such endpoint."""
    path = referrers_path(name, digest)
    if artifact_type is not None:
        path += "?" + urlencode({"artifactType": artifact_type})
    entries: list[Any] = []
    who = ""
    for document, page in await _all(fetch, path):
        who, listed = page.served_by, document.get("manifests")
        if not isinstance(listed, list):
            raise _not_a_list(page, "referrers")
        entries += listed
    return _index(entries, who, artifact_type)


def fallback_tag(digest: Digest) -> str:
    """The tag under which registries without the endpoint keep the list (spec, "Referrers Tag Schema")."""
    return attached_tags(digest)[0]


def as_referrers(found: Manifest | Index, who: str, artifact_type: str | None) -> Index:
    """What the fallback tag gave, filtered as the endpoint would have."""
    if not isinstance(found, Index):
        raise NotARegistry(f"{who}: the referrers tag is not an index", outcome="protocol")
    return _index(json.loads(found.raw)["manifests"], who, artifact_type)


async def _all(fetch: FetchPage, path: str) -> list[tuple[dict[str, Any], Page]]:
    pages: list[tuple[dict[str, Any], Page]] = []
    seen: set[str] = set()
    following: str | None = path
    while following is not None:
        if following in seen or len(pages) == PAGES_MAX:
            raise NotARegistry(f"{pages[-1][1].served_by}: a list without an end", outcome="protocol")
        seen.add(following)
        page = await fetch(following)
        pages.append((_document(page), page))
        following = _next(page)
    return pages


def _document(page: Page) -> dict[str, Any]:
    try:
        document = json.loads(page.body) if len(page.body) <= MANIFEST_BYTES_MAX else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "errors" in document:
        raise _not_a_list(page, "list")
    return document


def _next(page: Page) -> str | None:
    location = next((link for header in page.links if (link := parse_link_next(header))), None)
    if location is None:
        return None
    try:
        url = follow(page.url, location)
    except ValueError as error:
        raise NotARegistry(f"{page.served_by}: next page refused: {error}", outcome="protocol") from error
    if url.origin != page.url.origin:
        raise NotARegistry(f"{page.served_by}: the next page is on {url.netloc}", outcome="protocol")
    return url.target


def _index(entries: list[Any], who: str, artifact_type: str | None) -> Index:
    if artifact_type is not None:
        # The host may have filtered already; doing it twice changes nothing.
        entries = [e for e in entries if isinstance(e, dict) and e.get("artifactType") == artifact_type]
    if len(entries) > ENTRIES_MAX:
        raise NotARegistry(f"{who}: more than {ENTRIES_MAX} referrers", outcome="protocol")
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    try:
        index = parse_manifest(json.dumps(document).encode(), media_type=OCI_INDEX)
    except InvalidManifest as error:
        raise NotARegistry(f"{who}: {error.message}", outcome="not-a-registry") from error
    if not isinstance(index, Index):
        raise NotARegistry(f"{who}: referrers that are not an index", outcome="not-a-registry")
    return index


def _not_a_list(page: Page, what: str) -> NotARegistry:
    return NotARegistry(f"{page.served_by}: not a list of {what}", outcome="not-a-registry")
