"""What ``sampan mirrors list`` says to people: who is configured, and which mirrors are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import click

from sampan.cli.columns import WIDTH, cell, row, width, wrap
from sampan.config import Config
from sampan.config.running import Health, Running
from sampan.doctor.catalogue import Catalogue, Entry
from sampan.errors import printable
from sampan.upstream.host import Host
from sampan.words import Language, in_language, sentence

HOST_MAX = 40
URL_MAX = 38
ROLE = 7
OLD_MARK = "!"


def tell_configured(config: Config, running: Running, known: Catalogue) -> None:
    """The hosts of each registry, in their order, and why nothing is known of their health on stderr."""
    language = config.language
    for name, table in config.registry.items():
        click.echo(name)
        columns = min(max((width(host.name) for host in table.hosts), default=0), HOST_MAX)
        for host in table.hosts:
            click.echo(_host(host, running.of(host), columns, known, language))
    if running.problem is not None:
        click.echo(in_language(_problem(running, running.problem), language), err=True)


def _problem(running: Running, problem: str) -> str:
    if running.kept_at is None:
        return sentence(
            "no health is known: {url} does not answer ({problem})", url=running.url, problem=problem
        )
    return sentence(
        "health as it was known at {time} UTC: {url} does not answer ({problem})",
        time=datetime.fromtimestamp(running.kept_at, UTC).strftime("%Y-%m-%d %H:%M"),
        url=running.url,
        problem=problem,
    )


def _host(host: Host, health: Health | None, columns: int, known: Catalogue, language: Language) -> str:
    role = sentence("origin") if host.role == "origin" else sentence("mirror")
    words = [in_language(each, language) for each in _health(health)]
    dead = next((e for e in known.entries if e.state == "dead" and _is_at(e, host)), None)
    if dead is not None:
        words.append(in_language(sentence("dead since {day} or before", day=dead.last_verified), language))
    return row(
        [
            f"  {cell(host.name, columns)}",
            cell(in_language(role, language), ROLE),
            "; ".join(words),
        ]
    )


def _health(health: Health | None) -> list[str]:
    if health is None:
        return []
    words: dict[str, str] = {
        "ready": sentence("works"),
        "demoted": sentence("failed lately"),
        "open": sentence("is not asked for now"),
    }
    struck = sentence("{count} times wrong content", count=health.strikes)
    return [words[health.state], *([struck] if health.strikes else [])]


def _is_at(entry: Entry, host: Host) -> bool:
    return entry.url.partition("://")[2].partition("/")[0] == host.base.netloc


# -- the catalogue --------------------------------------------------------------------------------


def tell_catalogue(catalogue: Catalogue, today: date, language: Language) -> None:
    """Those that may live, then those that are dead."""
    age = sentence(
        "catalogue {name} of {day}, {days} days old",
        name=printable(catalogue.name),
        day=catalogue.updated,
        days=catalogue.age_days(today),
    )
    click.echo("\n" + "\n".join(wrap(in_language(age, language), WIDTH)))
    alive = [entry for entry in catalogue.entries if entry.state != "dead"]
    dead = [entry for entry in catalogue.entries if entry.state == "dead"]
    for line in (*_entries(alive, today, language), *_dead(dead, language)):
        click.echo(line)
    if any(entry.is_old(today) for entry in alive):
        words = sentence(
            "! not confirmed for more than 90 days: see what works, with sampan mirrors test --all"
        )
        click.echo(in_language(words, language), err=True)


def _entries(entries: Sequence[Entry], today: date, language: Language) -> Iterator[str]:
    columns = min(max((width(_url(entry)) for entry in entries), default=0), URL_MAX)
    yield row(
        [
            f"  {cell(in_language(sentence('MIRROR'), language), columns)}",
            cell(in_language(sentence("CONFIRMED"), language), 11),
            in_language(sentence("OF, AND WHAT IT NEEDS"), language),
        ]
    )
    for entry in entries:
        mark = OLD_MARK if entry.is_old(today) else ""
        head = [f"  {cell(_url(entry), columns)}", cell(f"{entry.last_verified}{mark}", 11)]
        room = width(row([*head, "x"])) - 1
        first, *others = wrap(_facts(entry, language), WIDTH - room) or [""]
        yield row([*head, first])
        for line in others:
            yield " " * room + line


def _dead(entries: Sequence[Entry], language: Language) -> Iterator[str]:
    if not entries:
        return
    yield ""
    yield in_language(sentence("dead, though tutorials still name them:"), language)
    columns = min(max(width(_url(entry)) for entry in entries), URL_MAX)
    for entry in entries:
        yield row(
            [f"  {cell(_url(entry), columns)}", entry.last_verified.isoformat(), ", ".join(entry.registries)]
        )


def _url(entry: Entry) -> str:
    return entry.url.removeprefix("https://")


def _facts(entry: Entry, language: Language) -> str:
    """Which registries, and what one must have for it."""
    shown, more = entry.registries[:3], len(entry.registries) - 3
    registries = ", ".join(shown)
    if more > 0:
        registries = in_language(sentence("{some} and {count} more", some=registries, count=more), language)
    words: dict[str, str] = {
        "login": sentence("a login"),
        "account": sentence("an account"),
        "china": sentence("to be in China"),
        "campus": sentence("to be on its campus"),
        "aliyun": sentence("to be in Aliyun's network"),
        "tencent": sentence("to be in Tencent's network"),
        "huawei": sentence("to be in Huawei's network"),
        "azure-china": sentence("to be in Azure China"),
    }
    needs = [in_language(words[need], language) for need in entry.needs]
    if entry.state == "unconfirmed":
        needs.append(in_language(sentence("nobody has confirmed it"), language))
    return "; ".join([registries, *needs])
