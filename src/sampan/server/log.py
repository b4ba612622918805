"""The server's log: one line a pull, one for each request that failed.

A pull is what one client asks of one repository until it is quiet for some seconds: tag, index, manifest,
config, layers. Guarantees that a line holds printable text only and no query strings, that a crowd of pulls
or failures cannot flood the log, and that a hit costs no formatting. Where lines go is the business of
Python's ``logging``: the loggers are ``sampan.pull`` and ``sampan.request``.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from sampan.clock import Clock
from sampan.errors import Attempt, printable, without_login
from sampan.oci.distribution import Target
from sampan.server.answer import describe_attempt

QUIET_SECONDS = 3.0  # nothing asked for so long: the pull is over; runtimes go from piece to piece at once
PULL_SECONDS_MAX = 3600.0  # a line an hour about whoever never stops
PULLS_OPEN_MAX = 2000  # beyond it the oldest is written early
ATTEMPTS_KEPT_MAX = 50
FAILURES_PER_SECOND_MAX = 20  # lines; what is more is counted

_pulls = logging.getLogger("sampan.pull")
_requests = logging.getLogger("sampan.request")


@dataclass(slots=True)
class Pull:
    """What is known of a pull so far. ``failed``: how many requests were not answered as hoped."""

    client: str
    user: str
    agent: str
    name: str
    began: float
    touched: float
    in_flight: int = 0
    requests: int = 0
    failed: int = 0
    left: int = 0
    sent_bytes: int = 0
    last_status: int = 0
    first_byte_seconds: float | None = None
    sources: dict[str, int] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)


class PullLog:
    """The pulls under way. ``sweep`` is to be called every second or so, ``flush`` at the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[tuple[str, str, str, str], Pull] = {}
        self._second = 0.0
        self._failures = 0
        self._suppressed = 0

    def begin(self, client: str, user: str, agent: str, target: Target) -> Pull:
        """A request of ``client`` for ``target`` begins; to be ended with :meth:`end`."""
        key = client, user, target.registry, target.repository
        pull = self._open.get(key)
        if pull is None:
            if len(self._open) >= PULLS_OPEN_MAX:
                self._write(self._open.pop(next(iter(self._open))))
            pull = self._open[key] = self._new(client, user, agent, target)
        pull.in_flight += 1
        return pull

    def _new(self, client: str, user: str, agent: str, target: Target) -> Pull:
        named = str(target.object or "")
        mark = "" if not named else "@" if ":" in named else ":"
        name = f"{target.registry}/{target.repository}{mark}{named}"
        now = self._clock.monotonic()
        return Pull(
            client, printable(user, characters_max=60), printable(agent, characters_max=80), name, now, now
        )

    def end(
        self,
        pull: Pull,
        status: int,
        source: str,
        attempts: Sequence[Attempt],
        *,
        sent_bytes: int,
        first_byte_seconds: float | None,
        left: bool,
    ) -> None:
        """The request that :meth:`begin` announced is over. ``left``: its client did not wait for the end."""
        pull.in_flight -= 1
        pull.requests += 1
        pull.touched = self._clock.monotonic()
        pull.sent_bytes += sent_bytes
        pull.last_status = status
        if pull.first_byte_seconds is None:
            pull.first_byte_seconds = first_byte_seconds
        if source:
            pull.sources[source] = pull.sources.get(source, 0) + 1
        if status >= 400:
            pull.failed += 1
        if left:
            pull.left += 1
        if attempts and len(pull.attempts) < ATTEMPTS_KEPT_MAX:
            known = set(pull.attempts)  # readers of one download all have its attempts
            pull.attempts.extend(attempt for attempt in attempts if attempt not in known)

    def sweep(self) -> None:
        """Write the pulls that are over."""
        now = self._clock.monotonic()
        over = [
            key
            for key, pull in self._open.items()
            if (pull.in_flight == 0 and now - pull.touched >= QUIET_SECONDS)
            or now - pull.began >= PULL_SECONDS_MAX
        ]
        for key in over:
            self._write(self._open.pop(key))

    def flush(self) -> None:
        """Write all, over or not."""
        while self._open:
            self._write(self._open.pop(next(iter(self._open))))

    def failed(self, client: str, method: str, path: str, status: int, error: str) -> None:
        """One request was refused or failed: a line now, unless there were many in this second."""
        now = self._clock.monotonic()
        if now - self._second >= 1.0:
            self._second, self._failures = now, 0
        self._failures += 1
        if self._failures > FAILURES_PER_SECOND_MAX:
            self._suppressed += 1
            return
        more, self._suppressed = self._suppressed, 0
        fields: dict[str, object] = {
            "client": client,
            "method": printable(method, characters_max=20),
            "path": printable(without_login(path.partition("?")[0]), characters_max=200),
            "status": status,
            "error": error,
            "suppressed": more,
        }
        shown = error.replace("\n", "; ")
        asked = f"{fields['method']} {fields['path']}" if method else "a malformed request"
        text = f"{asked} from {client}: {status}, {shown}"
        _requests.warning("%s%s", text, f" ({more} more not shown)" if more else "", extra={"fields": fields})

    def _write(self, pull: Pull) -> None:
        if pull.requests and _pulls.isEnabledFor(logging.INFO):
            _pulls.info("%s", describe(pull), extra={"fields": fields_of(pull)})


def describe(pull: Pull) -> str:
    """``pull`` as one line for people."""
    who = pull.client + (f" as {pull.user}" if pull.user else "") + (f" ({pull.agent})" if pull.agent else "")
    first = "" if pull.first_byte_seconds is None else f", first byte after {pull.first_byte_seconds:.3f} s"
    given = ", ".join(f"{count} from {source}" for source, count in pull.sources.items())
    troubles = Counter(
        f"{a.host}: {a.outcome}{f' {a.status}' if a.status else ''}"
        for a in pull.attempts
        if a.outcome != "ok"
    )
    return (
        f"pull {pull.name} by {who}: {_outcome(pull)}, {pull.requests} requests"
        f"{f', {pull.failed} failed' if pull.failed else ''}"
        f"{f', {pull.left} left early' if pull.left else ''}, "
        f"{pull.sent_bytes} bytes in {pull.touched - pull.began:.3f} s{first}"
        f"{f'; {given}' if given else ''}"
        + "".join(f"; {trouble}{f' ×{count}' if count > 1 else ''}" for trouble, count in troubles.items())
    )


def fields_of(pull: Pull) -> dict[str, object]:
    """``pull`` as JSON has it."""
    return {
        "client": pull.client,
        "user": pull.user or None,
        "agent": pull.agent,
        "name": pull.name,
        "outcome": _outcome(pull),
        "requests": pull.requests,
        "failed": pull.failed,
        "left": pull.left,
        "bytes": pull.sent_bytes,
        "seconds": round(pull.touched - pull.began, 4),
        "first_byte_seconds": None if pull.first_byte_seconds is None else round(pull.first_byte_seconds, 4),
        "sources": pull.sources,
        "attempts": [describe_attempt(attempt) for attempt in pull.attempts],
    }


def _outcome(pull: Pull) -> str:
    return "failed" if pull.last_status >= 400 else "ok"


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO message``, in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  (logging's)
        """In UTC, as RFC 3339 writes it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


class JsonFormatter(TextFormatter):
    """One JSON object a line: time, level, logger, message and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(log_format: str, stream: TextIO) -> logging.Handler | None:
    """Send the lines of all sampan's loggers to ``stream``; None for the format ``none``."""
    logger = logging.getLogger("sampan")
    logger.propagate = False
    if log_format == "none":
        logger.addHandler(logging.NullHandler())
        return None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler
