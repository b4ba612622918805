"""``sampan mirrors``: hosts on loopback tried, ranked and told to people, to programs and as a page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hosts_place import LATEST, REFERENCE, Place
from hosts_place import place as place  # a fixture
from sampan.cli.columns import width
from sampan.doctor.hosts.image import CREATED
from sampan.mirror.keeping import Keeping
from sampan.testing import (
    ClosedPort,
    FakeRegistry,
    Fault,
    ManualClock,
    Match,
    faults,
    image,
    random_layer,
)
from sampan.testing.thread import ServerThread
from sampan.upstream.health import Health
from sampan.upstream.host import Host

Captured = pytest.CaptureFixture[str]
NEWER = image(
    "library/alpine",
    "latest",
    layers=[random_layer(3, 100_000)],
    annotations={CREATED: "2026-01-01T00:00:00Z"},
)
EVIL = "\x1b[31m<script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}"


@contextmanager
def hosts(*spoilt: Fault | None, on: Match | None = None, held: Any = LATEST) -> Iterator[list[FakeRegistry]]:
    """As many hosts as faults are given, each with its own."""
    registries = [FakeRegistry(f"host {n}", host=f"127.0.0.{n}") for n in range(1, len(spoilt) + 1)]
    for registry, fault in zip(registries, spoilt, strict=True):
        registry.add(held)
        if fault is not None:
            registry.script(fault, on=on)
    with ServerThread(*registries):
        yield registries


def test_hosts_are_ranked_and_who_gives_nothing_stands_below_with_the_reason(
    place: Place, capsys: Captured
) -> None:
    slow = faults.bandwidth(150_000)
    with hosts(faults.status(502), slow, None, on=Match(kind="blob")) as (broken, slower, quick):
        place.configure(broken.url, slower.url, quick.url)
        assert place.run("mirrors", "test") == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["HOST", "1ST", "BYTE", "SPEED", "DIGEST", "NOTE"]
    assert [row[:2] for row in rows[1:4]] == [["1", quick.netloc], ["2", slower.netloc], ["-", broken.netloc]]
    digest = LATEST.digest.removeprefix("sha256:")[:8]
    assert rows[1][-1] == rows[2][-1] == digest
    assert " ".join(rows[3][2:]) == "it fails by itself: an error of its own"
    assert f"asking 3 hosts for {REFERENCE}\n" in err
    assert f"2 of 3 hosts give {REFERENCE}" in err


def test_a_reference_can_be_named(place: Place, capsys: Captured) -> None:
    with hosts(None, held=image("library/nginx", "1.27")) as (one,):
        place.configure(one.url)
        assert place.run("mirrors", "test", "nginx:1.27") == 0
    assert "1 of 1 hosts give docker.io/library/nginx:1.27" in capsys.readouterr().err


def test_the_configured_hosts_alone_are_asked_unless_all_is_said(place: Place, capsys: Captured) -> None:
    with hosts(None, None) as (ours, theirs):
        place.configure(ours.url)
        catalogue = place.catalogue(ours.url, theirs.url)
        assert place.run("mirrors", "test", "--catalogue", catalogue) == 0
        assert theirs.requests == []
        assert place.run("mirrors", "test", "--all", "--catalogue", catalogue) == 0
        assert ours.count(kind="base") == 2
        assert theirs.count(kind="base") == 1
    assert f"2 of 2 hosts give {REFERENCE}" in capsys.readouterr().err


def test_with_all_the_origin_is_asked_where_the_catalogue_names_it(place: Place, capsys: Captured) -> None:
    with hosts(None, None) as (mirror, origin):
        place.configure(mirror.url)
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("mirrors", "test", "--all", "--json", "--catalogue", catalogue) == 0
    document = json.loads(capsys.readouterr().out)
    assert {host["host"]: host["role"] for host in document["hosts"]} == {
        mirror.netloc: "mirror",
        origin.netloc: "origin",
    }


def test_mirrors_that_need_an_account_or_a_login_are_not_asked(place: Place) -> None:
    with hosts(None, None) as (open_to_all, closed):
        place.configure(open_to_all.url)
        account = "http://{account}.mirror.example"
        keys = {closed.url: 'needs = ["login"]', account: 'needs = ["account"]'}
        catalogue = place.catalogue(closed.url, account, keys=keys)
        assert place.run("mirrors", "test", "--all", "--catalogue", catalogue) == 0
        assert closed.requests == []


def test_a_mirror_that_is_known_to_be_dead_is_called_so(place: Place, capsys: Captured) -> None:
    closed = ClosedPort()
    with hosts(None) as (one,), ServerThread(closed):
        place.configure(one.url)
        catalogue = place.catalogue(closed.url, keys={closed.url: 'state = "dead"'})
        place.run("mirrors", "test", "--all", "--catalogue", catalogue)
    assert "known to be dead" in " ".join(capsys.readouterr().out.split())


def test_who_has_which_image_is_told_where_hosts_disagree(place: Place, capsys: Captured) -> None:
    with hosts(None, None, None) as (old, new, another):
        new.add(NEWER)
        another.add(NEWER)
        place.configure(old.url, new.url, another.url)
        assert place.run("mirrors", "test") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.endswith("an old image")]
    assert row.split()[:2] == ["3", old.netloc]  # below those that have the right one
    at = lines.index(f"hosts do not agree on {REFERENCE}:")
    said = [line.split() for line in lines[at + 1 : at + 3]]
    assert said[0][1:3] == ["right", "2026-01-01"]
    assert {name.strip(",") for name in said[0][3:]} == {new.netloc, another.netloc}
    assert said[1] == [LATEST.digest[7:15], "old", "2024-01-01", old.netloc]


@pytest.mark.parametrize(
    ("fault", "on", "code"),
    [
        (faults.status(404), Match(kind="manifest"), 3),
        (faults.status(502), Match(), 5),
        (faults.page(), Match(), 5),
    ],
)
def test_the_exit_code_says_whether_anybody_gives_it(
    place: Place, fault: Fault, on: Match, code: int
) -> None:
    with hosts(fault, on=on) as (one,):
        place.configure(one.url)
        assert place.run("mirrors", "test") == code


def test_a_registry_that_nobody_is_configured_for_names_the_way_out(place: Place, capsys: Captured) -> None:
    place.configure("http://127.0.0.1:1")
    assert place.run("mirrors", "test", "quay.io/a/b:1", "--catalogue", place.catalogue()) == 3
    assert "--all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Alpine"], "must be lowercase"),
        (["--nameserver", "dns.example"], "--nameserver: not an address: dns.example"),
        (["--nameserver", "127.0.0.1:0"], "--nameserver: not an address"),
        (["--catalogue", "missing.toml"], "cannot read the catalogue missing.toml"),
    ],
)
def test_what_cannot_be_meant_is_told(place: Place, capsys: Captured, words: list[str], said: str) -> None:
    place.configure("http://127.0.0.1:1")
    assert place.run("mirrors", "test", *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_line_is_wider_than_a_terminal(
    place: Place, capsys: Captured, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("SAMPAN_LANG", language)
    on = Match(kind="manifest", method="GET")
    spoilt = (None, faults.status(403, "x " * 80), faults.page(), faults.status(502), faults.denied())
    with hosts(*spoilt, on=on) as registries:
        registries[0].add(NEWER)
        place.configure(
            *(registry.url for registry in registries), "http://localhost:1/a-rather-long-prefix/of-a/name"
        )
        assert place.run("mirrors", "test", "-v") == 0
        place.run(
            "mirrors", "list", "--catalogue", place.catalogue(*(registry.url for registry in registries))
        )
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if width(line) > 80] == []
    assert ("known" in out or "目录" in out) == (language == "zh")


def test_everything_is_in_the_json(place: Place, capsys: Captured) -> None:
    with hosts(None, faults.status(502), on=Match(kind="blob", nth=2)) as (good, bad):
        place.configure(f'{{ url = "{good.url}", username = "me", password = "secret" }}', bad.url)
        assert place.run("mirrors", "test", "--json") == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert "secret" not in out
    assert document["reference"] == REFERENCE
    assert document["digest"] == LATEST.digest
    first, second = document["hosts"]
    assert (first["host"], first["rank"], first["works"], first["tag"]) == (good.netloc, 1, True, "right")
    assert (second["host"], second["rank"], second["code"]) == (bad.netloc, None, "HOST_FAILS")
    assert [step["part"] for step in first["steps"]] == ["connect", "ping", "head", "manifest", "blob"]
    assert first["requests"] == 5
    assert [(each["code"], each["level"]) for each in document["findings"]] == [("HOST_FAILS", "warning")]


def test_what_hosts_say_reaches_no_terminal_and_no_page_as_it_is(place: Place, capsys: Captured) -> None:
    with hosts(None, faults.status(403, EVIL), on=Match(kind="manifest")) as (good, evil):
        place.configure(good.url, evil.url)
        assert place.run("mirrors", "test", "-v", "--html", "report.html") == 0
    said = capsys.readouterr()
    written = Path("report.html").read_text("utf-8")
    for text in (said.out, said.err, written):
        assert "\x1b" not in text
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert "<script" not in written
    assert "&lt;script&gt;" in written


class Page(HTMLParser):
    """What of a page would ask somebody for something, and its rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asks: list[str] = []
        self.rows = 0
        self.widths: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.asks += [f"{tag} {key}" for key in given if key in ("src", "href", "action", "data", "srcset")]
        self.asks += [tag] if tag in ("script", "link", "iframe", "object", "img") else []
        self.rows += tag == "tr"
        self.widths += re.findall(r"width: ([0-9.]+)%", given.get("style") or "")


