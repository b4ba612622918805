"""Logging in: the realm that gives out Bearer tokens, and the two ways in which a registry asks for it.

A token lets its bearer at the repositories of its scopes until it expires by the clock. Names and
passwords are checked where users are configured; nothing here is safe, it is a fake.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from sampan.testing.server import FakeServer
from sampan.testing.wire import Reply, Request, error_reply, json_reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping

    from sampan.clock import Clock

TOKEN_SECONDS = 300.0  # as Docker Hub's

_SCOPE = re.compile(r"repository:(?P<name>[^:]+):(?P<actions>[a-z*,]+)")


class Guard(Protocol):
    """What stands before a registry."""

    def challenge(self, request: Request) -> Reply | None:
        """The 401 that a request without the right credentials gets; None: it may pass."""


class BasicAuth:
    """Name and password with every request."""

    def __init__(self, users: Mapping[str, str], *, realm: str = "fake registry") -> None:
        self.users = dict(users)
        self._challenge = f'Basic realm="{realm}"'

    def challenge(self, request: Request) -> Reply | None:
        if basic_user(request.headers.get("authorization"), self.users) is not None:
            return None
        return error_reply(
            401, "UNAUTHORIZED", "authentication required", (("WWW-Authenticate", self._challenge),)
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is good for."""

    user: str | None
    repositories: frozenset[str]
    expires_at: float


class TokenServer(FakeServer):
    """A realm at ``/token`` (GET, or POST as OAuth2), and the guard of the registry that trusts it.

    Without ``users`` everybody gets tokens. With them, nobody is anonymous unless ``anonymous``, and
    the repositories in ``private`` need a name in any case. A scope that is not allowed is left out of
    the token, as real realms do, and the registry then refuses the token.
    """

    def __init__(
        self,
        name: str = "tokens",
        *,
        users: Mapping[str, str] | None = None,
        anonymous: bool | None = None,
        private: Collection[str] = (),
        service: str = "fake",
        lifetime_seconds: float = TOKEN_SECONDS,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        hostname: str | None = None,
        clock: Clock | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(name, host=host, port=port, tls=tls, hostname=hostname, clock=clock, strict=strict)
        self.users = dict(users or {})
        self.anonymous = users is None if anonymous is None else anonymous
        self.private = frozenset(private)
        self.service = service
        self.lifetime_seconds = lifetime_seconds
        self.grants: dict[str, Grant] = {}
        self._serial = itertools.count(1)

    @property
    def realm(self) -> str:
        """The URL that challenges name."""
        return f"{self.url}/token"

    def expire_all(self) -> None:
        """Make every token given out so far useless."""
        self.grants.clear()

    def answer(self, request: Request) -> Reply:
        if request.path != "/token":
            return error_reply(404, "UNKNOWN", "no such page")
        request.kind = "token"
        user, scopes, named = self._asked(request)
        if user is None and (named or not self.anonymous):
            return error_reply(401, "UNAUTHORIZED", "incorrect username or password")
        return self._issue(user, scopes)

    def challenge(self, request: Request) -> Reply | None:
        """The guard's part: a registry asks whether the request carries a token that is good for it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self.grants.get(token) if scheme.lower() == "bearer" else None
        if grant is None or grant.expires_at <= self.clock.monotonic():
            return self._refusal(request, "invalid_token" if token else None)
        if request.name and request.name not in grant.repositories:
            return self._refusal(request, "insufficient_scope")
        return None

    def _asked(self, request: Request) -> tuple[str | None, tuple[str, ...], bool]:
        """The user if the password is right, the scopes, and whether any name was given."""
        if request.method == "POST":
            form = parse_qs(request.body.decode("utf-8", "replace"))
            name, password = form.get("username", [""])[0], form.get("password", [""])[0]
            right = bool(name) and self.users.get(name) == password
            return name if right else None, tuple(" ".join(form.get("scope", [])).split()), bool(name)
        header = request.headers.get("authorization")
        scopes = " ".join(request.query_values("scope")).split()
        return basic_user(header, self.users), tuple(scopes), header is not None

    def _issue(self, user: str | None, scopes: tuple[str, ...]) -> Reply:
        asked = {found["name"] for scope in scopes if (found := _SCOPE.fullmatch(scope))}
        allowed = frozenset(name for name in asked if user is not None or name not in self.private)
        token = f"fake-token-{next(self._serial)}-{self.port}"
        self.grants[token] = Grant(user, allowed, self.clock.monotonic() + self.lifetime_seconds)
        issued = datetime.fromtimestamp(self.clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = {"token": token, "access_token": token, "expires_in": int(self.lifetime_seconds)}
        return json_reply(200, document | {"issued_at": issued})

    def _refusal(self, request: Request, error: str | None) -> Reply:
        parts = [f'realm="{self.realm}"', f'service="{self.service}"']
        parts += [f'scope="repository:{request.name}:pull"'] if request.name else []
        parts += [f'error="{error}"'] if error else []
        challenge = "Bearer " + ",".join(parts)
        return error_reply(401, "UNAUTHORIZED", "authentication required", (("WWW-Authenticate", challenge),))


def basic_user(header: str | None, users: Mapping[str, str]) -> str | None:
    """The user whose right password an Authorization header carries."""
    scheme, _, packed = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name if name in users and users[name] == password else None
