"""What a running server knows of its hosts, and a catalogue fetched from a URL."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from sampan.config import Config
from sampan.config.build import configured_hosts
from sampan.config.catalogue import load_catalogue
from sampan.config.running import Health, health_of_running, read_health
from sampan.errors import Attempt, ConfigError, TimedOut
from sampan.mirror.keeping import Keeping
from sampan.server.metrics import Metrics
from sampan.testing import ClosedPort, ManualClock, Silence
from sampan.testing.server import FakeServer
from sampan.testing.wire import Reply, Request, reply
from sampan.upstream import health as remembered
from serving.mirror import FakeHostState, FakeMirror

CATALOGUE = 'updated = "2026-01-01"\n'


class Pages(FakeServer):
    """Answers every path with one text, or with a status."""

    def __init__(self, text: str = "", status: int = 200, **options: object) -> None:
        super().__init__("pages", **options)  # type: ignore[arg-type] # as it takes them
        self._text = text
        self._status = status

    def answer(self, request: Request) -> Reply:
        request.kind = "other"
        return reply(self._status, self._text.encode(), "text/plain")


def config(netloc: str, more: str = "") -> Config:
    return Config.parse(f'[server]\nlisten = "{netloc}"\n{more}', environ={})


async def test_the_metrics_of_a_server_are_read_as_it_writes_them() -> None:
    clock = ManualClock()
    metrics, mirror = Metrics(clock), FakeMirror()
    metrics.serving(mirror)
    mirror.health.hosts = [FakeHostState("a", "blob", "open", 0), FakeHostState("b", "manifest", "ready", 3)]
    text = (await metrics.render(0)).decode()
    assert read_health(text) == {"a": Health("open"), "b": Health("ready", 3)}


async def test_the_worst_state_of_a_host_counts() -> None:
    text = (
        'sampan_host_state{host="a",kind="blob",state="ready"} 1.0\n'
        'sampan_host_state{host="a",kind="manifest",state="open"} 1.0\n'
        'sampan_host_state{host="a",kind="manifest",state="ready"} 0.0\n'
        'sampan_host_state{host="b",kind="blob",state="demoted"} 1.0\n'
        'sampan_host_strikes{host="b",kind="blob"} 2.0\n'
    )
    assert read_health(text) == {"a": Health("open"), "b": Health("demoted", 2)}


async def test_a_server_that_answers_is_believed() -> None:
    async with Pages('sampan_host_state{host="a",kind="blob",state="open"} 1.0\n') as server:
        running = await health_of_running(config(server.netloc))
        assert [request.path for request in server.requests] == ["/metrics"]
    assert (dict(running.hosts), running.problem) == ({"a": Health("open")}, None)


async def test_a_server_with_its_own_certificate_is_believed(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(made)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    async with Pages("sampan_x 1\n", tls=made) as server:
        keys = f'tls_cert = "{certificate}"\ntls_key = "{key}"\n'
        assert (await health_of_running(config(server.netloc, keys))).problem is None


async def test_why_nothing_is_known_is_told() -> None:
    async with Pages(status=401) as server, ClosedPort() as closed, Silence() as silent:
        for netloc, said in (
            (server.netloc, "answered 401"),
            (closed.netloc, "refused"),
            (silent.netloc, "no answer"),
        ):
            running = await health_of_running(config(netloc), ask_seconds=0.3)
            assert running.hosts == {}
            assert said in (running.problem or "")


async def test_what_a_server_that_does_not_run_wrote_down_last_is_read_and_left_as_it_is(
    tmp_path: Path,
) -> None:
    more = f'[store]\npath = "{tmp_path}"\n[registry."docker.io"]\nmirrors = ["https://a.test", "https://b.test"]\n'
    async with ClosedPort() as closed:
        settings = config(closed.netloc, more)
        clock = ManualClock(1_800_000_000.0)
        health, hosts = remembered.Health(clock), configured_hosts(settings)
        async with Keeping(tmp_path, health, hosts, clock):
            health.strike(hosts[0])
            silent = TimedOut("silence", outcome="first-byte-timeout")
            health.fail(hosts[1], "a/b", "blob", "x", silent, Attempt("b.test", "first-byte-timeout", 10.0))
        file = tmp_path / "health/hosts.json"
        before = file.stat()
        running = await health_of_running(settings, clock=clock)
        assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
        assert running.kept_at == clock.time()
        assert [running.of(host) for host in hosts[:2]] == [Health("ready", 1), Health("open")]
        assert "refused" in (running.problem or "")
        file.write_bytes(b"garbage")
        running = await health_of_running(settings)
        assert (running.kept_at, dict(running.hosts), file.read_bytes()) == (None, {}, b"garbage")


async def test_a_catalogue_is_fetched_from_a_url() -> None:
    async with Pages(CATALOGUE) as server:
        found = await load_catalogue(f"{server.url}/lists/mirrors.toml?x=1", Config.parse("", environ={}))
        assert [request.target for request in server.requests] == ["/lists/mirrors.toml?x=1"]
    assert (found.updated.year, found.entries) == (2026, ())


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (CATALOGUE, 404, "it answered 404"),
        ("x" * (1024 * 1024 + 1), 200, "expected at most 1048576 bytes"),
        ("<html>", 200, "invalid statement"),
        ("", 200, "expected the key updated, got none"),
    ],
)
async def test_a_url_without_a_catalogue_is_told(text: str, status: int, said: str) -> None:
    async with Pages(text, status) as server:
        with pytest.raises(ConfigError, match=said):
            await load_catalogue(server.url, Config.parse("", environ={}))


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/c.toml", "https://me:secret@127.0.0.1/", "http://"])
async def test_a_url_that_leads_nowhere_is_told_without_its_secrets(where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await load_catalogue(where, Config.parse("", environ={}))
    assert "secret" not in caught.value.message
