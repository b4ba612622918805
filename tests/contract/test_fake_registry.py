"""The fake registry is a registry: it keeps the contract that real ones keep, and a little more."""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from contract.registry_contract import ABSENT, Held, ReferrersContract, RegistryContract, error_code
from sampan.testing import (
    FakeCdn,
    FakeRegistry,
    ManualClock,
    Match,
    ServerThread,
    artifact,
    faults,
    image,
    index,
    random_layer,
    random_layer_file,
)

LAYER_BYTES = 300_000


@pytest.fixture(scope="module", params=["image", "docker image", "index"])
def held(request: pytest.FixtureRequest) -> Iterator[Held]:
    registry = FakeRegistry("contract")
    layers = [random_layer(seed=1, size_bytes=LAYER_BYTES)]
    made = {
        "image": image("library/alpine", "3", layers=layers),
        "docker image": image("library/alpine", "3", layers=layers, docker=True),
        "index": index("library/alpine", "3"),
    }
    held = registry.add(made[request.param])
    registry.add(artifact(held, "application/x.sbom"))
    with ServerThread(registry):
        yield Held(registry.url, held)


class TestTheFakeRegistry(RegistryContract, ReferrersContract):
    def test_a_method_that_writes_gets_405(self, held: Held) -> None:
        answer = held.ask("DELETE", f"{held.base}/manifests/{held.image.tag}")
        assert (answer.status, error_code(answer)) == (405, "UNSUPPORTED")

    def test_a_path_that_is_no_endpoint_gets_404(self, held: Held) -> None:
        assert held.get("/v1/search").status == 404

    def test_what_the_client_already_has_is_not_sent_again(self, held: Held) -> None:
        etag = f'"{held.image.digest}"'
        answer = held.get(f"{held.base}/manifests/{held.image.tag}", If_None_Match=etag)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)

    def test_referrers_are_filtered_by_type_and_it_says_so(self, held: Held) -> None:
        path = f"{held.base}/referrers/{held.image.digest}"
        some, none = (
            held.get(f"{path}?artifactType=application/x.sbom"),
            held.get(f"{path}?artifactType=no/such"),
        )
        assert some.headers["oci-filters-applied"] == none.headers["oci-filters-applied"] == "artifactType"
        assert [len(json.loads(answer.body)["manifests"]) for answer in (some, none)] == [1, 0]

    def test_several_ranges_at_once_get_the_whole_blob(self, held: Held) -> None:
        blob = held.image.blobs[-1]
        answer = held.get(f"{held.base}/blobs/{blob.digest}", Range="bytes=0-1,5-6")
        assert (answer.status, answer.body) == (200, blob.read())

    def test_every_manifest_of_an_index_is_there(self, held: Held) -> None:
        for content in held.image.manifests:
            assert held.get(f"{held.base}/manifests/{content.digest}").body == content.read()


async def get(session: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, bytes]:
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read()


async def test_tags_come_in_pages_that_are_linked() -> None:
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        registry.add(image("a/b"), tags=("3", "1", "2", "ü"))
        pages: list[list[str]] = []
        path = "/v2/a/b/tags/list?n=2"
        while path:
            async with session.get(path) as answer:
                pages.append((await answer.json())["tags"])
                link = answer.headers.get("Link", "")
                path = link.removeprefix("<").removesuffix('>; rel="next"')
    assert pages == [["1", "2"], ["3", "ü"]]


async def test_n_of_a_page_must_be_a_number_and_zero_gives_an_empty_page() -> None:
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        registry.add(image("a/b", "1"))
        assert (await get(session, "/v2/a/b/tags/list?n=-1"))[0] == 400
        assert json.loads((await get(session, "/v2/a/b/tags/list?n=0"))[1])["tags"] == []


