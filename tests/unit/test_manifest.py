"""Manifests and indexes: what is read out of them, and that no bytes do worse than be refused."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from effort import GROWTH_MAX, SIZE_FACTOR, growth
from sampan.errors import InvalidManifest
from sampan.oci.digest import Digest
from sampan.oci.manifest import (
    ACCEPT,
    DESCRIPTORS_MAX,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_DEPTH_MAX,
    MANIFEST_BYTES_MAX,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from sampan.oci.platform import Platform

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def a_descriptor(
    digest: str = A, size: Any = 12, media_type: Any = OCI_LAYER_GZIP, **more: Any
) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def a_manifest(**changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": a_descriptor(C, 7, OCI_CONFIG),
        "layers": [a_descriptor(A), a_descriptor(B, 13)],
        **changes,
    }


def an_index(**changes: Any) -> dict[str, Any]:
    entries = [
        a_descriptor(A, 1, OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        a_descriptor(B, 2, OCI_MANIFEST, platform={"os": "linux", "architecture": "arm", "variant": "v6"}),
        a_descriptor(C, 3, OCI_MANIFEST, platform={"os": "unknown", "architecture": "unknown"}),
    ]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **changes}


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def refusal(raw: bytes) -> str:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifest(raw)
    assert caught.value.message.isprintable()
    return caught.value.message


def test_a_manifest_has_a_config_and_layers() -> None:
    raw = encoded(a_manifest())
    manifest = parse_manifest(raw)
    assert isinstance(manifest, Manifest)
    assert (manifest.raw, manifest.media_type, manifest.size) == (raw, OCI_MANIFEST, len(raw))
    assert manifest.digest == Digest.of(raw)
    assert manifest.config == Descriptor(OCI_CONFIG, Digest.parse(C), 7)
    assert [str(layer.digest) for layer in manifest.layers] == [A, B]
    assert [str(descriptor.digest) for descriptor in manifest.references] == [C, A, B]
    assert manifest.descriptor == Descriptor(OCI_MANIFEST, manifest.digest, len(raw))


def test_an_index_has_manifests_with_platforms() -> None:
    raw = encoded(an_index())
    index = parse_manifest(raw)
    assert isinstance(index, Index)
    assert index.media_type == OCI_INDEX
    assert [str(entry.platform) for entry in index.manifests] == [
        "linux/amd64",
        "linux/arm/v6",
        "unknown/unknown",
    ]
    assert index.references == index.manifests
    assert index.descriptor == Descriptor(OCI_INDEX, Digest.of(raw), len(raw))


def test_dockers_forms_are_read_as_well() -> None:
    manifest = a_manifest(
        mediaType=DOCKER_MANIFEST,
        config=a_descriptor(C, 7, DOCKER_CONFIG),
        layers=[a_descriptor(A, 1, DOCKER_LAYER_GZIP)],
    )
    assert parse_manifest(encoded(manifest)).media_type == DOCKER_MANIFEST
    assert parse_manifest(encoded(an_index(mediaType=DOCKER_LIST))).media_type == DOCKER_LIST


def test_the_digest_is_of_the_algorithm_that_was_asked_for() -> None:
    raw = encoded(a_manifest())
    assert parse_manifest(raw, algorithm="sha512").digest == Digest.of(raw, "sha512")


def test_an_image_may_have_no_layers_and_an_index_no_manifests() -> None:
    assert parse_manifest(encoded(a_manifest(layers=[]))).references == (
        Descriptor(OCI_CONFIG, Digest.parse(C), 7),
    )
    assert parse_manifest(encoded(an_index(manifests=[]))).references == ()


def test_a_layer_that_is_there_twice_is_fetched_once() -> None:
    manifest = parse_manifest(encoded(a_manifest(layers=[a_descriptor(B), a_descriptor(A), a_descriptor(B)])))
    assert isinstance(manifest, Manifest)
    assert len(manifest.layers) == 3
    assert [str(descriptor.digest) for descriptor in manifest.references] == [C, B, A]


def test_an_artifact_keeps_its_type_subject_and_annotations() -> None:
    raw = encoded(
        a_manifest(
            artifactType="application/vnd.example.sbom+json",
            config=a_descriptor(C, 2, OCI_EMPTY, data="e30="),
            subject=a_descriptor(A, 5, OCI_MANIFEST),
            annotations={"made.by": "hand \x1b[31m"},
        )
    )
    manifest = parse_manifest(raw)
    assert manifest.artifact_type == "application/vnd.example.sbom+json"
    assert manifest.subject == Descriptor(OCI_MANIFEST, Digest.parse(A), 5)
    assert manifest.annotations == {"made.by": "hand \x1b[31m"}
    assert "hand" not in repr(manifest)


def test_an_entry_keeps_what_it_says_of_itself() -> None:
    entry = a_descriptor(
        artifactType="application/x",
        urls=["https://a/b"],
        annotations={"a": "b"},
        data="bm90IGl0",
        extra={"x": [1.5]},
    )
    index = parse_manifest(encoded(an_index(manifests=[entry])))
    assert isinstance(index, Index)
    (descriptor,) = index.manifests
    assert (descriptor.artifact_type, descriptor.urls) == ("application/x", ("https://a/b",))
    assert descriptor.annotations == {"a": "b"}


def test_a_windows_platform_keeps_its_version_and_features() -> None:
    platform = {
        "os": "windows",
        "architecture": "amd64",
        "os.version": "10.0.17763.1",
        "os.features": ["win32k"],
    }
    index = parse_manifest(encoded(an_index(manifests=[a_descriptor(platform=platform)])))
    assert isinstance(index, Index)
    assert index.manifests[0].platform == Platform("windows", "amd64", "", "10.0.17763.1", ("win32k",))


def test_null_stands_for_absent_where_a_field_may_be_absent() -> None:
    nulls = dict.fromkeys(("annotations", "subject", "artifactType", "mediaType"))
    layer = a_descriptor(platform=None, annotations=None, urls=None, artifactType=None)
    manifest = parse_manifest(encoded(a_manifest(layers=[layer], **nulls)))
    assert manifest.media_type == OCI_MANIFEST
    assert (manifest.subject, dict(manifest.annotations), manifest.artifact_type) == (None, {}, None)


def test_manifests_are_hashable_and_equal_by_type_and_digest() -> None:
    raw = encoded(a_manifest(annotations={"a": "b"}))
    assert len({parse_manifest(raw), parse_manifest(raw), parse_manifest(encoded(an_index()))}) == 2
    assert parse_manifest(raw) != parse_manifest(raw + b"\n")
    descriptor = Descriptor(OCI_MANIFEST, Digest.parse(A), 1, annotations={"a": "b"})
    assert len({descriptor, descriptor}) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        OCI_INDEX,
        DOCKER_MANIFEST,
        "\0",
    ],
)
def test_the_type_inside_wins_over_the_content_type(content_type: str | None) -> None:
    assert parse_manifest(encoded(a_manifest()), media_type=content_type).media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("content_type", "manifest_type", "index_type"),
    [
        (None, OCI_MANIFEST, OCI_INDEX),
        ("application/json", OCI_MANIFEST, OCI_INDEX),
        (OCI_INDEX, OCI_MANIFEST, OCI_INDEX),
        (DOCKER_MANIFEST, DOCKER_MANIFEST, DOCKER_LIST),
        (f"{DOCKER_LIST.upper()} ; charset=utf-8", DOCKER_MANIFEST, DOCKER_LIST),
        ("x" * 1_000_000, OCI_MANIFEST, OCI_INDEX),
    ],
)
@pytest.mark.parametrize("written", ["absent", "empty"])
def test_without_a_type_inside_the_structure_decides(
    content_type: str | None, manifest_type: str, index_type: str, written: str
) -> None:
    changes = {"mediaType": ""} if written == "empty" else {}
    image = without(a_manifest(), "mediaType") | changes
    index = without(an_index(), "mediaType") | changes
    assert parse_manifest(encoded(image), media_type=content_type).media_type == manifest_type
    assert parse_manifest(encoded(index), media_type=content_type).media_type == index_type


@pytest.mark.row("30")
@pytest.mark.parametrize(
    ("document", "message"),
    [
        (a_manifest(layers={}), "layers: expected a list, got an object"),
        (a_manifest(layers=None), "layers: expected a list, got null"),
        (a_manifest(layers=[5]), "layers[0]: expected an object, got an integer"),
        (
            a_manifest(layers=[a_descriptor(), a_descriptor(size="12")]),
            "layers[1].size: expected an integer, got a string",
        ),
        (a_manifest(layers=[a_descriptor(size=True)]), "layers[0].size: expected an integer, got a boolean"),
        (a_manifest(layers=[a_descriptor(size=1.0)]), "layers[0].size: expected an integer, got a number"),
        (a_manifest(layers=[a_descriptor(size=None)]), "layers[0].size: expected an integer, got null"),
        (
            a_manifest(layers=[a_descriptor(size=-1)]),
            "layers[0].size: expected 0 to 9223372036854775807, got -1",
        ),
        (a_manifest(layers=[a_descriptor(size=2**63)]), "layers[0].size: expected 0 to 9223372036854775807"),
        (a_manifest(layers=[without(a_descriptor(), "size")]), "layers[0].size: required, but it is absent"),
        (a_manifest(layers=[a_descriptor(digest=5)]), "layers[0].digest: expected a string, got an integer"),  # type: ignore[arg-type]  # the point
        (
            a_manifest(layers=[a_descriptor("sha256:../../x")]),
            "layers[0].digest: sha256 has 64 hexadecimal digits",
        ),
        (
            a_manifest(layers=[a_descriptor("md5:" + "a" * 32)]),
            "layers[0].digest: unsupported digest algorithm",
        ),
        (a_manifest(layers=[a_descriptor(media_type="")]), "layers[0].mediaType: not a media type"),
        (
            a_manifest(layers=[a_descriptor(media_type="a/b\r\nX: y")]),
            "layers[0].mediaType: not a media type",
        ),
        (
            a_manifest(layers=[a_descriptor(media_type="a/" + "b" * 254)]),
            "layers[0].mediaType: not a media type",
        ),
        (a_manifest(layers=[a_descriptor(urls="x")]), "layers[0].urls: expected a list, got a string"),
        (a_manifest(layers=[a_descriptor(urls=[1])]), "layers[0].urls[0]: expected a string, got an integer"),
        (a_manifest(config=None), "config: expected an object, got null"),
        (without(a_manifest(), "config"), "config: required, but it is absent"),
        (without(a_manifest(), "layers"), "layers: required, but it is absent"),
        (a_manifest(config=without(a_descriptor(), "digest")), "config.digest: required, but it is absent"),
        (a_manifest(schemaVersion="2"), "schemaVersion: expected an integer, got a string"),
        (a_manifest(schemaVersion=True), "schemaVersion: expected an integer, got a boolean"),
        (a_manifest(schemaVersion=3), "schemaVersion: expected 2, got 3"),
        (without(a_manifest(), "schemaVersion"), "schemaVersion: required, but it is absent"),
        (a_manifest(mediaType=5), "mediaType: expected a string, got an integer"),
        (a_manifest(mediaType="text/html"), "mediaType: not a type of manifest: text/html"),
        (
            a_manifest(mediaType=OCI_INDEX),
            f"mediaType: {OCI_INDEX} contradicts the structure, which is no index",
        ),
        (
            an_index(mediaType=OCI_MANIFEST),
            f"mediaType: {OCI_MANIFEST} contradicts the structure, which is an index",
        ),
        (a_manifest(manifests=[]), "layers: must not stand beside manifests"),
        (an_index(layers=[]), "layers: must not stand beside manifests"),
        (an_index(config=None), "config: must not stand beside manifests"),
        (an_index(manifests=None), "manifests: expected a list, got null"),
        (
            an_index(manifests=[a_descriptor(platform=[])]),
            "manifests[0].platform: expected an object, got a list",
        ),
        (
            an_index(manifests=[a_descriptor(platform={"os": 1})]),
            "manifests[0].platform.os: expected a string",
        ),
        (a_manifest(subject="x"), "subject: expected an object, got a string"),
        (a_manifest(subject={}), "subject.mediaType: required, but it is absent"),
        (a_manifest(annotations={"a": 1}), 'annotations["a"]: expected a string, got an integer'),
        (
            a_manifest(annotations={"\x1b[31m": 1}),
            'annotations["\N{REPLACEMENT CHARACTER}[31m"]: expected a string',
        ),
        (a_manifest(annotations={"a": "\ud800"}), 'annotations["a"]: half a character'),
        (a_manifest(artifactType="a\nb"), "artifactType: not a media type"),
        ([], "expected a JSON object, got a list"),
        ("text", "expected a JSON object, got a string"),
        (None, "expected a JSON object, got null"),
        ({}, "neither a manifest nor an index"),
        ({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, "neither a manifest nor an index"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(document: Any, message: str) -> None:
    assert refusal(encoded(document)).startswith(message)


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1, "name": "a", "fsLayers": [], "history": [], "signatures": []},
        {
            "schemaVersion": 1,
            "mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "layers": [],
        },
        a_manifest(mediaType="application/vnd.docker.distribution.manifest.v1+json"),
        a_manifest(schemaVersion=1),
        a_manifest(fsLayers=[]),
    ],
)
def test_schema_1_is_refused_by_its_name(document: dict[str, Any]) -> None:
    assert "schema 1" in refusal(encoded(document))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b"<html></html>", "not JSON"),
        (b"{}garbage", "not JSON: Extra data at line 1, column 3"),
        (b"{} {}", "not JSON: Extra data"),
        (b"{}\0", "not JSON: Extra data"),
        (b'{"a": 1,}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON: invalid UTF-8 at byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON: invalid UTF-8"),
        (b'{"a": "\xc0\xaf"}', "not JSON: invalid UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON: it begins with a byte order mark"),
        ("{}".encode("utf-16"), "not JSON: invalid UTF-8"),
        ("{}".encode("utf-32-le"), "not JSON"),
        (b'{"a": NaN}', "not JSON: NaN is no number"),
        (b'{"a": -Infinity}', "not JSON: -Infinity is no number"),
        (b'{"a": 1e400}', "a number out of range: 1e400"),
        (b'{"a": -1e400}', "a number out of range: -1e400"),
        (b'{"a": 1' + b"0" * 100_000 + b"}", "a number of 100001 characters"),
        (b'{"a": 1.' + b"0" * 100_000 + b"}", "a number of 100002 characters"),
        (b"[" * 100_000, "not a manifest: nested too deeply"),
        (b'{"a":' * 100_000, "not a manifest: nested too deeply"),
        (b"[" * 50_000 + b"]" * 50_000, "not a manifest: nested too deeply"),
        (b"[" * 100_001, "not a manifest: more than 100000 values"),
    ],
)
def test_bytes_that_are_not_plain_json_are_refused(raw: bytes, message: str) -> None:
    assert refusal(raw).startswith(message)


@pytest.mark.parametrize(
    "key", ["mediaType", "manifests", "layers", "config", "digest", "size", "schemaVersion"]
)
@pytest.mark.parametrize("other_case", [False, True])
def test_a_key_that_matters_may_not_be_there_twice(key: str, other_case: bool) -> None:
    second = key.upper() if other_case else key
    raw = f'{{"outer": {{"{key}": 1, "x": 2, "{second}": 3}}}}'.encode()
    assert refusal(raw) == f"duplicate key: {key.lower()} is there 2 times in one object"


def test_a_key_that_does_not_matter_may_be_there_twice() -> None:
    raw = encoded(a_manifest()).replace(b"{", b'{"x": 1, "x": 2, ', 1)
    assert isinstance(parse_manifest(raw), Manifest)


@pytest.mark.parametrize(
    "written", ["1e400", "1e3", "12.0", "NaN", '"12"', "true", "null", "1" * 4301, "-0.5"]
)
def test_a_size_that_is_no_integer_is_refused(written: str) -> None:
    raw = re.sub(rb'"size": 12', f'"size": {written}'.encode(), encoded(a_manifest()))
    assert refusal(raw)


def test_a_manifest_of_4_mib_is_read_and_one_byte_more_is_not() -> None:
    raw = encoded(a_manifest())
    padded = raw + b" " * (MANIFEST_BYTES_MAX - len(raw))
    assert parse_manifest(padded).size == MANIFEST_BYTES_MAX
    assert (
        refusal(padded + b" ")
        == f"a manifest has at most {MANIFEST_BYTES_MAX} bytes, got {MANIFEST_BYTES_MAX + 1}"
    )


@pytest.mark.parametrize("kind", ["layers", "manifests"])
def test_2000_descriptors_are_read_and_one_more_is_not(kind: str) -> None:
    def with_entries(count: int) -> bytes:
        entries = [a_descriptor(f"sha256:{number:064x}") for number in range(count)]
        return encoded(a_manifest(layers=entries) if kind == "layers" else an_index(manifests=entries))

    assert len(parse_manifest(with_entries(DESCRIPTORS_MAX)).references) >= DESCRIPTORS_MAX
    assert refusal(with_entries(DESCRIPTORS_MAX + 1)) == f"{kind}: expected at most 2000 entries, got 2001"


@pytest.mark.row("29")
@pytest.mark.parametrize(
    "filler",
    [
        b"[],",
        b"{},",
        b'"a",',
        b"1.5,",
        b"1234567,",
        b'{"a":1},',
        b'"0123456789abcdefghij",',
        b"1.234567890123456789,",
    ],
)
def test_four_mebibytes_of_spite_stay_within_bounds(filler: bytes) -> None:
    def spite(size_bytes: int) -> bytes:
        return b'{"x":[' + filler * ((size_bytes - 16) // len(filler)) + b"0]}"

    def work(size_bytes: int) -> Callable[[], object]:
        raw = spite(size_bytes)
        return lambda: refusal(raw)

    assert growth(work, MANIFEST_BYTES_MAX // SIZE_FACTOR) < GROWTH_MAX
    raw = spite(MANIFEST_BYTES_MAX)
    tracemalloc.start()
    assert refusal(raw)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 32 * 1024 * 1024


def test_the_same_entry_twenty_thousand_times_is_too_many() -> None:
    entry = encoded(a_descriptor(media_type="a/b"))[:-1].replace(b" ", b"")
    raw = b'{"schemaVersion":2,"manifests":[' + b",".join([entry + b"}"] * 20_000) + b"]}"
    assert len(raw) < MANIFEST_BYTES_MAX
    assert refusal(raw) == "manifests: expected at most 2000 entries, got 20000"


def test_a_name_longer_than_a_line_is_cut_in_the_message() -> None:
    assert len(refusal(encoded(a_manifest(annotations={"a" * 1_000_000: 1})))) < 200
    assert len(refusal(encoded(a_manifest(mediaType="a" * 1_000_000)))) < 200


def test_the_four_types_are_asked_for_and_no_other() -> None:
    assert ACCEPT.split(", ") == [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST]


def test_an_index_may_nest_four_deep() -> None:
    assert INDEX_DEPTH_MAX == 4


@pytest.mark.parametrize(
    ("platform", "digest"),
    [
        ("linux/amd64", A),
        ("linux/x86_64", A),
        ("linux/amd64/v3", A),
        ("linux/arm/v6", B),
        ("linux/arm/v7", B),
    ],
)
def test_the_manifest_that_suits_a_platform_is_selected(platform: str, digest: str) -> None:
    index = parse_manifest(encoded(an_index()))
    assert isinstance(index, Index)
    selected = index.select(Platform.parse(platform))
    assert selected is not None
    assert str(selected.digest) == digest


@pytest.mark.parametrize("platform", ["linux/arm/v5", "linux/arm64", "windows/amd64", "linux/s390x"])
def test_no_manifest_is_selected_for_a_platform_that_is_not_there(platform: str) -> None:
    index = parse_manifest(encoded(an_index()))
    assert isinstance(index, Index)
    assert index.select(Platform.parse(platform)) is None


def test_the_newest_variant_that_runs_is_selected_and_the_first_of_equals() -> None:
    def entry(digest: str, variant: str) -> dict[str, Any]:
        return a_descriptor(digest, platform={"os": "linux", "architecture": "arm", "variant": variant})

    index = parse_manifest(encoded(an_index(manifests=[entry(A, "v5"), entry(B, "v6"), entry(C, "v6")])))
    assert isinstance(index, Index)
    selected = index.select(Platform.parse("linux/arm/v7"))
    assert selected is not None
    assert str(selected.digest) == B


def test_an_entry_without_a_platform_is_never_selected() -> None:
    index = parse_manifest(encoded(an_index(manifests=[a_descriptor()])))
    assert isinstance(index, Index)
    assert index.select(Platform.parse("linux/amd64")) is None
