"""What is wrong with hosts is called by its name: real sockets, a probe, and the doctor's check of hosts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from looking import AskedNames, looking
from sampan.doctor.contract import Finding
from sampan.doctor.hosts import check_hosts
from sampan.doctor.hosts.image import CREATED
from sampan.doctor.hosts.kinds import KINDS
from sampan.secret import Secret
from sampan.testing import (
    BasicAuth,
    BlackHole,
    ClosedPort,
    FakeCdn,
    FakeRegistry,
    Fault,
    HelloReset,
    Match,
    Silence,
    TokenServer,
    faults,
    image,
    random_layer,
)
from sampan.testing.dns import FakeNameserver
from sampan.upstream.host import Host
from sampan.upstream.nameserver import Nameserver
from scenes import codes, found, scene

GOOD = image("library/alpine", "3", layers=[random_layer(1, 100_000)])
LAYER = Match(kind="blob", digest=GOOD.layers[0].digest)
TWIN = image("library/alpine", "3", layers=[random_layer(2, 100_000)])  # built at the same moment
BLOB, MANIFEST = Match(kind="blob"), Match(kind="manifest")
HEAD, GET = Match(kind="manifest", method="HEAD"), Match(kind="manifest", method="GET")


async def findings(root: Path, *hosts: Host | str, **options: Any) -> list[Finding]:
    """What the check says of ``hosts`` of docker.io."""
    made = [Host.from_url(host) if isinstance(host, str) else host for host in hosts]
    async with looking(*made, **options) as probe:
        said = await found(check_hosts, scene(root, "alpine:3", hosts=made, probe=probe))
    return [each for each in said if isinstance(each, Finding)]


def context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(made)
    return made


@dataclass
class World:
    """A host that fails in one way, as ``host`` of the configuration."""

    host: Host
    names: AskedNames | None = None


@asynccontextmanager
async def spoilt(fault: Fault, on: Match) -> AsyncIterator[World]:
    async with FakeRegistry() as registry:
        registry.add(GOOD)
        registry.script(fault, on=on)
        yield World(Host.from_url(registry.url))


@asynccontextmanager
async def dead(kind: type, scheme: str = "http") -> AsyncIterator[World]:
    async with kind() as nowhere:
        yield World(Host.from_url(f"{scheme}://{nowhere.netloc}"))


@asynccontextmanager
async def named(addresses: Sequence[str], *, private: bool = False) -> AsyncIterator[World]:
    async with FakeNameserver({"mirror.example": addresses} if addresses else {}) as server:
        host = Host.from_url("http://mirror.example:1", private=private)
        yield World(host, AskedNames(Nameserver(server.host, server.port)))


@asynccontextmanager
async def certified(
    *names: str, days: int = 30, early: bool = False, known: bool = True
) -> AsyncIterator[World]:
    authority, now = trustme.CA(), datetime.now(UTC)
    begin, end = now + timedelta(days=days - 90), now + timedelta(days=days)
    if early:
        begin, end = now + timedelta(days=2), now + timedelta(days=90)
    leaf = authority.issue_cert(*names, not_before=begin, not_after=end)
    believed = authority if known else trustme.CA()
    with believed.cert_pem.tempfile() as ca:
        async with FakeRegistry(tls=context(leaf), hostname="localhost") as registry:
            registry.add(GOOD)
            yield World(Host.from_url(registry.url, ca=ca))


@asynccontextmanager
async def led(prepare: Callable[[FakeCdn], None]) -> AsyncIterator[World]:
    async with FakeCdn() as cdn, FakeRegistry(cdn=cdn) as registry:
        registry.add(GOOD)
        prepare(cdn)
        yield World(Host.from_url(registry.url))


@asynccontextmanager
async def guarded(*, login: bool = False, realm: Fault | None = None) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        guard: BasicAuth | TokenServer = BasicAuth({"me": "right"})
        if realm is not None:
            guard = await stack.enter_async_context(TokenServer())
            guard.script(realm)
        registry = await stack.enter_async_context(FakeRegistry(auth=guard))
        registry.add(GOOD)
        options: dict[str, Any] = {"username": "me", "password": Secret("wrong")} if login else {}
        yield World(Host.from_url(registry.url, **options))


WORLDS: dict[str, tuple[Callable[[], Any], ...]] = {
    "HOST_NAME_DEAD": (lambda: named(()),),
    "HOST_REFUSES": (lambda: dead(ClosedPort),),
    "HOST_BLACK_HOLED": (lambda: dead(BlackHole),),
    "HOST_ADDRESS_PRIVATE": (lambda: named(["10.9.8.7"]),),
    "HOST_TLS_CUT": (lambda: dead(HelloReset, "https"), lambda: dead(Silence, "https")),
    "HOST_CERTIFICATE_EXPIRED": (lambda: certified("localhost", days=-1),),
    "HOST_CERTIFICATE_EARLY": (lambda: certified("localhost", early=True),),
    "HOST_CERTIFICATE_FOREIGN": (
        lambda: certified("portal.example"),
        lambda: certified("portal.example", known=False),
    ),
    "HOST_CERTIFICATE_UNKNOWN": (lambda: certified("localhost", known=False),),
    "HOST_SILENT": (lambda: dead(Silence), lambda: spoilt(faults.silence(), Match())),
    "HOST_STALLS": (
        lambda: spoilt(faults.stalls(100), BLOB),
        lambda: spoilt(faults.truncated(), BLOB),
        lambda: spoilt(faults.resets(), GET),
    ),
    "HOST_NOT_A_REGISTRY": (
        lambda: spoilt(faults.page(), Match()),
        lambda: spoilt(faults.page(), GET),
        lambda: spoilt(faults.page(), BLOB),
        lambda: spoilt(faults.gibberish(), GET),
        lambda: spoilt(faults.error_document_with_200(), GET),
    ),
    "HOST_LEADS_ASTRAY": (
        lambda: spoilt(faults.redirect_hops(9), BLOB),
        lambda: spoilt(faults.redirect("file:///etc/passwd"), BLOB),
    ),
    "HOST_TOKEN_BLOCKED": (
        lambda: spoilt(faults.bearer_at("http://127.0.0.1:1/token"), Match()),
        lambda: guarded(realm=faults.silence()),
    ),
    "HOST_TOKEN_FAILS": (
        lambda: guarded(realm=faults.status(503)),
        lambda: guarded(realm=faults.page()),
        lambda: guarded(realm=faults.status(403)),
    ),
    "HOST_LOGIN_WANTED": (lambda: guarded(),),
    "HOST_LOGIN_REFUSED": (lambda: guarded(login=True),),
    "HOST_ALLOW_LIST": (
        lambda: spoilt(faults.denied(), MANIFEST),
        lambda: spoilt(faults.denied(), BLOB),
        lambda: spoilt(faults.status(403, "这镜像不在白名单"), MANIFEST),
    ),
    "HOST_BLOB_DENIED": (lambda: spoilt(faults.status(403), BLOB),),
    "HOST_LACKS_BLOB": (lambda: spoilt(faults.status(404), BLOB),),
    "HOST_RATE_LIMITED": (lambda: spoilt(faults.rate_limited("60"), MANIFEST),),
    "HOST_FAILS": (
        lambda: spoilt(faults.status(502), Match()),
        lambda: spoilt(faults.status(500), MANIFEST),
        lambda: spoilt(faults.status(502), Match(kind="blob", nth=2)),
    ),
    "HOST_CDN_BLOCKED": (
        lambda: spoilt(faults.redirect_to("http://127.0.0.1:1"), BLOB),
        lambda: led(lambda cdn: cdn.script(faults.silence())),
    ),
    "HOST_CDN_FAILS": (
        lambda: led(lambda cdn: cdn.script(faults.status(403))),
        lambda: led(lambda cdn: cdn.script(faults.status(500))),
        lambda: led(lambda cdn: cdn.script(faults.page(404))),
    ),
    "HOST_WRONG_BYTES": (
        lambda: spoilt(faults.flipped_bit(), GET),
        lambda: spoilt(faults.flipped_bit(), BLOB),
        lambda: led(lambda cdn: cdn.script(faults.flipped_bit())),
    ),
    "HOST_HEAD_DIFFERS": (lambda: spoilt(faults.lying_digest(), HEAD),),
    "HOST_HEAD_FAILS": (lambda: spoilt(faults.status(500), HEAD),),
    "HOST_RATE_LIMIT_LOW": (
        lambda: spoilt(
            faults.header("ratelimit-limit", "100;w=21600").joined(
                faults.header("ratelimit-remaining", "4;w=21600")
            ),
            MANIFEST,
        ),
    ),
    "HOST_SLOW": (
        lambda: spoilt(faults.bandwidth(200_000), Match(kind="blob", digest=GOOD.layers[0].digest)),
    ),
}
CASES = [(code, make) for code, makes in WORLDS.items() for make in makes]


@pytest.mark.parametrize(("code", "make"), CASES, ids=[f"{code}-{n}" for n, (code, _) in enumerate(CASES)])
@pytest.mark.row("N3", "N4", "N21", "K2")
async def test_each_failure_has_its_name_and_alone(
    tmp_path: Path, code: str, make: Callable[[], Any]
) -> None:
    async with make() as world:
        (finding,) = await findings(tmp_path, world.host, names=world.names)
    assert (finding.code, finding.subject) == (code, world.host.name)
    assert finding.evidence
    assert finding.what
    assert finding.why
    assert finding.hint


@pytest.mark.parametrize(
    "code", ["HOST_REFUSES", "HOST_FAILS", "HOST_ALLOW_LIST", "HOST_WRONG_BYTES", "HOST_CDN_BLOCKED"]
)
async def test_a_host_that_fails_beside_one_that_works_is_a_warning(tmp_path: Path, code: str) -> None:
    async with WORLDS[code][0]() as world, FakeRegistry() as good:
        good.add(GOOD)
        (finding,) = await findings(tmp_path, world.host, good.url)
    assert (finding.code, finding.level) == (code, "warning")


async def test_where_nothing_is_wrong_nothing_is_found(tmp_path: Path) -> None:
    async with FakeRegistry() as one, TokenServer() as tokens, FakeRegistry(auth=tokens) as two:
        one.add(GOOD)
        two.add(GOOD)
        assert await findings(tmp_path, one.url, two.url) == []


async def test_an_origin_out_of_reach_is_worth_knowing_while_a_mirror_works(tmp_path: Path) -> None:
    async with ClosedPort() as closed, FakeRegistry() as mirror:
        mirror.add(GOOD)
        origin = Host.from_url(closed.url, role="origin")
        (finding,) = await findings(tmp_path, mirror.url, origin)
        assert (finding.code, finding.level) == ("HOST_REFUSES", "note")
        mirror.script(faults.status(502))
        assert {f.level for f in await findings(tmp_path, mirror.url, origin)} == {"error"}


async def test_a_mirror_without_the_image_is_worth_knowing_while_another_has_it(tmp_path: Path) -> None:
    async with FakeRegistry() as bare, FakeRegistry() as good:
        good.add(GOOD)
        (finding,) = await findings(tmp_path, bare.url, good.url)
    assert (finding.code, finding.level) == ("HOST_LACKS_IMAGE", "note")


async def test_a_refusal_without_a_reason_beside_a_host_that_has_it(tmp_path: Path) -> None:
    async with FakeRegistry() as one, FakeRegistry() as good:
        one.script(faults.status(403), on=MANIFEST)
        good.add(GOOD)
        (finding,) = await findings(tmp_path, one.url, good.url)
    assert (finding.code, finding.level) == ("HOST_DENIES", "warning")


async def test_an_image_that_every_host_denies_is_nowhere(tmp_path: Path) -> None:
    async with FakeRegistry() as one, FakeRegistry() as two:
        two.script(faults.status(403), on=MANIFEST)
        (finding,) = await findings(tmp_path, one.url, two.url)
    assert (finding.code, finding.subject) == ("IMAGE_NOWHERE", "docker.io/library/alpine:3")
    assert [line.partition(": ")[0] for line in finding.evidence] == [one.netloc, two.netloc]


async def test_an_image_that_one_denies_while_the_other_is_down_may_exist(tmp_path: Path) -> None:
    async with FakeRegistry() as one, ClosedPort() as closed:
        assert [f.code for f in await findings(tmp_path, one.url, closed.url)] == [
            "HOST_LACKS_IMAGE",
            "HOST_REFUSES",
        ]


async def test_a_stale_tag_is_seen_against_a_younger_one(tmp_path: Path) -> None:
    new = image(
        "library/alpine", "3", annotations={"org.opencontainers.image.created": "2025-03-01T00:00:00Z"}
    )
    async with FakeRegistry() as old, FakeRegistry() as fresh:
        old.add(GOOD)
        fresh.add(new)
        (finding,) = await findings(tmp_path, old.url, fresh.url)
    assert (finding.code, finding.subject, finding.level) == ("TAG_STALE", old.netloc, "warning")
    assert finding.evidence == (
        f"{old.netloc}: {GOOD.digest} (2024-01-01)",
        f"{fresh.netloc}: {new.digest} (2025-03-01)",
    )


async def test_the_origin_is_right_about_its_tags(tmp_path: Path) -> None:
    """Built at the same moment, as reproducible builds are: nothing but the origin's word tells."""
    async with FakeRegistry() as mirror, FakeRegistry() as origin:
        mirror.add(TWIN)
        origin.add(GOOD)
        (finding,) = await findings(tmp_path, mirror.url, Host.from_url(origin.url, role="origin"))
    assert (finding.code, finding.subject) == ("TAG_DIFFERS", "docker.io/library/alpine:3")


