"""Logging in as Docker's classic store and containers/image do: the challenge is that of ``/v2/``, and a
token is fetched before the first request that needs it.

What is printed of a realm that fails is the caller's: here are the request and its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from urllib.parse import quote_plus

from sampan.doctor.chain.contract import Answer, Ask, Entry
from sampan.upstream.auth import Challenge, parse_challenges


class TokenFailed(Exception):
    """``text`` of what went wrong; the ``answer`` of the realm, where there is one."""

    def __init__(self, text: str, ask: Ask | None = None, answer: Answer | None = None) -> None:
        super().__init__(text)
        self.text, self.ask, self.answer = text, ask, answer


class SimpleLogin:
    """The login at one host. ``verified`` is what newer programs make of an error of a certificate."""

    def __init__(self, scope: str, verified: Callable[[str], str]) -> None:
        self.scope = scope
        self.verified = verified
        self._challenge: Challenge | None = None
        self._token: str | TokenFailed | None = None

    def learn(self, answer: Answer) -> None:
        """``answer`` is the 401 of ``/v2/``."""
        text = answer.headers.get("www-authenticate", "")
        found = [each for each in parse_challenges([text]) if each.scheme == "bearer"]
        self._challenge = found[0] if found else None

    def authorize(self, entry: Entry) -> Generator[Ask, Answer, str | None]:
        """The Authorization for a request. Raises TokenFailed."""
        if self._challenge is None:
            return None
        if self._token is None:
            try:
                self._token = yield from self._fetch(entry, self._challenge)
            except TokenFailed as error:
                self._token = error
        if isinstance(self._token, TokenFailed):
            raise self._token
        return f"Bearer {self._token}"

    def _fetch(self, entry: Entry, challenge: Challenge) -> Generator[Ask, Answer, str]:
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        query = [f"scope={quote_plus(self.scope)}"] + ([f"service={quote_plus(service)}"] if service else [])
        ask = Ask(entry, "token", "GET", f"{realm}{'&' if '?' in realm else '?'}{'&'.join(query)}")
        answer = yield ask
        if answer.failure is not None:
            raise TokenFailed(f'Get "{ask.url}": {self.verified(answer.failure)}', ask, answer)
        if answer.status != 200:
            raise TokenFailed("", ask, answer)
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
        except (ValueError, RecursionError, AttributeError):
            token = None
        if not isinstance(token, str) or not token:
            raise TokenFailed("authorization server did not include a token in the response", ask)
        return token
