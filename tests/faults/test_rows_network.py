"""Rows N of the catalogue: what goes wrong before a host has said a word of HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from faults.trial import Trial, tls_of, trial
from looking import AskedNames
from sampan.testing import (
    BlackHole,
    ClosedPort,
    FakeProxy,
    FakeRegistry,
    HelloReset,
    Silence,
    faults,
    image,
    random_layer,
)
from sampan.testing.dns import NXDOMAIN, SERVFAIL, SILENCE, Answers, FakeNameserver, Saying
from sampan.upstream.breaker import REST_SECONDS
from sampan.upstream.host import Host
from sampan.upstream.nameserver import Nameserver
from sampan.upstream.transport import DNS_CACHE_SECONDS, Transport

pytestmark = pytest.mark.standstill

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 200_000)])
MANY = image("library/many", "1", layers=[random_layer(seed, 20_000 + seed) for seed in range(20)])
NEXT = image("library/next", "1", layers=[random_layer(30, 50_000)])
NAME = "mirror.example"
PORTS_TRIED = 10
ONCE_CONNECTING = 1.05  # another host is asked beside one that has not connected within a second


def netloc(url: str) -> str:
    return url.partition("://")[2]


@asynccontextmanager
async def good_one() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("good", host="127.0.0.2") as good:
        for one in (ALPINE, MANY, NEXT):
            good.add(one)
        yield good


@asynccontextmanager
async def beside_a_good_one(url: str, path: Path) -> AsyncIterator[Trial]:
    """A mirror that asks ``url`` first."""
    async with good_one() as good, trial(path, [Host.from_url(url), Host.from_url(good.url)]) as endured:
        yield endured


@asynccontextmanager
async def named(answers: Answers) -> AsyncIterator[tuple[FakeNameserver, Transport]]:
    """A nameserver that says ``answers`` of NAME, and a transport that asks it alone."""
    async with FakeNameserver({NAME: answers}) as nameserver:
        names = AskedNames(Nameserver(nameserver.host, nameserver.port))
        yield nameserver, Transport(names=names)


# -- N1: refused --------------------------------------------------------------------------------------


async def test_n1_connection_refused(tmp_path: Path) -> None:
    async with ClosedPort() as gone, beside_a_good_one(gone.url, tmp_path) as endured:
        await endured.pull(MANY)
        await endured.assert_endured(gone.netloc, reasons=["refused"], seconds_max=0.1, holds=[MANY])
        assert await endured.metric("sampan_attempts_total", host=gone.netloc) == 1


async def test_n1_once_it_listens_again_it_is_asked_again(tmp_path: Path) -> None:
    async with FakeRegistry("bad") as bad, good_one() as good:
        bad.add(NEXT)
        bad.refuse()
        async with trial(tmp_path, [bad, good]) as endured:
            await endured.pull(ALPINE)
            await bad.accept()
            await endured.pass_seconds(REST_SECONDS)
            await endured.pull(NEXT)
            await endured.assert_endured(
                bad, reasons=["refused"], requests_max=3, seconds_max=0.1, holds=[ALPINE, NEXT]
            )
            assert good.count(repository=NEXT.repository) == 0


# -- N2: no answer to a SYN ---------------------------------------------------------------------------


async def test_n2_every_syn_is_dropped(tmp_path: Path) -> None:
    async with BlackHole() as hole, beside_a_good_one(hole.url, tmp_path) as endured:
        await endured.pull(MANY)
        await endured.assert_endured(
            hole.netloc, reasons=["beaten"], seconds_max=ONCE_CONNECTING, holds=[MANY]
        )
        await endured.pull(NEXT)
        await endured.assert_endured(hole.netloc, reasons=[], seconds_max=0.05, holds=[NEXT])


async def test_n2_alone_it_costs_two_times_for_connecting_and_is_named(tmp_path: Path) -> None:
    async with BlackHole() as hole, trial(tmp_path, [Host.from_url(hole.url)]) as endured:
        await assert_refused(endured, hole.netloc, "connect-timeout", seconds_max=6.1)
        await assert_refused(endured, hole.netloc, "connect-timeout", seconds_max=0.1)


async def assert_refused(endured: Trial, host: str, outcome: str, *, seconds_max: float) -> str:
    """Nobody else is there: 503, which host failed and how, and when to come back. Returns the message."""
    answer = await endured.ask(f"/v2/{ALPINE.repository}/manifests/3")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    attempts = answer.error["detail"]["attempts"]
    assert {(one["host"], one["outcome"]) for one in attempts} == {(host, outcome)}
    await endured.assert_endured(host, reasons=[outcome], seconds_max=seconds_max)
    message: str = answer.error["message"]
    return message


# -- N3: names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason", "seconds_max"),
    [(NXDOMAIN, "dns", 0.1), (SERVFAIL, "dns", 0.1), (SILENCE, "beaten", ONCE_CONNECTING)],
    ids=["nxdomain", "servfail", "silence"],
)
async def test_n3_the_name_has_no_address(
    tmp_path: Path, said: Saying, reason: str, seconds_max: float
) -> None:
    async with named(said) as (nameserver, transport), good_one() as good:
        hosts = [Host.from_url(f"http://{NAME}"), Host.from_url(good.url)]
        async with trial(tmp_path, hosts, transport=transport) as endured:
            await endured.pull(MANY)
            await endured.assert_endured(NAME, reasons=[reason], seconds_max=seconds_max, holds=[MANY])
            assert {kind for _, kind in nameserver.asked} == {"A", "AAAA"}
            assert len(nameserver.asked) == (4 if said is SILENCE else 2)  # each question once, or once more


async def test_n3_a_name_that_comes_back_is_asked_within_half_a_minute(tmp_path: Path) -> None:
    async with FakeRegistry("bad") as bad, good_one() as good, named(NXDOMAIN) as (nameserver, transport):
        bad.add(NEXT)
        host = Host.from_url(f"http://{NAME}:{bad.port}", private=True)
        async with trial(tmp_path, [host, Host.from_url(good.url)], transport=transport) as endured:
            await endured.pull(ALPINE)
            nameserver.say(NAME, [bad.host])
            await endured.pass_seconds(DNS_CACHE_SECONDS)
            await endured.pull(NEXT)
            assert bad.count(repository=NEXT.repository) == 3
            await endured.assert_endured(host.name, reasons=["dns"], seconds_max=0.1, holds=[NEXT])


async def test_n3_alone_it_is_named(tmp_path: Path) -> None:
    host = Host.from_url(f"http://{NAME}")
    async with named(SILENCE) as (_, own), trial(tmp_path, [host], transport=own) as endured:
        await assert_refused(endured, NAME, "dns", seconds_max=6.1)


# -- N4: a poisoned answer ----------------------------------------------------------------------------


async def test_n4_the_name_leads_to_somebody_else(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with (
        FakeRegistry("forger", tls=tls_of("portal.example", authority=authority)) as forger,
        named([forger.host]) as (_, transport),
        good_one() as good,
    ):
        host = Host.from_url(f"https://{NAME}:{forger.port}", private=True, ca=str(tmp_path / "ca.pem"))
        async with trial(tmp_path, [host, Host.from_url(good.url)], transport=transport) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(host.name, reasons=["tls"], seconds_max=0.1, holds=[ALPINE])
        assert forger.requests == []  # neither unverified nor in the clear
        assert forger.connections == 1
        async with (
            named([forger.host]) as (_, own),
            trial(tmp_path / "alone", [host], transport=own) as alone,
        ):
            message = await assert_refused(alone, host.name, "tls", seconds_max=0.1)
        assert "it is for portal.example" in message


# -- N5: one family of addresses is broken ------------------------------------------------------------


@asynccontextmanager
async def half_dead(
    dead_end: type[BlackHole | ClosedPort], broken: str, well: str
) -> AsyncIterator[FakeRegistry]:
    """A host at ``well``, and at the same port of ``broken`` a dead end, if that is free there."""
    for left in reversed(range(PORTS_TRIED)):
        async with AsyncExitStack() as stack:
            half = await stack.enter_async_context(FakeRegistry("half", host=well))
            try:
                await stack.enter_async_context(dead_end(host=broken, port=half.port))
            except OSError:
                if not left:
                    raise
                continue
            yield half
            return


@pytest.mark.parametrize("dead_end", [BlackHole, ClosedPort])
@pytest.mark.parametrize(("broken", "well"), [("::1", "127.0.0.77"), ("127.0.0.77", "::1")])
async def test_n5_one_of_two_addresses_leads_nowhere(
    tmp_path: Path, dead_end: type[BlackHole | ClosedPort], broken: str, well: str
) -> None:
    async with half_dead(dead_end, broken, well) as half, named([broken, well]) as (_, transport):
        half.add(ALPINE)
        host = Host.from_url(f"http://{NAME}:{half.port}", private=True)
        async with trial(tmp_path, [host], transport=transport) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(half, reasons=[], requests_max=3, seconds_max=0.6, holds=[ALPINE])
            assert await endured.metric("sampan_attempts_total", host=host.name, outcome="ok") >= 2


async def test_n5_the_only_address_leads_nowhere(tmp_path: Path) -> None:
    async with BlackHole(host="::1") as hole, named(["::1"]) as (_, transport), good_one() as good:
        host = Host.from_url(f"http://{NAME}:{hole.port}", private=True)
        async with trial(tmp_path, [host, Host.from_url(good.url)], transport=transport) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(
                host.name, reasons=["beaten"], seconds_max=ONCE_CONNECTING, holds=[ALPINE]
            )


# -- N6 to N8: TLS ------------------------------------------------------------------------------------


async def test_n6_a_reset_at_the_client_hello(tmp_path: Path) -> None:
    async with HelloReset() as filtered, good_one() as good:
        host = Host.from_url(f"https://{filtered.netloc}")
        async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
            await endured.pull(MANY)
            await endured.assert_endured(host.name, reasons=["reset"], seconds_max=0.1, holds=[MANY])
            assert filtered.connections == 1
        async with trial(tmp_path / "alone", [host]) as endured:
            assert "TLS handshake" in await assert_refused(endured, host.name, "reset", seconds_max=0.1)


CERTIFICATES = {
    "expired": (-1, True, "certificate has expired"),
    "early": (120, True, "certificate is not yet valid"),
    "unknown": (30, False, "unable to get local issuer certificate"),
}


@pytest.mark.parametrize(("days", "known", "said"), CERTIFICATES.values(), ids=list(CERTIFICATES))
async def test_n7_a_certificate_that_is_not_believed(
    tmp_path: Path, days: int, known: bool, said: str
) -> None:
    authority = trustme.CA()
    (authority if known else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with (
        FakeRegistry("bad", tls=tls_of("127.0.0.1", authority=authority, days=days)) as bad,
        good_one() as good,
    ):
        host = Host.from_url(bad.url, ca=str(tmp_path / "ca.pem"))
        async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
            await endured.pull(MANY)
            await endured.assert_endured(bad, reasons=["tls"], requests_max=0, seconds_max=0.1, holds=[MANY])
            assert bad.connections == 1
        async with trial(tmp_path / "alone", [host]) as endured:
            assert said in await assert_refused(endured, host.name, "tls", seconds_max=0.1)


async def test_n7_a_certificate_of_ones_own_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FakeRegistry("own", tls=tls_of("127.0.0.1", authority=authority)) as own:
        own.add(ALPINE)
        async with trial(tmp_path, [Host.from_url(own.url, ca=str(tmp_path / "ca.pem"))]) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(own, reasons=[], seconds_max=0.1, holds=[ALPINE])


async def test_n8_the_handshake_stalls(tmp_path: Path) -> None:
    async with Silence() as silent, good_one() as good:
        host = Host.from_url(f"https://{silent.netloc}")
        async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
            await endured.pull(MANY)
            await endured.assert_endured(
                host.name, reasons=["beaten"], seconds_max=ONCE_CONNECTING, holds=[MANY]
            )
        async with trial(tmp_path / "alone", [host]) as endured:
            assert "did not finish within 5 s" in await assert_refused(
                endured, host.name, "tls", seconds_max=10.1
            )


# -- N19: proxies -------------------------------------------------------------------------------------


@asynccontextmanager
async def proxies() -> AsyncIterator[dict[str, str]]:
    """URLs of proxies that let nobody through."""
    async with (
        ClosedPort() as down,
        FakeProxy("wants a login", users={"me": "right"}) as closed,
        FakeProxy("refuses") as refusing,
    ):
        refusing.script(faults.status(403))
        yield {"down": down.url, "login": closed.url, "refuses": refusing.url}


@pytest.mark.parametrize("which", ["down", "login", "refuses"])
async def test_n19_a_proxy_that_lets_nobody_through(tmp_path: Path, which: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with (
        proxies() as urls,
        FakeRegistry("behind", tls=tls_of("127.0.0.1", authority=authority)) as behind,
        good_one() as good,
    ):
        behind.add(MANY)
        host = Host.from_url(behind.url, ca=str(tmp_path / "ca.pem"), proxy=urls[which])
        async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
            await endured.pull(MANY)
            await endured.assert_endured(
                behind, reasons=["proxy"], requests_max=0, seconds_max=0.1, holds=[MANY]
            )
        async with trial(tmp_path / "alone", [host]) as endured:
            said = await assert_refused(endured, host.name, "proxy", seconds_max=0.1)
        assert netloc(urls[which]) in said
        assert behind.connections == 0  # it is never gone around
