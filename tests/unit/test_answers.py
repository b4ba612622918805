"""What a status and a body say."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from sampan.errors import HostError, NotARegistry, WrongContent
from sampan.oci.digest import Digest
from sampan.oci.headers import Allowance
from sampan.oci.manifest import MANIFEST_BYTES_MAX, OCI_INDEX, Index, Manifest
from sampan.upstream.answers import declared_digest, error_of, manifest_of
from upstreams import said

INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of(INDEX)
OTHER = Digest.of(b"other")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "Denied denied"),
        (402, "Denied denied"),
        (403, "Denied denied"),
        (451, "Denied denied"),
        (404, "Missing missing"),
        (410, "Missing missing"),
        (429, "RateLimited rate-limited"),
        (500, "ServerFault server-error"),
        (504, "ServerFault server-error"),
        (408, "ServerFault server-error"),
        (425, "ServerFault server-error"),
        *(
            (status, "NotARegistry protocol")
            for status in (204, 206, 299, 300, 304, 305, 400, 405, 416, 418, 600, 799)
        ),
    ],
)
def test_each_status_is_one_kind_of_error(status: int, expected: str) -> None:
    error = error_of(
        status, b'{"errors":[{"code":"X","message":"why"}]}', who="a.io", retry_after_seconds=3.0
    )
    assert said(error) == expected
    assert error.status == status
    assert error.message == f"a.io: {status}: X: why"


def test_a_rate_limit_keeps_the_time_that_the_host_named() -> None:
    assert error_of(429, b"", who="a.io", retry_after_seconds=3.0).retry_after_seconds == 3.0


HUB_SAYS = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"%s"}]}'
NO_PULLS = [
    HUB_SAYS % b"You have reached your pull rate limit. You may increase the limit by authenticating",
    HUB_SAYS
    % b"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
    b'{"errors":[{"code":"toomanyrequests","message":"no","detail":"see docker.com/increase-rate-limit"}]}',
]
OTHER_LIMITS = [
    b"429 Too Many Requests",
    b"<html><h1>429 Too Many Requests</h1></html>",
    HUB_SAYS % b"too many requests",
    HUB_SAYS % b"Rate exceeded",  # of public.ecr.aws, by the second
    HUB_SAYS % b"retry-after: 1.2ms, allowed: 44000/minute",  # of ghcr.io
    b'{"errors":[{"code":"TOOMANYREQUESTS"}]}',
    b'{"errors":{}}',
    b'{"errors":["x"]}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
]


@pytest.mark.row("H6")
@pytest.mark.parametrize("body", NO_PULLS)
def test_a_429_that_tells_of_pulls_is_one_of_manifests_alone(body: bytes) -> None:
    error = error_of(429, body, who="a.io", counted=True)
    assert said(error) == "PullLimited pull-limit"
    assert error.hint == "log in at a.io, or name another mirror"
    assert said(error_of(429, body, who="a.io")) == "RateLimited rate-limited"


@pytest.mark.row("H6")
@pytest.mark.parametrize("body", OTHER_LIMITS)
def test_any_other_429_is_one_of_the_whole_host(body: bytes) -> None:
    assert said(error_of(429, body, who="a.io", counted=True)) == "RateLimited rate-limited"
    left = Allowance(7, 21_600)
    assert said(error_of(429, body, who="a.io", counted=True, pulls_left=left)) == "RateLimited rate-limited"


@pytest.mark.parametrize("body", [b"", *OTHER_LIMITS])
def test_a_429_with_no_pulls_left_needs_no_words(body: bytes) -> None:
    error = error_of(429, body, who="a.io", counted=True, pulls_left=Allowance(0, 21_600))
    assert said(error) == "PullLimited pull-limit"


def read(
    body: bytes,
    *,
    wanted: Digest | None = None,
    declared: Digest | None = None,
    content_type: str | None = OCI_INDEX,
    encoding: str | None = None,
) -> Manifest | Index:
    return manifest_of(
        body,
        who="a.io",
        wanted=wanted,
        declared=declared,
        content_type=content_type,
        content_encoding=encoding,
    )


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain; charset=utf-8", "application/octet-stream"]
)
def test_the_content_type_does_not_matter_when_the_bytes_are_right(content_type: str | None) -> None:
    assert read(INDEX, wanted=DIGEST, content_type=content_type).digest == DIGEST
    assert read(INDEX, content_type=content_type).digest == DIGEST


def test_bytes_of_another_digest_are_wrong_content() -> None:
    with pytest.raises(WrongContent):
        read(INDEX, wanted=OTHER)
    with pytest.raises(WrongContent, match="declared"):
        read(INDEX, declared=OTHER)


def test_the_digest_asked_for_is_stronger_than_the_one_declared() -> None:
    assert read(INDEX, wanted=DIGEST, declared=OTHER).digest == DIGEST


def test_a_declared_digest_of_another_algorithm_is_kept() -> None:
    declared = Digest.of(INDEX, "sha512")
    assert read(INDEX, declared=declared).digest == declared


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<!DOCTYPE html><html>log in", "text/html"),
        (b"  <html><body>", "application/octet-stream"),
        (b'{"errors":[{"code":"DENIED"}]}', "application/json"),
        (b"<?xml version='1.0'?><Error/>", "application/xml"),
    ],
)
@pytest.mark.parametrize("wanted", [None, DIGEST])
def test_a_page_or_an_error_document_is_no_lie_about_content(
    body: bytes, content_type: str, wanted: Digest | None
) -> None:
    with pytest.raises(NotARegistry) as caught:
        read(body, wanted=wanted, content_type=content_type)
    assert caught.value.outcome == "not-a-registry"


def test_a_schema_1_manifest_is_refused_in_words() -> None:
    with pytest.raises(NotARegistry, match=r"(?i)schema.?(version)? ?1"):
        read(
            json.dumps({"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []}).encode()
        )


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(INDEX)), ("X-GZIP", gzip.compress(INDEX)), ("deflate", zlib.compress(INDEX))],
)
def test_an_encoding_that_nobody_asked_for_is_undone_when_the_hash_proves_it(
    encoding: str, packed: bytes
) -> None:
    assert read(packed, wanted=DIGEST, encoding=encoding).raw == INDEX
    assert read(packed, declared=DIGEST, encoding=encoding).raw == INDEX


def test_an_encoding_that_was_only_claimed_does_not_matter() -> None:
    assert read(INDEX, wanted=DIGEST, encoding="br").raw == INDEX


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
def test_an_encoding_that_cannot_be_proven_is_refused(encoding: str) -> None:
    with pytest.raises(NotARegistry):
        read(gzip.compress(INDEX), encoding=encoding)
    with pytest.raises(NotARegistry):
        read(gzip.compress(INDEX), wanted=OTHER, encoding=encoding)


@pytest.mark.row("38")
def test_a_bomb_is_not_unpacked_beyond_a_manifest() -> None:
    bomb = gzip.compress(b"\0" * (64 * 1024 * 1024))
    with pytest.raises(HostError):
        read(bomb, wanted=OTHER, encoding="gzip")


def test_a_manifest_that_is_too_large_is_refused() -> None:
    with pytest.raises(NotARegistry, match="more than"):
        read(b" " * (MANIFEST_BYTES_MAX + 1), wanted=DIGEST)


@pytest.mark.parametrize("header", [None, "", "sha256:xyz", "nonsense", "sha256:" + "A" * 64])
def test_a_declared_digest_that_is_none_is_ignored(header: str | None) -> None:
    assert declared_digest(header) is None
