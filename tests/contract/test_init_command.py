"""``sampan init``: a sampan.toml of what works from here, of origins and a catalogue on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from hosts_place import LATEST, Place
from hosts_place import place as place  # a fixture
from sampan.config import Config
from sampan.testing import ClosedPort, FakeRegistry, Fault, faults, image, random_layer
from sampan.testing.thread import ServerThread

Captured = pytest.CaptureFixture[str]
FILE = "sampan.toml"


@contextmanager
def hosts(*spoilt: Fault | None, prefixes: Sequence[str] = ()) -> Iterator[list[FakeRegistry]]:
    prefixes = prefixes or [""] * len(spoilt)
    registries = [
        FakeRegistry(f"host {n}", host=f"127.0.0.{n}", prefix=prefix) for n, prefix in enumerate(prefixes, 1)
    ]
    for registry, fault in zip(registries, spoilt, strict=True):
        registry.add(LATEST)
        if fault is not None:
            registry.script(fault)
    with ServerThread(*registries):
        yield registries


def written(path: str | Path = FILE) -> Config:
    return Config.load(path, environ={})


def names(config: Config, registry: str = "docker.io") -> list[str]:
    return [host.name for host in config.hosts_for(registry) or ()]


def test_what_works_is_written_and_read_again(place: Place, capsys: Captured) -> None:
    with hosts(None, None, faults.page()) as (mirror, origin, broken):
        catalogue = place.catalogue(mirror.url, broken.url, samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    config = written()
    assert set(names(config)) == {mirror.netloc, origin.netloc}
    assert {host.role for host in config.hosts_for("docker.io") or ()} == {"mirror", "origin"}
    out, err = capsys.readouterr()
    assert out == Path(FILE).read_text("utf-8")
    assert "# 2 of 3 hosts gave docker.io/library/alpine:latest" in out
    assert err.splitlines()[-3:] == [
        "sampan.toml is written. Next:",
        "  sampan serve      runs the mirror",
        "  sampan node plan  shows what this machine's runtimes would be told of it",
    ]


def test_an_origin_that_nobody_reaches_is_never_asked(place: Place) -> None:
    closed = ClosedPort()
    with hosts(None) as (mirror,), ServerThread(closed):
        catalogue = place.catalogue(mirror.url, samples={"docker.io": closed.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    assert names(written()) == [mirror.netloc]
    text = Path(FILE).read_text("utf-8")
    assert (
        f'# {closed.netloc}: it refuses connections: nothing listens at its address\norigin = "never"' in text
    )


def test_an_origin_alone_is_enough(place: Place) -> None:
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    assert names(written()) == [origin.netloc]


def test_the_best_three_of_different_operators_are_taken(place: Place) -> None:
    with hosts(*[None] * 5) as registries:
        urls = [registry.url for registry in registries]
        same = 'group = "one"'
        catalogue = place.catalogue(*urls, samples={"docker.io": "http://127.0.0.1:1"})
        text = Path(catalogue).read_text("utf-8")
        Path(catalogue).write_text(
            text.replace('group = "group-1"', same).replace('group = "group-0"', same), "utf-8"
        )
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    hosts_of_it = written().hosts_for("docker.io") or ()
    assert len(hosts_of_it) == 3
    assert len({host.operator for host in hosts_of_it}) == 3


def test_what_the_catalogue_says_of_a_mirror_stands_in_the_file(place: Place) -> None:
    more = 'allow = ["library/*"]\nrequests_per_minute = 20\nmax_connections = 4'
    with hosts(None) as (mirror,):
        catalogue = place.catalogue(
            mirror.url, keys={mirror.url: more}, samples={"docker.io": "http://127.0.0.1:1"}
        )
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    (host,) = written().hosts_for("docker.io") or ()
    assert (host.allow, host.requests_per_minute, host.max_connections) == (("library/*",), 20, 4)
    assert host.operator == "group-0"


def test_a_host_with_an_old_image_gives_content_alone(place: Place) -> None:
    new = image(
        "library/alpine",
        "latest",
        layers=[random_layer(5, 90_000)],
        annotations={"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    )
    with hosts(None, None) as (old, fresh):
        fresh.add(new)
        catalogue = place.catalogue(old.url, fresh.url, samples={"docker.io": "http://127.0.0.1:1"})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    can = {host.name: host.capabilities for host in written().hosts_for("docker.io") or ()}
    assert can == {old.netloc: {"pull"}, fresh.netloc: {"pull", "resolve"}}


def test_a_mirror_of_many_registries_is_asked_about_two_and_believed_about_the_others(place: Place) -> None:
    registries = ("docker.io", "ghcr.io", "quay.io")
    with hosts(None) as (mirror,):
        url = f"{mirror.url}/{{registry}}"
        for registry in registries:
            mirror.add(LATEST, repository=f"{registry}/library/alpine")
        samples = dict.fromkeys(registries, "http://127.0.0.1:1")
        catalogue = place.catalogue(url, keys={url: 'form = "path"'}, registries=registries, samples=samples)
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
        asked = {one.path.split("/")[2] for one in mirror.requests if one.kind == "manifest"}
    assert asked == {"docker.io", "ghcr.io"}
    for registry in registries:
        assert names(written(), registry) == [f"{mirror.netloc}/{registry}"]
    text = Path(FILE).read_text("utf-8")
    assert text.count("worked with another registry, not tried with this one") == 1


def test_a_registry_that_nobody_gives_is_a_comment_with_the_reasons(place: Place) -> None:
    with hosts(None, faults.status(502)) as (good, broken):
        catalogue = place.catalogue(good.url, samples={"docker.io": None, "quay.io": None})
        text = Path(catalogue).read_text("utf-8")
        text = text.replace('[registry."docker.io"]\n', f'[registry."docker.io"]\norigin = "{good.url}"\n')
        text = text.replace('[registry."quay.io"]\n', f'[registry."quay.io"]\norigin = "{broken.url}"\n')
        Path(catalogue).write_text(text, "utf-8")
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    assert written().hosts_for("quay.io") is None
    text = Path(FILE).read_text("utf-8")
    assert '# [registry."quay.io"]' in text
    assert f"#   {broken.netloc}: it fails by itself" in text


def test_where_nothing_works_nothing_is_written(place: Place, capsys: Captured) -> None:
    with hosts(faults.status(502)) as (broken,):
        catalogue = place.catalogue(samples={"docker.io": broken.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 5
    assert not Path(FILE).exists()
    assert "nothing is written" in capsys.readouterr().err


def test_a_mirror_that_is_known_to_be_dead_is_not_asked(place: Place) -> None:
    with hosts(None, None) as (dead, origin):
        catalogue = place.catalogue(
            dead.url, keys={dead.url: 'state = "dead"'}, samples={"docker.io": origin.url}
        )
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
        assert dead.requests == []


def test_a_file_that_is_there_stays_unless_forced(place: Place, capsys: Captured) -> None:
    Path(FILE).write_text("# mine\n")
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 2
        assert origin.requests == []
        assert Path(FILE).read_text() == "# mine\n"
        assert "sampan.toml is there already" in capsys.readouterr().err
        assert place.run("init", "--catalogue", catalogue, "--yes", "--force", "-o", FILE) == 0
    assert names(written()) == [origin.netloc]
    assert [path.name for path in place.directory.iterdir() if path.name.startswith(".")] == []


def test_without_a_terminal_and_without_yes_it_is_shown_and_not_written(
    place: Place, capsys: Captured
) -> None:
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "-o", FILE) == 2
    out, err = capsys.readouterr()
    assert '[registry."docker.io"]' in out
    assert "hint: --yes writes it" in err
    assert not Path(FILE).exists()


def test_the_place_is_the_one_that_is_named_for_all_commands(place: Place) -> None:
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("--config", "new/made.toml", "init", "--catalogue", catalogue, "--yes") == 0
    assert names(written("new/made.toml")) == [origin.netloc]


def test_as_json(place: Place, capsys: Captured) -> None:
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "--json", "-o", FILE) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == FILE
    assert document["text"] == Path(FILE).read_text("utf-8")
    assert document["registries"]["docker.io"]["origin"] == "first"


def test_the_comments_are_in_the_readers_language(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    with hosts(None) as (origin,):
        catalogue = place.catalogue(samples={"docker.io": origin.url})
        assert place.run("init", "--catalogue", catalogue, "--yes", "-o", FILE) == 0
    assert "1 台主机中有 1 台提供了" in Path(FILE).read_text("utf-8")
    assert names(written()) == [origin.netloc]
