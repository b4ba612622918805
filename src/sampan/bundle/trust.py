"""Whether what was opened is signed by somebody who is trusted, where that is required.

Guarantees that with keys nothing is used that none of them vouches for: an archive of another program has no
signature, so it is refused as well. There is no way to be warned and to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sampan.bundle.carried import Carried
from sampan.bundle.keys import read_public_key
from sampan.bundle.signature import check_signature
from sampan.errors import BundleUntrusted


def check_trust(carried: Carried, keys: Sequence[Path], now: datetime) -> None:
    """Raises BundleUntrusted, naming the file, when there are ``keys`` and an archive is signed by none of
    them; UsageError for a key that cannot be read."""
    trusted = [read_public_key(path) for path in keys]
    for archive in carried.archives if trusted else ():
        if archive.head is None:
            raise BundleUntrusted(
                f"{archive.name} is no bundle, so nobody has signed it, and a signature is required",
                hint="do not use it; make a bundle of the images: sampan bundle create --sign KEY",
            )
        try:
            check_signature(archive.head.signature, archive.head.bundle, trusted, now)
        except BundleUntrusted as error:
            raise BundleUntrusted(f"{archive.name}: {error.message}", hint=error.hint) from error
