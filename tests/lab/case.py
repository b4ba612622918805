"""A case: what stands in a program's files, and who answers how; and the words to say that in.

Case("502 of the first host", spoiled(at(faults.status(502), "a.lan")), AB)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.network import HUB, Network
from sampan.testing import BasicAuth, Body, Fault, Match, Reply, Request, faults
from sampan.testing.images import Image, image, index, random_layer

OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
CERTS = "/etc/containerd/certs.d"
VERSIONS = ("1.6", "1.7", "2.1")
TWO = ("2.1",)
LAYER_BYTES = 20_000
A, B = "https://a.lan", "https://b.lan"
Part = Literal["everything", "head", "manifest", "blob", "layer", "config"]
Spoil = Callable[[Network, Image], None]


def nothing(network: Network, image: Image) -> None:
    """All is well."""


# -- images ---------------------------------------------------------------------------------------


def one_layer(seed: int) -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed, LAYER_BYTES)], seed=seed)


def two_layers(seed: int) -> Image:
    layers = [random_layer(seed, LAYER_BYTES), random_layer(seed + 5000, LAYER_BYTES)]
    return image("library/alpine", "3", layers=layers, seed=seed)


def docker_types(seed: int) -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed, LAYER_BYTES)], seed=seed, docker=True)


def for_platforms(*platforms: str) -> Callable[[int], Image]:
    """An index of images for these."""

    def make(seed: int) -> Image:
        children = [
            image("library/alpine", seed=seed + number * 1000, platform=platform)
            for number, platform in enumerate(platforms)
        ]
        return index("library/alpine", "3", children)

    return make


# -- cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """``files`` below the program's directory in /etc; ``registry``: for containerd, what its CRI's table of
    registries is, in the format of each version; ``config``: all of config.toml instead. ``make``: the image
    that all registries have, from a seed. ``versions``: none are all. ``cri``: containerd's loads."""

    name: str
    spoil: Spoil = nothing
    files: Mapping[str, str] = field(default_factory=dict)
    registry: str | None = f'config_path = "{CERTS}"'
    config: str | None = None
    reference: str = "alpine:3"
    versions: tuple[str, ...] = ()
    make: Callable[[int], Image] = one_layer
    cri: bool = True

    def text(self, version: str) -> str | None:
        """config.toml for ``version``."""
        if self.config is not None or self.registry is None:
            return self.config
        number, plugin = (3, NEW) if version.startswith("2") else (2, OLD)
        table = self.registry.replace("PLUGIN", plugin)
        return f'version = {number}\n[plugins."{plugin}".registry]\n{table}\n'

    def laid(self, version: str) -> dict[str, str]:
        """All files."""
        text = self.text(version)
        return {**({} if text is None else {"config.toml": text}), **self.files}


# -- files ----------------------------------------------------------------------------------------


def certs(
    *urls: str, registry: str = "docker.io", server: str | None = None, root: str = "certs.d"
) -> dict[str, str]:
    """A hosts.toml with a table for each of ``urls``; one with a newline is a table's header and its keys."""
    lines = [] if server is None else [f'server = "{server}"']
    for url in urls:
        name, _, keys = url.partition("\n")
        lines += [f'[host."{name}"]', *([keys] if keys else [])]
    return hosts_toml("\n".join([*lines, ""]), registry, root)


def hosts_toml(text: str, registry: str = "docker.io", root: str = "certs.d") -> dict[str, str]:
    return {f"{root}/{registry}/hosts.toml": text}


def legacy(*endpoints: str, key: str = "docker.io", more: str = "") -> str:
    """``registry.mirrors`` of containerd, below the CRI's table of registries."""
    named = ", ".join(f'"{each}"' for each in endpoints)
    return f'  [plugins."PLUGIN".registry.mirrors."{key}"]\n    endpoint = [{named}]\n{more}'


