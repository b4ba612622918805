"""Every place that a login can be in, by the command; and that no host sees the login of another."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pulling import AMD64, Machine
from sampan.testing import BasicAuth, FakeRegistry, Request, ServerThread, TokenServer, image

USER, PASSWORD = "robot", "secret:with;odd=parts"
PLAIN = "secret-without-semicolons"

Prepared = tuple[str, dict[str, str]]
"""What stands in sampan.toml beside the rest, and in the environment."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[FakeRegistry]:
    host = FakeRegistry("guarded", auth=BasicAuth({USER: PASSWORD, "plain": PLAIN}))
    host.add(image("library/alpine", "3"))
    with ServerThread(host):
        yield host


def entry(*more: str) -> Callable[[Path, FakeRegistry], Prepared]:
    """A login of the mirror's own table."""

    def prepare(home: Path, host: FakeRegistry) -> Prepared:
        (home / "password").write_text(f"{PASSWORD}\n")
        keys = ", ".join((f'url = "{host.url}"', f'username = "{USER}"', *more))
        table = f'[registry."quay.io"]\nmirrors = [{{ {keys} }}]\norigin = "never"\n'
        return table, {"MY_PASSWORD": PASSWORD}

    return prepare


def stored(place: str, variable: str = "", value: str = "") -> Callable[[Path, FakeRegistry], Prepared]:
    """A login in a file like Docker's, which ``variable`` leads to."""

    def prepare(home: Path, host: FakeRegistry) -> Prepared:
        write(home / place, {"auths": {host.netloc: packed()}})
        return quay(host), {variable: str(home / value)} if variable else {}

    return prepare


def helped(content: Callable[[str], object]) -> Callable[[Path, FakeRegistry], Prepared]:
    """A login that a program keeps."""

    def prepare(home: Path, host: FakeRegistry) -> Prepared:
        write(home / ".docker/config.json", content(host.netloc))
        program = home / "docker-credential-mine"
        said = json.dumps({"ServerURL": host.netloc, "Username": USER, "Secret": PASSWORD})
        program.write_text(f"#!/bin/sh\nread server; [ \"$server\" = {host.netloc} ] && echo '{said}'\n")
        program.chmod(0o755)
        return quay(host), {"PATH": f"{home}{os.pathsep}/usr/bin{os.pathsep}/bin"}

    return prepare


def in_environment(home: Path, host: FakeRegistry) -> Prepared:
    """All in two variables: no file at all."""
    mirrors = {"SAMPAN_MIRRORS": f"quay.io={host.url}"}
    return "", {**mirrors, "SAMPAN_LOGINS": f"other.example=a:b; {host.netloc}=plain:{PLAIN}"}


def quay(host: FakeRegistry) -> str:
    return f'[registry."quay.io"]\nmirrors = ["{host.url}"]\norigin = "never"\n'


def packed(username: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.mark.row("55")
@pytest.mark.parametrize(
    "prepare",
    [
        entry(f'password = "{PASSWORD}"'),
        entry('password_env = "MY_PASSWORD"'),
        entry('password_file = "password"'),
        stored(".docker/config.json"),
        stored("elsewhere/config.json", "DOCKER_CONFIG", "elsewhere"),
        stored("auth.json", "REGISTRY_AUTH_FILE", "auth.json"),
        stored("run/containers/auth.json", "XDG_RUNTIME_DIR", "run"),
        helped(lambda netloc: {"credHelpers": {netloc: "mine"}}),
        helped(lambda netloc: {"credsStore": "mine", "auths": {netloc: {}}}),
        in_environment,
    ],
    ids=[
        "password",
        "password_env",
        "password_file",
        "config.json",
        "DOCKER_CONFIG",
        "REGISTRY_AUTH_FILE",
        "auth.json",
        "credHelpers",
        "credsStore",
        "SAMPAN_LOGINS",
    ],
)
def test_a_login_is_found_and_never_shown(
    tmp_path: Path, guarded: FakeRegistry, prepare: Callable[[Path, FakeRegistry], Prepared]
) -> None:
    more, variables = prepare(tmp_path, guarded)
    machine = Machine(tmp_path, "http://127.0.0.1:1", more, variables)
    done = machine.pull("quay.io/library/alpine:3", *AMD64, "--to", "oci:lay", "--json")
    assert done.returncode == 0, done.stderr
    for secret in (PASSWORD, PLAIN, packed()["auth"]):
        assert secret not in done.stdout + done.stderr
        assert not [path for path in walk(tmp_path / "store", tmp_path / "lay") if secret in path]


def walk(*roots: Path) -> Iterator[str]:
    """The text of every file that was written."""
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file():
                yield path.read_bytes().decode("latin-1")


def test_without_a_login_the_denial_is_told(tmp_path: Path, guarded: FakeRegistry) -> None:
    machine = Machine(tmp_path, "http://127.0.0.1:1", quay(guarded))
    done = machine.pull("quay.io/library/alpine:3", *AMD64, "--to", "store")
    assert done.returncode == 3
    assert f"{guarded.netloc}: denied (401)" in done.stderr


def shown_to(host: FakeRegistry | TokenServer) -> list[str]:
    """What it was shown as a login."""
    requests: list[Request] = host.requests
    return [request.headers["authorization"] for request in requests if "authorization" in request.headers]


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_a_mirror_never_sees_the_login_of_the_registry_that_it_stands_for(
    tmp_path: Path, challenge: str
) -> None:
    tokens = TokenServer("tokens", users={USER: PASSWORD})
    mirror = FakeRegistry("mirror", auth=BasicAuth({USER: PASSWORD}) if challenge == "basic" else tokens)
    origin = FakeRegistry("origin", host="127.0.0.2", auth=BasicAuth({USER: PASSWORD}))
    origin.add(mirror.add(image("library/alpine", "3")))
    with ServerThread(tokens, mirror, origin):
        logins = {name: packed() for name in (origin.netloc, "docker.io", "https://index.docker.io/v1/")}
        write(tmp_path / ".docker/config.json", {"auths": logins})
        table = f'[registry."{origin.netloc}"]\nmirrors = ["{mirror.url}"]\norigin_url = "{origin.url}"\n'
        machine = Machine(tmp_path, mirror.url, table)
        done = machine.pull(f"{origin.netloc}/library/alpine:3", "alpine:3", *AMD64, "--to", "store")
        assert done.stdout.startswith(f"{origin.netloc}/library/alpine:3@"), done.stderr
        assert mirror.requests
        assert done.returncode == 3  # docker.io has that mirror alone
    assert shown_to(origin)
    assert shown_to(mirror) == shown_to(tokens) == []


def test_a_mirror_to_pull_through_never_sees_the_login_of_a_registry(tmp_path: Path) -> None:
    via = FakeRegistry("via", auth=BasicAuth({USER: PASSWORD}))
    with ServerThread(via):
        logins = {name: packed() for name in ("quay.io", "docker.io")}
        write(tmp_path / ".docker/config.json", {"auths": logins})
        variables = {"SAMPAN_LOGINS": f"quay.io={USER}:{PLAIN}"}
        machine = Machine(tmp_path, "http://127.0.0.1:1", variables=variables)
        words = ("quay.io/library/alpine:3", "alpine:3", *AMD64, "--to", "store", "--via", via.url)
        assert machine.pull(*words).returncode == 3
    assert via.requests
    assert shown_to(via) == []
