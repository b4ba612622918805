"""How registries ask for a login, and what to send in return: without any input or output.

:func:`authorize` is a generator that yields what to do next (send the request with this
Authorization, fetch a token) and is sent what came of it; :func:`fetch_token` does the same for one
token. So the rules can be read and tested without a socket. Guarantees: nothing that a challenge
says raises anything but :class:`~sampan.errors.HostError`; at most two tokens are fetched for one
request; a password goes only to the host it was configured for, or to a realm of the same operator.

Rules: distribution's "Token Authentication Specification" and "OAuth2"; RFC 9110 section 11.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from sampan.errors import Denied, HostError, NotARegistry, RateLimited, ServerFault, printable
from sampan.upstream.url import Url, parse_url, registrable_domain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sampan.secret import Secret

CHALLENGE_CHARACTERS_MAX = 8192
CHALLENGES_MAX = 16
PARAMETER_CHARACTERS_MAX = 2048
TOKEN_CHARACTERS_MAX = 14 * 1024  # must fit into a header; ECR's and GitHub's have some thousand
TOKEN_FETCHES_MAX = 2  # one, and one more when the first was refused: never a loop
EXPIRES_SECONDS_DEFAULT = 60.0  # the specification's, for answers without expires_in
EXPIRES_SECONDS_MIN, EXPIRES_SECONDS_MAX = 10.0, 24 * 3600.0
CLIENT_ID = "sampan"

_SPACE = re.compile(r"[\s,]*")
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = re.compile(
    rf'({_WORD})[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))', re.ASCII | re.DOTALL
)
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|\Z)", re.ASCII)
_TOKEN68 = re.compile(r"[ \t]++[A-Za-z0-9._~+/-]++=*+(?=[ \t]*+(?:,|\Z))", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Credential:
    """A login: user and password, or one of the two kinds of token that ``docker login`` keeps.

    ``identity_token`` is exchanged for tokens (OAuth2); ``registry_token`` is sent as it is.
    """

    username: str = ""
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None

    @property
    def basic(self) -> str | None:
        """The Authorization value for Basic, None when there is no password."""
        if self.password is None:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password.reveal()}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in; ``scheme`` and the names of ``parameters`` are lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What a token is good for; never used for anything else. ``host`` is the name of a Host."""

    host: str
    realm: Url
    service: str
    scope: str


