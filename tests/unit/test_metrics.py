"""What Prometheus reads, and that no client can make it endless."""

from __future__ import annotations

from sampan.errors import Attempt, StoreError
from sampan.mirror.events import Observer
from sampan.secret import Secret
from sampan.server.metrics import HOSTS_MAX, STORE_USAGE_SECONDS, Metrics
from sampan.server.tally import DURATION_SECONDS, Distribution
from sampan.testing import ManualClock
from sampan.upstream.host import Host
from serving.mirror import FakeHostState, FakeMirror


def metrics_of(mirror: FakeMirror, clock: ManualClock | None = None) -> Metrics:
    metrics = Metrics(clock or ManualClock())
    metrics.serving(mirror)
    return metrics


async def text_of(metrics: Metrics) -> str:
    return (await metrics.render(connections=3)).decode()


async def test_it_observes_the_mirror() -> None:
    metrics = metrics_of(FakeMirror())
    observer: Observer = metrics
    observer.attempted("docker.io", "blob", Attempt("a.example", "server-error", 0.1, 502))
    observer.received("b.example", 1000)
    observer.answered("docker.io", "blob", "b.example", stale=False)
    observer.answered("docker.io", "manifest", "store", stale=True)
    observer.download_started("docker.io")
    observer.download_ended("docker.io", "committed")
    text = await text_of(metrics)
    for line in (
        'sampan_attempts_total{host="a.example",kind="blob",outcome="server-error"} 1.0',
        'sampan_received_bytes_total{host="b.example"} 1000.0',
        'sampan_answers_total{kind="blob",registry="docker.io",result="miss"} 1.0',
        'sampan_answers_total{kind="manifest",registry="docker.io",result="hit"} 1.0',
        'sampan_stale_answers_total{registry="docker.io"} 1.0',
        'sampan_downloads_total{outcome="committed"} 1.0',
    ):
        assert line in text.splitlines()


async def test_requests_are_counted_with_their_times_and_bytes() -> None:
    metrics = metrics_of(FakeMirror())
    for source, seconds in (("store", 0.0004), ("a.example", 0.3), ("", 0.01)):
        metrics.requests.add(
            "blob",
            200 if source else 503,
            seconds=seconds,
            first_byte_seconds=seconds / 2,
            source=source,
            sent_bytes=10,
        )
    lines = (await text_of(metrics)).splitlines()
    assert 'sampan_requests_total{kind="blob",status="200"} 2.0' in lines
    assert 'sampan_requests_total{kind="blob",status="503"} 1.0' in lines
    assert 'sampan_request_duration_seconds_bucket{kind="blob",le="0.0005",status="200"} 1.0' in lines
    assert 'sampan_request_duration_seconds_bucket{kind="blob",le="+Inf",status="200"} 2.0' in lines
    assert 'sampan_first_byte_seconds_count{kind="blob",origin="host"} 1.0' in lines
    assert 'sampan_sent_bytes_total{origin="store"} 10.0' in lines
    assert 'sampan_sent_bytes_total{origin="host"} 10.0' in lines


async def test_the_state_of_mirror_hosts_and_store_is_read_when_asked() -> None:
    mirror = FakeMirror()
    mirror.downloads_in_flight = 2
    mirror.health.hosts = [FakeHostState("a.example", "blob", "open", 3)]
    lines = (await text_of(metrics_of(mirror))).splitlines()
    for line in (
        "sampan_connections 3.0",
        "sampan_store_bytes 4096.0",
        "sampan_downloads_in_flight 2.0",
        'sampan_host_state{host="a.example",kind="blob",state="open"} 1.0',
        'sampan_host_state{host="a.example",kind="blob",state="ready"} 0.0',
        'sampan_host_strikes{host="a.example",kind="blob"} 3.0',
    ):
        assert line in lines


