"""Manifests of one host: right, wrong, late and hostile, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from sampan.errors import HostError, WrongContent
from sampan.oci.digest import Digest
from sampan.testing import FakeRegistry, Fault, Match, artifact, faults, image, index, random_layer
from sampan.upstream.host import Host
from upstreams import ALPINE, client_for, said

MANIFEST = Match(kind="manifest")
SMALL = image(ALPINE, "3", layers=[random_layer(seed=1, size_bytes=1000)])
DIGEST = Digest.parse(SMALL.digest)


async def test_a_tag_and_its_digest_give_the_same_manifest() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            by_tag = await client.manifest(host, ALPINE, "3")
            by_digest = await client.manifest(host, ALPINE, DIGEST)
    assert by_tag == by_digest
    assert by_tag.raw == SMALL.raw


async def test_a_prefix_and_renamed_repositories_are_asked_for_by_the_hosts_own_names() -> None:
    async with FakeRegistry(prefix="docker.io") as registry:
        registry.add(SMALL)
        host = Host.from_url(f"{registry.url}/docker.io", repositories={"alpine": ALPINE})
        async with client_for(host) as client:
            assert (await client.manifest(host, "alpine", "3")).digest == DIGEST
            with pytest.raises(HostError, match="not asked for"):
                await client.manifest(host, "other", "3")


async def test_every_request_says_who_asks_and_wants_it_unencoded() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        host = Host.from_url(registry.url, headers={"X-Mine": "yes"})
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
        headers = registry.requests[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["x-sampan-loop"] == "me"
    assert headers["x-mine"] == "yes"
    assert "cookie" not in headers


FAULTS = [
    (faults.denied(), "Denied denied"),
    (faults.page(403), "Denied denied"),
    (faults.status(404), "Missing missing"),
    (faults.page(404, b"nothing \x1b[31m", "text/plain"), "Missing missing"),
    (faults.rate_limited("7"), "RateLimited rate-limited"),
    *((faults.status(code), "ServerFault server-error") for code in (500, 502, 503, 504, 408)),
    (faults.status(400), "NotARegistry protocol"),
    (faults.page(), "NotARegistry not-a-registry"),
    (faults.error_document_with_200(), "NotARegistry not-a-registry"),
    *((faults.status_line(code), "NotARegistry protocol") for code in (204, 206, 299, 304, 799)),
    (faults.gibberish(), "NotARegistry protocol"),
    (faults.redirect(None), "NotARegistry redirect"),
    (faults.redirect_hops(6), "NotARegistry redirect"),
    (faults.redirect("http://[::1"), "NotARegistry redirect"),
    (faults.redirect("data:text/plain,x"), "NotARegistry redirect"),
    (faults.redirect("http://user:pass@127.0.0.1/"), "NotARegistry redirect"),
    (faults.redirect("http://127.0.0.1:22/"), "NotARegistry redirect"),
    (faults.redirect("http://169.254.169.254/latest"), "Unreachable blocked-address"),
    (faults.redirect(f"{faults.UNREACHABLE_URL}/x"), "Unreachable refused"),
    (faults.huge_header(), "NotARegistry protocol"),
    (faults.many_headers(), "NotARegistry protocol"),
    (faults.long_status_line(), "NotARegistry protocol"),
    (faults.second_header("Content-Length", "1"), "NotARegistry protocol"),
    (faults.hang_up(), "Interrupted truncated"),
    (faults.reset_before_answer(), "Interrupted reset"),
    (faults.truncated(), "Interrupted truncated"),
    (faults.empty(), "Interrupted truncated"),
    (faults.flipped_bit(), "WrongContent wrong-content"),
    (faults.lying_digest(), "WrongContent wrong-content"),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda value: getattr(value, "name", None))
async def test_a_fault_has_a_name(fault: Fault, expected: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(fault, on=MANIFEST)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == expected
    assert "\x1b" not in caught.value.message


async def test_a_new_connection_that_drops_is_not_tried_again() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.hang_up())
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError):
                await client.manifest(host, ALPINE, "3")
        assert registry.count() == 1


async def test_an_idle_connection_that_the_peer_closed_is_nobodys_failure() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.closes_afterwards())
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            for _ in range(5):
                assert (await client.manifest(host, ALPINE, "3")).digest == DIGEST


async def test_a_connection_serves_again() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            for _ in range(3):
                await client.manifest(host, ALPINE, "3")
                await client.head_manifest(host, ALPINE, "3")
        assert {request.connection for request in registry.requests} == {registry.requests[0].connection}


@pytest.mark.parametrize(
    "fault",
    [
        faults.redirect_hops(5),
        *(faults.redirect_hops(1, code) for code in (301, 302, 303, 307, 308)),
        faults.chunked(),
        faults.http_1_0(),
        faults.lower_case_headers(),
        faults.gzip_encoded(),
        faults.header("Content-Encoding", "br"),
        faults.header("Content-Type", "text/plain"),
        faults.no_header("Docker-Content-Digest"),
        faults.interim_flood(10),
    ],
    ids=lambda fault: fault.name,
)
async def test_what_is_odd_but_right_is_taken(fault: Fault) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(fault, on=MANIFEST)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert (await client.manifest(host, ALPINE, DIGEST)).raw == SMALL.raw


async def test_a_silent_host_is_given_up_when_its_first_byte_is_due() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.silence())
        host = Host.from_url(registry.url)
        async with client_for(host, short_seconds=0.05) as client:
            with pytest.raises(HostError) as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == "TimedOut first-byte-timeout"


async def test_a_trickle_does_not_hold_a_manifest_for_ever() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.trickle(100), on=MANIFEST)
        host = Host.from_url(registry.url)
        async with client_for(host, small_seconds=0.15) as client:
            with pytest.raises(HostError) as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == "TimedOut slow"


async def test_a_wait_for_a_turn_is_not_the_hosts_slowness() -> None:
    gate = asyncio.Event()
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.held(gate), times=1)
        host = Host.from_url(registry.url, max_connections=1)
        connected: list[str] = []
        async with client_for(host) as client, asyncio.TaskGroup() as group:
            group.create_task(client.manifest(host, ALPINE, "3"))
            await registry.wait_for()
            second = group.create_task(
                client.manifest(host, ALPINE, "3", on_connected=lambda: connected.append("second"))
            )
            await asyncio.sleep(0)
            assert not connected
            gate.set()
            await second
        assert connected == ["second"]


async def test_a_caller_that_goes_away_leaves_nothing_behind() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.silence())
        host = Host.from_url(registry.url, max_connections=1)
        async with client_for(host) as client:
            asking = asyncio.create_task(client.manifest(host, ALPINE, "3"))
            await registry.wait_for()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            registry.behave()
            assert (await client.manifest(host, ALPINE, "3")).digest == DIGEST


async def test_head_tells_what_a_tag_means_without_its_bytes() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            found = await client.head_manifest(host, ALPINE, "3")
            assert found is not None
            assert (found.digest, found.size) == (DIGEST, len(SMALL.raw))
            with pytest.raises(HostError) as caught:
                await client.head_manifest(host, ALPINE, "gone")
        assert said(caught.value) == "Missing missing"
        assert registry.count(method="GET") == 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(405),
        faults.status(501),
        faults.no_header("Content-Length"),
        faults.no_header("Docker-Content-Digest"),
    ],
    ids=lambda fault: fault.name,
)
async def test_a_host_that_does_not_answer_head_usefully_is_asked_so_once(fault: Fault) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(fault, on=Match(method="HEAD"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await client.head_manifest(host, ALPINE, "3") is None
            assert await client.head_manifest(host, ALPINE, "3") is None
        assert registry.count(method="HEAD") == 1


async def test_a_404_to_head_is_not_believed_before_head_has_worked() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.status(404), on=Match(method="HEAD"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await client.head_manifest(host, ALPINE, "3") is None


async def test_a_head_that_names_another_digest_is_a_lie() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.lying_digest(), on=Match(method="HEAD"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(WrongContent):
                await client.head_manifest(host, ALPINE, DIGEST)


async def test_tags_come_from_all_pages_of_one_host() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL, tags=("1", "2", "3"))
        link = '</v2/library/alpine/tags/list?n=2&last=2>; rel="next"'
        registry.script(faults.header("Link", link), on=Match(kind="tags"), times=1)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert sorted(await client.tags(host, ALPINE)) == ["1", "2", "3"]
        assert registry.count(kind="tags") == 2


@pytest.mark.row("16")
@pytest.mark.parametrize(
    "link",
    [
        '<http://127.0.0.1:1/v2/x>; rel="next"',
        '</v2/library/alpine/tags/list>; rel="next"',
        "<data:,x>; rel=next",
    ],
)
async def test_a_next_page_elsewhere_or_without_end_is_refused(link: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.header("Link", link), on=Match(kind="tags"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await client.tags(host, ALPINE)
    assert said(caught.value) == "NotARegistry protocol"


@pytest.mark.parametrize("tags", [5, {"a": 1}, ["../x"], [5], ["a" * 200]])
async def test_a_tag_list_of_something_else_is_refused(tags: object) -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.json_fields(tags=tags), on=Match(kind="tags"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await client.tags(host, ALPINE)
    assert said(caught.value) == "NotARegistry not-a-registry"


async def test_a_repository_without_tags_has_none() -> None:
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.script(faults.json_fields(tags=None), on=Match(kind="tags"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            assert await client.tags(host, ALPINE) == []


async def test_referrers_are_listed_and_filtered_by_type() -> None:
    signature = artifact(SMALL, artifact_type="application/vnd.test.signature")
    async with FakeRegistry() as registry:
        registry.add(SMALL)
        registry.add(signature)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            every = await client.referrers(host, ALPINE, DIGEST)
            none = await client.referrers(host, ALPINE, DIGEST, artifact_type="application/other")
    assert [str(entry.digest) for entry in every.manifests] == [signature.digest]
    assert none.manifests == ()


async def test_referrers_fall_back_to_their_tag() -> None:
    listed = index(ALPINE, f"sha256-{DIGEST.hex}", images=[SMALL])
    async with FakeRegistry() as registry:
        registry.add(listed)
        registry.script(faults.status(404), on=Match(kind="referrers"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            found = await client.referrers(host, ALPINE, DIGEST)
    assert [entry.digest for entry in found.manifests] == [DIGEST]
