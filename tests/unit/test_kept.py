"""What is remembered of hosts, written down and read by another process, at another time, by other clocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sampan.errors import (
    Attempt,
    Denied,
    HostError,
    Missing,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    WrongContent,
)
from sampan.secret import Secret
from sampan.testing import ManualClock
from sampan.upstream.breaker import REST_SECONDS, REST_SECONDS_MAX
from sampan.upstream.budget import WINDOW_SECONDS
from sampan.upstream.health import (
    DENIED_SECONDS,
    EARNED_BYTES,
    STRIKE_SECONDS,
    Health,
    Standing,
)
from sampan.upstream.host import REFUSALS_MAX, Host
from sampan.upstream.kept import BYTES_MAX, NotKept, revive, written
from sampan.upstream.kept.document import settings_of
from sampan.upstream.quota import Supply
from sampan.upstream.tempo import FORGOTTEN_SECONDS, SAMPLES_MAX

HOST = Host.from_url("https://mirror.test")
OTHER = Host.from_url("https://other.test")
REPOSITORY = "library/alpine"
STORAGE = "cdn.test"
DENIED = Denied("not in the allow-list", outcome="denied", status=403)
LIMITED = RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=3000)
REFUSED = Unreachable("refused", outcome="refused")
SILENT = TimedOut("silence", outcome="first-byte-timeout")
BROKEN = ServerFault("502", outcome="server-error", status=502)


class Life:
    """One process: its clocks begin where they like."""

    def __init__(self, *, wall: float = 1_800_000_000.0, monotonic: float = 500.0) -> None:
        self.clock = ManualClock(monotonic)
        self.clock.wall_offset_seconds = wall - monotonic
        self.health = Health(self.clock)

    def fail(self, error: HostError, *, host: Host = HOST, kind: str = "blob", times: int = 1) -> None:
        for _ in range(times):
            attempt = Attempt(host.name, error.outcome, 0.1234, error.status, detail="what it said")
            self.health.fail(host, REPOSITORY, kind, "object", error, attempt)

    def standing(self, host: Host = HOST, *, kind: str = "blob", repository: str = REPOSITORY) -> Standing:
        return self.health.judge(host, repository, kind, "another").standing

    def written(self) -> bytes:
        return written(self.health, self.clock)

    def next(
        self, *, after: float = 0.0, hosts: tuple[Host, ...] = (HOST, OTHER), monotonic: float = 7.0
    ) -> Life:
        """The process that follows, so many seconds later by the wall clock."""
        then = Life(wall=self.clock.time() + after, monotonic=monotonic)
        revive(then.health, then.clock, self.written(), hosts)
        return then


@pytest.fixture
def life() -> Life:
    return Life()


def test_nothing_is_known_of_those_of_whom_nothing_was(life: Life) -> None:
    life.health.judge(HOST, REPOSITORY, "blob", "x")
    assert json.loads(life.written()) == {"version": 1, "written": life.clock.time()}
    assert life.next().health.states() == []


def test_a_time_that_a_host_named_goes_on_where_it_was(life: Life) -> None:
    life.fail(LIMITED)
    life.clock.advance(1000)
    then = life.next(after=500)
    verdict = then.health.judge(HOST, REPOSITORY, "manifest", "x")
    assert (verdict.standing, verdict.rest_seconds) == (Standing.OPEN, 1500)
    assert verdict.last == Attempt(HOST.name, "rate-limited", 0.123, 429)
    then.clock.advance(1499)
    assert not then.health.may_ask_anyway(HOST, REPOSITORY, "manifest")
    then.clock.advance(1)
    assert then.standing() is Standing.READY


def test_a_dead_machine_is_not_asked_and_its_rests_go_on_growing(life: Life) -> None:
    life.fail(REFUSED, times=4)
    then = life.next(after=1)
    assert then.standing(repository="any/other") is Standing.OPEN
    then.clock.advance(REST_SECONDS * 8)
    then.fail(REFUSED)
    assert then.health.judge(HOST, "a/b", "blob", "x").rest_seconds == REST_SECONDS * 16


def test_silence_of_a_kind_and_of_a_room_is_remembered(life: Life) -> None:
    life.fail(SILENT)
    then = life.next()
    assert then.standing() is Standing.OPEN
    assert then.standing(repository="any/other") is Standing.DEMOTED
    assert then.standing(kind="manifest") is Standing.READY


def test_the_storage_behind_a_host_is_remembered_with_who_led_there(life: Life) -> None:
    life.fail(Unreachable("no connection", outcome="connect-timeout", behind=STORAGE))
    life.fail(Unreachable("no connection", outcome="connect-timeout", behind="old.test"), host=OTHER)
    then = life.next(hosts=(HOST,))
    assert then.standing(repository="any/other") is Standing.OPEN
    assert {state.host for state in then.health.states()} == {"cdn.test"}


def test_a_denial_lasts_for_its_hour_and_no_longer(life: Life) -> None:
    life.fail(DENIED)
    assert life.next(after=DENIED_SECONDS - 1).standing() is Standing.DENIED
    then = life.next(after=DENIED_SECONDS)
    assert (then.standing(), then.health.memory.denied) == (Standing.READY, {})
    assert life.next().standing(kind="manifest") is Standing.READY
    life.clock.advance(DENIED_SECONDS)
    assert "rooms" not in json.loads(life.written())


def test_to_start_anew_is_to_try_a_refused_login_anew(life: Life) -> None:
    life.fail(Denied("401", outcome="denied", status=401))
    life.fail(Denied("the realm says no", outcome="login"), kind="manifest")
    then = life.next()
    assert (then.standing(), then.standing(kind="manifest")) == (Standing.READY, Standing.READY)


def test_a_404_is_forgotten(life: Life) -> None:
    life.fail(Missing("404", outcome="missing", status=404))
    assert life.next().health.judge(HOST, REPOSITORY, "blob", "object").standing is Standing.READY


def test_strikes_and_what_they_cost_are_remembered(life: Life) -> None:
    for _ in range(2):
        life.fail(WrongContent("lie", outcome="wrong-content"))
    then = life.next(after=STRIKE_SECONDS)
    assert [state.strikes for state in then.health.states() if state.kind == "host"] == [2]
    then.clock.advance(STRIKE_SECONDS)
    assert then.standing(repository="any/other") is Standing.READY
    assert life.next(after=STRIKE_SECONDS * 2 - 1).standing(repository="any/other") is Standing.STRUCK


def test_earned_trust_and_speed_are_remembered(life: Life) -> None:
    life.health.verified(HOST, EARNED_BYTES, 2.0)
    then = life.next(after=86_400 * 30)
    assert then.health.trusted_to_stream(HOST)
    assert then.health.bytes_per_second(HOST) == EARNED_BYTES / 2
    assert not then.health.trusted_to_stream(OTHER)


def test_the_refusals_of_an_operator_are_remembered_for_their_two_days(life: Life) -> None:
    for _ in range(REFUSALS_MAX):
        life.health.budget.answered(HOST, 404)
    life.clock.advance(3600)
    then = life.next(after=3600)
    assert then.standing() is Standing.OPEN
    assert then.health.budget.rest_seconds(HOST) == WINDOW_SECONDS - 7200
    again = then.next(after=WINDOW_SECONDS - 7200)
    assert again.standing() is Standing.READY
    assert life.next(hosts=(OTHER,)).health.budget.left() == []


def test_what_an_address_has_left_of_its_pulls_is_remembered_and_of_logins_nothing(life: Life) -> None:
    said = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "4;w=21600"}
    login = replace(HOST, username="me", password=Secret("x"))
    for host in (HOST, login, OTHER):
        life.health.quota.note(host, said.get, 200, head=True)
    then = life.next(after=600, hosts=(HOST, login))
    assert then.health.quota.supply(HOST) is Supply.LITTLE
    assert then.health.quota.window_seconds(HOST) == 21_000
    assert then.health.quota.supply(login) is then.health.quota.supply(OTHER) is Supply.ENOUGH
    assert b"me" not in life.written().replace(b"https://mirror.test", b"")


def test_what_is_usual_of_a_host_is_remembered_for_a_day(life: Life) -> None:
    for number in range(SAMPLES_MAX):
        life.health.tempo.answered(HOST, "GET blob", 0.2 + number / 1000)
    late = life.health.tempo.late_seconds(HOST, "GET blob")
    assert life.next(after=3600).health.tempo.late_seconds(HOST, "GET blob") == pytest.approx(late, abs=0.001)
    yesterday = life.next(after=FORGOTTEN_SECONDS + 1).health.tempo
    assert list(yesterday.usual_seconds()) == []


def test_a_probe_that_was_under_way_has_not_told_and_the_next_request_is_one(life: Life) -> None:
    life.fail(BROKEN, times=3)
    life.clock.advance(REST_SECONDS_MAX)
    life.health.begin(HOST, REPOSITORY, "blob")
    assert life.standing() is Standing.OPEN
    then = life.next()
    assert then.standing() is Standing.READY
    then.health.begin(HOST, REPOSITORY, "blob")
    assert then.standing() is Standing.OPEN


def test_whose_rest_was_over_long_ago_begins_anew(life: Life) -> None:
    life.fail(REFUSED, times=9)
    then = life.next(after=REST_SECONDS_MAX * 2 + 1)
    then.fail(REFUSED)
    assert then.standing() is Standing.DEMOTED


# -- clocks that jump ------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86_400.0 * 365, -3600.0, -1.0])
def test_a_clock_that_was_set_back_prolongs_nothing(life: Life, jump: float) -> None:
    life.fail(LIMITED)
    life.fail(DENIED)
    life.clock.advance(1000)
    then = life.next(after=jump)
    assert then.health.judge(HOST, "a/b", "manifest", "x").rest_seconds == 2000
    then.clock.advance(DENIED_SECONDS - 1000)
    assert (then.standing(), then.standing(kind="manifest")) == (Standing.READY, Standing.READY)


def test_a_clock_that_is_set_back_at_each_start_revives_nothing_for_ever(life: Life) -> None:
    life.fail(LIMITED)
    for _ in range(30):
        life = life.next(after=-1_000_000.0)
        life.clock.advance(100)
    assert life.standing() is Standing.READY


@pytest.mark.parametrize("jump", [86_400.0 * 365 * 60, 1e300])
def test_a_clock_that_was_set_forward_lets_all_rests_end(life: Life, jump: float) -> None:
    life.fail(LIMITED)
    life.fail(DENIED)
    life.fail(WrongContent("lie", outcome="wrong-content"), host=OTHER)
    then = life.next(after=jump)
    assert (then.standing(), then.standing(OTHER)) == (Standing.READY, Standing.READY)
    assert then.written()


# -- whose memory it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [
        {"username": "me", "password": Secret("271828")},
        {"headers": {"X-Token": "271828"}},
        {"proxy": "http://me:271828@proxy.test"},
        {"client_cert": "/etc/271828.pem"},
    ],
)
def test_a_host_with_a_secret_has_no_room_in_the_document_and_nothing_made_of_the_secret(
    life: Life, secret: dict[str, Any]
) -> None:
    host = replace(HOST, **secret)
    life.fail(DENIED, host=host)
    life.fail(SILENT, host=host, kind="manifest")
    life.fail(LIMITED, host=host)
    assert settings_of(host) is None
    assert b"271828" not in life.written()
    assert "rooms" not in json.loads(life.written())
    then = life.next(hosts=(host,))
    assert then.standing(host) is Standing.OPEN, "but the machine is known by its URL"


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": "hub"},
        {"repositories": {REPOSITORY: "mirror/alpine"}},
        {"allow": ("library/*",)},
        {"ca": "/etc/ca.pem"},
        {"namespace": "docker.io"},
        {"username": "me", "password": Secret("x")},
    ],
)
def test_a_host_whose_settings_are_others_now_is_asked_anew(life: Life, change: dict[str, Any]) -> None:
    life.fail(DENIED)
    now = replace(HOST, **change)
    assert life.next(hosts=(now,)).standing(now) is Standing.READY
    assert life.next(hosts=(replace(HOST),)).standing() is Standing.DENIED


def test_who_is_not_configured_any_more_is_forgotten(life: Life) -> None:
    for error in (DENIED, LIMITED, SILENT, WrongContent("lie", outcome="wrong-content")):
        life.fail(error, host=OTHER)
    life.health.tempo.answered(OTHER, "GET blob", 1.0)
    then = life.next(hosts=(HOST,))
    assert then.health.states() == []
    assert json.loads(then.written()).keys() == {"version", "written"}


def test_what_hosts_say_is_not_written_down(life: Life) -> None:
    for error in (DENIED, LIMITED, SILENT, BROKEN):
        life.fail(error)
    assert b"what it said" not in life.written()
    assert b"allow-list" not in life.written()


# -- its size ---------------------------------------------------------------------------------------------


def test_however_much_is_known_the_document_is_bounded_and_can_be_read(life: Life) -> None:
    hosts = []
    for number in range(300):
        host = Host.from_url(
            f"https://{'a' * 60}.{number}.{'b' * 60}.{'c' * 60}.test", name=f"{number}-{'n' * 240}"
        )
        hosts.append(host)
        for room in range(4):
            name = "/".join([f"r{room}", *["x" * 60] * 4])
            attempt = Attempt(host.name, "first-byte-timeout", 10.0, 599, detail="d" * 1000)
            for error in (DENIED, SILENT, LIMITED):
                life.health.fail(host, name, "blob", "x", error, attempt)
        behind = TimedOut("silence", outcome="first-byte-timeout", behind="s" * 240 + str(number))
        life.health.fail(host, "a/b", "blob", "x", behind, Attempt(host.name, SILENT.outcome, 10.0, 599))
        of_its_own = replace(host, group=str(number), max_refusals=5000)
        for _ in range(1100):
            life.health.budget.answered(of_its_own, 404)
        said = {"ratelimit-limit": "999999999;w=21600", "ratelimit-remaining": "999999999;w=21600"}
        life.health.quota.note(host, said.get, 200, head=True)
        life.fail(DENIED, host=host)
        for step in ("GET blob", "GET manifest", "connect"):
            for _ in range(SAMPLES_MAX):
                life.health.tempo.answered(host, step, 12345.678)
    data = life.written()
    assert BYTES_MAX / 4 < len(data) <= BYTES_MAX
    then = life.next(hosts=tuple(hosts))
    assert then.standing(hosts[-1], repository="any/other") is Standing.OPEN, "the newest are kept"
    assert then.standing(hosts[0], repository="any/other") is Standing.READY


@pytest.mark.parametrize("name", ["a\nb", "a b", "ä", "x" * 256, "", "\ud800", 'a"b', "a\\b"])
def test_an_odd_name_costs_itself_alone(life: Life, name: str) -> None:
    odd = replace(HOST, name=name)
    life.fail(DENIED, host=odd)
    life.fail(DENIED, host=OTHER)
    then = life.next(hosts=(odd, OTHER))
    assert then.standing(OTHER) is Standing.DENIED
    assert then.standing(odd) is Standing.READY


# -- other documents --------------------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    life = Life()
    for error in (DENIED, LIMITED, SILENT, WrongContent("lie", outcome="wrong-content")):
        life.fail(error)
    life.health.tempo.answered(HOST, "GET blob", 1.0)
    document = json.loads(life.written())
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\x00" * 1000,
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version":1,"written":' + b"[" * 100_000,
        b'{"version":1,"written":1e999}',
        b'{"version":1,"written":NaN}',
        b'{"version":2,"written":0}',
        b'{"version":1,"written":0,"machines":[{"url":"\xed\xa0\x80"}]}',
        changed(lambda d: d.update(machines=d["machines"] * 201)),
        changed(lambda d: d["machines"][0].update(strikes=-1)),
        changed(lambda d: d["machines"][0].update(strikes=2**64)),
        changed(lambda d: d["machines"][0].update(strikes="many")),
        changed(lambda d: d["machines"][0].update(url="https://a\x1b[31m")),
        changed(lambda d: d["machines"][0].update(url="x\n")),
        changed(lambda d: d.update(refusals=[{"operator": "a", "refused_ago": [0] * 1001}])),
        changed(lambda d: d.update(refusals=[{"operator": "a", "refused_ago": [-1]}])),
        changed(lambda d: d.update(refusals=[{"operator": "a" * 256, "refused_ago": [0]}])),
        changed(lambda d: d.update(pulls=[{"place": "https://a", "limit": 0, "left": 0, "seconds": 1}])),
        changed(lambda d: d.update(pulls=[{"place": "https://a", "limit": 1, "left": 0, "seconds": 1e9}])),
        changed(lambda d: d["machines"][0]["breaker"].update(rest_seconds=1e9)),
        changed(lambda d: d["machines"][0]["breaker"].update(failures=0)),
        changed(lambda d: d["rooms"][0].update(denied_seconds=1e9)),
        changed(lambda d: d["rooms"][0]["denied"].update(outcome="\x1b]0;you\x07")),
        changed(lambda d: d["rooms"][0]["denied"].update(status=7)),
        changed(lambda d: d["tempo"][0].update(seconds=[-1.0])),
        changed(lambda d: d["tempo"][0].update(seconds=[1.0] * 65)),
    ],
)
def test_what_no_process_could_have_known_is_no_such_document(data: bytes) -> None:
    life = Life()
    with pytest.raises(NotKept) as caught:
        revive(life.health, life.clock, data, (HOST,))
    assert str(caught.value).isprintable()
    assert (life.health.states(), life.health.tempo.series) == ([], {}), "and nothing of it is believed"


def test_fields_that_a_later_version_may_have_are_left_alone() -> None:
    life = Life()
    data = changed(lambda d: (d.update(colour="blue"), d["rooms"][0].update(colour="blue")))
    revive(life.health, life.clock, data, (HOST,))
    assert life.standing() is Standing.DENIED


def test_a_rest_that_no_host_named_is_no_longer_than_they_are(life: Life) -> None:
    data = changed(lambda d: d["machines"][0]["breaker"].update(rest_seconds=3600, firm=False))
    then = Life(wall=json.loads(data)["written"])
    revive(then.health, then.clock, data, (HOST,))
    assert then.health.judge(HOST, "any/other", "manifest", "x").rest_seconds == REST_SECONDS_MAX


def test_a_strike_cannot_be_made_to_last(life: Life) -> None:
    data = changed(lambda d: d["machines"][0].update(struck_seconds=2.0**39))
    then = Life(wall=json.loads(data)["written"])
    revive(then.health, then.clock, data, (HOST,))
    then.clock.advance(3600.0)
    assert then.standing(repository="any/other") is Standing.READY
