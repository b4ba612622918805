"""A digest: the name that content has because of what it is (``sha256:9f86…``).

Guarantees that every :class:`Digest` in existence is one that can be checked and is safe as a part of
a file's path or a URL: a known algorithm, and exactly as many lower-case hexadecimal digits as it has.
It does not read files and does not decide what is hashed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.errors import InvalidDigest, printable
from sampan.words import sentence

if TYPE_CHECKING:
    from hashlib import _Hash as Hasher

DIGEST_CHARACTERS_MAX = 7 + 128  # "sha512:" and its digits: anything longer is refused unread

# The two algorithms that the image spec registers and that every registry accepts.
_HEX = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}
ALGORITHMS = tuple(_HEX)
DIGEST = "(?:" + "|".join(f"{name}:{digits.pattern}" for name, digits in _HEX.items()) + ")"


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``algorithm`` is ``sha256`` or ``sha512``; ``hex`` its digits. Raises :class:`InvalidDigest`."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        digits = _HEX.get(self.algorithm)
        if digits is None:
            raise InvalidDigest(
                sentence(
                    "unsupported digest algorithm: {algorithm!r}",
                    algorithm=printable(self.algorithm, characters_max=40),
                ),
                hint=sentence("use one of {names}", names=", ".join(ALGORITHMS)),
            )
        if digits.fullmatch(self.hex) is None:
            raise InvalidDigest(_what_is_wrong(self.algorithm, self.hex))

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """``text`` as a digest, exactly as written: nothing is trimmed or lower-cased."""
        if len(text) > DIGEST_CHARACTERS_MAX:
            raise InvalidDigest(
                sentence(
                    "a digest has at most {limit} characters, got {number}",
                    limit=DIGEST_CHARACTERS_MAX,
                    number=len(text),
                )
            )
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise InvalidDigest(
                sentence("not a digest: {text!r}", text=printable(text)),
                hint=sentence("a digest looks like sha256:<64 hexadecimal digits>"),
            )
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        hasher = new_hasher(algorithm)
        hasher.update(data)
        return cls.from_hasher(hasher)

    @classmethod
    def from_hasher(cls, hasher: Hasher) -> Digest:
        """The digest of all that ``hasher`` has been fed so far; it may be fed on."""
        return cls(hasher.name, hasher.hexdigest())


def new_hasher(algorithm: str) -> Hasher:
    """A fresh running hash for ``algorithm``. Raises :class:`InvalidDigest` for one we do not know."""
    if algorithm not in _HEX:
        raise InvalidDigest(
            sentence(
                "unsupported digest algorithm: {algorithm!r}",
                algorithm=printable(algorithm, characters_max=40),
            )
        )
    return hashlib.new(algorithm)


def _what_is_wrong(algorithm: str, digits: str) -> str:
    wanted = {"sha256": 64, "sha512": 128}[algorithm]
    if len(digits) != wanted:
        return sentence(
            "{algorithm} has {wanted} hexadecimal digits, got {number}",
            algorithm=algorithm,
            wanted=wanted,
            number=len(digits),
        )
    if digits != digits.lower():
        return sentence("the digits of a digest are lower case: {digits!r}", digits=printable(digits))
    return sentence("not hexadecimal: {digits!r}", digits=printable(digits))