@dataclass(frozen=True, slots=True)
class Basic:
    """Remembered of a host that wants user and password with every request."""


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` is the bearer token; ``lifetime_seconds`` counts from its receipt."""

    text: str
    lifetime_seconds: float

    def __repr__(self) -> str:
        return f"Token(…, {self.lifetime_seconds:g} s)"


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request so; the answer is the WWW-Authenticate values of a 401, None for all else."""

    authorization: str | None
    way: TokenKey | Basic | None  # what made it, to be remembered when it is let in


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a token; the answer is its text. ``refused``: the one that was not let in, not to be reused."""

    key: TokenKey
    refused: str | None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to send to a realm; the answer is a :class:`TokenReply`."""

    method: str
    url: Url
    authorization: str | None
    form: bytes | None


@dataclass(frozen=True, slots=True)
class TokenReply:
    status: int
    body: bytes
    retry_after_seconds: float | None = None


Authorizing = Generator[Send | Fetch, "list[str] | str | None", None]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges in the WWW-Authenticate headers ``values``. What cannot be read is left out."""
    found: list[Challenge] = []
    for value in values:
        text, position = value[:CHALLENGE_CHARACTERS_MAX], 0
        parameters: dict[str, str] | None = None
        while len(found) <= CHALLENGES_MAX:
            position = _end(_SPACE.match(text, position), position)
            if parameters is not None and (match := _PARAMETER.match(text, position)):
                quoted = match[2] is not None
                content = _ESCAPE.sub(r"\1", match[2]) if quoted else match[3]
                parameters.setdefault(match[1].lower(), content[:PARAMETER_CHARACTERS_MAX])
                position = match.end()
            elif match := _SCHEME.match(text, position):
                parameters = {}
                found.append(Challenge(match[1].lower(), parameters))
                position = _end(_TOKEN68.match(text, match.end()), match.end())
            else:
                position = text.find(",", position)
                if position < 0:
                    break
    return found[:CHALLENGES_MAX]


def authorize(
    host: str, base: Url, scope: str, credential: Credential | None, remembered: TokenKey | Basic | None
) -> Authorizing:
    """One request to the host named ``host`` at ``base``, until it is let in. Raises Denied and others.

    ``scope`` is asked for where the challenge names none; ``remembered`` is the way that let the last
    request in, so that this one need not be refused first.
    """
    token: str | None = None
    fetches = 0
    send = Send(None, None)
    if isinstance(remembered, TokenKey):
        answer = yield Fetch(remembered, None)
        token, fetches = str(answer), 1
        send = Send(f"Bearer {token}", remembered)
    elif isinstance(remembered, Basic) and credential is not None and credential.basic:
        send = Send(credential.basic, remembered)
    while True:
        headers = yield send
        if not isinstance(headers, list):
            return
        challenge = _choose(base, parse_challenges(headers), credential)
        if challenge.scheme == "basic":
            if credential is None or send.authorization == credential.basic:
                raise _refused(base, credential)
            send = Send(credential.basic, Basic())
            continue
        if fetches == TOKEN_FETCHES_MAX or (credential is not None and credential.registry_token and token):
            raise _refused(base, None)
        key = _key(host, base, challenge, scope)
        if credential is not None and credential.registry_token is not None:
            token = credential.registry_token.reveal()
        else:
            answer = yield Fetch(key, token)
            token, fetches = str(answer), fetches + 1
        send = Send(f"Bearer {token}", key if credential is None or not credential.registry_token else None)


def way_in(
    host: str, base: Url, scope: str, credential: Credential | None, headers: Iterable[str]
) -> TokenKey | Basic | None:
    """What the challenges ``headers`` ask for, so that the next request, for ``scope``, need not be refused
    first; None: nothing that can be given. Raises NotARegistry for a realm that must not be asked.
    """
    try:
        challenge = _choose(base, parse_challenges(headers), credential)
    except Denied:
        return None
    if challenge.scheme == "basic":
        return Basic()
    if credential is not None and credential.registry_token is not None:
        return None
    asked = {key: value for key, value in challenge.parameters.items() if key != "scope"}
    return _key(host, base, Challenge(challenge.scheme, asked), scope)


def fetch_token(key: TokenKey, credential: Credential | None) -> Generator[TokenRequest, TokenReply, Token]:
    """Asks the realm of ``key`` for a token; ``credential`` must be one that the realm may see."""
    if credential is not None and credential.identity_token is not None:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credential.identity_token.reveal(),
            "service": key.service,
            "client_id": CLIENT_ID,
            "scope": key.scope,
        }
        reply = yield TokenRequest("POST", key.realm, None, urlencode(form).encode())
    else:
        query = [("service", key.service)] if key.service else []
        query += [("scope", part) for part in key.scope.split(" ") if part]
        joint = "&" if "?" in key.realm.target else "?"
        url = key.realm.at(f"{key.realm.target}{joint}{urlencode(query)}") if query else key.realm
        reply = yield TokenRequest("GET", url, credential.basic if credential else None, None)
    if reply.status != 200:
        raise _realm_fault(key, reply, logged_in=credential is not None)
    return _token(key, reply.body)


def may_see_credentials(base: Url, realm: Url) -> bool:
    """Whether the login for a host at ``base`` may be sent to ``realm``: the same machine, or a name that
    the same operator registered; never in the clear when the host is not.
    """
    if base.scheme == "https" and realm.scheme != "https":
        return False
    return base.host == realm.host or (
        base.address is None
        and realm.address is None
        and registrable_domain(base.host) == registrable_domain(realm.host)
    )


def _choose(base: Url, challenges: list[Challenge], credential: Credential | None) -> Challenge:
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return challenge
    for challenge in challenges:
        if challenge.scheme == "basic":
            if credential is not None and credential.basic is not None:
                return challenge
            raise Denied(
                f"{base.netloc}: it wants a login, and none is configured", outcome="denied", status=401
            )
    schemes = printable(
        ", ".join(dict.fromkeys(c.scheme for c in challenges)) or "nothing", characters_max=80
    )
    raise Denied(
        f"{base.netloc}: 401, and no way to log in that is known here (it offers {schemes})",
        outcome="denied",
        status=401,
    )


def _key(host: str, base: Url, challenge: Challenge, scope: str) -> TokenKey:
    named = challenge.parameters.get("scope") or scope
    service = challenge.parameters.get("service", "")
    try:
        realm = parse_url(challenge.parameters["realm"])
        if realm.scheme == "http" and base.scheme == "https":
            raise ValueError("its scheme is http, the host's is https")
        if not _PRINTABLE.fullmatch(named) or not _PRINTABLE.fullmatch(service):
            raise ValueError("control characters")
    except ValueError as error:
        raise NotARegistry(
            f"{base.netloc}: realm refused: {error}", outcome="protocol", status=401
        ) from error
    return TokenKey(host, realm, service, named)


def _refused(base: Url, credential: Credential | None) -> Denied:
    if credential is not None:
        return Denied(
            f"{base.netloc}: the login for user {credential.username!r} was refused",
            outcome="login",
            status=401,
            hint="check the user and password of this host",
        )
    # After a token this says "no such repository" as often as "not for you": Docker Hub does.
    return Denied(f"{base.netloc}: 401 in spite of a fresh token", outcome="denied", status=401)


def _realm_fault(key: TokenKey, reply: TokenReply, *, logged_in: bool) -> HostError:
    said = said_in(reply.body)
    message = (
        f"{key.host}: token service {key.realm.netloc} answered {reply.status}{': ' + said if said else ''}"
    )
    if reply.status == 429:
        return RateLimited(
            message, outcome="rate-limited", status=429, retry_after_seconds=reply.retry_after_seconds
        )
    if reply.status >= 500 or reply.status in (408, 425):
        return ServerFault(message, outcome="server-error", status=reply.status)
    if reply.status in (400, 401, 403, 404):
        # 400 is OAuth2's answer to a refresh token that is no longer good.
        return Denied(message, outcome="login" if logged_in else "denied", status=reply.status)
    return NotARegistry(message, outcome="protocol", status=reply.status)


def _token(key: TokenKey, body: bytes) -> Token:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for name in ("token", "access_token"):
            text = document.get(name)
            if isinstance(text, str) and len(text) <= TOKEN_CHARACTERS_MAX and _TOKEN.fullmatch(text):
                return Token(text, _lifetime(document.get("expires_in")))
    raise NotARegistry(
        f"{key.host}: token service {key.realm.netloc} answered without a token", outcome="not-a-registry"
    )


def _lifetime(expires_in: object) -> float:
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)) or expires_in != expires_in:
        return EXPIRES_SECONDS_DEFAULT
    return float(min(max(expires_in, EXPIRES_SECONDS_MIN), EXPIRES_SECONDS_MAX))


def said_in(body: bytes) -> str:
    """What an error's body says, for people: the messages of the spec's JSON, or its first characters."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        errors = document.get("errors")
        parts = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else [document]
        said = [str(p.get(k)) for p in parts[:3] for k in ("code", "message", "error", "details") if p.get(k)]
        text = ": ".join(said) or text
    return printable(" ".join(text[:1000].split()))


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return match.end() if match else otherwise
