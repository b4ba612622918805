"""What holds for any text and any bytes: round trips, and never another error than our own."""

from __future__ import annotations

import json
import re
import string
from typing import Any
from urllib.parse import quote

from hypothesis import assume, example, given
from hypothesis import strategies as st

from sampan.errors import (
    InvalidDigest,
    InvalidManifest,
    InvalidReference,
    SampanError,
    UnsatisfiableRange,
    UsageError,
)
from sampan.oci.digest import Digest
from sampan.oci.distribution import (
    Kind,
    Registries,
    Target,
    blob_path,
    error_document,
    manifest_path,
    parse_target,
    referrers_path,
    tags_path,
)
from sampan.oci.headers import (
    RETRY_AFTER_SECONDS_MAX,
    accepts,
    parse_content_range,
    parse_link_next,
    parse_page_size,
    parse_range,
    parse_retry_after,
)
from sampan.oci.manifest import OCI_INDEX, OCI_MANIFEST, Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference, familiar, parse_registry, parse_repository, parse_tag

ANYTHING = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NEARLY = st.text("abzAZ019._-/:@%[]? \n\0é" + "sha256:", max_size=80)  # what a grammar nearly allows
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]")
HEX = "0123456789abcdef"

digests = st.one_of(
    st.text(HEX, min_size=64, max_size=64).map(lambda text: Digest("sha256", text)),
    st.text(HEX, min_size=128, max_size=128).map(lambda text: Digest("sha512", text)),
)
parts = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|__?|--?)[a-z0-9]{1,8}){0,2}", fullmatch=True)
repositories = st.lists(
    parts | st.sampled_from(["manifests", "blobs", "tags", "v2"]), min_size=1, max_size=4
).map("/".join)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
hosts = st.sampled_from(
    [
        "docker.io",
        "ghcr.io",
        "localhost",
        "localhost:5000",
        "A.example:1",
        "[fd00::1]:443",
        "10.0.0.1",
        "UPPER",
    ]
)
references = st.builds(Reference, hosts, repositories, tags | st.none(), digests | st.none())
registries = st.builds(
    Registries,
    st.frozensets(hosts, max_size=3).map(lambda some: some | {"docker.io"}),
    st.booleans(),
    st.just("docker.io"),
)


def check_told_safely(error: SampanError) -> None:
    """What a stranger wrote may be echoed, but nothing that moves a terminal's cursor, and not at length."""
    assert not UNSAFE.search(error.message)
    assert len(error.message) < 500


def check_blames_the_client(error: SampanError) -> None:
    assert 400 <= error.http_status < 500


@given(digests)
def test_a_digest_parses_back_to_itself(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(ANYTHING | NEARLY)
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    try:
        assert str(Digest.parse(text)) == text
    except InvalidDigest as error:
        check_told_safely(error)


@given(references)
def test_a_reference_parses_back_to_itself_from_both_forms(reference: Reference) -> None:
    assert Reference.parse(str(reference), default_tag=None) == reference
    assert Reference.parse(familiar(reference), default_tag=None) == reference


@given(ANYTHING | NEARLY)
@example("docker.io//")
@example("a@sha256:")
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidReference as error:
        check_told_safely(error)
    else:
        assert Reference.parse(str(reference)) == reference
        assert Reference.parse(familiar(reference)) == reference


@given(ANYTHING | NEARLY)
def test_any_text_is_one_part_of_a_reference_or_refused(text: str) -> None:
    for parse in (parse_registry, parse_repository, parse_tag):
        try:
            assert parse(text) == text
            assert text.isascii()
            assert "%" not in text
        except InvalidReference as error:
            check_told_safely(error)


@given(ANYTHING | NEARLY)
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except UsageError:
        return
    assert Platform.parse(str(platform)) == platform
    assert platform.matches(platform)


@given(repositories, tags | digests, digests)
def test_a_path_that_we_make_is_read_as_what_it_was_made_of(
    repository: str, wanted: str | Digest, digest: Digest
) -> None:
    here = Registries(frozenset({"ghcr.io"}), wildcard=False, default="ghcr.io")
    for path, kind, expected in (
        (manifest_path(repository, wanted), Kind.MANIFEST, wanted),
        (blob_path(repository, digest), Kind.BLOB, digest),
        (referrers_path(repository, digest), Kind.REFERRERS, digest),
        (tags_path(repository), Kind.TAGS, None),
    ):
        assert parse_target(path, ns=["ghcr.io"], registries=here) == Target(
            kind, "ghcr.io", repository, expected
        )
        encoded = quote(path).replace(".", "%2E")
        assert parse_target(encoded, ns=["ghcr.io"], registries=here).repository == repository


pieces = st.sampled_from(
    [
        "/",
        "v2",
        "/v2/",
        "manifests",
        "blobs",
        "tags/list",
        "uploads",
        "..",
        "%2f",
        "%25",
        "%00",
        "a",
        "A",
        "ghcr.io",
    ]
)
paths = st.one_of(
    ANYTHING, NEARLY, st.lists(pieces | NEARLY, max_size=8).map(lambda some: "/v2/" + "/".join(some))
)


@given(paths, st.lists(hosts | ANYTHING, max_size=2), registries)
@example("/v2/a..b/c/manifests/d", [], Registries(frozenset(), wildcard=True, default="docker.io"))
def test_any_path_is_a_target_in_the_grammar_or_refused(path: str, ns: list[str], known: Registries) -> None:
    try:
        target = parse_target(path, ns=ns, registries=known)
    except SampanError as error:
        check_told_safely(error)
        check_blames_the_client(error)
        return
    parse_registry(target.registry)
    assert target.registry in known.named or known.wildcard
    if target.kind is not Kind.BASE:
        parse_repository(target.repository)
    if isinstance(target.object, str):
        parse_tag(target.object)


def json_values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = (
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "digest", "size", "platform"])
        | st.text()
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6)
    )