async def test_requests_are_recorded_with_what_they_name_and_what_they_got() -> None:
    clock = ManualClock(100.0)
    async with FakeRegistry(clock=clock) as registry, aiohttp.ClientSession(registry.url) as session:
        held = registry.add(image("a/b", "1"))
        await get(session, "/v2/a/b/manifests/1?ns=docker.io")
        clock.advance(5)
        await get(session, f"/v2/a/b/blobs/{held.layers[0].digest}", Range="bytes=0-9")
    first, second = registry.requests
    assert (first.kind, first.repository, first.tag, first.query) == (
        "manifest",
        "a/b",
        "1",
        {"ns": "docker.io"},
    )
    assert (first.status, first.bytes_sent, first.fault) == (200, held.manifest.size, None)
    assert (second.kind, second.digest, second.headers["range"]) == (
        "blob",
        held.layers[0].digest,
        "bytes=0-9",
    )
    assert (second.status, second.bytes_sent) == (206, 10)
    assert (first.at, second.at) == (100.0, 105.0)
    assert registry.count() == 2
    assert registry.count("blob", ranged=True) == registry.count(kind="manifest", tag="1") == 1


async def test_a_blob_in_a_file_is_served_and_counted(tmp_path: Path) -> None:
    layer = random_layer_file(tmp_path / "layer", seed=5, size_bytes=20_000_000)
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        held = registry.add(image("a/b", "1", layers=[layer]))
        _, body = await get(session, f"/v2/a/b/blobs/{held.layers[0].digest}")
        _, part = await get(session, f"/v2/a/b/blobs/{held.layers[0].digest}", Range="bytes=9999990-")
    assert "sha256:" + hashlib.sha256(body).hexdigest() == held.layers[0].digest
    assert part == body[9_999_990:]
    assert registry.requests[0].bytes_sent == 20_000_000


async def test_a_mirror_with_a_prefix_answers_only_under_it() -> None:
    async with FakeRegistry(prefix="docker.io") as registry, aiohttp.ClientSession(registry.url) as session:
        registry.add(image("library/alpine", "3"))
        assert (await get(session, "/v2/docker.io/library/alpine/manifests/3"))[0] == 200
        assert (await get(session, "/v2/library/alpine/manifests/3"))[0] == 404
    assert registry.requests[0].repository == "library/alpine"


async def test_an_image_can_be_held_under_another_name() -> None:
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        registry.add(image("coredns/coredns", "1"), repository="google_containers/coredns", tags=("2",))
        assert (await get(session, "/v2/google_containers/coredns/manifests/2"))[0] == 200
        assert (await get(session, "/v2/coredns/coredns/manifests/1"))[0] == 404


async def test_content_can_be_lost_and_tags_can_go() -> None:
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        held = registry.add(image("a/b", "1"))
        registry.forget(held.layers[0].digest)
        registry.untag("a/b", "1")
        assert (await get(session, f"/v2/a/b/blobs/{held.layers[0].digest}"))[0] == 404
        assert (await get(session, "/v2/a/b/manifests/1"))[0] == 404
        assert (await get(session, f"/v2/a/b/manifests/{held.digest}"))[0] == 200


async def test_sha512_and_empty_layers_are_served() -> None:
    async with FakeRegistry() as registry, aiohttp.ClientSession(registry.url) as session:
        long = registry.add(image("a/b", "1", algorithm="sha512"))
        empty = registry.add(image("a/b", "2", layers=[random_layer(1, 0)]))
        assert await get(session, f"/v2/a/b/manifests/{long.digest}") == (200, long.raw)
        assert await get(session, f"/v2/a/b/blobs/{empty.layers[0].digest}") == (200, b"")
    assert long.digest.startswith("sha512:")
    assert empty.layers[0].digest.startswith("sha256:e3b0c442")


async def _a_test_that_asks_too_much() -> None:
    async with FakeRegistry(strict=True) as registry, aiohttp.ClientSession(registry.url) as session:
        registry.expect(Match(kind="manifest"), times=1)
        registry.script(faults.status(404), on=Match(kind="blob"))
        await get(session, "/v2/a/b/manifests/1")
        await get(session, f"/v2/a/b/blobs/{ABSENT}")
        await get(session, "/v2/a/b/manifests/2")


