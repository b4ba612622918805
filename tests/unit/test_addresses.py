"""Which addresses may be dialled, in every wrapping."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sampan.upstream.addresses import is_metadata, is_private, may_dial

PUBLIC = [
    "1.1.1.1",
    "108.160.169.181",
    "198.18.0.7",  # what "fake IP" proxies answer for every name
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "::1",
    "fd00::1",
    "fe80::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "2002:a00:1::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo, with the client 127.0.0.1
]
METADATA = [
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]
UNUSABLE = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1"]


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_dialled(text: str) -> None:
    assert may_dial(ip_address(text), private=False)
    assert may_dial(ip_address(text), private=True)
    assert not is_private(ip_address(text))


@pytest.mark.row("13")
@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_address_is_dialled_only_for_private_hosts(text: str) -> None:
    assert is_private(ip_address(text))
    assert not may_dial(ip_address(text), private=False)
    assert may_dial(ip_address(text), private=True)


@pytest.mark.row("13")
@pytest.mark.parametrize("text", METADATA)
def test_nothing_opens_a_metadata_service(text: str) -> None:
    assert is_metadata(ip_address(text))
    assert not is_private(ip_address(text))
    assert not may_dial(ip_address(text), private=True)


@pytest.mark.row("13")
@pytest.mark.parametrize("text", [*UNUSABLE, "2001:db8::1", "192.0.2.1", "4000::1"])
def test_nothing_opens_an_address_where_no_registry_can_be(text: str) -> None:
    assert not is_private(ip_address(text))
    assert not may_dial(ip_address(text), private=False)
    assert not may_dial(ip_address(text), private=True)
