"""The log: one line a pull, readable by people and by machines, safe from what clients send."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from sampan.errors import Attempt
from sampan.oci.distribution import Kind, Target
from sampan.server.log import (
    FAILURES_PER_SECOND_MAX,
    PULL_SECONDS_MAX,
    PULLS_OPEN_MAX,
    QUIET_SECONDS,
    PullLog,
    configure_logging,
)
from sampan.testing import ManualClock

ALPINE = Target(Kind.MANIFEST, "docker.io", "library/alpine", "3")
FAILED = Attempt("a.example", "server-error", 0.25, 502)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> PullLog:
    caplog.set_level(logging.INFO)
    return PullLog(clock)


def request(
    log: PullLog,
    *,
    client: str = "10.0.0.7",
    agent: str = "containerd/1.7",
    target: Target = ALPINE,
    status: int = 200,
    source: str = "store",
    attempts: tuple[Attempt, ...] = (),
    sent_bytes: int = 100,
    left: bool = False,
) -> None:
    pull = log.begin(client, "", agent, target)
    log.end(pull, status, source, attempts, sent_bytes=sent_bytes, first_byte_seconds=0.0125, left=left)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_pull_is_one_line_once_it_is_quiet(
    log: PullLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    request(log)
    clock.advance(1.5)
    request(log, source="b.example", attempts=(FAILED, Attempt("b.example", "ok", 0.5, 200)))
    clock.advance(QUIET_SECONDS - 0.1)
    log.sweep()
    assert lines(caplog) == []
    clock.advance(0.1)
    log.sweep()
    log.sweep()
    assert lines(caplog) == [
        (
            "pull docker.io/library/alpine:3 by 10.0.0.7 (containerd/1.7): ok, 2 requests, "
            "200 bytes in 1.500 s, first byte after 0.013 s; 1 from store, 1 from b.example; "
            "a.example: server-error 502"
        )
    ]


def test_a_pull_with_an_answer_under_way_is_not_over(
    log: PullLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    log.begin("10.0.0.7", "", "", ALPINE)
    request(log)
    clock.advance(100.0)
    log.sweep()
    assert lines(caplog) == []
    clock.advance(PULL_SECONDS_MAX)
    log.sweep()
    assert len(lines(caplog)) == 1


def test_clients_and_repositories_are_told_apart(log: PullLog, caplog: pytest.LogCaptureFixture) -> None:
    request(log)
    request(log, client="10.0.0.8")
    request(log, target=Target(Kind.MANIFEST, "docker.io", "library/busybox", "1"))
    log.flush()
    assert len(lines(caplog)) == 3


def test_the_attempts_of_a_download_with_many_readers_are_told_once(
    log: PullLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        request(log, attempts=(FAILED,))
    log.flush()
    assert lines(caplog)[0].endswith("a.example: server-error 502")


def test_a_pull_that_failed_says_so(log: PullLog, caplog: pytest.LogCaptureFixture) -> None:
    request(log, status=503, source="", attempts=(FAILED,), sent_bytes=0, left=True)
    log.flush()
    assert ": failed, 1 requests, 1 failed, 1 left early, 0 bytes in" in lines(caplog)[0]


def test_the_machines_form_has_the_same_facts(log: PullLog, caplog: pytest.LogCaptureFixture) -> None:
    request(log, source="b.example", attempts=(FAILED,))
    log.flush()
    assert caplog.records[0].__dict__["fields"] == {
        "client": "10.0.0.7",
        "user": None,
        "agent": "containerd/1.7",
        "name": "docker.io/library/alpine:3",
        "outcome": "ok",
        "requests": 1,
        "failed": 0,
        "left": 0,
        "bytes": 100,
        "seconds": 0.0,
        "first_byte_seconds": 0.0125,
        "sources": {"b.example": 1},
        "attempts": [{"host": "a.example", "outcome": "server-error", "status": 502, "seconds": 0.25}],
    }


def test_control_characters_of_clients_are_not_written(
    log: PullLog, caplog: pytest.LogCaptureFixture
) -> None:
    request(log, agent="evil\x1b[31m\nfake line")
    log.failed("10.0.0.7", "G\x1bT", "/v2/\x1b]0;?token=secret", 400, "bad")
    log.flush()
    for line in lines(caplog):
        assert line.isprintable()
        assert "secret" not in line


def test_failures_are_told_at_once_but_not_without_limit(
    log: PullLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(FAILURES_PER_SECOND_MAX + 30):
        log.failed("10.0.0.7", "GET", "/v2/x", 404, "no such\nthing")
    assert len(lines(caplog)) == FAILURES_PER_SECOND_MAX
    assert lines(caplog)[0] == "GET /v2/x from 10.0.0.7: 404, no such; thing"
    clock.advance(1.0)
    log.failed("10.0.0.7", "GET", "/v2/x", 404, "no")
    assert lines(caplog)[-1].endswith("(30 more not shown)")


def test_a_crowd_of_pulls_is_kept_within_a_limit(log: PullLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(PULLS_OPEN_MAX + 5):
        request(log, client=f"c{number}")
    assert len(log._open) == PULLS_OPEN_MAX
    assert len(lines(caplog)) == 5


@pytest.fixture
def sampan_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("sampan")
    kept = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = kept


def test_json_lines_can_be_read_back(sampan_logger: logging.Logger, clock: ManualClock) -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    log = PullLog(clock)
    request(log)
    log.flush()
    try:
        raise ValueError("trouble")
    except ValueError:
        logging.getLogger("sampan.server").exception("unexpected")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["logger"] == "sampan.pull"
    assert first["requests"] == 1
    assert first["level"] == "info"
    assert "ValueError: trouble" in second["traceback"]


def test_text_lines_begin_with_the_time_in_utc(sampan_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("text", stream)
    record = logging.makeLogRecord({"name": "sampan.pull", "msg": "x", "levelname": "INFO", "created": 0.0})
    assert sampan_logger.handlers[-1].format(record) == "1970-01-01T00:00:00Z INFO x"


def test_the_format_none_is_silent(sampan_logger: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    assert configure_logging("none", io.StringIO()) is None
    logging.getLogger("sampan.request").warning("x")
    assert capfd.readouterr() == ("", "")
