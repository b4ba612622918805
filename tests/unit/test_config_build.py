"""The composition root: a mirror out of a configuration, and what outlives a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.errors import AllHostsFailed, ConfigError, RegistryUnknown, StoreError
from sampan.testing import ManualClock

CLOSED = '[registry."one.example"]\nmirrors = ["http://127.0.0.1:1"]\norigin = "never"\n'


def configured(directory: Path, more: str = CLOSED, **environ: str) -> Config:
    text = f'store = {{ path = "{directory}/store" }}\n{more}'
    return Config.parse(text, name=str(directory / "sampan.toml"), environ=environ)


async def test_a_mirror_serves_the_registries_of_its_configuration(tmp_path: Path) -> None:
    config = configured(tmp_path)
    lasting = Lasting.of(config)
    mirror = build(config, lasting=lasting)
    try:
        assert mirror.registries == config.registries
        with pytest.raises(AllHostsFailed) as caught:
            await mirror.manifest("one.example", "a/b", "1")
        assert {attempt.host for attempt in caught.value.attempts} == {"127.0.0.1:1"}
        with pytest.raises(RegistryUnknown):
            await mirror.manifest("docker.io", "a/b", "1")
    finally:
        await mirror.close()
        lasting.close()


async def test_a_second_mirror_shares_what_outlives_a_reload(tmp_path: Path) -> None:
    first_config = configured(tmp_path)
    lasting = Lasting.of(first_config, ManualClock())
    second_config = configured(tmp_path, CLOSED.replace("one", "two"))
    first, second = build(first_config, lasting=lasting), build(second_config, lasting=lasting)
    try:
        assert second.store is first.store
        assert second.health is first.health
        assert second.registries.named == {"two.example"}
    finally:
        await first.close()
        await second.close()
        lasting.close()


def test_a_store_that_cannot_be_opened_is_told_with_where_it_is_set(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError) as caught:
        Lasting.of(configured(tmp_path))
    assert str(tmp_path / "store") in caught.value.message
    assert "store.path or --store" in (caught.value.hint or "")


@pytest.mark.row("N7", "F3")
def test_a_certificate_that_is_none_shows_before_the_first_request(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    mirror = '{ url = "https://m.example", ca = "ca.pem" }'
    config = configured(tmp_path, f'[registry."one.example"]\nmirrors = [{mirror}]\n')
    lasting = Lasting.of(config)
    try:
        with pytest.raises(ConfigError, match=r"ca\.pem"):
            build(config, lasting=lasting)
    finally:
        lasting.close()


def test_a_proxy_of_the_environment_that_is_none_shows_before_the_first_request(tmp_path: Path) -> None:
    config = configured(tmp_path, HTTPS_PROXY="ftp://u:271828@proxy.example")
    lasting = Lasting.of(config)
    try:
        with pytest.raises(ConfigError) as caught:
            build(config, lasting=lasting)
        assert "271828" not in f"{caught.value.message}{caught.value.hint}"
    finally:
        lasting.close()
