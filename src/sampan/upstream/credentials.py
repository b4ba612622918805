"""Logins from the files that Docker and Podman keep, for the hosts they were made for.

Guarantee: a login belongs to the host it was stored under, and is found for no other (that of Docker
Hub never for its mirrors); nothing here raises because such a file or a credential program is
broken: that is logged once, and the host is asked anonymously. Secrets are never logged.

Looked at in this order: the mirror's own ``username`` and ``password``; the ``logins`` that were passed in,
by host; ``REGISTRY_AUTH_FILE``;
Docker's ``config.json`` (``credHelpers``, then ``auths``, then ``credsStore``); Podman's
``containers/auth.json``. The environment is passed in.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sampan.child import Child
from sampan.oci.reference import DOCKER_HUB, credential_keys, origin_url
from sampan.secret import Secret
from sampan.upstream.auth import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sampan.clock import Clock
    from sampan.upstream.host import Host

FILE_BYTES_MAX = 1024 * 1024
HELPER_SECONDS = 5.0  # some ask a key ring that asks a person who is not there
HELPER_BYTES_MAX = 64 * 1024
ANSWER_SECONDS = 600.0  # how long a program's answer is believed; ECR's logins last 12 h
_HELPER = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)  # becomes part of a program's name
_TOKEN_USER = "<token>"  # noqa: S105 - how a helper says that its secret is an identity token

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _File:
    """A config file as last read; ``stamp`` tells whether it has changed since."""

    path: Path
    stamp: tuple[int, int] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


class CredentialFiles:
    """``paths`` in the order in which they are believed; ``environment`` is what helpers run with;
    ``logins`` by the host's name, ``docker.io`` for Docker Hub."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        *,
        environment: Mapping[str, str],
        clock: Clock,
        logins: Mapping[str, Credential] = MappingProxyType({}),
    ) -> None:
        self._logins = logins
        self._files = [_File(path) for path in paths]
        self._environment = dict(environment)
        self._clock = clock
        self._answers: dict[tuple[str, str], tuple[float, Credential | None]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._broken: dict[str, float] = {}
        self._warned: set[str] = set()

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        *,
        clock: Clock,
        logins: Mapping[str, Credential] = MappingProxyType({}),
    ) -> CredentialFiles:
        """The usual places, by ``REGISTRY_AUTH_FILE``, ``DOCKER_CONFIG``, ``HOME``, ``XDG_RUNTIME_DIR``."""
        paths = []
        if named := environment.get("REGISTRY_AUTH_FILE"):
            paths.append(Path(named))
        if docker := environment.get("DOCKER_CONFIG"):
            paths.append(Path(docker) / "config.json")
        elif home := environment.get("HOME"):
            paths.append(Path(home) / ".docker" / "config.json")
        if runtime := environment.get("XDG_RUNTIME_DIR"):
            paths.append(Path(runtime) / "containers" / "auth.json")
        return cls(tuple(paths), environment=environment, clock=clock, logins=logins)

    async def lookup(self, host: Host, repository: str) -> Credential | None:
        """The login for ``repository`` (as the host calls it) at ``host``; None: go as anybody."""
        if host.username is not None:
            return Credential(host.username, host.password)
        keys = keys_of(host)
        if (named := next((key for key in keys if key in self._logins), None)) is not None:
            return self._logins[named]
        for file in self._files:
            credential = await self._in_file(self._read(file), keys, repository)
            if credential is not None:
                return credential
        return None

    # -- files -------------------------------------------------------------------------------------

    async def _in_file(
        self, content: Mapping[str, Any], keys: tuple[str, ...], repository: str
    ) -> Credential | None:
        helpers = _mapping(content.get("credHelpers"))
        for key in keys:
            if key in helpers:
                return await self._ask(helpers[key], key)
        auths = _mapping(content.get("auths"))
        for key in _with_paths(keys, repository):
            credential = self._parse(auths.get(key), key)
            if credential is not None:
                return credential
        store = content.get("credsStore")
        if store:
            # `docker login` leaves an empty entry behind: it says under which key the store has it.
            listed = [key for key in keys if key in auths]
            for key in listed or keys[:1]:
                credential = await self._ask(store, key)
                if credential is not None:
                    return credential
        return None

    def _read(self, file: _File) -> Mapping[str, Any]:
        try:
            status = file.path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == file.stamp:
                return file.content
            file.stamp, file.content = stamp, {}
            if status.st_size > FILE_BYTES_MAX:
                raise ValueError("it is too large")
            file.content = _object(file.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            file.stamp, file.content = None, {}
        except (OSError, ValueError, RecursionError) as error:
            file.content = {}
            reason = error.strerror if isinstance(error, OSError) else "not a JSON object of usual size"
            self._warn(f"{file.path}: logins cannot be read: {reason}")
        return file.content

    def _parse(self, entry: object, key: str) -> Credential | None:
        fields = _mapping(entry)
        if token := _text(fields, "identitytoken"):
            return Credential(identity_token=Secret(token))
        if token := _text(fields, "registrytoken"):
            return Credential(registry_token=Secret(token))
        if packed := _text(fields, "auth"):
            pair = _pair(packed)
            if pair is None:
                self._warn(f"the login stored for {key} is not base64 of user:password")
            return pair
        username, password = _text(fields, "username"), _text(fields, "password")
        return Credential(username, Secret(password)) if username and password else None

    # -- credential programs -----------------------------------------------------------------------

    async def _ask(self, name: object, server: str) -> Credential | None:
        if not isinstance(name, str) or not _HELPER.fullmatch(name):
            self._warn("a credential helper whose name is not of a-z, 0-9 and - is not run")
            return None
        async with self._asking.setdefault(name, asyncio.Lock()):
            now = self._clock.monotonic()
            if now < self._broken.get(name, 0.0):
                return None
            known = self._answers.get((name, server))
            if known is not None and now < known[0]:
                return known[1]
            try:
                credential = await self._run(name, server)
            except (OSError, ValueError, TimeoutError, RecursionError) as error:
                self._broken[name] = now + ANSWER_SECONDS
                self._warn(f"docker-credential-{name}: {_why(error)}; going on without")
                return None
            self._answers[name, server] = (now + ANSWER_SECONDS, credential)
            return credential

    async def _run(self, name: str, server: str) -> Credential | None:
        """Raises OSError, TimeoutError, and ValueError for an answer that is none."""
        program = shutil.which(f"docker-credential-{name}", path=self._environment.get("PATH"))
        if program is None:
            raise FileNotFoundError("it is not installed")
        helper = Child(
            [program, "get"],
            environ=self._environment,
            given=server.encode(),
            said_bytes_max=HELPER_BYTES_MAX,
            hears_errors=False,
        )
        async with asyncio.timeout(HELPER_SECONDS), helper:
            ended = await helper.ended()
        if ended.code != 0:
            return None  # this is how "not found" is said
        document = _object(ended.output)
        username, secret = _text(document, "Username"), _text(document, "Secret")
        if not secret:
            raise ValueError("no Secret in its answer")
        if username == _TOKEN_USER:
            return Credential(identity_token=Secret(secret))
        return Credential(username, Secret(secret))

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("%s", message)


def keys_of(host: Host) -> tuple[str, ...]:
    """Under which keys a login for ``host`` may be stored: its own name's, and nobody else's."""
    if host.url == origin_url(DOCKER_HUB):
        return credential_keys(DOCKER_HUB)
    return credential_keys(host.base.netloc)


def _with_paths(keys: tuple[str, ...], repository: str) -> Iterator[str]:
    """Podman stores logins for paths too; the longest that fits is the one that is meant."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        for key in keys:
            if "/" not in key:
                yield f"{key}/{'/'.join(parts[:count])}"
    yield from keys


def _pair(packed: str) -> Credential | None:
    try:
        username, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Credential(username, Secret(password.rstrip("\0"))) if colon else None


def _object(data: bytes) -> dict[str, Any]:
    """``data`` as a JSON object; ValueError, RecursionError when it is none."""
    document: object = json.loads(data)
    if isinstance(document, dict):
        return document
    raise ValueError("not an object")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {HELPER_SECONDS:g} s"
    if isinstance(error, json.JSONDecodeError):
        return "its answer is not JSON"
    return str(error)
