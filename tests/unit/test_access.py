"""Logins: who is let in, how long that is remembered, and what a wrong file says."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import bcrypt
import pytest

from sampan.errors import ConfigError, Unauthorized
from sampan.server.access import REFUSED_SECONDS, REMEMBERED_SECONDS, Access, load_htpasswd
from sampan.server.settings import ServerSettings
from sampan.testing import ManualClock

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).replace(b"$2b$", b"$2y$")  # as htpasswd -B writes it


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class CountingAccess(Access):
    """Counts the passwords that were really hashed."""

    checks = 0

    def _verify(self, authorization: str) -> str | None:
        self.checks += 1
        return super()._verify(authorization)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def access(clock: ManualClock) -> CountingAccess:
    return CountingAccess({b"alice": HASH}, clock)


async def test_a_user_with_the_right_password_is_let_in(access: CountingAccess) -> None:
    assert await access.login(basic("alice", "secret")) == "alice"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Bearer " + base64.b64encode(b"alice:secret").decode(),
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("alice", "secret\0"),
        basic("alice", "secret" * 100),
        basic("bob", "secret"),
        basic("", ""),
        basic("ålice", "secret"),
        "Basic " + "A" * 8000,
    ],
)
async def test_nobody_else_is(access: CountingAccess, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        await access.login(header)


async def test_a_login_is_remembered_for_some_minutes(access: CountingAccess, clock: ManualClock) -> None:
    for _ in range(3):
        await access.login(basic("alice", "secret"))
    assert access.checks == 1
    clock.advance(REMEMBERED_SECONDS)
    await access.login(basic("alice", "secret"))
    assert access.checks == 2


async def test_a_wrong_password_is_remembered_for_seconds(access: CountingAccess, clock: ManualClock) -> None:
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await access.login(basic("alice", "wrong"))
    assert access.checks == 1
    clock.advance(REFUSED_SECONDS)
    with pytest.raises(Unauthorized):
        await access.login(basic("alice", "wrong"))
    assert access.checks == 2


async def test_many_at_once_with_one_header_cost_one_check(access: CountingAccess) -> None:
    users = await asyncio.gather(*(access.login(basic("alice", "secret")) for _ in range(20)))
    assert set(users) == {"alice"}
    assert access.checks == 1


async def test_a_client_that_leaves_does_not_spoil_the_login_of_another(access: CountingAccess) -> None:
    leaving = asyncio.create_task(access.login(basic("alice", "secret")))
    staying = asyncio.create_task(access.login(basic("alice", "secret")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == "alice"


async def test_neither_password_nor_header_is_kept(access: CountingAccess) -> None:
    await access.login(basic("alice", "secret"))
    kept = repr((access._verdicts, access._checks))
    assert "secret" not in kept
    assert basic("alice", "secret").split()[1] not in kept


def test_an_unknown_user_costs_as_much_as_a_known_one(access: CountingAccess) -> None:
    assert access._nobody[4:6] == HASH[4:6]


def test_a_file_of_htpasswd_is_read(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"# users\n\nalice:" + HASH + b"\r\nbob:" + HASH + b"\n")
    assert set(load_htpasswd(str(path), ManualClock())._hashes) == {b"alice", b"bob"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"alice:" + HASH + b"\nbob:$apr1$x$yyyy\n", ":2: expected name:hash with a bcrypt hash"),
        (b"alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n", ":1: expected"),
        (b"alice\n", ":1: expected"),
        (b"alice:" + HASH[:-1] + b"\n", ":1: expected"),
        (b"alice:" + HASH.replace(b"$04$", b"$99$") + b"\n", ":1: expected"),
        (b"\n# nobody\n", "names no user"),
        (b"#" * (1024 * 1024 + 1), "is larger than"),
    ],
    ids=["md5", "sha1", "no hash", "a short hash", "a cost of 99", "nobody", "a huge file"],
)
def test_a_bad_file_says_which_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_htpasswd(str(path), ManualClock())
    assert message in raised.value.message
    assert "$2" not in raised.value.message


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_htpasswd(str(tmp_path / "none"), ManualClock())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "node-1", "127.0.0.1.example"])
def test_a_server_open_to_other_machines_needs_a_login_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match="open to other machines"):
        ServerSettings(host=host)
    ServerSettings(host=host, anonymous=True)
    ServerSettings(host=host, htpasswd="/etc/sampan/htpasswd")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    ServerSettings(host=host)


def test_half_a_certificate_and_an_unknown_log_format_are_refused() -> None:
    with pytest.raises(ConfigError):
        ServerSettings(tls_cert="cert.pem")
    with pytest.raises(ConfigError):
        ServerSettings(log_format="xml")
    with pytest.raises(ConfigError):
        ServerSettings(instance="")
