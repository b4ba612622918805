"""A directory with a sampan.toml and a catalogue of hosts on loopback; whoever else is dialled is refused.

No test of ``sampan mirrors`` or ``init`` may use the built-in catalogue, which names hosts of the world. If
one does, the proxy that the environment names refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sampan.cli import main
from sampan.testing import image, random_layer

NOWHERE = "http://127.0.0.1:9"  # the port of the discard protocol, where nobody listens
LATEST = image("library/alpine", "latest", layers=[random_layer(1, 100_000)])
REFERENCE = "docker.io/library/alpine:latest"


@dataclass
class Place:
    """``directory`` is where the commands run, and their home."""

    directory: Path

    def configure(self, *mirrors: str, more: str = "", registry: str = "docker.io") -> None:
        listed = ", ".join(mirror if mirror.startswith("{") else json.dumps(mirror) for mirror in mirrors)
        text = f'[registry."{registry}"]\nmirrors = [{listed}]\norigin = "never"\n{more}'
        (self.directory / "sampan.toml").write_text(text, "utf-8")

    def catalogue(
        self,
        *urls: str,
        keys: Mapping[str, str] | None = None,
        samples: Mapping[str, str | None] | None = None,
        registries: Sequence[str] = ("docker.io",),
        updated: str = "2026-01-01",
    ) -> str:
        """Writes one of ``urls``; ``keys``: more of an entry, by its URL; ``samples``: registry -> origin."""
        lines = [f'updated = "{updated}"']
        for registry, origin in (samples or {}).items():
            lines += [f'[registry."{registry}"]', 'sample = "library/alpine:latest"']
            lines += [] if origin is None else [f'origin = "{origin}"']
        for number, url in enumerate(urls):
            lines += ["[[mirror]]", f'url = "{url}"', f"registries = {json.dumps(list(registries))}"]
            lines += [f'group = "group-{number}"', 'last_verified = "2026-01-01"', 'source = "a test"']
            more = (keys or {}).get(url, "")
            lines += [more] if "form =" in more else ['form = "host"', more]
        path = self.directory / "catalogue.toml"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return str(path)

    def run(self, *words: str) -> int:
        return main(list(words))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in (
        "SAMPAN_CONFIG",
        "SAMPAN_LANG",
        "SAMPAN_MIRRORS",
        "LANG",
        "LC_ALL",
        "LC_MESSAGES",
        "NO_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path)
