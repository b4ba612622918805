"""The faults of upstream hosts that sampan is tested against, each under its number.

N is the network, H is HTTP, A is logging in, C is content. A case makes a registry (or a token realm)
misbehave towards one image; :data:`MADE_OTHERWISE` says how a test makes the faults that no script can
play. Every number is in one of the three.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from sampan.testing import faults
from sampan.testing.images import DOCKER_SCHEMA_1, Content, Image, older
from sampan.testing.match import Match
from sampan.testing.registry import FakeRegistry
from sampan.testing.tokens import TokenServer

if TYPE_CHECKING:
    from sampan.testing.fault import Fault

BASE, MANIFEST, BLOB, TAGS = (Match(kind=kind) for kind in ("base", "manifest", "blob", "tags"))
BY_TAG = Match(kind="manifest", tagged=True)
BY_DIGEST = Match(kind="manifest", tagged=False)
HEAD = Match(method="HEAD")
HTTP_DATE = "Fri, 31 Dec 2038 23:59:59 GMT"
HUB_LIMIT_SECONDS = 21_600  # six hours, as in Docker Hub's ratelimit headers
PACKET_BYTES = 1_400  # what still passes a path whose larger packets vanish
SLEEP_SECONDS = 10.0  # longer than a first byte should take, shorter than a connection lives

Apply = Callable[[FakeRegistry, Image], None]
ApplyTokens = Callable[[TokenServer], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """One variant of one row: ``apply`` scripts it. Call it in the loop that the server runs in."""

    row: str
    name: str
    apply: T

    def __str__(self) -> str:
        return f"{self.row} {self.name}"


def scripted(fault: Fault, on: Match | None = None, times: int | None = None) -> Apply:
    """Nothing but that fault on those requests."""
    return lambda registry, _image: registry.script(fault, on=on, times=times)


def told(fault: Fault) -> ApplyTokens:
    """Nothing but that fault on every request to the realm."""
    return lambda tokens: tokens.script(fault)


def refuses(registry: FakeRegistry, _image: Image) -> None:
    """Connections are refused."""
    registry.refuse()


def serves_older(registry: FakeRegistry, image: Image) -> None:
    """The tag names an older image, all of which is here."""
    registry.script(faults.stale(registry.add(older(image), tags=()).manifest))


def _resumed(fault: Callable[[Image], Fault]) -> Apply:
    """The last layer breaks off once; whoever comes back for the rest meets ``fault``."""

    def apply(registry: FakeRegistry, image: Image) -> None:
        layer = image.blobs[-1].digest
        registry.script(faults.cut_off(), on=Match(kind="blob", digest=layer, ranged=False), times=1)
        registry.script(fault(image), on=Match(kind="blob", digest=layer, ranged=True))

    return apply


def _wrong_range(start: int, more: int) -> Callable[[Image], Fault]:
    def fault(image: Image) -> Fault:
        size = image.blobs[-1].size
        return faults.wrong_range(f"bytes {start}-{size - 1}/{size + more}")

    return fault


def _wrong_size(registry: FakeRegistry, image: Image) -> None:
    document = json.loads(image.raw)
    for descriptor in document.get("layers", document.get("manifests", [])):
        descriptor["size"] += 1
    wrong = Content.of(json.dumps(document).encode(), image.manifest.media_type)
    registry.script(faults.answer_with(wrong, "wrong size"), on=BY_TAG)


def _schema_1(registry: FakeRegistry, image: Image) -> None:
    document = {"schemaVersion": 1, "name": image.repository, "tag": image.tag, "fsLayers": [], "history": []}
    content = Content.of(json.dumps(document).encode(), DOCKER_SCHEMA_1)
    registry.script(faults.answer_with(content, "schema 1"), on=MANIFEST)


def _untagged(registry: FakeRegistry, image: Image) -> None:
    if image.tag:
        registry.untag(image.repository, image.tag)


def _tags_elsewhere(registry: FakeRegistry, _image: Image) -> None:
    registry.script(faults.header("Link", '<http://192.0.2.1/v2/x/tags/list?last=a>; rel="next"'), on=TAGS)


def _tags_loop(registry: FakeRegistry, image: Image) -> None:
    link = f'</v2/{image.repository}/tags/list?n=1>; rel="next"'
    registry.script(faults.header("Link", link), on=TAGS)


NETWORK: tuple[Case[Apply], ...] = (
    Case("N1", "connection refused", refuses),
    Case("N9", "accepted, no answer", scripted(faults.silence())),
    Case("N10", "sleeps before the first byte", scripted(faults.sleeps_first(SLEEP_SECONDS), BLOB)),
    Case("N11", "stall in mid-blob", scripted(faults.stalls(), BLOB)),
    Case("N12", "trickle", scripted(faults.trickle(), BLOB)),
    Case("N13", "reset in mid-blob", scripted(faults.resets(), BLOB)),
    Case("N14", "reset after the last byte", scripted(faults.resets_at_the_end(), BLOB)),
    Case("N14", "reset after the headers", scripted(faults.resets(0), BLOB)),
    Case("N15", "keep-alive closed between requests", scripted(faults.closes_afterwards())),
    Case(
        "N16",
        "each second connection fails",
        scripted(faults.reset_before_answer(), Match(every_connection=2)),
    ),
    Case("N20", "50 KB/s", scripted(faults.bandwidth(50_000), BLOB)),
    Case("N21", "only small answers arrive", scripted(faults.stalls(PACKET_BYTES))),
)

RETRY_AFTER = (None, "7", HTTP_DATE, "1000000000", "-5", "soon")
CHALLENGES = {
    "no challenge": (),
    "malformed": ('Bearer realm="http://127.0.0.1:1/token', ", ,=,"),
    "several": ("Negotiate", 'Basic realm="x", Bearer realm="http://127.0.0.1:1/token",service="s"'),
    "Basic": ('Basic realm="x"',),
    "Negotiate": ("Negotiate",),
}
TOKEN_FIELDS = ("token", "access_token")
EXPIRES_IN = (None, 0, -1, 10**12, "300")  # None: the field is missing
ISSUED_AT = ("1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z")
CONTENT_TYPES = (
    "application/json",
    "text/plain",
    "application/octet-stream",
    "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
)

HTTP: tuple[Case[Apply], ...] = (
    Case("H1", "manifest denied", scripted(faults.denied(), MANIFEST)),
    Case("H2", "blob denied", scripted(faults.denied(), BLOB)),
    Case("H3", "403 page", scripted(faults.page(403), MANIFEST)),
    Case("H3", "404 text", scripted(faults.page(404, b"nothing here \x1b[31m", "text/plain"), MANIFEST)),
    Case("H3", "403 other JSON", scripted(faults.page(403, b'{"error": 7}', "application/json"), MANIFEST)),
    Case("H4", "manifest 404", scripted(faults.status(404), MANIFEST)),
    Case("H5", "blob 404", scripted(faults.status(404), BLOB)),
    *(Case("H6", f"Retry-After {value}", scripted(faults.rate_limited(value))) for value in RETRY_AFTER),
    Case("H7", "429 for 20 s", scripted(faults.rate_limited("20"))),
    Case(
        "H8",
        "limit nearly reached",
        scripted(faults.header("RateLimit-Remaining", f"1;w={HUB_LIMIT_SECONDS}")),
    ),
    *(
        Case("H9", f"manifest {code}", scripted(faults.status(code), MANIFEST))
        for code in (500, 502, 503, 504)
    ),
    *(Case("H9", f"blob {code}", scripted(faults.status(code), BLOB)) for code in (500, 502, 503, 504)),
    Case("H10", "manifest is a page", scripted(faults.page(), MANIFEST)),
    Case("H11", "blob is a page", scripted(faults.page(), BLOB)),
    Case("H12", "manifest is an error document", scripted(faults.error_document_with_200(), MANIFEST)),
    *(
        Case("H13", f"status {code}", scripted(faults.status_line(code)))
        for code in (204, 206, 299, 304, 799)
    ),
    Case("H13", "flood of 1xx", scripted(faults.interim_flood())),
    Case("H13", "no HTTP", scripted(faults.gibberish())),
    *(
        Case("H14", f"{code} here", scripted(faults.redirect_hops(1, code)))
        for code in (301, 302, 303, 307, 308)
    ),
    Case("H15", "redirect loop", scripted(faults.redirect_hops(1_000_000), BLOB)),
    Case("H15", "six hops", scripted(faults.redirect_hops(6), BLOB)),
    Case("H15", "no Location", scripted(faults.redirect(None), BLOB)),
    Case("H15", "relative to nowhere", scripted(faults.redirect("elsewhere"), BLOB)),
    Case("H15", "malformed Location", scripted(faults.redirect("http://[::1"), BLOB)),
    Case("H15", "data: Location", scripted(faults.redirect("data:text/plain,x"), BLOB)),
    Case("H16", "unreachable CDN", scripted(faults.redirect(f"{faults.UNREACHABLE_URL}/data"), BLOB)),
    *(Case("H20", f"HEAD {code}", scripted(faults.status(code), HEAD)) for code in (404, 405, 501)),
    Case("H21", "HEAD without Content-Length", scripted(faults.no_header("Content-Length"), HEAD)),
    Case("H21", "HEAD without digest", scripted(faults.no_header("Docker-Content-Digest"), HEAD)),
    Case("H22", "chunked blob", scripted(faults.chunked(), Match(kind="blob", method="GET"))),
    Case("H22", "chunked manifest", scripted(faults.chunked(), Match(kind="manifest", method="GET"))),
    Case("H23", "truncated", scripted(faults.truncated(), BLOB)),
    Case("H24", "longer than said", scripted(faults.longer_by(), BLOB)),
    Case("H25", "no body", scripted(faults.empty(), BLOB)),
    Case("H26", "Range ignored", _resumed(lambda _image: faults.range_ignored())),
    Case("H27", "Range from elsewhere", _resumed(_wrong_range(0, 0))),
    Case("H27", "Range of another total", _resumed(_wrong_range(1, 1))),
    Case("H27", "416", _resumed(lambda _image: faults.status(416))),
    Case("H27", "416 with a false length", _resumed(lambda _image: faults.unsatisfied_with_false_length())),
    Case("H28", "manifest in gzip", scripted(faults.gzip_encoded(), MANIFEST)),
    Case("H28", "manifest said to be br", scripted(faults.header("Content-Encoding", "br"), MANIFEST)),
    Case("H29", "blob said to be x-gzip", scripted(faults.header("Content-Encoding", "x-gzip"), BLOB)),
    Case("H29", "blob in gzip", scripted(faults.gzip_encoded(), BLOB)),
    *(
        Case("H30", value, scripted(faults.header("Content-Type", value), MANIFEST))
        for value in CONTENT_TYPES
    ),
    Case("H31", "schema 1", _schema_1),
    Case("H32", "base 404", scripted(faults.status(404), BASE)),
    Case("H32", "base is a page", scripted(faults.page(), BASE)),
    Case("H33", "no tags", scripted(faults.json_fields(tags=[]), TAGS)),
    Case("H33", "tags 401", scripted(faults.unauthorized(), TAGS)),
    Case("H33", "next page elsewhere", _tags_elsewhere),
    Case("H33", "next page is this page", _tags_loop),
    Case("H34", "huge header", scripted(faults.huge_header())),
    Case("H34", "many headers", scripted(faults.many_headers())),
    Case("H34", "long status line", scripted(faults.long_status_line())),
    Case("H35", "HTTP/1.0", scripted(faults.http_1_0())),
    Case("H35", "lower-case headers", scripted(faults.lower_case_headers())),
    Case("H35", "two Content-Lengths", scripted(faults.second_header("Content-Length", "1"))),
)

CONTENT: tuple[Case[Apply], ...] = (
    Case("C1", "one bit flipped", scripted(faults.flipped_bit(), BLOB)),
    Case("C2", "substituted", scripted(faults.substituted(), BLOB)),
    Case("C3", "manifest by digest is another", scripted(faults.flipped_bit(), BY_DIGEST)),
    Case("C4", "lying digest", scripted(faults.lying_digest(), BY_TAG)),
    Case("C5", "wrong size in the descriptor", _wrong_size),
    Case("C6", "older image", serves_older),
    Case("C8", "tag deleted", _untagged),
)

LOGIN: tuple[Case[Apply], ...] = (
    *(Case("A6", name, scripted(faults.unauthorized(*lines))) for name, lines in CHALLENGES.items()),
    Case("A7", "realm that is blocked", scripted(faults.bearer_at(f"{faults.UNREACHABLE_URL}/token"))),
)

REALM: tuple[Case[ApplyTokens], ...] = (
    Case("A1", "unreachable", lambda tokens: tokens.refuse()),
    *(Case("A1", f"answers {code}", told(faults.status(code))) for code in (403, 500, 503)),
    Case("A1", "stalls", told(faults.silence())),
    Case("A2", "no token", told(faults.json_fields(token=None, access_token=None))),
    Case("A2", "access_token only", told(faults.json_fields(token=None))),
    Case("A2", "token only", told(faults.json_fields(access_token=None))),
    Case("A2", "empty token", told(faults.json_fields(**dict.fromkeys(TOKEN_FIELDS, "")))),
    Case("A2", "page", told(faults.page())),
    Case("A2", "error document", told(faults.error_document_with_200())),
    *(
        Case("A3", f"expires_in {value!r}", told(faults.json_fields(expires_in=value)))
        for value in EXPIRES_IN
    ),
    *(Case("A3", f"issued_at {value}", told(faults.json_fields(issued_at=value))) for value in ISSUED_AT),
    Case("A5", "tokens that do not do", told(faults.json_fields(**dict.fromkeys(TOKEN_FIELDS, "worthless")))),
    Case("A10", "nobody gets the scope", told(faults.status(401))),
)

MADE_OTHERWISE = {
    "N2": "BlackHole: a full queue that nobody empties, so the kernel drops every SYN",
    "N3": "a host name under .invalid, which no resolver knows (RFC 6761)",
    "N4": "FakeRegistry(tls=…) with a certificate for another name",
    "N5": "a name that resolves to ::1 and 127.0.0.1, with a FakeRegistry on one of them only",
    "N6": "HelloReset as an https host",
    "N7": "FakeRegistry(tls=…) with an expired, self-signed or unknown certificate",
    "N8": "Silence as an https host",
    "N17": "refuse() on every registry after the image was pulled",
    "N18": "refuse() on every registry before anything was pulled",
    "N19": "FakeProxy with a script, or ClosedPort as the proxy",
    "N22": "refuse(), and accept() during the pull",
    "H17": "FakeRegistry(cdn=cdn) with cdn.script(faults.status(403), times=1)",
    "H18": "FakeRegistry(cdn=cdn): FakeCdn answers 400 to credentials and fails the test",
    "H19": "registry.script(faults.redirect_to(other.url))",
    "A4": "TokenServer.expire_all() during the pull, or a short lifetime and a ManualClock",
    "A8": "TokenServer(users=…) or BasicAuth, and another password in the configuration",
    "A9": "look for the client's Authorization in the headers of every recorded request",
    "C7": "three registries with image(…, seed=1), seed=2 and seed=3 under one tag",
}

REGISTRY_CASES = NETWORK + HTTP + CONTENT + LOGIN


def cases(row: str) -> tuple[Case[Apply], ...]:
    """The cases of one row, such as ``H6``."""
    return tuple(case for case in REGISTRY_CASES if case.row == row)
