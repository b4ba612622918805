"""``SAMPAN_LOGINS``: logins by host, for whoever has no file to put them in."""

from __future__ import annotations

import pytest

from sampan.clock import SystemClock
from sampan.config import Config
from sampan.errors import ConfigError
from sampan.secret import Secret
from sampan.upstream.auth import Credential
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.host import Host

LOGINS = "SAMPAN_LOGINS"


def logins(value: str) -> dict[str, Credential]:
    return dict(Config.parse("", environ={LOGINS: value}).logins)


def refused(value: str, text: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ={LOGINS: value})
    return f"{caught.value.message}\n{caught.value.hint or ''}"


def test_each_host_has_one_and_a_password_may_hold_what_parts_the_rest() -> None:
    assert logins(" docker.io=me:a:b=c ; Harbor.LAN:8443=robot$x:p%3B;") == {
        "docker.io": Credential("me", Secret("a:b=c")),
        "harbor.lan:8443": Credential("robot$x", Secret("p%3B")),
    }
    assert logins("") == {}
    assert logins("index.docker.io=me:x").keys() == {"docker.io"}


@pytest.mark.parametrize(
    "value",
    [
        "topsecret",
        "a.example",
        "a.example=",
        "a.example=topsecret",
        "a.example=me:",
        "a.example=:topsecret",
        "a.example=me:topsecret\ny",
        "me:topsecret=a.example",
        "https://me:topsecret@a.example",
        "https://a.example=me:topsecret",
    ],
)
def test_what_is_no_login_is_told_without_its_text(value: str) -> None:
    said = refused(f"b.example=me:x;{value}")
    assert "$SAMPAN_LOGINS: expected HOST=USER:PASSWORD;…, got something else as number 2" in said
    assert "topsecret" not in said


def test_a_host_that_comes_twice_is_refused() -> None:
    assert "$SAMPAN_LOGINS: expected each host once, got a.example twice" in refused(
        "a.example=a:b;A.example=c:d"
    )


def test_a_password_goes_over_https_or_to_a_private_host() -> None:
    entry = '{ url = "http://a.example", capabilities = ["pull"] }'
    table = f'[registry."docker.io"]\nmirrors = [{entry}]\n'
    assert "expected https where a password or a header is sent" in refused("a.example=me:x", table)
    private = '[registry."docker.io"]\nmirrors = [{ url = "http://a.example", private = true }]\n'
    assert Config.parse(private, environ={LOGINS: "a.example=me:x"}).logins
    assert Config.parse(table, environ={LOGINS: "b.example=me:x"}).logins


def test_they_are_in_no_text_of_the_configuration() -> None:
    config = Config.parse("", environ={LOGINS: "a.example=me:topsecret"})
    assert "topsecret" not in repr(config) + str(config.logins)


async def test_it_is_shown_to_its_own_host_alone_and_a_mirrors_own_login_stands_above_it() -> None:
    found = CredentialFiles(
        (), environment={}, clock=SystemClock(), logins=logins("docker.io=me:x;a.example=you:y")
    )
    hub = Host.from_url("https://registry-1.docker.io", role="origin")
    assert await found.lookup(hub, "library/alpine") == Credential("me", Secret("x"))
    assert await found.lookup(Host.from_url("https://a.example/docker.io"), "r") == Credential(
        "you", Secret("y")
    )
    assert await found.lookup(Host.from_url("https://a.example:8443"), "r") is None
    assert await found.lookup(Host.from_url("https://b.example"), "r") is None
    own = Host.from_url("https://a.example", username="own", password=Secret("z"))
    assert await found.lookup(own, "r") == Credential("own", Secret("z"))
