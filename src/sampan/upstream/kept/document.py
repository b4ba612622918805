"""The document itself: its parts, what each may be, and how a host is named in it without its secrets.

Guarantees that no number and no text is accepted that the memory could not have had by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from sampan.oci.headers import WINDOW_SECONDS_MAX
from sampan.upstream.health import DENIED_SECONDS, RATE_LIMIT_SECONDS_MAX
from sampan.upstream.host import Host
from sampan.upstream.tempo import SAMPLES_MAX

VERSION: Literal[1] = 1
BYTES_MAX = 2 * 1024 * 1024
# Of each kind the newest so many: with the longest texts that comes to less than BYTES_MAX.
MACHINES_MAX = BRANCHES_MAX = 200
ROOMS_MAX = 500
SERIES_MAX = 400
OPERATORS_MAX, REFUSALS_MAX = 40, 1000  # each of these operators more often than any bans for
OPERATOR_CHARACTERS_MAX = 255
SETTINGS_CHARACTERS = 16
WRITTEN_MAX = 253_402_300_799.0  # the last second of the year 9999: what can be shown
# Fields of a host that hold a secret, or may, or say who one is.
SECRETS = ("username", "password", "headers", "proxy", "client_cert", "client_key")

Text = Annotated[str, msgspec.Meta(pattern=r"\A[!#-\[\]-~]{1,255}\Z")]  # one byte a character in JSON
Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z -]{1,40}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=2.0**40)]
Rest = Annotated[float, msgspec.Meta(ge=0, le=RATE_LIMIT_SECONDS_MAX)]


class NotKept(ValueError):
    """It is no such document, or one of another version. The text says why and is printable."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A part of the document. Fields that are not known are left alone."""


class KeptAttempt(Record, frozen=True):
    """Without what the host said: that may be long, and is for those who see it happen."""

    host: Text
    outcome: Word
    seconds: Seconds
    status: Annotated[int, msgspec.Meta(ge=100, le=999)] | None = None


class KeptBreaker(Record, frozen=True):
    """Of a machine, a branch or a room, that has failed."""

    failures: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    failed_ago: Seconds
    rest_seconds: Rest = 0.0
    opened: bool = False
    firm: bool = False
    last: KeptAttempt | None = None


class KeptMachine(Record, frozen=True):
    """All that is known of one, but for its branches."""

    url: Text
    breaker: KeptBreaker | None = None
    strikes: Count = 0
    struck_seconds: Seconds = 0.0
    verified_blobs: Count = 0
    verified_bytes: Count = 0
    bytes_per_second: Annotated[float, msgspec.Meta(ge=0, le=2.0**53)] | None = None


class KeptRefusals(Record, frozen=True):
    """When an operator refused us, the oldest first."""

    operator: Annotated[str, msgspec.Meta(min_length=1, max_length=OPERATOR_CHARACTERS_MAX)]
    refused_ago: Annotated[list[Seconds], msgspec.Meta(min_length=1, max_length=REFUSALS_MAX)]


class KeptPulls(Record, frozen=True):
    """What was left to this address, for ``seconds`` more. Of logins nothing is kept."""

    place: Text
    limit: Annotated[int, msgspec.Meta(ge=1, lt=10**9)]
    left: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=WINDOW_SECONDS_MAX)]


class KeptBranch(Record, frozen=True):
    """``place``: the URL of a machine, or the netloc of a storage that one led to."""

    place: Text
    kind: Word
    breaker: KeptBreaker


class KeptStorage(Record, frozen=True):
    """The storage behind a machine that failed last."""

    url: Text
    kind: Word
    storage: Text


class KeptRoom(Record, frozen=True):
    """``settings``: see :func:`settings_of`; ``denied``: how it was refused, for ``denied_seconds`` more."""

    host: Text
    settings: Text
    repository: Text
    kind: Word
    breaker: KeptBreaker | None = None
    denied: KeptAttempt | None = None
    denied_seconds: Annotated[float, msgspec.Meta(ge=0, le=DENIED_SECONDS)] = 0.0


class KeptSeries(Record, frozen=True):
    """How long the last answers took."""

    url: Text
    step: Word
    heard_ago: Seconds
    seconds: Annotated[list[Seconds], msgspec.Meta(max_length=SAMPLES_MAX)]


class Document(Record, frozen=True):
    """``written``: when, by the wall clock."""

    version: Literal[1]
    written: Annotated[float, msgspec.Meta(ge=0, le=WRITTEN_MAX)]
    machines: Annotated[list[KeptMachine], msgspec.Meta(max_length=MACHINES_MAX)] = []
    branches: Annotated[list[KeptBranch], msgspec.Meta(max_length=BRANCHES_MAX)] = []
    storages: Annotated[list[KeptStorage], msgspec.Meta(max_length=BRANCHES_MAX)] = []
    rooms: Annotated[list[KeptRoom], msgspec.Meta(max_length=ROOMS_MAX)] = []
    tempo: Annotated[list[KeptSeries], msgspec.Meta(max_length=SERIES_MAX)] = []
    refusals: Annotated[list[KeptRefusals], msgspec.Meta(max_length=OPERATORS_MAX)] = []
    pulls: Annotated[list[KeptPulls], msgspec.Meta(max_length=MACHINES_MAX)] = []


def settings_of(host: Host) -> str | None:
    """What tells ``host`` from one of its name with other settings; None: a secret may be among them."""
    values = {field.name: getattr(host, field.name) for field in fields(host)}
    if any(values.pop(name) for name in SECRETS):
        return None
    plain = {name: _plain(value) for name, value in values.items()}
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:SETTINGS_CHARACTERS]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value) if isinstance(value, frozenset) else value