def test_the_page_is_complete_in_itself_with_a_row_and_bars_for_each_host(
    place: Place, capsys: Captured
) -> None:
    with hosts(None, faults.bandwidth(150_000), faults.page(), on=Match(kind="blob")) as registries:
        place.configure(*(registry.url for registry in registries))
        place.run("mirrors", "test", "--html", "report.html")
    text = Path("report.html").read_text("utf-8")
    page = Page(text)
    assert page.asks == []
    assert "url(" not in text
    assert "@import" not in text
    assert page.rows == 4  # a head, and a row a host
    assert len(page.widths) == 4  # two bars for each host that gives something
    assert max(map(float, page.widths)) == 100.0
    assert "report.html\n" in capsys.readouterr().err


def test_the_page_is_in_the_readers_language(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    with hosts(None) as (one,):
        place.configure(one.url)
        place.run("mirrors", "test", "--html", "report.html")
    text = Path("report.html").read_text("utf-8")
    assert '<html lang="zh-CN">' in text
    assert "首字节" in text


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(place: Place, capsys: Captured) -> None:
    with hosts(None) as (one,):
        place.configure(one.url)
        assert place.run("mirrors", "test", "--html", "no/such/report.html") == 6
    assert "cannot write the report no/such/report.html" in capsys.readouterr().err


# -- list -----------------------------------------------------------------------------------------


def test_configured_hosts_and_the_catalogue_are_listed_and_nobody_is_asked(
    place: Place, capsys: Captured
) -> None:
    with hosts(None) as (one,):
        place.configure(one.url, "http://127.0.0.9:1/prefix", more='[server]\nlisten = "127.0.0.1:1"\n')
        catalogue = place.catalogue(
            "https://mirror.example",
            "https://gone.example",
            keys={"https://gone.example": 'state = "dead"', "https://mirror.example": 'needs = ["china"]'},
            registries=("docker.io", "ghcr.io", "quay.io", "gcr.io"),
        )
        assert place.run("mirrors", "list", "--catalogue", catalogue) == 0
        assert one.requests == []
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:3] == ["docker.io", f"  {one.netloc:18}  mirror", "  127.0.0.9:1/prefix  mirror"]
    (mirror,) = [line for line in lines if "mirror.example" in line]
    assert mirror.split()[:3] == ["mirror.example", "2026-01-01!", "docker.io,"]
    assert "docker.io, ghcr.io, quay.io and 1 more; to be in China" in " ".join(out.split())
    assert lines[-1].split()[:2] == ["gone.example", "2026-01-01"]
    assert "no health is known: http://127.0.0.1:1 does not answer" in err
    assert "not confirmed for more than 90 days" in err


