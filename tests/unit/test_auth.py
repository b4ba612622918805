"""The dialogue of logging in, without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from sampan.errors import Denied, HostError, NotARegistry, RateLimited, ServerFault
from sampan.secret import Secret
from sampan.upstream.auth import (
    Basic,
    Challenge,
    Credential,
    Fetch,
    Send,
    Token,
    TokenKey,
    TokenReply,
    TokenRequest,
    authorize,
    fetch_token,
    may_see_credentials,
    parse_challenges,
    said_in,
)
from sampan.upstream.url import parse_url

BASE = parse_url("https://registry-1.docker.io")
REALM = parse_url("https://auth.docker.io/token")
SCOPE = "repository:library/nginx:pull"
KEY = TokenKey("hub", REALM, "registry.docker.io", SCOPE)
BEARER = f'Bearer realm="{REALM}",service="registry.docker.io",scope="{SCOPE}"'
LOGIN = Credential("user", Secret("hunter2"))


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        (BEARER, [("bearer", {"realm": str(REALM), "service": "registry.docker.io", "scope": SCOPE})]),
        ('BEARER Realm="x" , SERVICE = "y"', [("bearer", {"realm": "x", "service": "y"})]),
        (
            'Bearer scope="repository:a:pull,push",realm="x"',
            [("bearer", {"scope": "repository:a:pull,push", "realm": "x"})],
        ),
        (
            'Basic realm="x", Bearer realm="y",service="z"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Negotiate YII==, Basic realm="a\\"b"', [("negotiate", {}), ("basic", {"realm": 'a"b'})]),
        (
            "Bearer realm=https://a.io/token,service=b",
            [("bearer", {"realm": "https://a.io/token", "service": "b"})],
        ),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ('Bearer realm="unterminated', [("bearer", {})]),
        ("", []),
        (",,,", []),
        ('="x"', []),
        ('realm="x"', []),
    ],
)
def test_a_challenge_is_read_however_it_is_written(
    header: str, challenges: list[tuple[str, dict[str, str]]]
) -> None:
    assert parse_challenges([header]) == [Challenge(scheme, values) for scheme, values in challenges]


def test_challenges_may_come_in_several_headers() -> None:
    assert [c.scheme for c in parse_challenges(["Negotiate", 'Basic realm="x"'])] == ["negotiate", "basic"]


def test_only_so_many_challenges_are_read() -> None:
    assert len(parse_challenges(["Basic realm=x, " * 1000])) == 16


def test_a_host_that_wants_no_login_gets_one_plain_request() -> None:
    flow = authorize("hub", BASE, SCOPE, LOGIN, None)
    assert next(flow) == Send(None, None)
    with pytest.raises(StopIteration):
        flow.send(None)


def test_a_bearer_challenge_is_answered_with_a_token() -> None:
    flow = authorize("hub", BASE, SCOPE, None, None)
    next(flow)
    assert flow.send([BEARER]) == Fetch(KEY, None)
    assert flow.send("t1") == Send("Bearer t1", KEY)


def test_what_let_the_last_request_in_is_used_at_once() -> None:
    flow = authorize("hub", BASE, SCOPE, None, KEY)
    assert next(flow) == Fetch(KEY, None)
    assert flow.send("t1") == Send("Bearer t1", KEY)


def test_a_token_that_has_expired_is_renewed_once_and_no_more() -> None:
    flow = authorize("hub", BASE, SCOPE, None, KEY)
    next(flow)
    flow.send("old")
    assert flow.send([BEARER]) == Fetch(KEY, "old")
    assert flow.send("new") == Send("Bearer new", KEY)
    with pytest.raises(Denied) as caught:
        flow.send([BEARER])
    assert (caught.value.outcome, caught.value.status) == ("denied", 401)


def test_a_challenge_without_a_scope_means_the_repository_that_is_asked_for() -> None:
    flow = authorize("hub", BASE, SCOPE, None, None)
    next(flow)
    fetch = flow.send([f'Bearer realm="{REALM}"'])
    assert isinstance(fetch, Fetch)
    assert (fetch.key.scope, fetch.key.service) == (SCOPE, "")


def test_a_basic_challenge_is_answered_with_the_password_and_remembered() -> None:
    flow = authorize("h", BASE, SCOPE, LOGIN, None)
    next(flow)
    expected = "Basic " + base64.b64encode(b"user:hunter2").decode()
    assert flow.send(['Basic realm="x"']) == Send(expected, Basic())
    assert next(authorize("h", BASE, SCOPE, LOGIN, Basic())) == Send(expected, Basic())


def test_a_password_that_is_refused_is_not_sent_again() -> None:
    flow = authorize("h", BASE, SCOPE, LOGIN, Basic())
    next(flow)
    with pytest.raises(Denied) as caught:
        flow.send(['Basic realm="x"'])
    assert caught.value.outcome == "login"
    assert "hunter2" not in str(caught.value)


def test_a_registry_token_is_sent_as_it_is_once() -> None:
    flow = authorize("h", BASE, SCOPE, Credential(registry_token=Secret("rt")), None)
    next(flow)
    assert flow.send([BEARER]) == Send("Bearer rt", None)
    with pytest.raises(Denied):
        flow.send([BEARER])


@pytest.mark.parametrize(
    "headers", [[], ["Negotiate"], ['Basic realm="x"'], ["Bearer"], ['Bearer service="x"'], ['"']]
)
def test_a_challenge_that_nobody_can_answer_is_a_denial(headers: list[str]) -> None:
    flow = authorize("h", BASE, SCOPE, None, None)
    next(flow)
    with pytest.raises(Denied) as caught:
        flow.send(headers)
    assert caught.value.status == 401


@pytest.mark.row("14")
@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.docker.io/token",
        "file:///etc/passwd",
        "https://u:p@a.io/",
        "https://a.io:22/",
        "nonsense",
        "https://127.1/",
    ],
)
def test_a_realm_where_nobody_may_go_is_refused(realm: str) -> None:
    flow = authorize("h", BASE, SCOPE, None, None)
    next(flow)
    with pytest.raises(NotARegistry, match="realm refused"):
        flow.send([f'Bearer realm="{realm}"'])


def test_a_plain_host_may_have_a_plain_realm() -> None:
    flow = authorize("h", parse_url("http://127.0.0.1:5000"), SCOPE, None, None)
    next(flow)
    assert isinstance(flow.send(['Bearer realm="http://127.0.0.1:5001/token"']), Fetch)


@pytest.mark.row("15")
@pytest.mark.parametrize(
    ("base", "realm", "may"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://docker.mirror.cn", "https://auth.docker.io/token", False),
        ("https://a.example.co.uk", "https://b.evil.co.uk/", False),
        ("https://one.workers.dev", "https://two.workers.dev/", False),
        ("https://10.0.0.1", "https://10.0.0.1:8443/token", True),
        ("https://10.0.0.1", "https://10.0.0.2/token", False),
        ("https://harbor", "https://evil/token", False),
        ("https://ghcr.io", "http://ghcr.io/token", False),
        ("http://ghcr.io", "https://ghcr.io/token", True),
    ],
)
def test_a_password_goes_only_to_realms_of_the_same_operator(base: str, realm: str, may: bool) -> None:
    assert may_see_credentials(parse_url(base), parse_url(realm)) is may


def ask(reply: TokenReply, credential: Credential | None = None) -> tuple[TokenRequest, Token]:
    flow = fetch_token(KEY, credential)
    request = next(flow)
    with pytest.raises(StopIteration) as done:
        flow.send(reply)
    return request, done.value.value


def token_reply(**fields: object) -> TokenReply:
    return TokenReply(200, json.dumps(fields).encode())


def test_a_token_is_asked_for_by_service_and_scope() -> None:
    request, token = ask(token_reply(token="t", expires_in=300))
    assert request.method == "GET"
    assert request.authorization is None
    assert parse_qs(request.url.target.partition("?")[2]) == {
        "service": ["registry.docker.io"],
        "scope": [SCOPE],
    }
    assert token == Token("t", 300.0)


def test_a_password_goes_to_the_realm_as_basic() -> None:
    request, _ = ask(token_reply(token="t"), LOGIN)
    assert request.authorization == LOGIN.basic


def test_an_identity_token_is_exchanged_in_a_form() -> None:
    request, token = ask(token_reply(access_token="t"), Credential(identity_token=Secret("it")))
    assert (request.method, request.authorization, request.url) == ("POST", None, REALM)
    assert parse_qs((request.form or b"").decode())["refresh_token"] == ["it"]
    assert token.text == "t"


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (None, 60.0),
        (0, 10.0),
        (-5, 10.0),
        (10**30, 86_400.0),
        ("300", 60.0),
        (True, 60.0),
        (300.5, 300.5),
        (1e400, 86_400.0),
        ([], 60.0),
    ],
)
def test_a_lifetime_is_believed_within_bounds(expires_in: object, seconds: float) -> None:
    assert ask(token_reply(token="t", expires_in=expires_in))[1].lifetime_seconds == seconds


def test_a_lifetime_that_is_no_number_is_not_believed() -> None:
    assert ask(TokenReply(200, b'{"token": "t", "expires_in": NaN}'))[1].lifetime_seconds == 60.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"token": ""}',
        b'{"token": 5}',
        b'{"token": "a b"}',
        b'{"token": "a\\r\\nX: y"}',
        b"<html>",
        b'{"errors": [{"code": "DENIED"}]}',
        b"[]",
        b"[" * 100_000,
        b"\xff",
        json.dumps({"token": "x" * 20_000}).encode(),
    ],
)
def test_an_answer_without_a_token_is_no_token_service(body: bytes) -> None:
    with pytest.raises(NotARegistry, match="without a token"):
        ask(TokenReply(200, body))


@pytest.mark.parametrize(
    ("status", "credential", "kind", "outcome"),
    [
        (401, LOGIN, Denied, "login"),
        (403, LOGIN, Denied, "login"),
        (400, Credential(identity_token=Secret("x")), Denied, "login"),
        (403, None, Denied, "denied"),
        (429, None, RateLimited, "rate-limited"),
        (503, None, ServerFault, "server-error"),
        (302, None, NotARegistry, "protocol"),
    ],
)
def test_what_a_realm_refuses_is_said_with_its_words(
    status: int, credential: Credential | None, kind: type[HostError], outcome: str
) -> None:
    with pytest.raises(kind, match=r"auth\.docker\.io.*because") as caught:
        ask(TokenReply(status, b'{"details":"because"}', 7.0), credential)
    assert caught.value.outcome == outcome


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errors":[{"code":"DENIED","message":"not allowed"}]}', "DENIED: not allowed"),
        (b'{"message":"USTCnet-only","ip":"1.2.3.4"}', "USTCnet-only"),
        (b"plain\n  text \x1b[31m", "plain text \N{REPLACEMENT CHARACTER}[31m"),
        (b"", ""),
        (b'{"errors": 5}', '{"errors": 5}'),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
    ],
)
def test_an_error_body_is_told_in_words(body: bytes, said: str) -> None:
    assert said_in(body) == said


def test_an_error_body_is_cut() -> None:
    assert len(said_in(b"x" * 60_000)) <= 201


def test_no_value_of_the_dialogue_shows_a_secret() -> None:
    shown: list[Callable[[], str]] = [lambda: repr(LOGIN), lambda: repr(Token("hunter2", 1.0))]
    assert not any("hunter2" in show() for show in shown)
