"""Logging in at hosts that want it, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError

import pytest

from sampan.errors import Denied, HostError, ServerFault, Unreachable
from sampan.oci.digest import Digest
from sampan.secret import Secret
from sampan.testing import (
    BasicAuth,
    BlackHole,
    FakeRegistry,
    Fault,
    ManualClock,
    TokenServer,
    faults,
    image,
    random_layer,
)
from sampan.upstream.budget import Budget
from sampan.upstream.host import REFUSALS_MAX, Host
from sampan.upstream.login import REALM_REST_SECONDS, REFUSED_SECONDS
from standstill import quiet
from upstreams import ALPINE, client_for, said

IMAGE = image(ALPINE, "3", layers=[random_layer(seed=3, size_bytes=5_000)])
USERS = {"user": "hunter2"}


def with_login(url: str, password: str = "hunter2") -> Host:
    return Host.from_url(url, username="user", password=Secret(password))


async def test_one_token_serves_a_whole_image_without_another_401() -> None:
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            manifest = await client.manifest(host, ALPINE, "3")
            for descriptor in manifest.references:
                assert await client.stat_blob(host, ALPINE, descriptor.digest) == descriptor.size
        assert len(realm.requests) == 1
        assert registry.count(kind="challenge") == 1


async def test_requests_at_the_same_time_share_one_fetch_which_outlives_those_who_leave() -> None:
    gate = asyncio.Event()
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        realm.script(faults.held(gate))
        host = Host.from_url(registry.url, max_connections=20)
        async with client_for(host) as client:
            asking = [asyncio.create_task(client.manifest(host, ALPINE, "3")) for _ in range(10)]
            await registry.wait_for(times=10)
            await realm.wait_for()
            asking[0].cancel()
            await asyncio.wait(asking[:1])
            gate.set()
            assert len({(await one).digest for one in asking[1:]}) == 1
        assert asking[0].cancelled()
        assert len(realm.requests) == 1


async def test_a_fetch_that_nobody_waits_for_goes_on_for_the_next_to_ask() -> None:
    gate = asyncio.Event()
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        realm.script(faults.held(gate))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            asking = asyncio.create_task(client.manifest(host, ALPINE, "3"))
            await realm.wait_for()
            asking.cancel()
            await asyncio.wait([asking])
            gate.set()
            assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest
        assert len(realm.requests) == 1


@pytest.mark.parametrize("stay", [True, False])
async def test_a_refused_token_is_one_refusal_however_many_wait_for_it_and_though_none_does(
    stay: bool,
) -> None:
    gate, budget = asyncio.Event(), Budget(ManualClock())
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        realm.script(faults.held(gate).joined(faults.status(503)))
        host = Host.from_url(registry.url, max_connections=20, max_refusals=REFUSALS_MAX)
        async with client_for(host, budget=budget) as client:
            asking = [asyncio.create_task(client.manifest(host, ALPINE, "3")) for _ in range(9)]
            await registry.wait_for(times=9)
            await realm.wait_for()
            if not stay:
                for one in asking:
                    one.cancel()
                await asyncio.wait(asking)
            gate.set()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(answer) for answer in answers} == {ServerFault if stay else CancelledError}
            await quiet()
        assert len(realm.requests) == 1
        assert [left.refusals for left in budget.left()] == [REFUSALS_MAX - 1]


async def test_a_fetch_that_is_still_under_way_ends_with_the_client() -> None:
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        realm.script(faults.silence())
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            asking = asyncio.create_task(client.manifest(host, ALPINE, "3"))
            await realm.wait_for()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_a_token_that_expires_in_between_is_renewed_once() -> None:
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
            realm.expire_all()
            await client.manifest(host, ALPINE, "3")
        assert len(realm.requests) == 2


@pytest.mark.row("K3")
async def test_a_token_is_believed_for_as_long_as_it_says_by_our_own_clock() -> None:
    clock = ManualClock()
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        realm.script(faults.json_fields(expires_in=100))
        host = Host.from_url(registry.url)
        async with client_for(host, clock=clock) as client:
            for advance, fetched in ((0, 1), (99, 1), (1, 2)):
                clock.advance(advance)
                await client.manifest(host, ALPINE, "3")
                assert len(realm.requests) == fetched
        assert registry.count(kind="challenge") == 1


async def test_a_token_that_is_never_good_enough_costs_two_fetches_and_a_denial() -> None:
    async with TokenServer() as realm, FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.bearer_at(realm.realm))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(Denied) as caught:
                await client.manifest(host, ALPINE, "3")
        assert (caught.value.outcome, caught.value.status) == ("denied", 401)
        assert len(realm.requests) == 2


async def test_a_password_opens_what_it_is_for() -> None:
    async with TokenServer(users=USERS, anonymous=False) as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        named, nobody = with_login(registry.url), Host.from_url(registry.url)
        async with client_for(named) as client:
            assert str((await client.manifest(named, ALPINE, "3")).digest) == IMAGE.digest
        async with client_for(nobody) as client:
            with pytest.raises(Denied):
                await client.manifest(nobody, ALPINE, "3")


async def test_basic_is_sent_at_once_after_the_first_time() -> None:
    async with FakeRegistry(auth=BasicAuth(USERS)) as registry:
        registry.add(IMAGE)
        host = with_login(registry.url)
        async with client_for(host) as client:
            for _ in range(3):
                await client.manifest(host, ALPINE, "3")
        assert registry.count() == 4


async def test_a_wrong_password_is_reported_once_and_rests(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with FakeRegistry(auth=BasicAuth(USERS)) as registry:
        registry.add(IMAGE)
        host = with_login(registry.url, "wrong-secret")
        async with client_for(host, clock=clock) as client:
            for _ in range(5):
                with pytest.raises(Denied) as caught:
                    await client.manifest(host, ALPINE, "3")
                assert caught.value.outcome == "login"
            assert registry.count() == 2
            clock.advance(REFUSED_SECONDS)
            with pytest.raises(Denied):
                await client.manifest(host, ALPINE, "3")
            assert registry.count() == 4
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 2
    assert "wrong-secret" not in caplog.text


async def test_a_wrong_password_at_a_realm_is_a_failed_login_too() -> None:
    async with TokenServer(users=USERS, anonymous=False) as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        host = with_login(registry.url, "wrong")
        async with client_for(host) as client:
            for _ in range(3):
                with pytest.raises(Denied) as caught:
                    await client.manifest(host, ALPINE, "3")
                assert caught.value.outcome == "login"
        assert len(realm.requests) == 1


async def test_a_realm_of_somebody_else_does_not_see_the_password() -> None:
    async with TokenServer(host="127.0.0.2") as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        host = with_login(registry.url)
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
        assert "authorization" not in realm.requests[0].headers


async def test_a_realm_that_redirects_does_not_hand_the_password_on() -> None:
    async with (
        FakeRegistry("thief") as thief,
        TokenServer(users=USERS) as realm,
        FakeRegistry(auth=realm) as registry,
    ):
        registry.add(IMAGE)
        realm.script(faults.redirect(f"{thief.url}/token"))
        host = with_login(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError):
                await client.manifest(host, ALPINE, "3")
        assert "authorization" in realm.requests[0].headers
        assert "authorization" not in thief.requests[0].headers


async def test_headers_for_a_host_are_not_sent_to_its_realm() -> None:
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url, headers={"X-Key": "hunter2"})
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, "3")
        assert "x-key" not in realm.requests[0].headers
        assert registry.requests[0].headers["x-key"] == "hunter2"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.status(503), "ServerFault server-error"),
        (faults.status(429), "RateLimited rate-limited"),
        (faults.status(403), "Denied denied"),
        (faults.page(), "NotARegistry not-a-registry"),
        (faults.json_fields(token="", access_token=""), "NotARegistry not-a-registry"),
        (faults.hang_up(), "Interrupted truncated"),
        (faults.silence(), "TimedOut slow"),
        (faults.redirect_hops(6), "NotARegistry redirect"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_realm_in_trouble_is_told(fault: Fault, expected: str) -> None:
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        realm.script(fault)
        host = Host.from_url(registry.url)
        seconds = 0.2 if expected == "TimedOut slow" else 5.0  # who answers is not to be hurried
        async with client_for(host, small_seconds=seconds) as client:
            with pytest.raises(HostError) as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == expected
    assert expected == "TimedOut slow" or realm.netloc in caught.value.message


async def test_a_realm_that_cannot_be_reached_is_named() -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.bearer_at(f"{faults.UNREACHABLE_URL}/token"))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError, match=r"token service: 127\.0\.0\.1:1") as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == "Unreachable refused"


@pytest.mark.parametrize(
    ("realm", "expected"),
    [
        ("http://169.254.169.254/token", "Unreachable blocked-address"),
        ("http://0.0.0.0/token", "Unreachable blocked-address"),
        ("file:///etc/passwd", "NotARegistry protocol"),
        ("http://a:b@c/", "NotARegistry protocol"),
    ],
)
async def test_a_realm_where_nobody_may_go_is_not_dialled(realm: str, expected: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(IMAGE)
        registry.script(faults.unauthorized(f'Bearer realm="{realm}"'))
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            with pytest.raises(HostError) as caught:
                await client.manifest(host, ALPINE, "3")
    assert said(caught.value) == expected


async def test_a_realm_that_was_silent_to_one_host_is_not_waited_for_by_another_for_a_while() -> None:
    clock = ManualClock()
    async with BlackHole() as hole, FakeRegistry() as one, FakeRegistry("other") as other:
        hosts = [Host.from_url(registry.url) for registry in (one, other)]
        for registry in (one, other):
            registry.script(faults.bearer_at(f"{hole.url}/token"))
        async with client_for(*hosts, clock=clock) as client:
            for host, seconds, took in ((0, 0.0, 3), (1, 0.0, 0), (0, 0.0, 3), (1, REALM_REST_SECONDS, 3)):
                clock.advance(seconds)
                began = asyncio.get_running_loop().time()
                with pytest.raises(Unreachable) as caught:
                    await client.manifest(hosts[host], ALPINE, "3")
                assert caught.value.outcome == "connect-timeout"
                assert hole.netloc in caught.value.message
                assert round(asyncio.get_running_loop().time() - began) == took


async def test_a_realm_that_has_moved_is_forgotten_with_its_first_failure() -> None:
    clock = ManualClock()
    async with TokenServer("old") as old, TokenServer("new") as new, FakeRegistry(auth=old) as registry:
        registry.add(IMAGE)
        host = Host.from_url(registry.url)
        async with client_for(host, clock=clock) as client:
            await client.manifest(host, ALPINE, "3")
            clock.advance(3600)
            old.script(faults.status(503))
            registry.auth = new
            with pytest.raises(HostError):
                await client.manifest(host, ALPINE, "3")
            assert str((await client.manifest(host, ALPINE, "3")).digest) == IMAGE.digest
        assert len(old.requests) == 2


async def test_tokens_of_two_repositories_are_not_mixed() -> None:
    other = image("mycorp/app", "1", seed=9)
    async with TokenServer() as realm, FakeRegistry(auth=realm) as registry:
        registry.add(IMAGE)
        registry.add(other)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            await client.manifest(host, ALPINE, Digest.parse(IMAGE.digest))
            await client.manifest(host, "mycorp/app", Digest.parse(other.digest))
        assert len(realm.requests) == 2
