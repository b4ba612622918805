"""How containerd's resolver logs in: a token for a 401, kept for a host, asked for before the next request.

The rules of distribution's token authentication are :mod:`sampan.upstream.auth`'s; here is what this program
makes of them, and what it prints. It shows a login of its files to any realm that a host names; who replays
it is more careful (:mod:`.replay`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from sampan.doctor.chain.contract import Answer, Ask, Chain, Entry, Login
from sampan.doctor.chain.dialect import Dialect
from sampan.doctor.chain.words import Denied, Failed, first_message, no_answer, token_refused
from sampan.upstream.auth import Challenge, parse_challenges

_POST_REFUSED = (400, 401, 404, 405)  # realms that know only GET


@dataclass(slots=True)
class _Handler:
    """What is known of a host's way to log in. ``token``: None before it was asked for."""

    challenge: Challenge
    basic: str | None = None
    tokens: dict[str, str | Failed] = field(default_factory=dict)


@dataclass(slots=True)
class Logins:
    """All that one pull knows of logging in."""

    chain: Chain
    dialect: Dialect
    scope: str
    _handlers: dict[str, _Handler] = field(default_factory=dict)

    def authorize(self, entry: Entry) -> Generator[Ask, Answer, str | None]:
        """The Authorization for the next request to ``entry``. Raises Failed."""
        handler = self._handlers.get(entry.netloc)
        if handler is None or handler.basic is not None:
            return None if handler is None else handler.basic
        named = handler.challenge.parameters.get("scope", "")
        scopes = " ".join(sorted({*named.split(), self.scope} - {""}))
        if scopes not in handler.tokens:
            try:
                handler.tokens[scopes] = yield from self._token(entry, handler.challenge, scopes)
            except Failed as error:
                handler.tokens[scopes] = error
        token = handler.tokens[scopes]
        if isinstance(token, Failed):
            raise token.within(f"failed to authorize: {token.text}")
        return f"Bearer {token}"

    def learn(self, entry: Entry, answers: Sequence[Answer]) -> bool:
        """Whether the last of ``answers``, a 401, makes another try worth it. Raises Failed."""
        for challenge in parse_challenges(_lines(answers[-1])):
            if challenge.scheme == "bearer":
                return self._learn_bearer(entry, challenge, answers)
            if challenge.scheme == "basic" and entry.login is not None:
                self._handlers[entry.netloc] = _Handler(challenge, _basic(entry.login))
                return True
            if challenge.scheme == "basic" and self.dialect.names_method:
                raise Denied("authorization failed: no basic auth credentials")
        return False

    def _learn_bearer(self, entry: Entry, challenge: Challenge, answers: Sequence[Answer]) -> bool:
        reason = challenge.parameters.get("error")
        if reason and len(answers) > 1:
            self._handlers.pop(entry.netloc, None)
            raise Denied(f"server message: {reason}: authorization failed")
        if reason:
            self._handlers.pop(entry.netloc, None)
        self._handlers.setdefault(entry.netloc, _Handler(challenge))
        return True

    def _token(self, entry: Entry, challenge: Challenge, scopes: str) -> Generator[Ask, Answer, str]:
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        if not realm:
            raise Failed("no realm specified for token auth challenge")
        if entry.login is None:
            try:
                return (yield from self._get_token(entry, realm, service, scopes, None))
            except Failed as error:
                raise error.within(f"failed to fetch anonymous token: {error.text}") from error
        try:
            return (yield from self._post_token(entry, realm, service, scopes, entry.login))
        except Failed as error:
            raise error.within(f"failed to fetch oauth token: {error.text}") from error

    def _get_token(
        self, entry: Entry, realm: str, service: str, scopes: str, basic: str | None
    ) -> Generator[Ask, Answer, str]:
        joint = "&" if "?" in realm else "?"
        query = [f"scope={quote_plus(scope)}" for scope in scopes.split()]
        query += [f"service={quote_plus(service)}"] if service else []
        ask = Ask(entry, "token", "GET", f"{realm}{joint}{'&'.join(query)}", authorization=basic)
        return self._read(ask, (yield ask))

    def _post_token(
        self, entry: Entry, realm: str, service: str, scopes: str, login: Login
    ) -> Generator[Ask, Answer, str]:
        fields = {"client_id": "containerd-client", "grant_type": "password"}
        fields |= {"password": login.password.reveal(), "scope": scopes, "service": service}
        fields |= {"username": login.username}
        form = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())
        ask = Ask(entry, "token", "POST", realm, form=form.encode())
        answer = yield ask
        if answer.status in _POST_REFUSED:
            return (yield from self._get_token(entry, realm, service, scopes, _basic(login)))
        return self._read(ask, answer)

    def _read(self, ask: Ask, answer: Answer) -> str:
        if answer.failure is not None:
            raise Failed(no_answer(ask, self.chain.verified(answer.failure), self.dialect))
        if answer.status is None or not 200 <= answer.status < 400:
            text = token_refused(ask, answer, self.dialect)
            raise Failed(text, has_status=True, said=first_message(answer.body))
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
        except (ValueError, RecursionError, AttributeError):
            raise Failed(f"unable to decode token response: {_go_json(answer.body)}") from None
        if not isinstance(token, str) or not token:
            raise Failed("authorization server did not include a token in the response")
        return token


def _lines(answer: Answer) -> list[str]:
    found = answer.headers.get("www-authenticate")
    return [] if found is None else [found]


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password.reveal()}".encode()).decode()


def _go_json(body: bytes) -> str:
    """What Go's decoder says of what is no JSON: it stops at the first wrong character."""
    text = body.decode("utf-8", "replace").lstrip()
    if not text:
        return "EOF"
    return f"invalid character '{text[0]}' looking for beginning of value"