ANY_JSON = json_values(st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING)
descriptors = st.builds(
    lambda digest, size, media_type: {"mediaType": media_type, "digest": str(digest), "size": size},
    digests,
    st.integers(0, 2**63 - 1),
    st.sampled_from(["application/octet-stream", OCI_MANIFEST, "text/plain; charset=utf-8"]),
)
documents = st.one_of(
    st.builds(
        lambda config, layers: {"schemaVersion": 2, "config": config, "layers": layers},
        descriptors,
        st.lists(descriptors, max_size=4),
    ),
    st.builds(lambda entries: {"schemaVersion": 2, "manifests": entries}, st.lists(descriptors, max_size=4)),
)


@given(documents, st.none() | ANYTHING)
def test_a_right_manifest_is_read_whatever_its_content_type(
    document: dict[str, Any], content_type: str | None
) -> None:
    raw = json.dumps(document).encode()
    manifest = parse_manifest(raw, media_type=content_type)
    assert manifest.digest == Digest.of(raw)
    assert manifest.raw == raw
    if isinstance(manifest, Index):
        assert [str(entry.digest) for entry in manifest.manifests] == [
            entry["digest"] for entry in document["manifests"]
        ]
    else:
        assert [layer.size for layer in manifest.layers] == [layer["size"] for layer in document["layers"]]


def accepted_or_refused(raw: bytes) -> None:
    try:
        manifest = parse_manifest(raw)
    except InvalidManifest as error:
        check_told_safely(error)
    else:
        hash(manifest)
        assert all(descriptor.size >= 0 for descriptor in manifest.references)
        json.dumps(dict(manifest.annotations), ensure_ascii=False).encode()


@given(st.binary(max_size=500))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    accepted_or_refused(raw)


@given(ANY_JSON)
def test_any_json_is_a_manifest_or_refused(value: Any) -> None:
    accepted_or_refused(json.dumps(value).encode())


@given(documents, st.data())
def test_a_manifest_with_one_field_spoilt_is_a_manifest_or_refused(
    document: dict[str, Any], data: st.DataObject
) -> None:
    spoilt: Any = document
    while isinstance(spoilt, dict | list) and spoilt and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(spoilt) if isinstance(spoilt, dict) else range(len(spoilt))))
        if not isinstance(spoilt[key], dict | list) or data.draw(st.booleans()):
            spoilt[key] = data.draw(ANY_JSON)
            break
        spoilt = spoilt[key]
    spoilt_more = {
        **document,
        data.draw(st.sampled_from(["mediaType", "subject", "annotations"])): data.draw(ANY_JSON),
    }
    accepted_or_refused(json.dumps(spoilt_more).encode())


@given(documents, st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_manifest_with_some_bytes_overwritten_is_a_manifest_or_refused(
    document: dict[str, Any], offset: int, junk: bytes
) -> None:
    raw = json.dumps(document).encode()
    offset %= len(raw)
    accepted_or_refused(raw[:offset] + junk + raw[offset + len(junk) :])


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_range_lies_within_what_there_is(first: int, length: int, size: int) -> None:
    assume(first < size)
    found = parse_range(f"bytes={first}-{first + length}", size)
    assert found is not None
    assert (found.start, found.stop) == (first, min(first + length + 1, size))
    assert parse_content_range(found.content_range(size)) == (found.start, found.stop, size)


header_texts = ANYTHING | st.text(string.digits + "bytes=-,*/ \t") | st.text('<>;,="relnxt \\ /aé?')


@given(header_texts, st.integers(0, 1000))
def test_any_header_is_read_or_passed_over(text: str, size: int) -> None:
    try:
        found = parse_range(text, size)
        assert found is None or 0 <= found.start < found.stop <= size
    except UnsatisfiableRange as error:
        check_blames_the_client(error)
    parsed = parse_content_range(text)
    assert parsed is None or 0 <= parsed[0] < parsed[1]
    wait = parse_retry_after(text, 1.7e9)
    assert wait is None or 0 <= wait <= RETRY_AFTER_SECONDS_MAX
    link = parse_link_next(text)
    assert link is None or (link.isascii() and link.isprintable())
    page = parse_page_size(text)
    assert page is None or page >= 0
    accepts(text, OCI_INDEX)


dates = st.text(string.digits + " ,:+-GMTJanFebMarDecSuMonTue", max_size=40) | st.from_regex(
    r"[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Feb|Dec) [0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{1,3} [+-]?[0-9A-Z]{1,6}",
    fullmatch=True,
)


@given(dates)
def test_any_nearly_a_date_is_a_wait_or_passed_over(text: str) -> None:
    wait = parse_retry_after(text, 1.7e9)
    assert wait is None or 0 <= wait <= RETRY_AFTER_SECONDS_MAX


@given(ANYTHING, ANYTHING, ANY_JSON)
def test_an_error_document_is_always_json_in_ascii(code: str, message: str, detail: Any) -> None:
    body = error_document(code, message, detail)
    assert body.isascii()
    assert len(json.loads(body)["errors"]) == 1


def test_a_manifest_is_what_the_samples_above_are() -> None:
    """Guards the strategies: were all samples refused, the properties above would hold for nothing."""
    sample = {"mediaType": "a/b", "digest": f"sha256:{'a' * 64}", "size": 1}
    raw = json.dumps({"schemaVersion": 2, "config": sample, "layers": [sample]}).encode()
    manifest = parse_manifest(raw)
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == OCI_MANIFEST