def test_a_configured_host_that_the_catalogue_knows_to_be_dead_is_marked(
    place: Place, capsys: Captured
) -> None:
    place.configure("https://gone.example", more='[server]\nlisten = "127.0.0.1:1"\n')
    catalogue = place.catalogue("https://gone.example", keys={"https://gone.example": 'state = "dead"'})
    assert place.run("mirrors", "list", "--catalogue", catalogue) == 0
    assert "gone.example  mirror   dead since 2026-01-01 or before" in capsys.readouterr().out


def test_the_list_shows_what_a_server_that_has_ended_knew_of_its_hosts(
    place: Place, tmp_path: Path, capsys: Captured
) -> None:
    store = f'[store]\npath = "{tmp_path}/store"\n'
    place.configure("http://127.0.0.9:1", more=f'[server]\nlisten = "127.0.0.1:1"\n{store}')
    host, clock = Host.from_url("http://127.0.0.9:1"), ManualClock(1_800_000_000.0)
    health = Health(clock)

    async def live() -> None:
        async with Keeping(tmp_path / "store", health, [host], clock):
            health.strike(host)

    asyncio.run(live())
    catalogue = place.catalogue("https://mirror.example")
    assert place.run("mirrors", "list", "--catalogue", catalogue) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "  127.0.0.9:1  mirror   works; 1 times wrong content"
    assert "health as it was known at 2027-01-15 08:00 UTC: http://127.0.0.1:1 does not answer" in err
    assert place.run("mirrors", "list", "--json", "--catalogue", catalogue) == 0
    configured = json.loads(capsys.readouterr().out)["configured"]
    assert configured["kept_at"] == "2027-01-15T08:00:00Z"
    assert [each["strikes"] for each in configured["registries"]["docker.io"]] == [1]


def test_the_list_as_json(place: Place, capsys: Captured) -> None:
    place.configure("http://127.0.0.9:1", more='[server]\nlisten = "127.0.0.1:1"\n')
    assert (
        place.run("mirrors", "list", "--json", "--catalogue", place.catalogue("https://mirror.example")) == 0
    )
    document = json.loads(capsys.readouterr().out)
    (host,) = document["configured"]["registries"]["docker.io"]
    assert (host["host"], host["state"]) == ("127.0.0.9:1", None)
    (entry,) = document["catalogue"]["mirrors"]
    assert (entry["url"], entry["old"], entry["state"]) == ("https://mirror.example", True, "up")
