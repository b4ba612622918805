"""What ``sampan doctor --json`` says: all that people are told, in English, and what was seen on the way."""

from __future__ import annotations

from sampan.cli.mirrors_json import host_json, report_json
from sampan.doctor.contract import Finding, HostReport
from sampan.doctor.examine import Examination
from sampan.doctor.names import Named
from sampan.doctor.verdict import Verdict


def examination_json(examination: Examination, verdict: Verdict) -> dict[str, object]:
    """All of it, causes in their order."""
    return {
        "healthy": verdict.is_healthy,
        "seconds": round(examination.seconds, 3),
        "verdict": None if verdict.first is None else finding_json(verdict.first),
        "findings": [
            {**finding_json(cause.finding), "explains": [finding_json(each) for each in cause.effects]}
            for cause in verdict.causes
        ],
        "unseen": [
            {"subject": each.subject, "what": each.what, "hint": each.hint} for each in examination.unseen
        ],
        "names": [
            {"name": name, "tools": [_named_json(each) for each in named]}
            for name, named in examination.names.items()
        ],
        "hosts": [_look_json(report) for report in examination.reports],
    }


def finding_json(found: Finding) -> dict[str, object]:
    """One finding."""
    return {
        "code": found.code,
        "level": found.level,
        "subject": found.subject,
        "what": found.what,
        "evidence": list(found.evidence),
        "why": found.why,
        "hint": found.hint,
        "command": list(found.command),
        "file": found.file,
        "line": found.line,
        "about": list(found.about),
    }


def _look_json(report: HostReport) -> dict[str, object]:
    """One look at one host, as ``sampan mirrors test --json`` has it, and for which image."""
    return {
        **host_json(report.host),
        "image": f"{report.registry}/{report.repository}",
        "object": report.object,
        "arrives": report.is_good,
        **report_json(report),
    }


def _named_json(named: Named) -> dict[str, object]:
    return {"tools": list(named.tools), "images": list(named.images), "why": named.why}