async def test_two_hosts_that_disagree_and_nobody_who_knows(tmp_path: Path) -> None:
    async with FakeRegistry() as one, FakeRegistry() as two:
        one.add(GOOD)
        two.add(TWIN)
        (finding,) = await findings(tmp_path, one.url, two.url)
    assert finding.code == "TAG_DIFFERS"
    assert len(finding.evidence) == 2


async def test_a_host_whose_clock_is_not_that_of_the_others(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        registries = [await stack.enter_async_context(FakeRegistry()) for _ in range(3)]
        for registry, off in zip(registries, (0, 0, 900), strict=True):
            registry.add(GOOD)
            date = (now + timedelta(seconds=off)).strftime("%a, %d %b %Y %H:%M:%S GMT")
            registry.script(faults.header("Date", date))
        said = await findings(tmp_path, *(registry.url for registry in registries))
        assert [(f.code, f.subject, f.level) for f in said] == [
            ("HOST_CLOCK_OFF", registries[2].netloc, "note")
        ]
        for registry in registries:  # all of them: it is ours that is off, and another check says so
            registry.behave()
            registry.script(faults.header("Date", "Sat, 01 Jan 2000 00:00:00 GMT"))
        assert await findings(tmp_path, *(registry.url for registry in registries)) == []


async def test_a_host_that_a_forged_answer_leads_away_from_is_not_accused(tmp_path: Path) -> None:
    """The check of names says that it was: see test_doctor_dns."""
    async with named(["0.0.0.0"]) as world:
        assert await findings(tmp_path, world.host, names=world.names) == []


async def test_a_host_that_is_not_to_be_asked_for_it_is_not_accused(tmp_path: Path) -> None:
    async with FakeRegistry() as other, FakeRegistry() as good:
        good.add(GOOD)
        left_out = Host.from_url(other.url, allow=("mycorp/*",))
        assert await findings(tmp_path, left_out, good.url) == []
        (finding,) = await findings(tmp_path, left_out)
        assert (finding.code, finding.level) == ("IMAGE_LEFT_OUT", "error")
        assert other.requests == []


async def test_a_host_for_content_alone_may_have_old_tags(tmp_path: Path) -> None:
    async with FakeRegistry() as old, FakeRegistry() as fresh:
        old.add(GOOD)
        fresh.add(image("library/alpine", "3", annotations={CREATED: "2025-03-01T00:00:00Z"}))
        content = Host.from_url(old.url, capabilities=frozenset({"pull"}))
        assert await findings(tmp_path, content, fresh.url) == []


async def test_a_registry_for_which_nobody_is_configured(tmp_path: Path) -> None:
    (finding,) = await findings(tmp_path)
    assert (finding.code, finding.subject) == ("REGISTRY_WITHOUT_HOSTS", "docker.io")


async def test_the_same_trouble_with_two_images_is_said_once(tmp_path: Path) -> None:
    async with ClosedPort() as closed:
        host = Host.from_url(closed.url)
        async with looking(host) as probe:
            seen = scene(tmp_path, "alpine:3", "nginx:1", hosts=[host], probe=probe)
            assert codes(await found(check_hosts, seen)) == ["HOST_REFUSES"]


def test_every_kind_is_met_on_the_wire_or_in_a_unit() -> None:
    here = Path(__file__).read_text("utf-8")
    unit = (Path(__file__).parents[1] / "unit" / "test_hosts_failing.py").read_text("utf-8")
    assert [code for code in KINDS if f'"{code}"' not in here + unit] == []