def login(netloc: str, username: str, password: str) -> str:
    """``registry.configs.*.auth`` of containerd, likewise."""
    table = f'  [plugins."PLUGIN".registry.configs."{netloc}".auth]\n'
    return f'{table}    username = "{username}"\n    password = "{password}"\n'


def daemon_json(*mirrors: str, insecure: tuple[str, ...] = ()) -> dict[str, str]:
    """Docker's file, but for the image store, which its engine adds."""
    keys = {"registry-mirrors": list(mirrors)} | ({"insecure-registries": list(insecure)} if insecure else {})
    return {"daemon.json": json.dumps(keys)}


def registries_conf(*mirrors: str, more: str = "", prefix: str = "docker.io") -> dict[str, str]:
    """Podman's file with these mirrors; one with a newline has keys behind it."""
    text = 'unqualified-search-registries = ["docker.io"]\n'
    text += f'[[registry]]\nprefix = "{prefix}"\nlocation = "{prefix}"\n{more}'
    for each in mirrors:
        location, _, keys = each.partition("\n")
        text += f'[[registry.mirror]]\nlocation = "{location}"\n{keys}\n'
    return {"registries.conf": text}


AB = certs(A, B)


# -- who answers how ------------------------------------------------------------------------------


@dataclass(frozen=True)
class At:
    """A fault, at these registries or at all, for these requests; ``times``: as often."""

    fault: Fault
    names: tuple[str, ...]
    part: Part = "everything"
    times: int | None = None


def at(fault: Fault, *names: str, part: Part = "everything", times: int | None = None) -> At:
    return At(fault, names, part, times)


def spoiled(*steps: At, block: str = "") -> Spoil:
    """All of ``steps``; ``block``: these names, between spaces, refuse connections."""

    def spoil(network: Network, found: Image) -> None:
        for step in steps:
            network.spoil(step.fault, *step.names, on=requests_for(step.part, found), times=step.times)
        for name in block.split():
            network.block(name)

    return spoil


def requests_for(part: Part, found: Image) -> Match | None:
    """Those for a part of an image."""
    if part == "layer":
        return Match(digest=found.layers[0].digest)
    if part == "config":
        assert found.config is not None
        return Match(digest=found.config.digest)
    kinds = {"head": Match("manifest", "HEAD"), "manifest": Match("manifest"), "blob": Match("blob")}
    return kinds.get(part)


def with_realm(
    *names: str, says: Fault | None = None, private: bool = False, users: str = "", block: str = ""
) -> Spoil:
    """These registries want tokens of auth.lan, which ``says`` something else; ``users``: name:password."""

    def spoil(network: Network, found: Image) -> None:
        network.realm.private = frozenset({found.repository} if private else ())
        network.realm.users = dict(pair.split(":") for pair in users.split())
        if says is not None:
            network.realm.script(says)
        for name in names:
            network[name].auth = network.realm
        spoiled(block=block)(network, found)

    return spoil


def behind_storage(*names: str, says: Fault | None = None, block: str = "") -> Spoil:
    """These registries lead to cdn.lan for content."""

    def spoil(network: Network, found: Image) -> None:
        if says is not None:
            network.cdn.script(says)
        for name in names:
            network[name].cdn = network.cdn
        spoiled(block=block)(network, found)

    return spoil


def wants_password(name: str, username: str, password: str) -> Spoil:
    """That registry wants a name and a password with every request."""

    def spoil(network: Network, _: Image) -> None:
        network[name].auth = BasicAuth({username: password}, realm="x")

    return spoil


BLOCKED = spoiled(block=HUB)


def longer() -> Fault:
    """Ten bytes too many, and a length that says so."""

    def change(request: Request, right: Reply) -> Reply:
        return right.with_body(right.body + Body.of(b"x" * 10))

    return Fault("longer", change)


def page(number: int) -> Fault:
    """A page of its own: what is in a store already is not asked for again."""
    return faults.page(data=f"<!DOCTYPE html><html><body>Page {number}</body></html>\n".encode())
