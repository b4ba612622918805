"""Logging in to hosts: tokens shared, renewed and forgotten in time; refused passwords not repeated.

Guarantee: however many requests need the same token at one time, one fetch gets it, and it goes on
when any one of those that wait gives up. The rules of the dialogue are in ``auth.py``; here are the
memory and the requests to realms. Nothing is fetched before a host asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sampan.errors import Denied, HostError, TimedOut
from sampan.oci.headers import parse_retry_after
from sampan.upstream.auth import (
    Basic,
    Credential,
    Fetch,
    Send,
    TokenKey,
    TokenReply,
    authorize,
    fetch_token,
    may_see_credentials,
    way_in,
)
from sampan.upstream.call import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sampan.clock import Clock
    from sampan.upstream.auth import Token, TokenRequest
    from sampan.upstream.budget import Budget
    from sampan.upstream.host import Host
    from sampan.upstream.response import Response
    from sampan.upstream.transport import Transport

TOKEN_SECONDS = 10.0  # one token, from the first byte to the last
TOKEN_BYTES_MAX = 64 * 1024
TOKENS_MAX = 10_000  # names of repositories come from strangers
REFUSED_SECONDS = 300.0  # some directories lock an account after a few wrong passwords
REALM_REST_SECONDS = 10.0  # a realm that cost one host a time-out costs no other host another
REALMS_MAX = 1000  # strangers may name them

_log = logging.getLogger(__name__)


class Credentials(Protocol):
    """Where logins come from: see ``credentials.py``."""

    async def lookup(self, host: Host, repository: str) -> Credential | None: ...


@dataclass(frozen=True, slots=True)
class _SilentRealm:
    """It cost ``host`` the time-out ``error``; the others take that as their answer until then."""

    until: float
    host: str
    error: HostError

    def error_for(self, host: Host) -> HostError:
        said = f"{host.name}: not asked again yet, for it was silent to {self.host}: {self.error.message}"
        return type(self.error)(said, outcome=self.error.outcome)


class Login:
    """The memory of all hosts' tokens. Lives on one event loop. ``actions``: what tokens are asked for
    where a host does not say it itself; ``budget``: where refusals of theirs count, if anywhere."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        clock: Clock,
        *,
        actions: str = "pull",
        budget: Budget | None = None,
    ) -> None:
        self._actions = actions
        self._budget = budget
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._tokens: dict[TokenKey, tuple[str, float]] = {}
        self._fetching: dict[TokenKey, asyncio.Task[str]] = {}
        self._ways: dict[tuple[str, str], TokenKey | Basic] = {}
        self._refused: dict[tuple[str, Credential], float] = {}
        self._silent: dict[str, _SilentRealm] = {}

    async def send(
        self, host: Host, repository: str, send: Callable[[str | None], Awaitable[Response]]
    ) -> Response:
        """The answer to ``send`` (which is given the Authorization), logged in where the host wants it.

        ``repository`` is as the host calls it. Raises Denied and whatever ``send`` and realms raise.
        """
        credential = await self._credential(host, repository)
        room = (host.name, repository)
        flow = authorize(host.name, host.base, self._scope(repository), credential, self._ways.get(room))
        answer: list[str] | str | None = None
        try:
            step: Send | Fetch = next(flow)
            while True:
                if isinstance(step, Fetch):
                    answer = await self._token(host, step, credential)
                else:
                    response = await send(step.authorization)
                    if response.status != 401 or response.url.origin != host.base.origin:
                        # The 401 of a redirect's target is not the host's: its realm gets nothing.
                        self._remember(room, step.way)
                        return response
                    answer = response.headers("WWW-Authenticate")
                    await response.discard()
                step = flow.send(answer)
        except HostError as error:
            self._ways.pop(room, None)  # a realm that moved must not be asked for ever
            if error.outcome == "login" and credential is not None:
                self._refuse(host, credential)
            raise
        finally:
            flow.close()

    async def expect(self, host: Host, repository: str, headers: Iterable[str]) -> str | None:
        """``host`` asks for a login with the challenges ``headers``: the next request for ``repository`` is
        not refused first. The realm of its tokens, as a machine's name. Raises NotARegistry, Denied.
        """
        credential = await self._credential(host, repository)
        way = way_in(host.name, host.base, self._scope(repository), credential, headers)
        self._remember((host.name, repository), way)
        return way.realm.netloc if isinstance(way, TokenKey) else None

    def _scope(self, repository: str) -> str:
        return f"repository:{repository}:{self._actions}"

    async def close(self) -> None:
        """Stops what is still being fetched."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- tokens ------------------------------------------------------------------------------------

    async def _token(self, host: Host, step: Fetch, credential: Credential | None) -> str:
        known = self._tokens.get(step.key)
        if known is not None and self._clock.monotonic() < known[1] and known[0] != step.refused:
            return known[0]
        self._check_realm(host, step.key.realm.netloc)
        fetching = self._fetching.get(step.key)
        if fetching is None:
            fetching = asyncio.create_task(self._fetch(host, step.key, credential))
            self._fetching[step.key] = fetching
            fetching.add_done_callback(lambda task: self._is_fetched(step.key, task))
        # It goes on when those who wait have left, for another host was quicker: the next one to ask has
        # what became of it, a token or a failure, and does not begin to wait anew.
        return await asyncio.shield(fetching)

    def _is_fetched(self, key: TokenKey, task: asyncio.Task[str]) -> None:
        self._fetching.pop(key, None)
        if not task.cancelled():
            task.exception()  # perhaps nobody else asks for it

    async def _fetch(self, host: Host, key: TokenKey, credential: Credential | None) -> str:
        shown = credential if may_see_credentials(host.base, key.realm) else None
        if credential is not None and shown is None:
            _log.warning("%s: its login is not shown to the realm %s", host.name, key.realm.netloc)
        token = await self._in_time(host, key, shown)
        if len(self._tokens) >= TOKENS_MAX:
            self._tokens.clear()
        self._tokens[key] = (token.text, self._clock.monotonic() + token.lifetime_seconds)
        return token.text

    async def _in_time(self, host: Host, key: TokenKey, credential: Credential | None) -> Token:
        realm = key.realm.netloc
        try:
            async with asyncio.timeout(TOKEN_SECONDS):
                token = await self._converse(host, key, credential)
        except TimeoutError as error:
            late = TimedOut(
                f"{host.name}: no token from {realm} within {TOKEN_SECONDS:g} s", outcome="first-byte-timeout"
            )
            self._is_silent(realm, host, late)
            raise late from error
        except HostError as error:
            if error.is_dear:
                self._is_silent(realm, host, error)
            raise
        self._silent.pop(realm, None)
        return token

    def _check_realm(self, host: Host, realm: str) -> None:
        """Once a realm that does not answer has cost a time-out, no other host waits for it as well. The one
        that found out may ask again: how soon, what is remembered of the host tells."""
        known = self._silent.get(realm)
        if known is not None and known.host != host.name and self._clock.monotonic() < known.until:
            raise known.error_for(host)

    def _is_silent(self, realm: str, host: Host, error: HostError) -> None:
        if len(self._silent) >= REALMS_MAX:
            self._silent.clear()
        _log.warning("%s: its tokens come from %s, which is silent: %s", host.name, realm, error.message)
        until = self._clock.monotonic() + REALM_REST_SECONDS
        self._silent[realm] = _SilentRealm(until, host.name, error)

    async def _converse(self, host: Host, key: TokenKey, credential: Credential | None) -> Token:
        flow = fetch_token(key, credential)
        step = next(flow)
        while True:
            reply = await self._ask_realm(host, step)
            try:
                step = flow.send(reply)
            except StopIteration as done:
                token: Token = done.value
                return token

    async def _ask_realm(self, host: Host, request: TokenRequest) -> TokenReply:
        headers = {"Accept": "application/json"}
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        call = Call(request.method, headers, request.authorization, request.form, TOKEN_SECONDS, login=True)
        try:
            async with await self._transport.request(host, request.url, call) as response:
                if self._budget is not None:
                    self._budget.answered(host, response.status)
                body = await response.read(TOKEN_BYTES_MAX)
                wait = parse_retry_after(response.header("Retry-After"), self._clock.time())
                return TokenReply(response.status, body, wait)
        except HostError as error:
            error.args = (f"{host.name}: token service: {error.message}",)
            raise

    # -- what is remembered ------------------------------------------------------------------------

    async def _credential(self, host: Host, repository: str) -> Credential | None:
        credential = await self._credentials.lookup(host, repository)
        if credential is None:
            return None
        until = self._refused.get((host.name, credential))
        if until is not None and self._clock.monotonic() < until:
            raise Denied(
                f"{host.name}: its login was refused a short while ago and is not tried again yet",
                outcome="login",
                status=401,
                hint="check the user and password of this host",
            )
        return credential

    def _refuse(self, host: Host, credential: Credential) -> None:
        _log.warning("%s: the login of user %r was refused", host.name, credential.username)
        self._refused[host.name, credential] = self._clock.monotonic() + REFUSED_SECONDS

    def _remember(self, room: tuple[str, str], way: TokenKey | Basic | None) -> None:
        if way is None:
            return
        if len(self._ways) >= TOKENS_MAX:
            self._ways.clear()
        self._ways[room] = way
