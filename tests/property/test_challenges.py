"""Whatever a stranger writes into WWW-Authenticate, nothing but our own errors comes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import HostError
from sampan.secret import Secret
from sampan.upstream.auth import (
    CHALLENGES_MAX,
    PARAMETER_CHARACTERS_MAX,
    Credential,
    Fetch,
    TokenKey,
    TokenReply,
    authorize,
    fetch_token,
    parse_challenges,
    said_in,
)
from sampan.upstream.url import parse_url

WORDS = st.sampled_from(
    [
        "Bearer",
        "Basic",
        "realm",
        "service",
        "scope",
        "=",
        '"',
        ",",
        " ",
        "\\",
        "\t",
        "https://a.io/t",
        "x",
        "\x00",
        "é",
    ]
)
NEARLY = st.lists(WORDS, max_size=40).map("".join)
ANYTHING = st.one_of(st.text(max_size=200), NEARLY)
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0189-_.", min_size=1, max_size=20)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
BASE = parse_url("https://a.io")


@given(st.lists(ANYTHING, max_size=4))
def test_any_text_is_read_without_an_error_and_within_limits(headers: list[str]) -> None:
    found = parse_challenges(headers)
    assert len(found) <= CHALLENGES_MAX
    for challenge in found:
        assert challenge.scheme == challenge.scheme.lower()
        assert all(len(value) <= PARAMETER_CHARACTERS_MAX for value in challenge.parameters.values())


@given(TOKEN, st.dictionaries(TOKEN.map(str.lower), VALUE, min_size=1, max_size=5))
def test_what_is_written_by_the_rules_is_read_back(scheme: str, parameters: dict[str, str]) -> None:
    quoted = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in parameters.items()}
    header = f"{scheme} " + ", ".join(f'{k}="{v}"' for k, v in quoted.items())
    (challenge,) = parse_challenges([header])
    assert challenge.scheme == scheme.lower()
    assert dict(challenge.parameters) == parameters


@given(st.lists(st.lists(ANYTHING, max_size=3), max_size=8), st.booleans())
def test_a_dialogue_ends_and_fails_only_with_our_own_errors(
    answers: list[list[str]], logged_in: bool
) -> None:
    credential = Credential("u", Secret("p")) if logged_in else None
    flow = authorize("h", BASE, "repository:x:pull", credential, None)
    step, fetches = next(flow), 0
    try:
        for headers in answers:
            while isinstance(step, Fetch):
                fetches += 1
                step = flow.send(f"token{fetches}")
            step = flow.send(headers)
    except HostError:
        pass
    assert fetches <= 2


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_answer_of_a_realm_is_a_token_or_one_of_our_errors(status: int, body: bytes) -> None:
    flow = fetch_token(TokenKey("h", parse_url("https://a.io/t?x=1"), "s", "repository:x:pull"), None)
    next(flow)
    with pytest.raises((StopIteration, HostError)) as caught:
        flow.send(TokenReply(status, body))
    if isinstance(caught.value, StopIteration):
        assert caught.value.value.text
    else:
        assert str(caught.value)


@given(st.binary(max_size=500))
def test_any_error_body_is_told_in_few_printable_words(body: bytes) -> None:
    text = said_in(body)
    assert len(text) <= 201
    assert "\x1b" not in text
