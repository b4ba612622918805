"""The 26 faults by which pull clients are compared: a bad first host, then a good one.

A client is right when it ends up with the newest image, every byte of it. Lines of the published table
that name several statuses are several faults here:

 1 connection refused            10 lying Docker-Content-Digest      19 blob truncated
 2 manifest 403                  11 HEAD not allowed                 20 blob without its body
 3 manifest 404                  12 manifest in gzip                 21 reset in mid-blob
 4 manifest 500                  13 stale tag                        22 one bit flipped
 5 manifest 429                  14 blob 403                         23 10 bytes short
 6 manifest is a page            15 blob 404                         24 blob redirected to nowhere
 7 realm refused                 16 blob 502                         25 blob stalls
 8 realm says 403                17 blob 429                         26 manifest stalls
 9 manifest without its digest   18 blob is a page
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.testing import faults
from sampan.testing.catalogue import BLOB, HEAD, MANIFEST, Apply, refuses, scripted, serves_older
from sampan.testing.match import Match

if TYPE_CHECKING:
    from sampan.testing.images import Image
    from sampan.testing.registry import FakeRegistry

STALL_BYTES = 50_000
SHORT_BYTES = 10
REALM_PATH = "/token"


def _realm_says_403(registry: FakeRegistry, _image: Image) -> None:
    at_realm = Match(when=lambda request: request.path == REALM_PATH)
    registry.script(faults.status(403), on=at_realm)
    registry.script(faults.bearer_at(registry.url + REALM_PATH))


FAULT_TABLE: tuple[tuple[str, Apply], ...] = (
    ("connection refused", refuses),
    ("manifest 403", scripted(faults.denied(), MANIFEST)),
    ("manifest 404", scripted(faults.status(404), MANIFEST)),
    ("manifest 500", scripted(faults.status(500), MANIFEST)),
    ("manifest 429", scripted(faults.rate_limited(), MANIFEST)),
    ("manifest 200 HTML", scripted(faults.page(), MANIFEST)),
    ("realm refused", scripted(faults.bearer_at(faults.UNREACHABLE_URL + REALM_PATH))),
    ("realm says 403", _realm_says_403),
    ("manifest without digest", scripted(faults.no_header("Docker-Content-Digest"), MANIFEST)),
    ("manifest lying digest", scripted(faults.lying_digest(), MANIFEST)),
    ("HEAD 405", scripted(faults.status(405), HEAD)),
    ("manifest gzip", scripted(faults.gzip_encoded(), MANIFEST)),
    ("stale tag", serves_older),
    ("blob 403", scripted(faults.denied(), BLOB)),
    ("blob 404", scripted(faults.status(404), BLOB)),
    ("blob 502", scripted(faults.status(502), BLOB)),
    ("blob 429", scripted(faults.rate_limited(), BLOB)),
    ("blob 200 HTML", scripted(faults.page(), BLOB)),
    ("blob truncated", scripted(faults.truncated(), BLOB)),
    ("blob empty", scripted(faults.empty(), BLOB)),
    ("blob reset", scripted(faults.resets(), BLOB)),
    ("blob bit flipped", scripted(faults.flipped_bit(), BLOB)),
    ("blob 10 bytes short", scripted(faults.short_by(SHORT_BYTES), BLOB)),
    ("blob 307 to nowhere", scripted(faults.redirect(f"{faults.UNREACHABLE_URL}/data"), BLOB)),
    ("blob stalls", scripted(faults.stalls(STALL_BYTES), BLOB)),
    ("manifest stalls", scripted(faults.silence(), MANIFEST)),
)
