"""How the versions of containerd's resolver differ in what they ask and in what they say.

Every line here was seen with the real programs: 1.6.20, 1.7.24 and 2.1.9 (tests/golden/chain).
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.runtimes.contract import Version

_2 = Version(2)
_2_1 = Version(2, 1)
_1_7 = Version(1, 7)
_DOCKER_28 = Version(28)


@dataclass(frozen=True, slots=True)
class Dialect:
    """``ranks``: an answer with a status stands above one without, and 404 between them; else the first error
    that is not 404 counts. ``retries_last``: 500, 503 and 504 of the last host are asked once more.
    ``redacts``: queries are hidden where no answer came. ``names_method``: errors say HEAD or GET and the
    URL; else they name the host. ``adds_body``: behind an error comes what the registry said on a new line.
    """

    ranks: bool
    retries_last: bool
    redacts: bool
    names_method: bool
    adds_body: bool

    def short_read(self, got: int, wanted: int) -> str:
        """A body that ends before it should."""
        if self.ranks:
            return f"short read: expected {wanted} bytes but got {got}: unexpected EOF"
        return "failed to read expected number of bytes: unexpected EOF"


def dialect_for(version: Version | None, *, beside: bool = False) -> Dialect:
    """That of ``version``; unknown is taken for the newest. ``beside``: it is Docker's, whose engine since 28
    has the resolver of 2.x."""
    version = version or _2_1
    if beside:
        version = _2_1 if version >= _DOCKER_28 else _1_7
    return Dialect(
        ranks=version >= _2,
        retries_last=version >= _2_1,
        redacts=version >= _2 and not beside,
        names_method=version >= _1_7,
        adds_body=version >= _2_1,
    )
