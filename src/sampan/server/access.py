"""Who may use this mirror: users of an htpasswd file with bcrypt hashes.

Guarantees that a password is compared in the time of one bcrypt, whether the user exists or not, never on
the event loop, and never kept: what is remembered for some minutes is a salted hash of the header. It does
not decide what a user may see; everybody who may log in may see everything.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from sampan.clock import Clock
from sampan.errors import ConfigError, Unauthorized

HTPASSWD_BYTES_MAX = 1024 * 1024  # some 15,000 users
REMEMBERED_SECONDS = 300.0  # as long as a registry's token lives
REFUSED_SECONDS = 10.0  # a wrong password is asked again this soon; a runtime repeats it for each layer
REMEMBERED_MAX = 1024
CHECKS_AT_ONCE = 1  # of a bcrypt each: logins must not take all cores away from serving
PASSWORD_BYTES_MAX = 72  # bcrypt reads no further, and htpasswd cuts there too

_BCRYPT = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class _Verdict:
    user: str | None
    until: float


class Access:
    """The users of one htpasswd file, and who of them was here lately."""

    def __init__(self, hashes: dict[bytes, bytes], clock: Clock) -> None:
        self._hashes = hashes
        self._clock = clock
        self._salt = os.urandom(16)
        self._nobody = bcrypt.hashpw(os.urandom(16), bcrypt.gensalt(_rounds(hashes)))
        self._verdicts: dict[bytes, _Verdict] = {}
        self._checks: dict[bytes, asyncio.Task[str | None]] = {}
        self._turn = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def login(self, authorization: str | None) -> str:
        """The user that an Authorization header proves. Raises :class:`Unauthorized`."""
        user = None
        if authorization is not None:
            key = hashlib.blake2b(authorization.encode("utf-8", "surrogateescape"), key=self._salt).digest()
            verdict = self._verdicts.get(key)
            if verdict is not None and self._clock.monotonic() < verdict.until:
                user = verdict.user
            else:
                user = await self._check_once(key, authorization)
        if user is None:
            raise Unauthorized(
                "this mirror asks for a login" if authorization is None else "wrong user or password",
                hint="the administrator of this mirror keeps its users in an htpasswd file",
            )
        return user

    async def _check_once(self, key: bytes, authorization: str) -> str | None:
        """One bcrypt for all who bring the same header at the same time."""
        check = self._checks.get(key)
        if check is None:
            check = asyncio.create_task(self._check(key, authorization))
            self._checks[key] = check
        return await asyncio.shield(check)

    async def _check(self, key: bytes, authorization: str) -> str | None:
        try:
            async with self._turn:
                user = await asyncio.to_thread(self._verify, authorization)
        finally:
            self._checks.pop(key, None)
        if len(self._verdicts) >= REMEMBERED_MAX:
            self._verdicts.clear()
        seconds = REFUSED_SECONDS if user is None else REMEMBERED_SECONDS
        self._verdicts[key] = _Verdict(user, self._clock.monotonic() + seconds)
        return user

    def _verify(self, authorization: str) -> str | None:
        pair = _parse_basic(authorization)
        if pair is None:
            return None
        name, password = pair
        known = self._hashes.get(name)
        try:
            matches = bcrypt.checkpw(password[:PASSWORD_BYTES_MAX], known or self._nobody)
        except ValueError:  # a NUL in the password, or a damaged hash
            matches = False
        return name.decode("utf-8", "replace") if matches and known else None

    async def close(self) -> None:
        """Wait for the checks under way: a bcrypt cannot be interrupted."""
        if self._checks:
            await asyncio.wait(list(self._checks.values()))


def load_htpasswd(path: str, clock: Clock) -> Access:
    """The users in the file at ``path``. Raises :class:`ConfigError` with the line that is wrong."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(HTPASSWD_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > HTPASSWD_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {HTPASSWD_BYTES_MAX} bytes")
    hashes: dict[bytes, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            name, _, hashed = entry.partition(b":")
            hashes[name] = _checked_hash(path, number, hashed)
    if not hashes:
        raise ConfigError(f"{path} names no user", hint=f"htpasswd -B {path} NAME adds one")
    return Access(hashes, clock)


def _checked_hash(path: str, number: int, hashed: bytes) -> bytes:
    if _BCRYPT.fullmatch(hashed) is None:
        raise ConfigError(
            f"{path}:{number}: expected name:hash with a bcrypt hash",
            hint=f"htpasswd -B {path} NAME writes one",
        )
    return hashed


def _rounds(hashes: dict[bytes, bytes]) -> int:
    """The cost that most of the file has, so that an unknown user takes as long as a known one."""
    costs = sorted(int(hashed[4:6]) for hashed in hashes.values())
    return costs[len(costs) // 2]


def _parse_basic(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