async def test_an_unexpected_request_fails_the_test_in_the_end() -> None:
    with pytest.raises(AssertionError) as caught:
        await _a_test_that_asks_too_much()
    assert str(caught.value) == "registry: unexpected request GET /v2/a/b/manifests/2"


async def _a_test_that_fails() -> None:
    async with FakeRegistry(strict=True) as registry, aiohttp.ClientSession(registry.url) as session:
        await get(session, "/v2/")
        raise ValueError("mine")


async def test_the_tests_own_failure_is_not_hidden_by_an_unexpected_request() -> None:
    with pytest.raises(ValueError, match="mine"):
        await _a_test_that_fails()


async def test_blobs_are_redirected_to_a_cdn_that_serves_parts_too() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry, aiohttp.ClientSession() as session:
        held = registry.add(image("a/b", "1"))
        url = f"{registry.url}/v2/a/b/blobs/{held.layers[0].digest}"
        async with session.get(url, headers={"Range": "bytes=4000-"}) as answer:
            assert (answer.status, await answer.read()) == (206, held.layers[0].read()[4000:])
            signed = answer.url
        cdn.expire_signatures()
        assert (await get(session, str(signed)))[0] == 403
    assert [one.status for one in registry.requests] == [307]
    assert [one.status for one in cdn.requests] == [206, 403]


async def _a_test_that_leaks() -> None:
    async with FakeCdn() as cdn, aiohttp.ClientSession() as session:
        url = cdn.signed_url(image("a/b").layers[0])
        assert (await get(session, url, Authorization="Bearer x"))[0] == 400


async def test_credentials_at_the_cdn_fail_the_test_in_the_end() -> None:
    with pytest.raises(AssertionError, match="credentials came along"):
        await _a_test_that_leaks()


async def test_another_address_of_loopback_can_be_had() -> None:
    async with FakeRegistry(host="127.0.0.2") as registry, aiohttp.ClientSession() as session:
        assert registry.url.startswith("http://127.0.0.2:")
        assert (await get(session, f"{registry.url}/v2/"))[0] == 200


async def test_a_client_that_speaks_no_http_is_told_so() -> None:
    async with FakeRegistry() as registry:
        for line in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"x" * 300_000 + b"\r\n\r\n"):
            reader, writer = await asyncio.open_connection(registry.host, registry.port)
            writer.write(line)
            assert (await reader.read(20)).startswith(b"HTTP/1.1 400")
            writer.transport.abort()
        await asyncio.sleep(0)
    assert registry.requests == []


async def test_a_connection_that_the_client_wants_closed_is_closed() -> None:
    async with FakeRegistry() as registry:
        for head in (b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET /v2/ HTTP/1.0\r\n\r\n"):
            reader, writer = await asyncio.open_connection(registry.host, registry.port)
            writer.write(head)
            assert b"Connection: close" in await reader.read()
            writer.close()
            await writer.wait_closed()


def test_a_registry_runs_in_a_thread_of_its_own() -> None:
    registry = FakeRegistry()
    with ServerThread(registry) as thread:
        with urllib.request.urlopen(f"{registry.url}/v2/") as answer:
            assert answer.status == 200
        thread.call(registry.refuse)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{registry.url}/v2/")


def test_what_a_registry_complains_of_is_raised_where_its_thread_ends() -> None:
    registry = FakeRegistry(strict=True)
    with pytest.raises(AssertionError, match="unexpected request"), ServerThread(registry):
        urllib.request.urlopen(f"{registry.url}/v2/").close()


def test_a_thread_whose_port_is_taken_says_so_at_once() -> None:
    taken = FakeRegistry()
    with (
        ServerThread(taken),
        pytest.raises(OSError, match="in use"),
        ServerThread(FakeRegistry(port=taken.port)),
    ):
        pass
