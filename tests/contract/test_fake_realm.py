"""The token realm and what asks for its tokens: who gets in, how far, and until when."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contract.raw_client import Seen, ask
from sampan.testing import BasicAuth, FakeRegistry, ManualClock, TokenServer, image
from sampan.testing.catalogue import REALM, ApplyTokens, Case

MANIFEST = "/v2/a/b/manifests/1"
SCOPE = "/token?service=fake&scope=repository:a/b:pull"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def token(tokens: TokenServer, target: str = SCOPE, headers: dict[str, str] | None = None) -> str:
    seen = await ask(tokens, target, headers=headers)
    assert seen.status == 200
    text: str = json.loads(seen.body)["token"]
    return text


async def with_token(registry: FakeRegistry, text: str, target: str = MANIFEST) -> Seen:
    return await ask(registry, target, headers={"Authorization": f"Bearer {text}"})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def tokens(clock: ManualClock) -> AsyncIterator[TokenServer]:
    async with TokenServer(users={"ann": "secret"}, anonymous=True, private={"x/y"}, clock=clock) as tokens:
        yield tokens


@pytest_asyncio.fixture
async def registry(tokens: TokenServer) -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry(auth=tokens) as registry:
        registry.add(image("a/b", "1"))
        registry.add(image("x/y", "1"))
        yield registry


async def test_a_request_without_a_token_is_told_where_to_get_one(
    registry: FakeRegistry, tokens: TokenServer
) -> None:
    seen = await ask(registry, MANIFEST)
    assert seen.status == 401
    assert seen.header("WWW-Authenticate") == (
        f'Bearer realm="{tokens.url}/token",service="fake",scope="repository:a/b:pull"'
    )
    assert registry.count("challenge") == 1
    assert registry.count("manifest") == 0


async def test_the_base_endpoint_asks_for_a_token_without_a_scope(
    registry: FakeRegistry, tokens: TokenServer
) -> None:
    assert "scope" not in str((await ask(registry, "/v2/")).header("WWW-Authenticate"))
    assert (await with_token(registry, await token(tokens, "/token"), "/v2/")).status == 200


async def test_a_token_opens_the_repository_of_its_scope_and_no_other(
    registry: FakeRegistry, tokens: TokenServer
) -> None:
    text = await token(tokens)
    assert (await with_token(registry, text)).status == 200
    other = await with_token(registry, text, "/v2/x/y/manifests/1")
    assert other.status == 401
    assert 'error="insufficient_scope"' in str(other.header("WWW-Authenticate"))


async def test_one_token_can_have_several_scopes(registry: FakeRegistry, tokens: TokenServer) -> None:
    target = f"{SCOPE}&scope=repository:x/y:pull"
    text = await token(tokens, target, basic("ann", "secret"))
    assert (await with_token(registry, text)).status == 200
    assert (await with_token(registry, text, "/v2/x/y/manifests/1")).status == 200


async def test_a_private_repository_opens_only_to_a_user(registry: FakeRegistry, tokens: TokenServer) -> None:
    target = SCOPE.replace("a/b", "x/y")
    private = "/v2/x/y/manifests/1"
    assert (await with_token(registry, await token(tokens, target), private)).status == 401
    named = await token(tokens, target, basic("ann", "secret"))
    assert (await with_token(registry, named, private)).status == 200


async def test_a_wrong_password_gets_no_token(tokens: TokenServer) -> None:
    assert (await ask(tokens, SCOPE, headers=basic("ann", "guess"))).status == 401
    assert (await ask(tokens, SCOPE, headers=basic("bob", "secret"))).status == 401
    assert (await ask(tokens, SCOPE, headers={"Authorization": "Basic ~~~"})).status == 401


async def test_a_token_ends_when_it_was_said_to(
    registry: FakeRegistry, tokens: TokenServer, clock: ManualClock
) -> None:
    text = await token(tokens)
    clock.advance(299)
    assert (await with_token(registry, text)).status == 200
    clock.advance(1)
    late = await with_token(registry, text)
    assert (late.status, 'error="invalid_token"' in str(late.header("WWW-Authenticate"))) == (401, True)


async def test_all_tokens_can_be_made_useless_at_once(registry: FakeRegistry, tokens: TokenServer) -> None:
    text = await token(tokens)
    tokens.expire_all()
    assert (await with_token(registry, text)).status == 401


async def test_the_answer_of_the_realm_has_what_clients_look_for(tokens: TokenServer) -> None:
    document = json.loads((await ask(tokens, SCOPE)).body)
    assert document["token"] == document["access_token"]
    assert document["expires_in"] == 300
    assert document["issued_at"] == "1970-01-12T13:46:40Z"
    assert (await ask(tokens, "/elsewhere")).status == 404
    assert tokens.count("token") == 1


async def test_the_realm_takes_the_oauth2_form_too(registry: FakeRegistry) -> None:
    form = "grant_type=password&username=ann&password=secret&scope=repository:x/y:pull"
    async with TokenServer(users={"ann": "secret"}) as tokens:
        registry.auth = tokens
        for text, status in ((form, 200), (form.replace("secret", "guess"), 401), ("", 401)):
            seen = await ask(tokens, "/token", "POST", body=text)
            assert seen.status == status
            if status == 200:
                opened = await with_token(registry, json.loads(seen.body)["token"], "/v2/x/y/manifests/1")
                assert opened.status == 200


async def test_nobody_is_anonymous_where_there_are_users() -> None:
    async with TokenServer(users={"ann": "secret"}) as tokens:
        assert (await ask(tokens, SCOPE)).status == 401


async def test_a_mirror_with_a_prefix_has_it_in_its_scopes() -> None:
    async with TokenServer() as tokens, FakeRegistry(prefix="docker.io", auth=tokens) as registry:
        registry.add(image("a/b", "1"))
        seen = await ask(registry, "/v2/docker.io/a/b/manifests/1")
        assert 'scope="repository:docker.io/a/b:pull"' in str(seen.header("WWW-Authenticate"))


async def test_a_name_and_a_password_can_be_asked_for_each_time() -> None:
    async with FakeRegistry(auth=BasicAuth({"ann": "secret"})) as registry:
        refused = await ask(registry, "/v2/")
        assert (refused.status, refused.header("WWW-Authenticate")) == (401, 'Basic realm="fake registry"')
        assert (await ask(registry, "/v2/", headers=basic("ann", "secret"))).status == 200
        assert (await ask(registry, "/v2/", headers=basic("ann", "guess"))).status == 401


@pytest.mark.parametrize("case", [case for case in REALM if case.name != "unreachable"], ids=str)
async def test_every_case_of_the_realm_changes_its_answer(
    tokens: TokenServer, case: Case[ApplyTokens]
) -> None:
    case.apply(tokens)
    seen = await ask(tokens, SCOPE)
    assert tokens.count("token", fault_met=True) == 1
    if seen.raw and seen.status == 200 and seen.header("Content-Type") == "application/json":
        json.loads(seen.body)


async def test_a_realm_can_refuse_connections(tokens: TokenServer) -> None:
    REALM[0].apply(tokens)
    with pytest.raises(ConnectionRefusedError):
        await ask(tokens, SCOPE)
