"""Rows A of the catalogue: what goes wrong where a host wants a login."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.trial import trial
from sampan.secret import Secret
from sampan.testing import (
    BasicAuth,
    BlackHole,
    FakeRegistry,
    Fault,
    Image,
    Match,
    TokenServer,
    faults,
    image,
    random_layer,
)
from sampan.testing.catalogue import CHALLENGES, EXPIRES_IN, ISSUED_AT, REALM, ApplyTokens, Case
from sampan.upstream.host import Host
from sampan.upstream.login import REFUSED_SECONDS

pytestmark = pytest.mark.standstill

REPOSITORY = "library/alpine"
IMAGE = image(REPOSITORY, "3", layers=[random_layer(1, 200_000)])
OTHERS = [image(REPOSITORY, f"3.{number}", seed=number) for number in range(1, 5)]
OBJECTS = 1 + len(IMAGE.blobs)
USER, PASSWORD, WRONG = "robot", "correct horse battery staple", "hunter2"
USERS = {USER: PASSWORD}


def registry(name: str, auth: TokenServer | BasicAuth | None = None) -> FakeRegistry:
    """With all the images, each name at an address of its own: the good one shares nothing with the bad."""
    made = FakeRegistry(name, auth=auth, host="127.0.0.2" if name == "good" else "127.0.0.1")
    for one in (IMAGE, *OTHERS):
        made.add(one)
    return made


def realm_cases(row: str, *named: str) -> list[Case[ApplyTokens]]:
    return [case for case in REALM if case.row == row and (not named or case.name in named)]


# -- A1, A2, A3: the realm ---------------------------------------------------------------------------

A1_REASONS = {"unreachable": "refused", "answers 403": "denied", "answers 500": "server-error"}


@pytest.mark.parametrize("case", realm_cases("A1", *A1_REASONS), ids=str)
async def test_a1_a_realm_in_trouble_costs_no_time_and_at_the_most_a_try_for_each_object(
    tmp_path: Path, case: Case[ApplyTokens]
) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        case.apply(realm)
        async with trial(tmp_path, [bad, good]) as endured:
            for one in (IMAGE, OTHERS[0]):
                await endured.pull(one)
                await endured.assert_endured(
                    bad,
                    reasons=[A1_REASONS[case.name]],
                    requests_max=OBJECTS,
                    seconds_max=0.1,
                    holds=[one],
                )
                assert len(realm.requests) <= OBJECTS


async def test_a1_a_realm_that_stalls_is_overtaken_and_not_waited_for_again(tmp_path: Path) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        realm.script(faults.silence())
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)  # 2 s until another is asked for the manifest, 5 s for a blob
            await endured.assert_endured(
                bad, reasons=["beaten"], requests_max=OBJECTS, seconds_max=7.1, holds=[IMAGE]
            )
            await endured.pull(OTHERS[0])
            await endured.assert_endured(bad, reasons=["beaten"], requests_max=OBJECTS, seconds_max=0.1)
            assert len(realm.requests) <= 2


async def test_a1_a_realm_that_two_hosts_share_costs_one_time_out_and_not_two(tmp_path: Path) -> None:
    async with (
        BlackHole(host="127.0.0.3") as hole,
        registry("bad") as bad,
        registry("like it") as alike,
        registry("good") as good,
    ):
        for one in (bad, alike):
            one.script(faults.bearer_at(f"{hole.url}/token"))
        async with trial(tmp_path, [bad, alike, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["connect-timeout"], requests_max=1, seconds_max=3.1, holds=[IMAGE]
            )
            await endured.assert_endured(
                alike, reasons=["connect-timeout"], requests_max=OBJECTS, seconds_max=3.1
            )


@pytest.mark.parametrize("case", realm_cases("A2", "access_token only", "token only"), ids=str)
async def test_a2_either_name_of_the_token_does(tmp_path: Path, case: Case[ApplyTokens]) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        case.apply(realm)
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.1, holds=[IMAGE]
            )
            assert (len(realm.requests), good.requests) == (1, [])


@pytest.mark.parametrize(
    "case", realm_cases("A2", "no token", "empty token", "page", "error document"), ids=str
)
async def test_a2_an_answer_without_a_token_leads_to_the_next_host(
    tmp_path: Path, case: Case[ApplyTokens]
) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        case.apply(realm)
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["not-a-registry"], requests_max=OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )
            assert len(realm.requests) <= OBJECTS


LIFETIMES = dict(zip(EXPIRES_IN, (60.0, 10.0, 10.0, 86_400.0, 60.0), strict=True))


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(faults.json_fields(expires_in=value), seconds) for value, seconds in LIFETIMES.items()]
    + [(faults.json_fields(issued_at=value), 300.0) for value in ISSUED_AT],
    ids=[f"expires_in {value!r}" for value in EXPIRES_IN] + list(ISSUED_AT),
)
async def test_a3_a_token_is_believed_for_as_long_as_it_says_within_bounds_by_our_own_clock(
    tmp_path: Path, fault: Fault, seconds: float
) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad:
        realm.script(fault)
        async with trial(tmp_path, [bad]) as endured:
            await endured.pull(IMAGE)
            for number, (later, fetched) in enumerate(((seconds - 1.0, 1), (2.0, 2))):
                endured.later(later)
                await endured.pull(OTHERS[number])
                assert len(realm.requests) == fetched
            await endured.assert_endured(
                bad, reasons=[], requests_max=1 + OBJECTS * 3, seconds_max=0.1, holds=[IMAGE, *OTHERS[:2]]
            )
        assert bad.count(kind="challenge") == 1  # nothing was sent with a token that had come to its end


# -- A4, A5: tokens that do not last, or do not do ---------------------------------------------------

BLOBS = 30


def of_many_layers() -> Image:
    return image(REPOSITORY, "many", layers=[random_layer(seed, 3_000) for seed in range(BLOBS - 1)])


async def test_a4_a_token_that_ends_before_the_thirtieth_blob_is_renewed_once(tmp_path: Path) -> None:
    many = of_many_layers()
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        bad.add(many)
        async with trial(tmp_path, [bad, good]) as endured:
            assert (await endured.ask(f"/v2/{REPOSITORY}/manifests/many")).body == many.raw
            for number, blob in enumerate(many.blobs):
                if number == BLOBS - 1:
                    realm.expire_all()
                assert (await endured.ask(f"/v2/{REPOSITORY}/blobs/{blob.digest}")).body == blob.read()
            await endured.assert_endured(
                bad, reasons=[], requests_max=1 + BLOBS + 2, seconds_max=0.1, holds=[many]
            )
        assert (len(realm.requests), good.requests) == (2, [])


async def test_a4_a_token_that_ends_under_thirty_requests_at_once_is_renewed_once(tmp_path: Path) -> None:
    many = of_many_layers()
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        bad.add(many)
        async with trial(tmp_path, [bad, good]) as endured:
            assert (await endured.ask(f"/v2/{REPOSITORY}/manifests/many")).body == many.raw
            realm.expire_all()
            await endured.pull(many)
            await endured.assert_endured(
                bad, reasons=[], requests_max=2 + 2 * BLOBS, seconds_max=0.1, holds=[many]
            )
        assert (len(realm.requests), good.requests) == (2, [])


async def test_a5_a_token_that_is_never_good_enough_is_fetched_twice_for_an_object_at_the_most(
    tmp_path: Path,
) -> None:
    async with TokenServer() as realm, registry("bad") as bad, registry("good") as good:
        bad.script(faults.bearer_at(realm.realm))
        async with trial(tmp_path, [bad, good]) as endured:
            for one in (IMAGE, OTHERS[0]):  # the denial is remembered, so the second costs nothing
                await endured.pull(one)
                await endured.assert_endured(
                    bad, reasons=["denied"], requests_max=3 * OBJECTS, seconds_max=0.1, holds=[one]
                )
                assert len(realm.requests) <= 2 * OBJECTS


# -- A6, A7: challenges --------------------------------------------------------------------------------

A6_REASONS = dict.fromkeys(CHALLENGES, "denied") | {"several": "refused"}  # its realm is where nobody listens


@pytest.mark.parametrize("name", CHALLENGES)
async def test_a6_a_challenge_that_cannot_be_answered_leads_to_the_next_host(
    tmp_path: Path, name: str
) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.script(faults.unauthorized(*CHALLENGES[name]))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=[A6_REASONS[name]], requests_max=OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )


async def test_a6_of_several_challenges_the_one_that_can_be_answered_is(tmp_path: Path) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        bad.script(faults.second_header("WWW-Authenticate", "Negotiate"), on=Match(kind="challenge"))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=[], requests_max=OBJECTS + 1, seconds_max=0.1, holds=[IMAGE]
            )
            assert good.requests == []


async def test_a7_a_realm_that_is_blocked_leads_to_the_next_host_and_is_named(tmp_path: Path) -> None:
    """The mirror itself answers; its realm is another's, where every packet is dropped."""
    async with BlackHole(host="127.0.0.3") as hole, registry("bad") as bad, registry("good") as good:
        bad.script(faults.bearer_at(f"{hole.url}/token"))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            await endured.assert_endured(
                bad, reasons=["connect-timeout"], requests_max=OBJECTS, seconds_max=3.1, holds=[IMAGE]
            )
            assert f"its tokens come from {hole.netloc}, which is silent" in endured.written()


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/token", "file:///etc/passwd", "http://a:b@127.0.0.1/"]
)
async def test_a7_a_realm_where_nobody_may_go_is_not_dialled(tmp_path: Path, realm: str) -> None:
    async with registry("bad") as bad, registry("good") as good:
        bad.script(faults.unauthorized(f'Bearer realm="{realm}"'))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(IMAGE)
            reason = "blocked-address" if "169.254" in realm else "protocol"
            await endured.assert_endured(
                bad, reasons=[reason], requests_max=OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )


# -- A8, A9, A10: whose login, and what for ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["basic", "token"])
async def test_a8_a_wrong_password_is_tried_once_and_told_once(tmp_path: Path, kind: str) -> None:
    async with TokenServer(users=USERS, anonymous=False) as realm, registry("good") as good:
        guard = realm if kind == "token" else BasicAuth(USERS)
        async with registry("bad", guard) as bad:
            host = Host.from_url(bad.url, username=USER, password=Secret(WRONG))
            async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
                for one in (IMAGE, *OTHERS[:2]):
                    await endured.pull(one)
                    await endured.assert_endured(
                        bad, reasons=["login"], requests_max=2, seconds_max=0.1, holds=[one]
                    )
                assert _tried(bad, realm) == 1
                assert endured.written().count("was refused") == 1
                endured.later(REFUSED_SECONDS)
                await endured.pull(OTHERS[3])
                assert _tried(bad, realm) == 2
                assert WRONG not in endured.written()


def _tried(bad: FakeRegistry, realm: TokenServer) -> int:
    """How often the password was sent: each time may be the one that locks the account."""
    return sum("authorization" in request.headers for request in (*bad.requests, *realm.requests))


async def test_a9_what_a_client_logs_in_with_goes_nowhere(tmp_path: Path) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        bad.script(faults.status(503), on=Match(kind="blob"))
        async with trial(tmp_path, [bad, good]) as endured:
            for path in (f"manifests/{IMAGE.tag}", *(f"blobs/{blob.digest}" for blob in IMAGE.blobs)):
                for header in ("Authorization", "Proxy_Authorization", "Cookie"):
                    answer = await endured.ask(
                        f"/v2/{REPOSITORY}/{path}", **{header: "Basic Z2hvc3Q6c2VjcmV0"}
                    )
                    assert answer.status == 200
            await endured.assert_endured(
                bad, reasons=["server-error"], requests_max=1 + OBJECTS, seconds_max=0.1, holds=[IMAGE]
            )
            assert "Z2hvc3Q6c2VjcmV0" not in endured.written()
        for request in (*bad.requests, *realm.requests, *good.requests):
            assert not any("Z2hvc3Q6c2VjcmV0" in value for value in request.headers.values())
            assert not {"cookie", "proxy-authorization"} & request.headers.keys()


MINE = image("mycorp/app", "1", seed=7)
GUESSED = "repository:library/mycorp/app:pull"  # as mirrors do that know Docker Hub alone


@pytest.mark.parametrize("realm_says", ["401", "a token for what was named"])
async def test_a10_a_scope_that_is_not_what_was_asked_for_leads_to_the_next_host(
    tmp_path: Path, realm_says: str
) -> None:
    async with TokenServer() as realm, registry("bad", realm) as bad, registry("good") as good:
        bad.add(MINE), good.add(MINE)
        challenge = f'Bearer realm="{realm.realm}",service="fake",scope="{GUESSED}"'
        bad.script(faults.header("WWW-Authenticate", challenge), on=Match(kind="challenge"))
        if realm_says == "401":
            realm.script(faults.status(401))
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(MINE)
            await endured.assert_endured(
                bad, reasons=["denied"], requests_max=3 * OBJECTS, seconds_max=0.1, holds=[MINE]
            )
            assert len(realm.requests) <= 2 * OBJECTS
            asked = len(bad.requests)
            endured.later(200.0)  # a denial is remembered for longer
            await endured.pull(MINE)
            assert len(bad.requests) == asked