async def test_what_is_left_of_pulls_and_refusals_is_shown() -> None:
    mirror = FakeMirror()
    quota, budget = mirror.health.quota, mirror.health.budget
    for username, left in ((None, 60), ("me", 7), ("you", 90)):
        host = Host.from_url("https://hub.example", username=username, password=username and Secret("x"))
        said = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": f"{left};w=21600"}
        quota.note(host, said.get, 200, head=True)
    budget.answered(Host.from_url("https://docker.m.example.com"), 403)
    lines = (await text_of(metrics_of(mirror))).splitlines()
    shown = [line for line in lines if line.startswith(("sampan_host_pull", "sampan_refusals"))]
    assert shown == [
        'sampan_host_pull_limit{host="https://hub.example"} 100.0',
        'sampan_host_pulls_left{host="https://hub.example"} 7.0',
        'sampan_refusals_left{operator="example.com"} 89.0',
    ]


async def test_hedges_are_counted_by_what_came_of_them_and_usual_times_shown() -> None:
    mirror = FakeMirror()
    mirror.health.usual = [("https://a.example", "GET blob", 0.25)]
    metrics = metrics_of(mirror)
    for won in (True, False, False):
        metrics.hedged("docker.io", "manifest", won=won)
    lines = (await text_of(metrics)).splitlines()
    for line in (
        'sampan_hedges_total{kind="manifest",outcome="won"} 1.0',
        'sampan_hedges_total{kind="manifest",outcome="lost"} 2.0',
        'sampan_host_usual_seconds{host="https://a.example",step="GET blob"} 0.25',
    ):
        assert line in lines


async def test_however_many_hosts_have_a_usual_time_few_are_shown() -> None:
    mirror = FakeMirror()
    mirror.health.usual = [(f"https://r{number}.example", "GET blob", 0.1) for number in range(HOSTS_MAX * 2)]
    assert (await text_of(metrics_of(mirror))).count("sampan_host_usual_seconds{") == HOSTS_MAX


async def test_the_size_of_the_store_is_not_asked_each_time() -> None:
    mirror, clock = FakeMirror(), ManualClock()
    metrics = metrics_of(mirror, clock)
    for _ in range(5):
        await text_of(metrics)
    assert mirror.store.asked == 1
    clock.advance(STORE_USAGE_SECONDS)
    mirror.store.error = StoreError("disk")
    assert "sampan_store_bytes 4096.0" in await text_of(metrics)
    assert mirror.store.asked == 2


async def test_hosts_and_registries_nobody_configured_share_a_label() -> None:
    metrics = metrics_of(FakeMirror())
    for number in range(HOSTS_MAX + 100):
        metrics.received(f"h{number}.example", 1)
        metrics.answered(f"r{number}.example", "blob", "store", stale=False)
    text = await text_of(metrics)
    assert text.count("sampan_received_bytes_total{") == HOSTS_MAX + 1
    assert 'sampan_received_bytes_total{host="other"} 100.0' in text
    assert 'sampan_answers_total{kind="blob",registry="other",result="hit"} 300.0' in text


async def test_there_are_no_series_of_when_counting_began() -> None:
    metrics = metrics_of(FakeMirror())
    metrics.received("a_created.example", 1)
    text = await text_of(metrics)
    assert "_created{" not in text
    assert "_created " not in text
    assert 'host="a_created.example"' in text


def test_a_value_on_a_bound_counts_below_it() -> None:
    distribution = Distribution(DURATION_SECONDS)
    distribution.add(0.001)
    distribution.add(99999.0)
    buckets = dict(distribution.buckets())
    assert (buckets["0.0005"], buckets["0.001"], buckets["1800.0"], buckets["+Inf"]) == (0.0, 1.0, 1.0, 2.0)


def test_two_servers_in_one_process_do_not_meet() -> None:
    first, second = Metrics(ManualClock()), Metrics(ManualClock())
    first.client_left()
    assert first.registry.get_sample_value("sampan_clients_left_total") == 1.0
    assert second.registry.get_sample_value("sampan_clients_left_total") == 0.0
