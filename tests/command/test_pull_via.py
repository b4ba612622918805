"""``sampan pull`` through a running ``sampan serve``: what each of the two asks, keeps and tells."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from pulling import AMD64, ENDS_SECONDS, Machine, until
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, Image, Match, ServerThread, artifact, faults, image, random_layer
from serving.process import Served, serve

ALPINE = "docker.io/library/alpine:3"
MIB = 1024 * 1024


@contextmanager
def mirror_of(directory: Path, origin: FakeRegistry, *, more: str = "", server: str = "") -> Iterator[Served]:
    """A mirror of docker.io and quay.io with a store of its own."""
    home = directory / "mirror"
    home.mkdir()
    tables = "".join(
        f'[registry."{name}"]\nmirrors = [{{ url = "{origin.url}", verify = "stream" }}]\norigin = "never"\n'
        for name in ("docker.io", "quay.io")
    )
    (home / "sampan.toml").write_text(f'[store]\npath = "store"\n{server}{tables}{more}')
    with serve(home) as served:
        yield served


@pytest.fixture
def origin() -> Iterator[tuple[FakeRegistry, ServerThread, Image]]:
    registry = FakeRegistry("origin")
    alpine = registry.add(image("library/alpine", "3", layers=[random_layer(1, 300_000)]))
    with ServerThread(registry) as thread:
        yield registry, thread, alpine


Origin = tuple[FakeRegistry, ServerThread, Image]


def user(directory: Path, *, via: str = "", more: str = "") -> Machine:
    """Somebody whose own host for docker.io is a closed port."""
    home = directory / "user"
    home.mkdir(exist_ok=True)
    pull = f'via = "{via}"\n' if via else ""
    return Machine(home, "http://127.0.0.1:1", f'[pull]\nstore = "{home}/own"\n{pull}{more}')


def test_the_mirror_alone_is_asked_and_tells_where_it_had_it_from(tmp_path: Path, origin: Origin) -> None:
    registry, _, alpine = origin
    with mirror_of(tmp_path, registry) as served:
        via = served.url()
        netloc = via.removeprefix("http://")
        machine = user(tmp_path, via=via)
        first = machine.pull("alpine:3", *AMD64, "--to", "oci:one")
        assert first.returncode == 0, first.stderr
        assert f"{alpine.digest[:19]}… by {registry.netloc} via {netloc}: 2 blobs" in first.stderr
        assert f"{registry.netloc} via {netloc} gave" in first.stderr
        asked = len(registry.requests)
        again = machine.pull("alpine:3", *AMD64, "--to", "oci:two", "--store", "other")
        assert f"{alpine.digest[:19]}… by the store of {netloc}: 2 blobs" in again.stderr
        assert f"the store of {netloc} gave" in again.stderr
        assert len(registry.requests) == asked
        third = machine.pull("alpine:3", *AMD64, "--to", "oci:three")
        assert "already in the store" in third.stderr
        assert served.end(15) == 0
    assert not machine.store.exists()
    counts = {assert_store_is_sound(machine.directory / name) for name in ("own", "one", "two", "three")}
    assert counts == {1 + len(alpine.blobs)}


def test_the_events_name_both(tmp_path: Path, origin: Origin) -> None:
    registry, _, alpine = origin
    with mirror_of(tmp_path, registry) as served:
        via = served.url()
        done = user(tmp_path).pull("alpine:3", *AMD64, "--to", "store", "--via", via, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    resolved = next(event for event in events if event["event"] == "resolved")
    netloc = via.removeprefix("http://")
    assert (resolved["source"], resolved["behind"], resolved["stale"]) == (netloc, registry.netloc, False)
    layer = next(event for event in events if event.get("digest") == alpine.layers[0].digest)
    assert layer["event"] == "blob-started"
    ended = [event for event in events if event["event"] == "blob-done"]
    assert {host for event in ended for host in event["hosts"]} == {netloc}
    assert all(event["behind"] == {netloc: registry.netloc} for event in ended)


def test_registries_are_told_apart_though_their_repositories_have_one_name(
    tmp_path: Path, origin: Origin
) -> None:
    with mirror_of(tmp_path, origin[0]) as served:
        machine = user(tmp_path, via=served.url())
        words = ("alpine:3", "quay.io/library/alpine:3", "ghcr.io/library/alpine:3", *AMD64, "--to", "store")
        done = machine.pull(*words)
        assert done.returncode == 3
        assert [line.partition("@")[0] for line in done.stdout.splitlines()] == [
            ALPINE,
            "quay.io/library/alpine:3",
        ]
        assert "missing (404): NAME_UNKNOWN: registry 'ghcr.io' is not configured here" in done.stderr


def test_who_cannot_write_the_store_of_the_configuration_goes_through_the_mirror(
    tmp_path: Path, origin: Origin
) -> None:
    forbidden = tmp_path / "forbidden"
    forbidden.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(forbidden, 65534, 65534)
    with mirror_of(tmp_path, origin[0]) as served:
        via = served.url()
        machine = user(tmp_path)
        (machine.directory / "sampan.toml").write_text(
            f'[store]\npath = "{forbidden}/store"\n[server]\nlisten = "{via.removeprefix("http://")}"\n'
        )
        words = ["alpine:3", *AMD64, "--to", "oci:here"]
        refused = unprivileged(machine, *words)
        assert refused.returncode == 6
        assert f"hint: --via {via} pulls through the sampan serve of this configuration" in refused.stderr
        through = unprivileged(machine, *words, "--via", via, "--store", "own")
        assert through.returncode == 0, through.stderr
    assert (machine.directory / "here" / "index.json").exists()
    assert list(forbidden.iterdir()) == []


def unprivileged(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    """As somebody whom the modes of files hold for: root without the right to pass them over, or any user."""
    command = machine.command(*words)
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--", *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=machine.directory,
        env={**machine.environ, "PATH": os.environ["PATH"]},
        timeout=ENDS_SECONDS,
        check=False,
    )


def test_what_the_hosts_behind_the_mirror_said_is_told(tmp_path: Path, origin: Origin) -> None:
    registry, thread, _ = origin
    thread.call(lambda: registry.script(faults.status(403), on=Match(repository="library/denied")))
    thread.call(lambda: registry.script(faults.status(500), on=Match(repository="library/broken")))
    with mirror_of(tmp_path, registry) as served:
        via = served.url()
        machine = user(tmp_path, via=via)
        netloc = via.removeprefix("http://")
        for name, code, said in (
            ("absent", 3, f"  {netloc}: missing (404): {registry.netloc}: missing (404)\n"),
            ("denied", 3, f"  {netloc}: missing (404): {registry.netloc}: denied (403)\n"),
            ("broken", 5, f"  {netloc}: server-error (503): {registry.netloc}: server-error (500)"),
        ):
            done = machine.pull(f"{name}:1", *AMD64, "--to", "store")
            assert done.returncode == code, done.stderr
            assert said in done.stderr
            assert f"hint: only {via} was asked (pull.via); --direct asks the hosts themselves" in done.stderr


def test_a_mirror_that_does_not_run_is_told_and_direct_does_without(tmp_path: Path, origin: Origin) -> None:
    registry = origin[0]
    machine = Machine(tmp_path, registry.url, '[pull]\nvia = "http://127.0.0.1:1"\nstore = "own"\n')
    done = machine.pull("alpine:3", *AMD64, "--to", "store")
    assert done.returncode == 5
    assert "127.0.0.1:1: refused" in done.stderr
    assert "hint: only http://127.0.0.1:1 was asked (pull.via); --direct" in done.stderr
    assert registry.requests == []
    direct = machine.pull("alpine:3", *AMD64, "--to", "store", "--direct")
    assert direct.returncode == 0, direct.stderr
    both = machine.pull("alpine:3", "--direct", "--via", "http://127.0.0.1:1")
    assert (both.returncode, both.stdout) == (2, "")
    assert "--via and --direct contradict each other" in both.stderr


def test_a_registry_that_takes_no_notice_of_ns_is_no_mirror_to_pull_through(
    tmp_path: Path, origin: Origin
) -> None:
    registry = origin[0]
    done = user(tmp_path).pull("quay.io/library/alpine:3", *AMD64, "--to", "store", "--via", registry.url)
    assert done.returncode == 5
    assert "does not say that it answers for quay.io: no mirror that knows ns" in done.stderr
    assert {request.query["ns"] for request in registry.requests} == {"quay.io"}


def test_a_tag_that_the_mirror_cannot_confirm_is_called_stale(tmp_path: Path, origin: Origin) -> None:
    registry, thread, _ = origin
    with mirror_of(tmp_path, registry, more='[tags]\nfresh_for = "0s"\n') as served:
        machine = user(tmp_path, via=served.url())
        assert machine.pull("alpine:3", *AMD64, "--to", "store").returncode == 0
        thread.call(registry.refuse)
        done = machine.pull("alpine:3", *AMD64, "--to", "store")
        assert done.returncode == 0, done.stderr
        assert "which nobody could confirm just now" in done.stderr


def test_a_login_at_the_mirror_is_that_of_its_own_entry(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "htpasswd").write_bytes(b"me:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)) + b"\n")
    server = f'[server]\nhtpasswd = "{tmp_path}/htpasswd"\n'
    with mirror_of(tmp_path, origin[0], server=server) as served:
        via = served.url()
        stranger = user(tmp_path).pull("alpine:3", *AMD64, "--to", "store", "--via", via)
        assert stranger.returncode == 3
        assert "denied (401)" in stranger.stderr
        assert (
            f"hint: {via} wants a login: username and a password in pull.via, or docker login"
            in stranger.stderr
        )
        home = user(tmp_path).directory
        login = (
            f'[pull]\nstore = "own"\nvia = {{ url = "{via}", username = "me", password_env = "SECRET" }}\n'
        )
        machine = Machine(home, "http://127.0.0.1:1", login, {"SECRET": "secret"})
        done = machine.pull("alpine:3", *AMD64, "--to", "store")
        assert done.returncode == 0, done.stderr
    assert not any("authorization" in request.headers for request in origin[0].requests)


def test_what_is_attached_comes_through_it_too(tmp_path: Path, origin: Origin) -> None:
    registry, thread, alpine = origin
    thread.call(lambda: registry.add(artifact(alpine, "application/vnd.example.signature")))
    with mirror_of(tmp_path, registry) as served:
        words = ("alpine:3", *AMD64, "--with", "referrers", "--to", "oci:lay")
        machine = user(tmp_path, via=served.url())
        done = machine.pull(*words)
        assert done.returncode == 0, done.stderr
    index = json.loads((machine.directory / "lay" / "index.json").read_bytes())
    assert len(index["manifests"]) == 2


def test_a_pull_that_was_killed_goes_on_from_its_own_last_byte(tmp_path: Path, origin: Origin) -> None:
    registry, thread, _ = origin
    large = image("library/large", "1", layers=[random_layer(2, 12 * MIB)])
    match = Match(kind="blob", digest=large.layers[0].digest)
    gate = asyncio.Event()
    thread.call(lambda: registry.add(large))
    thread.call(lambda: registry.script(faults.held(gate, at=9 * MIB), on=match))
    words = ("large:1", *AMD64, "--to", "oci-archive:large.tar")
    with mirror_of(tmp_path, registry) as served:
        machine = user(tmp_path, via=served.url())
        with machine.start(*words) as process:
            until(process, lambda event: bool(event.get("size") == 12 * MIB and event.get("arrived_bytes")))
            process.kill()
        (partial,) = (machine.directory / "own" / "ingest").iterdir()
        kept = partial.stat().st_size
        thread.call(gate.set)
        with machine.start(*words) as process:
            done = until(process, lambda event: event["event"] == "blob-done" and event["size"] == 12 * MIB)
            process.communicate(timeout=ENDS_SECONDS)
        assert process.returncode == 0
        assert done["resumed_bytes"] == kept
