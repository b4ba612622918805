"""Logins from the files of Docker and Podman."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sampan.secret import Secret
from sampan.testing import ManualClock
from sampan.upstream import credentials as module
from sampan.upstream.auth import Credential
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.host import Host

HUB = Host.from_url("https://registry-1.docker.io", role="origin")
MIRROR = Host.from_url("https://docker.m.daocloud.io")
QUAY = Host.from_url("https://quay.io", role="origin")
REPOSITORY = "library/alpine"


def packed(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def files(
    path: Path,
    content: object,
    *,
    clock: ManualClock | None = None,
    environment: Mapping[str, str] | None = None,
) -> CredentialFiles:
    file = path / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return CredentialFiles((file,), environment=environment or {}, clock=clock or ManualClock())


def helper(path: Path, name: str, script: str) -> dict[str, str]:
    """A credential program in ``path``; returns the environment in which it is found."""
    program = path / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{path}{os.pathsep}/usr/bin{os.pathsep}/bin"}


async def test_a_mirrors_own_login_comes_first(tmp_path: Path) -> None:
    host = Host.from_url("https://quay.io", username="own", password=Secret("p"))
    found = files(tmp_path, {"auths": {"quay.io": packed("file", "x")}})
    assert await found.lookup(host, REPOSITORY) == Credential("own", Secret("p"))


@pytest.mark.parametrize("key", ["quay.io", "https://quay.io", "https://quay.io/v2/", "https://quay.io/v1/"])
async def test_a_stored_login_is_found_however_its_host_is_written(tmp_path: Path, key: str) -> None:
    found = files(tmp_path, {"auths": {key: packed("u", "p:with:colons")}})
    assert await found.lookup(QUAY, REPOSITORY) == Credential("u", Secret("p:with:colons"))


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
async def test_docker_hubs_login_is_for_docker_hub_and_never_for_its_mirrors(
    tmp_path: Path, key: str
) -> None:
    found = files(tmp_path, {"auths": {key: packed("u", "p")}})
    assert await found.lookup(HUB, REPOSITORY) == Credential("u", Secret("p"))
    assert await found.lookup(MIRROR, REPOSITORY) is None
    assert await found.lookup(QUAY, REPOSITORY) is None


async def test_a_port_is_part_of_the_host(tmp_path: Path) -> None:
    found = files(tmp_path, {"auths": {"harbor.lan:8443": packed("u", "p")}})
    assert await found.lookup(Host.from_url("https://harbor.lan:8443"), REPOSITORY) is not None
    assert await found.lookup(Host.from_url("https://harbor.lan"), REPOSITORY) is None


async def test_the_longest_path_that_fits_is_meant(tmp_path: Path) -> None:
    auths = {
        "quay.io": packed("all", "p"),
        "quay.io/org": packed("org", "p"),
        "quay.io/org/app": packed("app", "p"),
    }
    found = files(tmp_path, {"auths": auths})
    names = [await found.lookup(QUAY, name) for name in ("other/x", "org/x", "org/app", "organisation/x")]
    assert [name.username if name else None for name in names] == ["all", "org", "app", "all"]


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"identitytoken": "t"}, Credential(identity_token=Secret("t"))),
        ({"registrytoken": "t"}, Credential(registry_token=Secret("t"))),
        ({"username": "u", "password": "p"}, Credential("u", Secret("p"))),
        ({"auth": "dTpwAAA="}, Credential("u", Secret("p"))),  # old clients padded with NUL
        ({}, None),
        (5, None),
        ({"auth": 5}, None),
        ({"auth": "!!"}, None),
        ({"auth": "bm9jb2xvbg=="}, None),
    ],
)
async def test_an_entry_is_read_in_every_form(
    tmp_path: Path, entry: Any, credential: Credential | None
) -> None:
    assert await files(tmp_path, {"auths": {"quay.io": entry}}).lookup(QUAY, REPOSITORY) == credential


@pytest.mark.row("56")
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"auths": []}', '{"auths": {"quay.io": null}}']
)
async def test_a_broken_file_means_going_as_anybody(tmp_path: Path, content: str) -> None:
    assert await files(tmp_path, content).lookup(QUAY, REPOSITORY) is None


async def test_a_broken_file_is_reported_once_and_without_its_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = files(tmp_path, '{"auths": hunter2')
    for _ in range(3):
        await found.lookup(QUAY, REPOSITORY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "config.json" in record.getMessage()
    assert "hunter2" not in caplog.text


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    found = files(tmp_path, {})
    assert await found.lookup(QUAY, REPOSITORY) is None
    files(tmp_path, {"auths": {"quay.io": packed("u", "p")}})
    assert await found.lookup(QUAY, REPOSITORY) is not None


async def test_files_are_believed_in_their_order(tmp_path: Path) -> None:
    auth_file = tmp_path / "auth.json"
    auth_file.write_text(json.dumps({"auths": {"quay.io": packed("podman", "p")}}))
    docker = tmp_path / "docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"auths": {"quay.io": packed("docker", "p")}}))
    both = {"REGISTRY_AUTH_FILE": str(auth_file), "DOCKER_CONFIG": str(docker)}
    for environment, name in ((both, "podman"), ({"DOCKER_CONFIG": str(docker)}, "docker")):
        found = await CredentialFiles.from_environment(environment, clock=ManualClock()).lookup(
            QUAY, REPOSITORY
        )
        assert found is not None
        assert found.username == name


async def test_docker_and_podman_keep_their_files_at_home(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {"quay.io": packed("d", "p")}}))
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "auth.json").write_text(json.dumps({"auths": {"a.io": packed("c", "p")}}))
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    found = CredentialFiles.from_environment(environment, clock=ManualClock())
    assert await found.lookup(QUAY, REPOSITORY) == Credential("d", Secret("p"))
    assert await found.lookup(Host.from_url("https://a.io"), REPOSITORY) == Credential("c", Secret("p"))


async def test_a_helper_is_asked_for_the_server_and_believed_for_a_while(tmp_path: Path) -> None:
    environment = helper(
        tmp_path,
        "fake",
        f'read server; echo x >> {tmp_path}/runs; printf \'{{"Username":"u","Secret":"%s"}}\' "$1-$server"',
    )
    clock = ManualClock()
    found = files(tmp_path, {"credHelpers": {"quay.io": "fake"}}, clock=clock, environment=environment)
    for _ in range(2):
        assert await found.lookup(QUAY, REPOSITORY) == Credential("u", Secret("get-quay.io"))
    assert (tmp_path / "runs").read_text() == "x\n"
    clock.advance(module.ANSWER_SECONDS)
    await found.lookup(QUAY, REPOSITORY)
    assert (tmp_path / "runs").read_text() == "x\nx\n"
    assert await found.lookup(MIRROR, REPOSITORY) is None


async def test_the_store_is_asked_with_the_key_that_is_listed(tmp_path: Path) -> None:
    environment = helper(tmp_path, "fake", 'read s; printf \'{"Username":"<token>","Secret":"%s"}\' "$s"')
    content = {"credsStore": "fake", "auths": {"https://index.docker.io/v1/": {}}}
    found = files(tmp_path, content, environment=environment)
    assert await found.lookup(HUB, REPOSITORY) == Credential(
        identity_token=Secret("https://index.docker.io/v1/")
    )


async def test_a_login_that_a_helper_does_not_have_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = helper(tmp_path, "fake", "echo credentials not found; exit 1")
    assert (
        await files(tmp_path, {"credsStore": "fake"}, environment=environment).lookup(QUAY, REPOSITORY)
        is None
    )
    assert not caplog.records


@pytest.mark.row("56")
@pytest.mark.parametrize("script", ["echo no json", "echo '[]'", "echo '{}'", "yes", "exec 1>&-; exit 0"])
async def test_a_broken_helper_is_reported_once_and_not_run_again(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment = helper(tmp_path, "fake", f"echo x >> {tmp_path}/runs; {script}")
    found = files(tmp_path, {"credsStore": "fake"}, environment=environment)
    for host in (QUAY, MIRROR, QUAY):
        assert await found.lookup(host, REPOSITORY) is None
    assert (tmp_path / "runs").read_text() == "x\n"
    assert len(caplog.records) == 1


@pytest.mark.row("56")
async def test_a_hanging_helper_is_stopped_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELPER_SECONDS", 0.1)
    environment = helper(tmp_path, "fake", "sleep 60 & wait")
    found = files(tmp_path, {"credsStore": "fake"}, environment=environment)
    assert await found.lookup(QUAY, REPOSITORY) is None


@pytest.mark.row("56")
@pytest.mark.parametrize("name", ["../evil", "a b", "a;b", "$(x)", "A", "", 5, None, "x" * 65])
async def test_a_helper_of_an_unsafe_name_is_not_run(tmp_path: Path, name: object) -> None:
    found = files(tmp_path, {"credHelpers": {"quay.io": name}}, environment={"PATH": str(tmp_path)})
    assert await found.lookup(QUAY, REPOSITORY) is None


async def test_a_helper_that_is_not_installed_means_going_as_anybody(tmp_path: Path) -> None:
    found = files(tmp_path, {"credsStore": "missing"}, environment={"PATH": str(tmp_path)})
    assert await found.lookup(QUAY, REPOSITORY) is None
