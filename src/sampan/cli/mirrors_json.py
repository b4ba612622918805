"""What ``sampan mirrors`` says to programs: English, whole, and the same whatever the terminal is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from sampan.cli.mirrors_words import failure_words
from sampan.config import Config
from sampan.config.running import Running
from sampan.doctor.catalogue import Catalogue, Entry
from sampan.doctor.contract import Certificate, HostReport
from sampan.doctor.hosts.trial import Trial, Tried
from sampan.upstream.host import Host

Json = dict[str, object]


def trial_json(trial: Trial) -> Json:
    """All of a trial, the hosts in their rank."""
    right = trial.comparison.right
    return {
        "reference": str(trial.reference),
        "seconds": round(trial.seconds, 3),
        "digest": None if right is None else str(right),
        "agree": not trial.comparison.is_split,
        "hosts": [tried_json(tried, rank) for rank, tried in enumerate(trial.tried, 1)],
        "findings": [
            {
                "code": each.code,
                "level": each.level,
                "subject": each.subject,
                "what": each.what,
                "evidence": list(each.evidence),
                "why": each.why,
                "hint": each.hint,
                "command": list(each.command),
            }
            for each in trial.findings
        ],
    }


def tried_json(tried: Tried, rank: int) -> Json:
    """One host."""
    entry = tried.candidate.entry
    return {
        "rank": rank if tried.works else None,
        **host_json(tried.candidate.host),
        "configured": tried.candidate.configured,
        "catalogue": None if entry is None else entry.state,
        "works": tried.works,
        "code": tried.code,
        "what": None if tried.code is None else failure_words(tried.code),
        "tag": tried.standing,
        **report_json(tried.report),
    }


def host_json(host: Host) -> Json:
    """Who it is."""
    return {"host": host.name, "url": host.url, "role": host.role, "group": host.operator}


def report_json(report: HostReport) -> Json:
    """What a look has come to."""
    limit = report.rate_limit
    return {
        "steps": [
            {
                "part": step.part,
                "outcome": step.outcome,
                "seconds": round(step.seconds, 4),
                "status": step.status,
                "words": step.words,
            }
            for step in report.steps
        ],
        "error": None if report.error is None else report.error.message,
        "addresses": list(report.addresses),
        "answers": [
            {"source": each.source, "addresses": list(each.addresses), "problem": each.problem}
            for each in report.answers
        ],
        "certificate": _certificate_json(report.certificate),
        "realm": report.realm,
        "digest": _text(report.digest),
        "head_digest": _text(report.head_digest),
        "created": None if report.created is None else _moment(report.created),
        "blob_host": report.blob_host,
        "rate_limit": None
        if limit is None
        else {"limit": limit.limit, "left": limit.left, "window_seconds": limit.window_seconds},
        "first_byte_seconds": report.first_byte_seconds,
        "bytes_per_second": report.bytes_per_second,
        "clock_ahead_seconds": None
        if report.date is None or report.dated is None
        else round(report.date - report.dated, 1),
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
    }


def configured_json(config: Config, running: Running) -> Json:
    """The hosts of each registry, with what a running server knows of them, or one knew at ``kept_at``."""
    registries: Mapping[str, list[Json]] = {
        name: [{**host_json(host), **_health_json(host, running)} for host in table.hosts]
        for name, table in config.registry.items()
    }
    return {
        "server": running.url,
        "problem": running.problem,
        "kept_at": None if running.kept_at is None else _moment(running.kept_at),
        "registries": registries,
    }


def _health_json(host: Host, running: Running) -> Json:
    health = running.of(host)
    return {
        "state": None if health is None else health.state,
        "strikes": 0 if health is None else health.strikes,
    }


def catalogue_json(catalogue: Catalogue, today: date) -> Json:
    """The catalogue, whole."""
    return {
        "name": catalogue.name,
        "updated": catalogue.updated.isoformat(),
        "age_days": catalogue.age_days(today),
        "mirrors": [_entry_json(entry, today) for entry in catalogue.entries],
    }


def _entry_json(entry: Entry, today: date) -> Json:
    return {
        "url": entry.url,
        "form": entry.form,
        "registries": list(entry.registries),
        "group": entry.group,
        "state": entry.state,
        "first_seen": None if entry.first_seen is None else entry.first_seen.isoformat(),
        "last_verified": entry.last_verified.isoformat(),
        "age_days": entry.age_days(today),
        "old": entry.is_old(today),
        "resolves": entry.resolves,
        "needs": list(entry.needs),
        "allow": list(entry.allow),
        "repositories": dict(entry.repositories),
        "requests_per_minute": entry.requests_per_minute,
        "max_connections": entry.max_connections,
        "limits": entry.limits,
        "allow_list": entry.allow_list,
        "note": entry.note,
        "source": entry.source,
    }


def _certificate_json(certificate: Certificate | None) -> Json | None:
    if certificate is None:
        return None
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "not_before": _moment(certificate.not_before),
        "not_after": _moment(certificate.not_after),
        "problem": certificate.problem,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
