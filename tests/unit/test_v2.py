"""The distribution API without a socket: requests as values in, answers as values out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sampan.errors import (
    AllHostsFailed,
    Attempt,
    Denied,
    InvalidReference,
    InvalidRequest,
    NotFound,
    RateLimited,
    RegistryUnknown,
    StoreFull,
)
from sampan.oci.digest import Digest
from sampan.oci.manifest import OCI_INDEX, OCI_MANIFEST, parse_manifest
from sampan.server.answer import Answer
from sampan.server.v2 import REMEMBERED_MAX, V2, Request, refuse_method
from serving.mirror import LAYER, FakeManifestReply, FakeMirror

ALPINE = "/v2/library/alpine"
LAYER_DIGEST = Digest.of(LAYER)


async def put(mirror: FakeMirror, target: str, *, method: str = "GET", **headers: str) -> Answer:
    v2 = V2(mirror, instance="instance-one")
    request = Request(method, target, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = await v2.answer(request, v2.parse(target))
    if answer.blob is not None:
        answer.blob.close()
    return answer


def fields(answer: Answer) -> dict[str, str]:
    lines = answer.head.decode("ascii").split("\r\n")[1:-1]
    return dict(line.split(": ", 1) for line in lines)


def error(answer: Answer) -> dict[str, Any]:
    (found,) = json.loads(answer.body)["errors"]
    assert isinstance(found, dict)
    return found


async def test_the_base_says_which_api_it_is() -> None:
    answer = await put(FakeMirror(), "/v2/")
    assert (answer.status, answer.body) == (200, b"{}")
    assert fields(answer)["Docker-Distribution-Api-Version"] == "registry/2.0"


async def test_a_manifest_by_tag_carries_all_that_clients_look_for() -> None:
    mirror = FakeMirror()
    answer = await put(mirror, f"{ALPINE}/manifests/3")
    digest = str(mirror.image.digest)
    assert answer.status == 200
    assert answer.body == mirror.image.raw
    assert fields(answer) == {
        "Content-Type": OCI_MANIFEST,
        "Content-Length": str(mirror.image.size),
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "OCI-Namespace": "docker.io",
        "X-Sampan-Source": "store",
        "Docker-Distribution-Api-Version": "registry/2.0",
        "Cache-Control": "no-cache",
    }


async def test_content_by_digest_never_changes() -> None:
    mirror = FakeMirror()
    for path in (f"{ALPINE}/manifests/{mirror.image.digest}", f"{ALPINE}/blobs/{LAYER_DIGEST}"):
        assert fields(await put(mirror, path))["Cache-Control"] == "max-age=31536000, immutable"


async def test_a_head_has_the_length_but_no_body() -> None:
    mirror = FakeMirror()
    answer = await put(mirror, f"{ALPINE}/manifests/3", method="HEAD")
    assert answer.body == b""
    assert fields(answer)["Content-Length"] == str(mirror.image.size)
    answer = await put(mirror, f"{ALPINE}/blobs/{LAYER_DIGEST}", method="HEAD", Range="bytes=0-1")
    assert answer.status == 200
    assert fields(answer)["Content-Length"] == str(len(LAYER))
    assert fields(answer)["Accept-Ranges"] == "bytes"
    assert not mirror.given, "a HEAD opens no blob"


async def test_a_stale_tag_says_so_and_how_old_it_is() -> None:
    mirror = FakeMirror()
    mirror.add_manifest(
        "docker.io", "library/alpine", "3", FakeManifestReply(mirror.image, stale=True, age_seconds=90.7)
    )
    for _ in range(2):
        found = fields(await put(mirror, f"{ALPINE}/manifests/3"))
        assert found["Warning"].startswith("110 ")
        assert found["Age"] == "90"


async def test_the_source_is_named() -> None:
    mirror = FakeMirror()
    mirror.add_manifest(
        "docker.io", "library/alpine", "3", FakeManifestReply(mirror.image, source="a.example")
    )
    assert fields(await put(mirror, f"{ALPINE}/manifests/3"))["X-Sampan-Source"] == "a.example"


async def test_a_source_cannot_begin_a_header() -> None:
    mirror = FakeMirror()
    mirror.add_manifest(
        "docker.io", "library/alpine", "3", FakeManifestReply(mirror.image, source="a\r\nX-Evil: 1")
    )
    answer = await put(mirror, f"{ALPINE}/manifests/3")
    assert "X-Evil" not in fields(answer)
    assert fields(answer)["X-Sampan-Source"] == "a??X-Evil: 1"


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*;q=0", "x" * 8000])
async def test_content_is_given_with_its_own_type_whatever_a_client_accepts(accept: str) -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/manifests/3", Accept=accept)
    assert fields(answer)["Content-Type"] == OCI_MANIFEST


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v2/alpine/manifests/3", ("docker.io", "library/alpine")),
        ("/v2/library/alpine/manifests/3?ns=docker.io", ("docker.io", "library/alpine")),
        ("/v2/owner/app/manifests/3?ns=ghcr.io", ("ghcr.io", "owner/app")),
        ("/v2/ghcr.io/owner/app/manifests/3", ("ghcr.io", "owner/app")),
    ],
)
async def test_the_registry_is_chosen_by_ns_path_and_default(path: str, asked: tuple[str, str]) -> None:
    mirror = FakeMirror()
    await put(mirror, path)
    assert mirror.asked == [("manifest", *asked, "3")]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/x/manifests/y?ns=169.254.169.254",
        "/v2/x/manifests/y?ns=localhost:6443",
        "/v2/x/manifests/y?ns=quay.io",
        "/v2/169.254.169.254/x/manifests/y",
        "/v2/quay.io/x/y/manifests/z",
    ],
)
def test_a_registry_that_is_not_configured_is_refused_before_the_mirror_hears_of_it(path: str) -> None:
    mirror = FakeMirror()
    with pytest.raises(RegistryUnknown):
        V2(mirror, instance="instance-one").parse(path)
    assert not mirror.asked


@pytest.mark.parametrize("query", ["ns=docker.io&ns=ghcr.io", "&".join("a=b" for _ in range(20))])
def test_an_ambiguous_or_overlong_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        V2(FakeMirror(), instance="instance-one").parse(f"/v2/library/alpine/manifests/3?{query}")


def test_a_tag_of_129_characters_is_refused() -> None:
    with pytest.raises(InvalidReference):
        V2(FakeMirror(), instance="instance-one").parse(f"{ALPINE}/manifests/{'a' * 129}")


def test_what_is_remembered_of_requests_is_bounded() -> None:
    v2 = V2(FakeMirror(), instance="instance-one")
    for number in range(REMEMBERED_MAX + 10):
        v2.parse(f"{ALPINE}/manifests/{number}")
    assert len(v2._asked) <= REMEMBERED_MAX


async def test_a_client_that_has_the_content_is_told_so() -> None:
    mirror = FakeMirror()
    digest = mirror.image.digest
    for header in (f'"{digest}"', f'W/"{digest}"', f'"other", "{digest}"', "*"):
        answer = await put(mirror, f"{ALPINE}/manifests/3", If_None_Match=header)
        assert (answer.status, answer.body) == (304, b"")
        assert fields(answer)["ETag"] == f'"{digest}"'
        assert "Content-Length" not in fields(answer)
    assert (await put(mirror, f"{ALPINE}/manifests/3", If_None_Match='"other"')).status == 200
    answer = await put(mirror, f"{ALPINE}/blobs/{LAYER_DIGEST}", If_None_Match=f'"{LAYER_DIGEST}"')
    assert answer.status == 304
    assert not mirror.given


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=5-", 5, len(LAYER)), ("bytes=0-0", 0, 1), ("bytes=-3", len(LAYER) - 3, len(LAYER))],
)
async def test_a_range_of_a_blob(header: str, start: int, stop: int) -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/blobs/{LAYER_DIGEST}", Range=header)
    assert (answer.status, answer.start, answer.stop) == (206, start, stop)
    assert fields(answer)["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LAYER)}"
    assert fields(answer)["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("header", ["bytes=0-0,5-9", "bytes=0-0" + ",5-9" * 2000, "bytes=٣-", "lines=1-2"])
async def test_ranges_that_are_several_or_nonsense_are_answered_whole(header: str) -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/blobs/{LAYER_DIGEST}", Range=header)
    assert (answer.status, answer.start, answer.stop) == (200, 0, len(LAYER))


async def test_a_range_beyond_the_end_says_how_long_the_blob_is_and_lets_go_of_it() -> None:
    mirror = FakeMirror()
    answer = await put(mirror, f"{ALPINE}/blobs/{LAYER_DIGEST}", Range=f"bytes={10**30}-")
    assert answer.status == 416
    assert fields(answer)["Content-Range"] == f"bytes */{len(LAYER)}"
    assert [blob.closed for blob in mirror.given] == [1]


async def test_a_range_holds_only_for_the_content_that_it_was_meant_for() -> None:
    headers = {"Range": "bytes=5-", "If_Range": f'"{Digest.of(b"other")}"'}
    assert (await put(FakeMirror(), f"{ALPINE}/blobs/{LAYER_DIGEST}", **headers)).status == 200
    headers["If_Range"] = f'"{LAYER_DIGEST}"'
    assert (await put(FakeMirror(), f"{ALPINE}/blobs/{LAYER_DIGEST}", **headers)).status == 206


async def test_a_missing_manifest_and_a_missing_blob_have_the_specs_codes() -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/manifests/none")
    assert (answer.status, error(answer)["code"]) == (404, "MANIFEST_UNKNOWN")
    answer = await put(FakeMirror(), f"{ALPINE}/blobs/{Digest.of(b'none')}")
    assert (answer.status, error(answer)["code"]) == (404, "BLOB_UNKNOWN")
    assert error(answer)["detail"]["attempts"] == [
        {"host": "a.example", "outcome": "missing", "status": 404, "seconds": 0.1}
    ]


@pytest.mark.parametrize(
    ("outcomes", "status", "code"),
    [
        (["server-error", "refused"], 503, "UNAVAILABLE"),
        (["rate-limited", "server-error"], 429, "TOOMANYREQUESTS"),
        (["stalled", "first-byte-timeout"], 504, "UNAVAILABLE"),
        (["stalled", "beaten"], 504, "UNAVAILABLE"),
    ],
)
async def test_the_status_says_truthfully_why_nobody_could_serve_it(
    outcomes: list[str], status: int, code: str
) -> None:
    mirror = FakeMirror()
    mirror.error = AllHostsFailed("x", [Attempt(f"{o}.example", o, 0.25) for o in outcomes])
    answer = await put(mirror, f"{ALPINE}/manifests/3")
    assert (answer.status, error(answer)["code"]) == (status, code)
    assert [a["outcome"] for a in error(answer)["detail"]["attempts"]] == outcomes
    assert fields(answer)["Retry-After"] == "3"
    assert fields(answer)["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(12.2, "13"), (0.0, "1"), (-5.0, "1"), (1e12, "3600"), (float("inf"), "3600"), (float("nan"), "3")],
)
async def test_retry_after_is_a_whole_number_within_an_hour(seconds: float, shown: str) -> None:
    mirror = FakeMirror()
    mirror.error = AllHostsFailed("x", [Attempt("a", "rate-limited", 0.1, 429)], retry_after_seconds=seconds)
    assert fields(await put(mirror, f"{ALPINE}/manifests/3"))["Retry-After"] == shown


async def test_errors_of_one_host_and_of_the_store_have_their_own_status() -> None:
    mirror = FakeMirror()
    for raised, status in (
        (RateLimited("slow down", outcome="rate-limited"), 429),
        (Denied("no", outcome="denied"), 404),
        (StoreFull("no room"), 503),
    ):
        mirror.error = raised
        assert (await put(mirror, f"{ALPINE}/manifests/3")).status == status


async def test_attempts_beyond_a_limit_are_not_listed() -> None:
    mirror = FakeMirror()
    mirror.error = AllHostsFailed("x", [Attempt(f"h{n}", "refused", 0.1) for n in range(500)])
    answer = await put(mirror, f"{ALPINE}/manifests/3")
    assert len(error(answer)["detail"]["attempts"]) == 50
    assert len(answer.body) < 20_000


async def test_tags_come_sorted_and_in_pages() -> None:
    mirror = FakeMirror()
    mirror.tag_list = ["b", "a", "c", "a"]
    answer = await put(mirror, f"{ALPINE}/tags/list")
    assert json.loads(answer.body) == {"name": "library/alpine", "tags": ["a", "b", "c"]}
    answer = await put(mirror, "/v2/alpine/tags/list?n=2&ns=docker.io")
    assert json.loads(answer.body)["tags"] == ["a", "b"]
    link = fields(answer)["Link"]
    assert link == '</v2/alpine/tags/list?n=2&last=b&ns=docker.io>; rel="next"'
    answer = await put(mirror, link[1 : link.index(">")])
    assert json.loads(answer.body)["tags"] == ["c"]
    assert "Link" not in fields(answer)


@pytest.mark.parametrize("n", ["99999999999", "9" * 400, "-1", "abc", "", "1e3", "٣"])
async def test_a_page_size_that_is_absurd_gives_the_whole_list(n: str) -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/tags/list?n={n}")
    assert json.loads(answer.body)["tags"] == ["3", "3.20", "edge", "latest"]


async def test_a_page_of_none_is_the_last() -> None:
    answer = await put(FakeMirror(), f"{ALPINE}/tags/list?n=0")
    assert json.loads(answer.body)["tags"] == []
    assert "Link" not in fields(answer)


async def test_referrers_are_an_index_even_when_nobody_knows_the_subject() -> None:
    mirror = FakeMirror()
    mirror.error = NotFound("x", [])
    answer = await put(mirror, f"{ALPINE}/referrers/{LAYER_DIGEST}")
    assert answer.status == 200
    assert fields(answer)["Content-Type"] == OCI_INDEX
    assert json.loads(answer.body)["manifests"] == []


async def test_that_no_host_could_tell_the_referrers_is_not_an_empty_list() -> None:
    mirror = FakeMirror()
    mirror.error = AllHostsFailed("x", [Attempt("a", "refused", 0.1)])
    assert (await put(mirror, f"{ALPINE}/referrers/{LAYER_DIGEST}")).status == 503


async def test_referrers_are_filtered_by_type_and_say_so() -> None:
    mirror = FakeMirror()
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"%d" % n)), "size": 1, "artifactType": kind}
        for n, kind in enumerate(("sig/v1", "sbom/v1", "sig/v1"))
    ]
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    mirror.index = parse_manifest(raw)
    answer = await put(mirror, f"{ALPINE}/referrers/{LAYER_DIGEST}")
    assert answer.body == raw
    assert "OCI-Filters-Applied" not in fields(answer)
    answer = await put(mirror, f"{ALPINE}/referrers/{LAYER_DIGEST}?artifactType=sig%2Fv1")
    assert json.loads(answer.body)["manifests"] == [entries[0], entries[2]]
    assert fields(answer)["OCI-Filters-Applied"] == "artifactType"


async def test_a_request_of_our_own_is_a_loop() -> None:
    mirror = FakeMirror()
    answer = await put(mirror, f"{ALPINE}/manifests/3", X_Sampan_Loop="other, instance-one")
    assert (answer.status, error(answer)["code"]) == (508, "UNAVAILABLE")
    assert not mirror.asked
    assert (await put(mirror, f"{ALPINE}/manifests/3", X_Sampan_Loop="other")).status == 200


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "TRACE", "X\x1b[31m"])
def test_other_methods_are_not_allowed(method: str) -> None:
    answer = refuse_method(method)
    assert (answer.status, error(answer)["code"]) == (405, "UNSUPPORTED")
    assert fields(answer)["Allow"] == "GET, HEAD"
    assert b"\x1b" not in answer.body
