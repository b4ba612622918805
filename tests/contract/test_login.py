"""Logins on the wire."""

from __future__ import annotations

import base64
from pathlib import Path

import bcrypt
import pytest

from sampan.errors import ConfigError
from sampan.server.settings import ServerSettings
from serving.mirror import FakeMirror
from serving.wire import ask, running

ALICE = "Basic " + base64.b64encode(b"alice:secret").decode()
BOB = "Basic " + base64.b64encode(b"bob:hidden").decode()


def write_users(path: Path, name: bytes, password: bytes) -> None:
    path.write_bytes(name + b":" + bcrypt.hashpw(password, bcrypt.gensalt(4)) + b"\n")


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    write_users(path, b"alice", b"secret")
    return path


async def test_all_but_health_asks_for_a_login(htpasswd: Path) -> None:
    mirror = FakeMirror()
    async with running(mirror, htpasswd=str(htpasswd)) as server:
        for path in ("/v2/", "/v2/library/alpine/manifests/3", "/v2/no-such/", "/metrics"):
            for headers in ({}, {"Authorization": BOB}):
                response = await ask(server, path, **headers)
                assert response.status == 401
                assert response.error["code"] == "UNAUTHORIZED"
                assert response.headers["www-authenticate"].startswith('Basic realm="sampan"')
        assert not mirror.asked
        assert (await ask(server, "/v2/library/alpine/manifests/3", Authorization=ALICE)).status == 200
        assert (await ask(server, "/metrics", Authorization=ALICE)).status == 200
        for path in ("/healthz", "/readyz"):
            assert (await ask(server, path)).status == 200


async def test_a_login_and_its_password_are_in_no_log(
    htpasswd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with running(FakeMirror(), htpasswd=str(htpasswd)) as server:
        await ask(server, "/v2/library/alpine/manifests/3", Authorization=ALICE)
        await ask(server, "/v2/library/alpine/manifests/3", Authorization=BOB)
    assert " as alice" in caplog.text
    for secret in ("secret", "hidden", ALICE.split()[1], BOB.split()[1]):
        assert secret not in caplog.text


async def test_a_reload_reads_the_users_again(htpasswd: Path) -> None:
    async with running(FakeMirror(), htpasswd=str(htpasswd)) as server:
        assert (await ask(server, "/v2/", Authorization=BOB)).status == 401
        write_users(htpasswd, b"bob", b"hidden")
        server.replace_mirror(FakeMirror(), ServerSettings(htpasswd=str(htpasswd)))
        assert (await ask(server, "/v2/", Authorization=BOB)).status == 200
        assert (await ask(server, "/v2/", Authorization=ALICE)).status == 401


async def test_a_reload_cannot_open_what_listens_to_other_machines(htpasswd: Path) -> None:
    old, new = FakeMirror(), FakeMirror()
    async with running(old, host="0.0.0.0", htpasswd=str(htpasswd)) as server:
        with pytest.raises(ConfigError, match="open to other machines"):
            server.replace_mirror(new, ServerSettings(host="127.0.0.1"))
        assert (await ask(server, "/v2/")).status == 401
        assert (await ask(server, "/v2/library/alpine/manifests/3", Authorization=ALICE)).status == 200
    assert old.asked
    assert not new.asked
