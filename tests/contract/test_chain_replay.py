"""A replay on real sockets: as the runtime would be connected, with few requests, and no login given away."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from sampan.clock import SystemClock
from sampan.doctor.chain.contract import Chain, Entry, Login
from sampan.doctor.chain.plans import walk_of
from sampan.doctor.chain.replay import BLOB_BYTES_MAX, Replay, Replayed
from sampan.doctor.chain.saying import is_good, line
from sampan.oci import Reference
from sampan.oci.platform import Platform
from sampan.runtimes.contract import Version
from sampan.runtimes.tree import Tree
from sampan.secret import Secret
from sampan.testing import (
    BasicAuth,
    ClosedPort,
    FakeCdn,
    FakeRegistry,
    HelloReset,
    Match,
    TokenServer,
    faults,
    image,
    random_layer,
)

ALPINE = Reference.parse("alpine:3")
AMD64 = Platform("linux", "amd64")
LARGE, SMALL = random_layer(1, 4 * BLOB_BYTES_MAX), random_layer(2, 1000)
GOOD = image("library/alpine", "3", layers=[LARGE])
TINY = image("library/alpine", "3", layers=[SMALL])
LOGIN = Login("me", Secret("hidden-password"))


def entry(url: str, **more: Any) -> Entry:
    scheme, _, netloc = url.partition("://")
    return Entry(scheme, netloc, namespace="docker.io", place="/etc/containerd/hosts.toml:3", **more)


def chain(*entries: Entry, version: str = "2.1.0") -> Chain:
    return Chain("containerd", "containerd", ALPINE, entries, Version.find(version))


async def replayed(*chains: Chain, root: Path = Path("/nonexistent")) -> list[Replayed]:
    """All of them at once, as the doctor does it."""
    replay = Replay(Tree(root), SystemClock())
    try:
        return await asyncio.gather(*(replay.run(one, walk_of(one, AMD64, layers_max=1)) for one in chains))
    finally:
        await replay.close()


def context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(made)
    return made


async def test_an_image_that_comes_takes_four_requests_and_a_part_of_one_layer() -> None:
    async with FakeRegistry() as mirror:
        mirror.add(GOOD)
        (one,) = await replayed(chain(entry(mirror.url)))
        asked = [(request.method, request.kind) for request in mirror.requests]
        ranges = [request.headers.get("range") for request in mirror.requests]
    assert one.outcome is not None
    assert one.outcome.arrives
    assert sorted(asked) == [("GET", "blob"), ("GET", "blob"), ("GET", "manifest"), ("HEAD", "manifest")]
    assert f"bytes=0-{BLOB_BYTES_MAX - 1}" in ranges
    assert all(map(is_good, one.steps))


async def test_two_runtimes_that_ask_the_same_cost_one_request_each() -> None:
    async with FakeRegistry() as mirror:
        mirror.add(GOOD)
        both = await replayed(chain(entry(mirror.url)), chain(entry(mirror.url), version="1.7.7"))
        assert len(mirror.requests) == 4
    assert all(one.outcome is not None and one.outcome.arrives for one in both)


async def test_what_a_runtime_asks_again_and_again_is_asked_once() -> None:
    """containerd asks six times at once when it is asked for patience."""
    async with FakeRegistry() as mirror:
        mirror.add(GOOD)
        mirror.script(faults.rate_limited())
        (one,) = await replayed(chain(entry(mirror.url)))
        assert len(mirror.requests) == 1
    assert one.outcome is not None
    assert "429 Too Many Requests" in (one.outcome.printed or "")
    assert [step.times for step in one.steps] == [6]
    assert line(one.steps[0]).endswith("429 Too Many Requests ×6")


async def test_a_host_that_resets_is_dialled_once_for_all_that_is_asked_of_it() -> None:
    async with HelloReset() as dead, FakeRegistry() as mirror:
        mirror.add(GOOD)
        (one,) = await replayed(chain(entry(dead.url), entry(mirror.url)))
    assert one.outcome is not None
    assert one.outcome.arrives
    failed = [step for step in one.steps if not is_good(step)]
    assert {step.ask.entry.netloc for step in failed} == {dead.netloc}
    assert [step.ask.part for step in failed] == ["head", "manifest", "blob", "blob"]


async def test_a_refused_connection_is_not_tried_again_for_another_path() -> None:
    async with ClosedPort() as dead:
        began = asyncio.get_running_loop().time()
        (one,) = await replayed(chain(entry(dead.url)))
        assert asyncio.get_running_loop().time() - began < 5
    assert one.outcome is not None
    assert f"dial tcp 127.0.0.1:{dead.port}: connect: connection refused" in (one.outcome.printed or "")


async def test_a_login_is_not_shown_to_a_realm_of_somebody_else() -> None:
    """The runtime would: this is what can be foretold no further."""
    async with TokenServer(host="127.0.0.2", users={"me": "hidden-password"}) as tokens:
        async with FakeRegistry(auth=tokens) as mirror:
            mirror.add(GOOD)
            (one,) = await replayed(chain(entry(mirror.url, login=LOGIN)))
        assert tokens.requests == []
    assert one.outcome is None
    assert one.withheld == f"the login for {mirror.netloc} is not shown to {tokens.netloc}"
    assert "hidden-password" not in repr(one)


async def test_a_login_is_shown_to_the_host_that_it_is_for() -> None:
    async with FakeRegistry(auth=BasicAuth({"me": "hidden-password"})) as mirror:
        mirror.add(GOOD)
        (one,) = await replayed(chain(entry(mirror.url, login=LOGIN)))
        (none,) = await replayed(chain(entry(mirror.url)))
    assert one.outcome is not None
    assert one.outcome.arrives
    assert none.outcome is not None
    assert "no basic auth credentials" in (none.outcome.printed or "")
    assert "hidden-password" not in "".join(map(line, one.steps))


async def test_where_redirects_lead_is_named_when_it_fails_there() -> None:
    async with FakeCdn(host="127.0.0.2") as cdn, FakeRegistry(cdn=cdn) as mirror:
        mirror.add(GOOD)
        cdn.script(faults.status(403))
        (one,) = await replayed(chain(entry(mirror.url)))
    bad = [step for step in one.steps if not is_good(step)]
    assert {step.answer.behind for step in bad} == {cdn.netloc}
    assert line(bad[0]) == f"{bad[0].ask}: {cdn.netloc}: 403 Forbidden"
    assert "Signature" not in line(bad[0])


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_host_is_asked_with_the_certificates_that_its_entry_names(
    trusted: bool, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    async with FakeRegistry(tls=context(authority.issue_cert("127.0.0.1"))) as mirror:
        mirror.add(GOOD)
        certificates = ("/ca.crt",) if trusted else ()
        (one,) = await replayed(chain(entry(mirror.url, certificates=certificates)), root=tmp_path)
    assert one.outcome is not None
    said = one.outcome.printed or ""
    assert one.outcome.arrives is trusted
    wrong = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert (wrong in said) is not trusted


async def test_a_host_is_asked_with_the_headers_of_its_entry() -> None:
    async with FakeRegistry() as mirror:
        mirror.add(GOOD)
        await replayed(chain(entry(mirror.url, headers={"X-Meta": "a", "Host": "b"})))
        assert {request.headers.get("x-meta") for request in mirror.requests} == {"a"}
        assert {request.headers.get("host") for request in mirror.requests} == {mirror.netloc}


async def test_one_that_may_be_without_tls_is_asked_so_when_it_is() -> None:
    async with FakeRegistry() as mirror:
        mirror.add(GOOD)
        https = f"https://{mirror.netloc}"
        (either,) = await replayed(chain(entry(https, may_be_http=True)))
        (tls,) = await replayed(chain(entry(https)))
    assert either.outcome is not None
    assert either.outcome.arrives
    assert tls.outcome is not None
    assert "http: server gave HTTP response to HTTPS client" in (tls.outcome.printed or "")


async def test_a_body_that_is_cut_short_is_asked_on_from_where_it_ended() -> None:
    layer = TINY.layers[0]
    async with FakeRegistry() as mirror:
        mirror.add(TINY)
        mirror.script(faults.truncated(400), on=Match(digest=layer.digest))
        (one,) = await replayed(chain(entry(mirror.url)))
        asked = [
            request.headers.get("range") for request in mirror.requests if request.digest == layer.digest
        ]
    assert one.outcome is not None
    assert one.outcome.arrives
    assert asked == [None, "bytes=400-", "bytes=800-"]
    assert [step.answer.broken for step in one.steps[-3:]] == ["EOF", "EOF", None]


async def test_a_body_of_which_nothing_comes_is_a_part_that_fails() -> None:
    async with FakeRegistry() as mirror:
        mirror.add(TINY)
        mirror.script(faults.truncated(0), on=Match(digest=TINY.layers[0].digest))
        (one,) = await replayed(chain(entry(mirror.url)))
    assert one.outcome is not None
    assert (one.outcome.printed or "").endswith("unexpected EOF")
    assert one.steps[-1].answer.broken == "EOF"


async def test_a_file_that_is_named_and_gone_is_told_and_nobody_is_asked(tmp_path: Path) -> None:
    async with FakeRegistry() as mirror:
        https = f"https://{mirror.netloc}"
        (one,) = await replayed(chain(entry(https, certificates=("/gone.crt",))), root=tmp_path)
        assert mirror.requests == []
    assert one.outcome is None
    assert "gone.crt" in (one.withheld or "")


async def test_a_chain_that_ends_before_the_first_request_asks_nothing() -> None:
    (one,) = await replayed(Chain("containerd", "containerd", ALPINE, refusal="no service"))
    assert one.steps == ()
    assert one.outcome is not None
    assert one.outcome.printed == "no service"
