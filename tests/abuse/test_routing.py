"""Requests and answers that want to lead a mirror elsewhere: rows 11 to 17 of the catalogue.

Which addresses may be dialled, in every wrapping, is in tests/unit/test_addresses.py; that the guard stands
where the socket is made, in tests/contract/test_transport.py.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from abuse.bounds import ALPINE, MIB, assert_refused, bounded, unasked
from faults.trial import trial
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.secret import Secret
from sampan.server.app import Server
from sampan.server.settings import ServerSettings
from sampan.testing import BasicAuth, FakeProxy, FakeRegistry, Match, TokenServer, faults
from sampan.testing.images import OCI_MANIFEST, Content, Image
from sampan.upstream.host import Host
from serving.wire import ask

pytestmark = pytest.mark.standstill

MANIFEST = "/v2/library/alpine/manifests/3"
USER, PASSWORD = "robot", "correct-horse-battery"
NAMESPACES = [
    "169.254.169.254", "localhost:6443", "127.0.0.1:22", "a&ns=b", "docker.io&ns=docker.io", "evil/..", "",
    "user%40docker.io", "docker.io%2fx", "docker.io%00", "docker.io%0d%0aHost:%20evil", "a" * 7000,
    "http://docker.io", "%5b::1%5d:80", "metadata.google.internal", "0x7f.1", "2130706433",
]  # fmt: skip


async def test_row_11_a_namespace_that_is_not_configured(tmp_path: Path) -> None:
    targets = [f"{path}?ns={ns}" for ns in NAMESPACES for path in ("/v2/x/manifests/3", "/v2/")]
    async with unasked(tmp_path, requests=len(targets)) as endured:
        for target in targets:
            assert_refused(await endured.ask(target), "NAME_UNKNOWN", "NAME_INVALID", "UNSUPPORTED")


async def test_row_11_a_namespace_of_10_kilobytes(tmp_path: Path) -> None:
    async with unasked(tmp_path) as endured:
        assert (await endured.ask(f"/v2/x/manifests/3?ns={'a' * 10_240}")).status == 431


@contextlib.asynccontextmanager
async def serving(directory: Path, text: str) -> AsyncIterator[tuple[Server, Lasting]]:
    """What ``sampan serve`` makes of a configuration."""
    config = Config.parse(f'[store]\npath = "{directory}/store"\n{text}', environ={})
    lasting = Lasting.of(config)
    server = Server(build(config, lasting=lasting), ServerSettings(port=0, instance=lasting.instance))
    await server.start()
    try:
        yield server, lasting
    finally:
        await server.stop(grace_seconds=0.0)
        lasting.close()


@pytest.mark.parametrize(
    "ns",
    ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "10.0.0.1:80", "169.254.169.254", "0.0.0.0:80"],
)
@pytest.mark.parametrize("form", ["/v2/x/manifests/3?ns={ns}", "/v2/{ns}/x/manifests/3"])
async def test_row_11_any_registry_is_no_private_one(tmp_path: Path, ns: str, form: str) -> None:
    """``[registry."*"]`` with origins: a client may choose the registry, and yet none inside the network."""
    async with FakeRegistry("inside", strict=True) as inside:
        async with serving(tmp_path, '[registry."*"]\norigin = "last"\n') as (server, _):
            answer = await ask(server, form.format(ns=ns.format(port=inside.port)))
        assert answer.status in (400, 404, 503), answer
        assert inside.connections == 0


@pytest.mark.parametrize(
    "name", ["169.254.169.254", "localhost:6443", "127.0.0.1:22", "user:pw@host", "evil.example", "0x7f.1"]
)
async def test_row_12_a_path_that_names_a_registry_that_is_not_configured(tmp_path: Path, name: str) -> None:
    targets = [f"/v2/{name}/x/{rest}" for rest in ("manifests/3", f"blobs/sha256:{'a' * 64}", "tags/list")]
    async with unasked(tmp_path, requests=len(targets)) as endured:
        for target in targets:
            assert_refused(await endured.ask(target), "NAME_UNKNOWN", "NAME_INVALID")


INSIDE = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://x.localhost:{port}/", "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/",
    "http://[fd00::1]/", "http://[fe80::1]/", "http://224.0.0.1/", "http://0.0.0.0:{port}/",
    "http://[2002:7f00:1::1]/", "http://[64:ff9b::7f00:1]/", "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://100.100.100.200/", "http://[fd00:ec2::254]/",
]  # fmt: skip


@pytest.mark.parametrize("what", ["redirect", "realm"])
@pytest.mark.parametrize("target", INSIDE)
async def test_row_13_a_public_host_leads_nobody_inside(tmp_path: Path, target: str, what: str) -> None:
    """The host is public, and answers by way of a proxy; whatever it says, nobody else is asked for."""
    async with FakeRegistry("inside", strict=True) as inside, FakeProxy("way") as way:
        url = target.format(port=inside.port)
        way.script(faults.redirect(url) if what == "redirect" else faults.bearer_at(url))
        host = Host.from_url("http://registry.example", proxy=way.url)
        assert not host.private
        async with trial(tmp_path, [host]) as endured:
            answer = await endured.ask(MANIFEST)
            written = endured.written()
        assert answer.status in (404, 503), answer
        assert "blocked-address" in written or "login" in written, written
        assert {request.target for request in way.requests} == {f"http://registry.example{MANIFEST}"}
        assert inside.connections == 0


ELSEWHERE = [
    "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/", "data:text/plain,x",
    "http://user:pw@127.0.0.1:{port}/", "http://127.0.0.1:22/", "http://127.0.0.1:25/", "javascript:1",
    "http://127.1:{port}/", "http://2130706433:{port}/", "http://127.0.0.1:{port}\\@evil/", "http://[::1/",
]  # fmt: skip


@pytest.mark.parametrize("what", ["redirect", "realm"])
async def test_row_14_other_schemes_users_and_ports(tmp_path: Path, what: str) -> None:
    async with FakeRegistry("trap", strict=True) as trap:
        for number, target in enumerate(ELSEWHERE):
            url = target.format(port=trap.port)
            async with FakeRegistry("host") as host:
                host.script(faults.redirect(url) if what == "redirect" else faults.bearer_at(url))
                async with trial(tmp_path / str(number), [host]) as endured:
                    answer = await endured.ask(MANIFEST)
                assert answer.status in (404, 503), (target, answer)
                assert len(host.requests) <= 2, target
        assert trap.connections == 0


async def test_row_15_a_realm_of_somebody_else_gets_no_password(tmp_path: Path) -> None:
    async with (
        TokenServer("stranger", host="127.0.0.4") as stranger,
        FakeRegistry("host", auth=stranger) as host,
    ):
        host.add(ALPINE)
        known = Host.from_url(host.url, username=USER, password=Secret(PASSWORD))
        async with trial(tmp_path, [known]) as endured:
            await endured.pull(ALPINE)
            assert PASSWORD not in endured.written()
        assert stranger.requests
        for request in stranger.requests:
            assert "authorization" not in request.headers
            assert PASSWORD not in request.target + request.body.decode()


async def test_row_15_a_redirect_to_somebody_else_takes_no_password_along(tmp_path: Path) -> None:
    async with (
        FakeRegistry("stranger", host="127.0.0.4") as stranger,
        FakeRegistry("host", auth=BasicAuth({USER: PASSWORD})) as host,
    ):
        stranger.add(ALPINE)
        host.add(ALPINE)
        host.script(faults.redirect_to(stranger.url), on=Match(kind="blob"))
        known = Host.from_url(host.url, username=USER, password=Secret(PASSWORD), headers={"X-Key": PASSWORD})
        async with trial(tmp_path, [known]) as endured:
            await endured.pull(ALPINE)
        assert stranger.requests
        assert not any({"authorization", "x-key"} & set(request.headers) for request in stranger.requests)


async def test_row_16_a_next_page_of_somebody_else(tmp_path: Path) -> None:
    async with FakeRegistry("stranger", strict=True) as stranger, FakeRegistry("host") as host:
        host.add(ALPINE)
        host.script(
            faults.header("Link", f'<{stranger.url}/v2/library/alpine/tags/list?n=1>; rel="next"'),
            on=Match(kind="tags"),
        )
        async with trial(tmp_path, [host]) as endured:
            answer = await endured.ask("/v2/library/alpine/tags/list")
        assert answer.status == 503
        assert stranger.connections == 0


def with_foreign_layer(url: str) -> Image:
    """An image whose layer says that it is to be had at ``url``."""
    layer = ALPINE.layers[0].descriptor(urls=[url, "http://169.254.169.254/", "file:///etc/passwd"])
    layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    assert ALPINE.config is not None
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": ALPINE.config.descriptor(),
        "layers": [layer],
    }
    return replace(ALPINE, manifest=Content.of(json.dumps(document).encode(), OCI_MANIFEST))


async def test_row_16_a_foreign_layer_is_asked_for_at_the_hosts_alone(tmp_path: Path) -> None:
    async with FakeRegistry("stranger", strict=True) as stranger, FakeRegistry("host") as host:
        foreign = with_foreign_layer(f"{stranger.url}/layer")
        host.add(foreign)
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(foreign)
            host.forget(foreign.layers[0].digest)
        async with trial(tmp_path / "again", [host]) as endured:
            answer = await endured.ask(f"/v2/library/alpine/blobs/{foreign.layers[0].digest}")
            assert answer.status == 404
        assert stranger.connections == 0


def asking(url: str, proxy: str | None = None) -> str:
    """A configuration with one mirror of docker.io."""
    way = "" if proxy is None else f', proxy = "{proxy}"'
    return f'[registry."docker.io"]\nmirrors = [{{ url = "{url}"{way} }}]\norigin = "never"\n'


async def test_row_17_a_mirror_that_leads_back_to_itself(tmp_path: Path) -> None:
    """By way of another name, that of a proxy in front of it: so that the configuration cannot tell."""
    async with FakeProxy("front") as front:
        async with serving(tmp_path, asking("http://127.0.0.1:1", front.url)) as (server, lasting):
            config = Config.parse(asking(server.url, front.url), environ={})
            server.replace_mirror(build(config, lasting=lasting))
            with bounded(calls_max=200_000, bytes_max=16 * MIB):
                answer = await ask(server, MANIFEST)
        assert answer.status == 503, answer
        assert "508" in answer.error["message"]
        assert len(front.requests) <= 2


@pytest.mark.parametrize("target", [MANIFEST, f"/v2/library/alpine/blobs/sha256:{'a' * 64}"])
async def test_row_17_two_mirrors_that_lead_to_each_other(tmp_path: Path, target: str) -> None:
    """Each request is passed on until it comes to a mirror that it has been at, and no longer than that."""
    async with (
        serving(tmp_path / "one", asking("http://127.0.0.1:1")) as (one, lasting),
        serving(tmp_path / "two", asking(one.url)) as (two, _),
    ):
        one.replace_mirror(build(Config.parse(asking(two.url), environ={}), lasting=lasting))
        with bounded(calls_max=200_000, bytes_max=16 * MIB):
            answer = await ask(one, target)
            assert answer.status in (404, 503), answer
            assert "508" in answer.error["message"] + str(answer.error.get("detail"))
