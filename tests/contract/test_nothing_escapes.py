"""Redirects, realms and credentials stay inside: nothing that a host says leads us elsewhere."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from rig import ALPINE, HUB, mirror_of
from sampan.errors import AllHostsFailed
from sampan.oci import Digest
from sampan.secret import Secret
from sampan.testing import BasicAuth, FakeCdn, FakeRegistry, Match, TokenServer, faults, image, random_layer
from sampan.upstream.host import Host

PASSWORD = "correct horse battery staple"


async def test_a_redirect_is_followed_inside_and_the_cdn_sees_no_credential(tmp_path: Path) -> None:
    async with (
        FakeCdn(host="127.0.0.3") as cdn,
        TokenServer(users={"robot": PASSWORD}) as realm,
        FakeRegistry("r", auth=realm, cdn=cdn) as registry,
    ):
        registry.add(image(ALPINE, "3", layers=[random_layer(1, 400_000)]))
        host = Host.from_url(registry.url, username="robot", password=Secret(PASSWORD))
        async with mirror_of(tmp_path, [host]) as rig:
            assert await rig.pull() > 400_000
        assert realm.count(kind="token") >= 1
        assert cdn.requests
        assert cdn.leaks == []
        assert all("authorization" not in request.headers for request in cdn.requests)


async def test_a_password_reaches_only_its_own_host(tmp_path: Path) -> None:
    async with (
        FakeRegistry("bad", auth=BasicAuth({"robot": PASSWORD})) as bad,
        FakeRegistry("good", host="127.0.0.2", auth=BasicAuth({"robot": PASSWORD})) as good,
    ):
        good.add(image(ALPINE, "3"))
        known = Host.from_url(good.url, username="robot", password=Secret(PASSWORD))
        async with mirror_of(tmp_path, [Host.from_url(bad.url), known]) as rig:
            await rig.pull()
        assert all("authorization" not in request.headers for request in bad.requests)
        assert any("authorization" in request.headers for request in good.requests)


async def test_a_realm_on_a_foreign_host_gets_no_password(tmp_path: Path) -> None:
    """Two loopback addresses share nothing that would make one the other's login server."""
    async with TokenServer(host="127.0.0.4") as realm, FakeRegistry("r", auth=realm) as registry:
        registry.add(image(ALPINE, "3"))
        host = Host.from_url(registry.url, username="robot", password=Secret(PASSWORD))
        async with mirror_of(tmp_path, [host]) as rig:
            await rig.pull()
        assert realm.requests
        assert all("authorization" not in request.headers for request in realm.requests)
        assert all(PASSWORD not in request.target for request in realm.requests)


def loopback_name() -> str:
    """A name that is no address and resolves to loopback: this machine's own, by its hosts file."""
    for name in (socket.gethostname(), "ip6-localhost", "localhost.localdomain"):
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
        except OSError:
            continue
        if found and all(address.startswith("127.") or address == "::1" for address in found):
            return name
    raise AssertionError("no name on this machine resolves to loopback only")


async def test_a_public_hosts_name_that_resolves_to_loopback_is_not_dialled(tmp_path: Path) -> None:
    name = await asyncio.to_thread(loopback_name)
    async with FakeRegistry("trap") as trap:
        trap.add(image(ALPINE, "3"))
        host = Host.from_url(f"http://{name}:{trap.port}")
        assert not host.private
        async with mirror_of(tmp_path, [host]) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, ALPINE, "3")
        assert {attempt.outcome for attempt in caught.value.attempts} == {"blocked-address"}
        assert trap.requests == []


@pytest.mark.parametrize("what", ["redirect", "realm"])
async def test_the_metadata_address_is_closed_even_to_private_hosts(tmp_path: Path, what: str) -> None:
    target = "http://169.254.169.254/latest/meta-data"
    async with FakeRegistry("r") as registry:
        alpine = registry.add(image(ALPINE, "3"))
        fault = faults.redirect(target) if what == "redirect" else faults.bearer_at(target)
        registry.script(fault, on=Match(kind="blob"))
        async with mirror_of(tmp_path, [registry]) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
    outcomes = {attempt.outcome for attempt in caught.value.attempts}
    assert outcomes <= {"blocked-address", "redirect", "login"}


async def test_no_error_and_no_attempt_shows_a_secret(tmp_path: Path) -> None:
    async with FakeCdn(host="127.0.0.3") as cdn, FakeRegistry("r", cdn=cdn) as registry:
        alpine = registry.add(image(ALPINE, "3"))
        cdn.script(faults.status(403))
        host = Host.from_url(registry.url, username="robot", password=Secret(PASSWORD))
        async with mirror_of(tmp_path, [host]) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
    text = f"{caught.value!r} {caught.value.attempts} {host!r}"
    assert PASSWORD not in text
    assert "X-Signature" not in text
