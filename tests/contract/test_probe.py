"""One host looked at, on real sockets: every step of the way, and how each of them can end it."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme

from looking import ALPINE, AskedNames, look_at, looking, way
from sampan.doctor.contract import Answer, RateLimit
from sampan.doctor.hosts.image import RANGE_BYTES, read_range
from sampan.doctor.hosts.look import REQUESTS_MAX
from sampan.doctor.hosts.notes import ORDER
from sampan.oci import Digest, Reference
from sampan.oci.manifest import Descriptor
from sampan.secret import Secret
from sampan.testing import (
    BasicAuth,
    BlackHole,
    ClosedPort,
    FakeCdn,
    FakeProxy,
    FakeRegistry,
    Fault,
    HelloReset,
    ManualClock,
    Match,
    Silence,
    TokenServer,
    faults,
    image,
    index,
    random_layer,
)
from sampan.testing.dns import NXDOMAIN, SERVFAIL, FakeNameserver
from sampan.upstream.host import Host
from sampan.upstream.nameserver import Nameserver
from sampan.upstream.proxies import Proxy, ProxySettings
from upstreams import client_for

GOOD = image("library/alpine", "3", layers=[random_layer(1, 400_000)])
WAY = {"connect": "ok", "ping": "ok", "head": "ok", "manifest": "ok", "blob": "ok"}


def context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(made)
    return made


# -- the whole way --------------------------------------------------------------------------------


async def test_the_whole_way_with_a_token_a_storage_and_an_index_in_at_most_eight_requests() -> None:
    async with (
        FakeCdn() as cdn,
        TokenServer() as tokens,
        FakeRegistry(cdn=cdn, auth=tokens) as registry,
    ):
        alpine = registry.add(index("library/alpine", "3"))
        report = await look_at(registry.url)
    assert way(report) == dict.fromkeys(
        ("connect", "ping", "login", "head", "manifest", "redirect", "blob"), "ok"
    )
    assert report.is_good
    assert report.digest == report.head_digest == Digest.parse(alpine.digest)
    assert (report.realm, report.blob_host) == (tokens.netloc, cdn.netloc)
    assert (report.object, report.repository, report.registry) == ("3", "library/alpine", "docker.io")
    assert report.requests == len(registry.requests) + len(tokens.requests) == 7 <= REQUESTS_MAX
    assert len(cdn.requests) == 2


async def test_the_image_for_this_platform_is_followed() -> None:
    async with FakeRegistry() as registry:
        alpine = registry.add(index("library/alpine", "3"))
        await look_at(registry.url)
        asked = [one.digest for one in registry.requests if one.kind == "manifest" and one.digest]
    assert asked == [alpine.images[0].digest]


async def test_a_range_of_a_large_layer_is_read_and_timed() -> None:
    big = image("library/alpine", "3", layers=[random_layer(1, 3 * RANGE_BYTES), random_layer(2, 1000)])
    async with FakeRegistry() as registry:
        registry.add(big)
        report = await look_at(registry.url)
        (ranged,) = [one for one in registry.requests if "range" in one.headers]
    assert ranged.digest == big.layers[0].digest
    assert ranged.headers["range"] == f"bytes=0-{RANGE_BYTES - 1}"
    assert report.bytes_per_second is not None
    assert report.first_byte_seconds is not None
    assert 0 < report.first_byte_seconds < report.seconds


async def test_a_host_without_ranges_is_left_after_as_much_as_a_range() -> None:
    big = image("library/alpine", "3", layers=[random_layer(1, 4 * RANGE_BYTES)])
    async with FakeRegistry() as registry:
        registry.add(big)
        registry.script(faults.range_ignored(), on=Match(kind="blob"))
        report = await look_at(registry.url)
    assert report.is_good
    assert report.bytes_per_second is not None


async def test_the_steps_stand_in_the_order_of_the_way() -> None:
    async with TokenServer() as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add(GOOD)
        parts = list(way(await look_at(registry.url)))
    assert parts == sorted(parts, key=ORDER.index)


async def test_when_the_image_was_built_is_read_from_its_config() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        assert (await look_at(registry.url)).created == datetime(2024, 1, 1, tzinfo=UTC).timestamp()


async def test_by_digest_too() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        report = await look_at(registry.url, Reference.parse(f"alpine@{GOOD.digest}"))
    assert (report.is_good, str(report.digest)) == (True, GOOD.digest)


async def test_a_login_with_a_password_costs_no_refused_request() -> None:
    async with FakeRegistry(auth=BasicAuth({"me": "secret"})) as registry:
        registry.add(GOOD)
        host = Host.from_url(registry.url, username="me", password=Secret("secret"))
        report = await look_at(host)
        assert way(report) == WAY
        assert [one.status for one in registry.requests if one.status == 401] == [401]
        assert "secret" not in repr(report)


async def test_one_look_is_made_however_many_ask() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        host = Host.from_url(registry.url)
        async with looking(host) as probe:
            first, second = await asyncio.gather(probe.look(host, ALPINE), probe.look(host, ALPINE))
            third = await probe.look(host, ALPINE)
        assert first is second is third
        assert registry.count(kind="base") == 1


async def test_who_gives_up_waiting_does_not_take_the_look_from_the_others() -> None:
    gate = asyncio.Event()
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(faults.held(gate), on=Match(kind="manifest"))
        host = Host.from_url(registry.url)
        async with looking(host, short_seconds=20.0) as probe:
            hasty = asyncio.create_task(probe.look(host, ALPINE))
            patient = asyncio.create_task(probe.look(host, ALPINE))
            await registry.wait_for(Match(kind="manifest"))
            hasty.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hasty
            gate.set()
            assert (await patient).is_good


async def test_a_probe_that_is_closed_leaves_nothing_running() -> None:
    async with FakeRegistry() as registry:
        registry.script(faults.silence())
        host = Host.from_url(registry.url)
        async with looking(host, short_seconds=20.0) as probe:
            asking = asyncio.create_task(probe.look(host, ALPINE))
            await registry.wait_for()
        with pytest.raises(asyncio.CancelledError):
            await asking


# -- each step, and how it ends -------------------------------------------------------------------


async def test_a_host_whose_settings_leave_it_out_is_not_asked() -> None:
    async with FakeRegistry(strict=True) as registry:
        report = await look_at(Host.from_url(registry.url, allow=("mycorp/*",)))
    assert way(report) == {"manifest": "missing"}
    assert report.requests == 0


@pytest.mark.parametrize("said", [NXDOMAIN, SERVFAIL])
async def test_a_name_without_an_address_is_asked_of_each_nameserver(said: object) -> None:
    async with (
        FakeNameserver({"mirror.example": said}) as first,  # type: ignore[dict-item] # both are
        FakeNameserver({"mirror.example": ["127.0.0.9"]}) as second,
    ):
        servers = [Nameserver(first.host, first.port), Nameserver(second.host, second.port)]
        report = await look_at("http://mirror.example", names=AskedNames(servers[0]), nameservers=servers)
    assert way(report) == {"dns": "dns"}
    assert report.answers == (
        Answer("system", problem="the name does not resolve"),
        Answer(str(servers[0]), problem=said.name),  # type: ignore[attr-defined]
        Answer(str(servers[1]), ("127.0.0.9",)),
    )


async def test_nobody_asks_nameservers_of_a_host_that_works() -> None:
    async with FakeNameserver({"mirror.example": ["127.0.0.1"]}) as server, FakeRegistry() as registry:
        registry.add(GOOD)
        asked = Nameserver(server.host, server.port)
        host = Host.from_url(f"http://mirror.example:{registry.port}", private=True)
        report = await look_at(host, names=AskedNames(asked), nameservers=[asked])
        assert way(report) == {"dns": "ok", **WAY}
        assert report.addresses == ("127.0.0.1",)
        assert len(report.answers) == 1
        assert len(server.asked) == 4  # by the look, and by the connection


async def test_nobody_asks_nameservers_of_a_name_of_this_machine() -> None:
    async with FakeNameserver() as server, ClosedPort() as closed:
        asked = Nameserver(server.host, server.port)
        report = await look_at(f"http://localhost:{closed.port}", nameservers=[asked])
        assert (way(report)["connect"], server.asked) == ("refused", [])


@pytest.mark.row("N4")
async def test_a_poisoned_answer_shows_beside_the_others_and_the_certificate() -> None:
    authority, other = trustme.CA(), trustme.CA()
    async with (
        FakeRegistry(tls=context(other.issue_cert("portal.example")), host="127.0.0.2") as wrong,
        FakeNameserver({"mirror.example": ["127.0.0.2"]}) as forged,
        FakeNameserver({"mirror.example": ["127.0.0.3"]}) as honest,
    ):
        servers = [Nameserver(one.host, one.port) for one in (forged, honest)]
        host = Host.from_url(f"https://mirror.example:{wrong.port}", private=True)
        report = await look_at(host, names=AskedNames(servers[0]), nameservers=servers)
        assert wrong.requests == []
    del authority
    assert way(report) == {"dns": "ok", "connect": "ok", "tls": "tls"}
    assert [answer.addresses for answer in report.answers] == [("127.0.0.2",), ("127.0.0.2",), ("127.0.0.3",)]
    assert report.certificate is not None
    assert report.certificate.names == ("portal.example",)
    assert report.certificate.problem is not None


async def test_an_address_that_must_not_be_dialled_is_not() -> None:
    async with FakeNameserver({"mirror.example": ["127.0.0.1"]}) as server, FakeRegistry() as registry:
        names = AskedNames(Nameserver(server.host, server.port))
        report = await look_at(f"http://mirror.example:{registry.port}", names=names)
        assert registry.connections == 0
    assert way(report) == {"dns": "ok", "connect": "blocked-address"}


@pytest.mark.parametrize(
    ("dead_end", "scheme", "outcomes"),
    [
        (ClosedPort, "http", {"connect": "refused"}),
        (BlackHole, "http", {"connect": "connect-timeout"}),
        (Silence, "http", {"connect": "ok", "ping": "first-byte-timeout"}),
        (Silence, "https", {"connect": "ok", "tls": "tls"}),
        (HelloReset, "https", {"connect": "ok", "tls": "reset"}),
    ],
)
async def test_where_a_connection_dies(dead_end: type, scheme: str, outcomes: dict[str, str]) -> None:
    async with dead_end() as nowhere:
        report = await look_at(f"{scheme}://{nowhere.netloc}")
    assert way(report) == outcomes
    assert report.error is not None
    assert all(step.words for step in report.steps)


async def test_the_certificate_of_a_host_that_is_believed_is_told() -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", organization_name="Boats")
    with authority.cert_pem.tempfile() as ca:
        async with FakeRegistry(tls=context(leaf), hostname="localhost") as registry:
            registry.add(GOOD)
            report = await look_at(Host.from_url(registry.url, ca=ca))
    assert way(report) == {"dns": "ok", **WAY, "tls": "ok"}
    assert report.certificate is not None
    assert report.certificate.names == ("localhost",)
    assert report.certificate.problem is None
    assert report.certificate.issuer.startswith("trustme")


@pytest.mark.parametrize(
    ("names", "days", "code"),
    [
        (["localhost"], -1, 10),  # X509_V_ERR_CERT_HAS_EXPIRED
        (["elsewhere.example"], 30, 62),  # X509_V_ERR_HOSTNAME_MISMATCH
    ],
)
async def test_a_certificate_that_is_not_believed_is_told_with_the_reason(
    names: list[str], days: int, code: int
) -> None:
    authority = trustme.CA()
    ends = datetime.now(UTC) + timedelta(days=days)
    leaf = authority.issue_cert(*names, not_before=ends - timedelta(days=90), not_after=ends)
    with authority.cert_pem.tempfile() as ca:
        async with FakeRegistry(tls=context(leaf), hostname="localhost") as registry:
            report = await look_at(Host.from_url(registry.url, ca=ca))
            assert registry.requests == []
    assert way(report) == {"dns": "ok", "connect": "ok", "tls": "tls"}
    assert report.certificate is not None
    assert report.certificate.code == code
    assert report.certificate.names == tuple(names)
    assert abs(report.certificate.not_after - ends.timestamp()) < 2


async def test_an_insecure_host_shows_its_certificate_too() -> None:
    leaf = trustme.CA().issue_cert("elsewhere.example")
    async with FakeRegistry(tls=context(leaf)) as registry:
        registry.add(GOOD)
        report = await look_at(Host.from_url(registry.url, insecure=True))
    assert report.is_good
    assert report.certificate is not None
    assert report.certificate.names == ("elsewhere.example",)


PAGE = faults.page()
MANIFEST, BLOB = Match(kind="manifest"), Match(kind="blob")
HEAD, GET = Match(kind="manifest", method="HEAD"), Match(kind="manifest", method="GET")


@pytest.mark.parametrize(
    ("fault", "on", "outcomes"),
    [
        # A page at /v2/ alone keeps nobody from an image.
        (PAGE, Match(kind="base"), {**WAY, "ping": "not-a-registry"}),
        (faults.status(404), Match(kind="base"), {**WAY, "ping": "missing"}),
        (PAGE, Match(), {"ping": "not-a-registry", "head": "ok", "manifest": "not-a-registry"}),
        (faults.status(429), Match(), {"ping": "rate-limited"}),
        (faults.status(502), Match(), dict.fromkeys(("ping", "head", "manifest"), "server-error")),
        (faults.denied(), MANIFEST, {"head": "denied", "manifest": "denied"}),
        (faults.status(404), MANIFEST, {"manifest": "missing"}),
        (faults.status(405), HEAD, WAY),
        (faults.status(500), HEAD, {**WAY, "head": "server-error"}),
        (faults.status(429), HEAD, {"head": "rate-limited"}),
        (faults.silence(), HEAD, {"head": "first-byte-timeout"}),
        (faults.hang_up(), HEAD, {**WAY, "head": "truncated"}),
        (PAGE, GET, {"manifest": "not-a-registry"}),
        (faults.error_document_with_200(), GET, {"manifest": "not-a-registry"}),
        (faults.gibberish(), GET, {"manifest": "protocol"}),
        (faults.flipped_bit(), GET, {"manifest": "wrong-content"}),
        (faults.truncated(), GET, {"manifest": "truncated"}),
        (faults.denied(), BLOB, {"blob": "denied"}),
        (faults.status(404), BLOB, {"blob": "missing"}),
        (faults.status(502), Match(kind="blob", nth=2), {"blob": "server-error"}),
        (PAGE, BLOB, {"blob": "not-a-registry"}),
        (faults.flipped_bit(), BLOB, {"blob": "wrong-content"}),
        (faults.flipped_bit(), Match(kind="blob", nth=2), {"blob": "wrong-content"}),
        (faults.truncated(), BLOB, {"blob": "truncated"}),
        (faults.stalls(100), BLOB, {"blob": "stalled"}),
        (faults.redirect_to("http://127.0.0.1:1"), BLOB, {"redirect": "refused"}),
        (faults.redirect_hops(9), BLOB, {"blob": "redirect"}),
        (faults.redirect("ftp://127.0.0.1/"), BLOB, {"blob": "redirect"}),
        (faults.bearer_at("http://127.0.0.1:1/token"), Match(), {"login": "refused"}),
        (faults.unauthorized("Basic realm=x"), Match(), {"login": "denied"}),
        (faults.unauthorized("Negotiate"), Match(), {"login": "denied"}),
        (faults.unauthorized(), Match(), {"login": "denied"}),
    ],
)
async def test_what_a_host_answers_is_noted_at_its_step(
    fault: Fault, on: Match, outcomes: dict[str, str]
) -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(fault, on=on)
        report = await look_at(registry.url)
        assert len(registry.requests) <= REQUESTS_MAX + 4  # four: what redirects in circles come to
    seen = way(report)
    assert {part: seen.get(part) for part in outcomes} == outcomes
    assert [part for part, outcome in seen.items() if outcome != "ok" and part not in outcomes] == []
    assert report.is_good == ("blob" in seen and seen["blob"] == "ok")
    assert report.requests <= REQUESTS_MAX
    assert all(step.words for step in report.steps if not step.is_good)


async def test_a_realm_that_gives_no_token_ends_the_way_at_the_login() -> None:
    async with TokenServer() as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add(GOOD)
        tokens.script(faults.status(503))
        report = await look_at(registry.url)
        assert registry.count(kind="challenge") == 1  # /v2/, and nothing without a token
    assert way(report) == {"connect": "ok", "ping": "ok", "login": "server-error"}
    assert report.realm == tokens.netloc


async def test_a_token_that_is_never_let_in_costs_no_more_than_eight_requests() -> None:
    async with TokenServer() as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add(GOOD)
        registry.script(faults.bearer_at(f"{tokens.url}/token"))
        report = await look_at(registry.url)
        assert len(registry.requests) + len(tokens.requests) == report.requests <= REQUESTS_MAX
    assert way(report) == {"connect": "ok", "ping": "ok", "login": "ok", "head": "denied"}


async def test_more_than_eight_requests_are_never_made() -> None:
    """Each request is sent around three corners of the same machine first."""
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(faults.redirect_hops(3), on=Match(kind="manifest"))
        registry.script(faults.redirect_hops(3), on=Match(kind="blob"))
        report = await look_at(registry.url)
        assert len(registry.requests) == report.requests == REQUESTS_MAX
    assert report.error is not None
    assert report.error.outcome == "redirect"


async def test_a_host_that_needs_more_requests_is_not_accused_for_it() -> None:
    """With a token, an index, and blobs around a corner of the same machine it would be nine."""
    async with TokenServer() as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add(index("library/alpine", "3"))
        registry.script(faults.redirect_hops(1), on=BLOB)
        report = await look_at(registry.url)
        assert len(registry.requests) + len(tokens.requests) == report.requests == REQUESTS_MAX
    assert way(report)["blob"] == "skipped"
    assert report.is_good
    assert report.created is not None


async def test_our_own_limit_of_requests_is_no_fault_of_the_host() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        report = await look_at(Host.from_url(registry.url, requests_per_minute=2))
        assert len(registry.requests) == 2
    assert way(report) == {"connect": "ok", "ping": "ok", "head": "ok", "manifest": "skipped"}
    assert report.is_good


async def test_a_scope_that_the_ping_names_is_not_the_one_that_is_asked_for() -> None:
    async with TokenServer() as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add(GOOD)
        other = f'Bearer realm="{tokens.url}/token",service="fake",scope="registry:catalog:*"'
        registry.script(faults.unauthorized(other), on=Match(when=lambda asked: asked.path == "/v2/"))
        report = await look_at(registry.url)
        assert len(tokens.requests) == 1
    assert report.is_good


async def test_the_storage_that_refuses_is_told_apart_from_the_host() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(GOOD)
        cdn.script(faults.status(403))
        report = await look_at(registry.url)
    assert way(report) == {
        "connect": "ok",
        "ping": "ok",
        "head": "ok",
        "manifest": "ok",
        "redirect": "denied",
    }
    assert (report.blob_host, report.error and report.error.behind) == (cdn.netloc, cdn.netloc)


async def test_a_storage_that_breaks_off_is_a_matter_of_the_blob() -> None:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(GOOD)
        cdn.script(faults.truncated())
        report = await look_at(registry.url)
    assert (way(report)["redirect"], way(report)["blob"]) == ("ok", "truncated")


async def test_head_that_says_another_digest_is_told() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(faults.lying_digest(), on=HEAD)
        report = await look_at(registry.url)
    assert way(report) == {**WAY, "head": "wrong-content"}
    assert report.is_good
    assert report.head_digest != report.digest


async def test_a_look_that_takes_too_long_in_all_ends_with_what_it_knows() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(faults.silence(), on=BLOB)
        report = await look_at(registry.url, look_seconds=0.5, short_seconds=20.0)
    assert way(report) == {"connect": "ok", "ping": "ok", "head": "ok", "manifest": "ok", "blob": "slow"}
    assert str(report.digest) == GOOD.digest


async def test_a_slow_layer_is_timed_by_what_has_come() -> None:
    big = image("library/alpine", "3", layers=[random_layer(1, RANGE_BYTES)])
    layer = big.layers[0]
    blob = Descriptor(layer.media_type, Digest.parse(layer.digest), layer.size)
    async with FakeRegistry() as registry:
        registry.add(big)
        registry.script(faults.bandwidth(20_000), on=BLOB)
        host = Host.from_url(registry.url)
        async with client_for(host) as client:
            sample = await read_range(client, host, "library/alpine", blob, range_seconds=0.3)
    assert sample.first_byte_seconds is not None
    assert sample.bytes_per_second is not None
    assert 0 < sample.bytes_per_second < 100_000
    assert sample.size_bytes < RANGE_BYTES
    assert not sample.is_verified


async def test_what_is_left_of_the_rate_limit_is_read() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        limit, left = (
            faults.header("ratelimit-limit", "100;w=21600"),
            faults.header("ratelimit-remaining", "7;w=21600"),
        )
        registry.script(limit.joined(left), on=MANIFEST)
        assert (await look_at(registry.url)).rate_limit == RateLimit(100, 7, 21600)


@pytest.mark.parametrize("said", ["", "abc", "99999999999999999999", "-1;w=5"])
async def test_nonsense_in_headers_is_nothing(said: str) -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        spoilt = faults.header("ratelimit-limit", said).joined(faults.header("ratelimit-remaining", said))
        registry.script(spoilt.joined(faults.header("Date", said)))
        report = await look_at(registry.url)
    assert (report.rate_limit, report.date, report.is_good) == (None, None, True)


async def test_the_clock_of_the_host_is_held_against_ours() -> None:
    clock = ManualClock(1_750_000_000.0)
    theirs = datetime.fromtimestamp(clock.time() + 7200, UTC)
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(faults.header("Date", format_datetime(theirs, usegmt=True)))
        report = await look_at(registry.url, clock=clock)
    assert report.date == theirs.timestamp()
    assert report.dated is not None
    assert abs(report.dated - clock.time()) < 10


async def test_an_answer_out_of_a_store_has_its_age() -> None:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        old = faults.header("Date", "Sun, 15 Jun 2025 00:00:00 GMT").joined(faults.header("Age", "86400"))
        registry.script(old)
        report = await look_at(registry.url)
    assert report.date == datetime(2025, 6, 16, tzinfo=UTC).timestamp()


async def test_through_a_proxy_the_proxy_looks_names_up() -> None:
    async with FakeProxy() as proxy, FakeRegistry() as registry:
        registry.add(GOOD)
        host = Host.from_url(registry.url, proxy=proxy.url)
        report = await look_at(host)
        assert proxy.connections > 0
    assert way(report) == WAY


@pytest.mark.row("N19")
async def test_a_proxy_that_is_down_is_the_proxys_fault() -> None:
    async with ClosedPort() as closed:
        settings = ProxySettings(http=Proxy.parse(closed.url))
        report = await look_at(Host.from_url("http://mirror.example", private=True), proxies=settings)
    assert way(report) == {"dns": "skipped", "connect": "proxy"}


async def test_an_artifact_without_layers_is_looked_at_without_them() -> None:
    async with FakeRegistry() as registry:
        bare = registry.add(image("library/alpine", "3", layers=[]))
        report = await look_at(registry.url)
        assert json.loads(bare.raw)["layers"] == []
    assert way(report) == WAY
    assert report.first_byte_seconds is None
