"""The configurations of Docker and podman whose pulls are recorded; see :mod:`lab.chain_cases`."""

from __future__ import annotations

import json

from lab.chain_cases import (
    Case,
    behind_cdn,
    blocked,
    certs,
    for_platforms,
    nothing,
    page,
    spoiled,
    storage_blocked,
    two_layers,
    with_realm,
)
from lab.network import HUB
from sampan.testing import faults

REALM = faults.bearer_at("https://dead.lan/token")
CLASSIC, STORE = ("20.10", "28.5"), ("28.5-store",)
DOCKERS = {"20.10": "docker-20", "28.5": "docker-28", "28.5-store": "docker-28 containerd store"}


def mirrors(*urls: str, insecure: tuple[str, ...] = ()) -> dict[str, str]:
    """daemon.json, but for the store, which its engine adds."""
    keys: dict[str, object] = {"registry-mirrors": list(urls)}
    return {"daemon.json": json.dumps(keys | ({"insecure-registries": list(insecure)} if insecure else {}))}


A, B = "https://a.lan", "https://b.lan"
AB = mirrors(A, B)
DOCKER = (
    Case("no mirrors", registry=None),
    Case("two mirrors", files=AB, registry=None),
    Case("two layers", files=AB, registry=None, make=two_layers),
    Case("an index", files=AB, registry=None, make=for_platforms("linux/amd64", "linux/arm64/v8")),
    Case("an index without this platform", files=AB, registry=None, make=for_platforms("linux/s390x")),
    Case("by digest", files=AB, registry=None, reference="alpine@DIGEST"),
    Case("of another registry", files=AB, registry=None, reference="registry.lan/library/alpine:3"),
    Case(
        "of another registry that refuses connections",
        lambda n, i: n.block("registry.lan"),
        AB,
        None,
        reference="registry.lan/library/alpine:3",
    ),
    Case("502 of the first mirror", spoiled((faults.status(502), "a.lan")), AB, None),
    Case(
        "502 of all mirrors, the origin cannot be reached",
        spoiled((faults.status(502), "a.lan", "b.lan"), "blocked"),
        AB,
        None,
    ),
    Case(
        "403 and a page, the origin cannot be reached",
        spoiled((faults.denied(), "a.lan"), (page(1), "b.lan", "manifest"), "blocked"),
        AB,
        None,
        versions=CLASSIC,
    ),
    Case("404 of all", spoiled((faults.status(404),)), AB, None),
    Case("403 of all", spoiled((faults.denied(),)), AB, None),
    Case(
        "429 of the origin",
        spoiled((faults.status(404), "a.lan", "b.lan"), (faults.rate_limited(), HUB)),
        AB,
        None,
    ),
    Case(
        "503 of the origin",
        spoiled((faults.status(404), "a.lan", "b.lan"), (faults.status(503), HUB)),
        AB,
        None,
    ),
    Case("a mirror that refuses connections", files=mirrors("https://dead.lan", B), registry=None),
    Case(
        "a mirror whose name does not exist, the origin cannot be reached",
        blocked,
        mirrors("https://gone.lan"),
        None,
    ),
    Case(
        "404 for the layer, and the next mirror has it",
        spoiled((faults.status(404), "a.lan", "layer")),
        AB,
        None,
    ),
    Case(
        "404 for the config, and the next mirror has it",
        spoiled((faults.status(404), "a.lan", "config")),
        AB,
        None,
    ),
    Case("404 for the layer of all", spoiled((faults.status(404), "layer")), AB, None),
    Case(
        "403 for the layer, the origin cannot be reached",
        spoiled((faults.denied(), "a.lan", "layer"), "blocked"),
        mirrors(A),
        None,
    ),
    Case(
        "one bit of the layer is wrong, the origin cannot be reached",
        spoiled((faults.flipped_bit(), "a.lan", "layer"), "blocked"),
        mirrors(A),
        None,
        versions=STORE,
    ),
    Case("tokens for everybody", with_realm("a.lan"), mirrors(A), None),
    Case("a realm that cannot be reached", spoiled((REALM, "a.lan"), "blocked"), mirrors(A), None),
    Case(
        "a realm of the origin's that cannot be reached",
        spoiled((faults.status(404), "a.lan"), (REALM, HUB)),
        mirrors(A),
        None,
    ),
    Case(
        "a realm of the origin's that says 403",
        with_realm(HUB, spoil=lambda n, i: n.realm.script(faults.status(403))),
        registry=None,
    ),
    Case("a private repository", with_realm(HUB, private=True), registry=None),
    Case("storage behind the mirror", behind_cdn("a.lan"), mirrors(A), None),
    Case(
        "storage that cannot be reached",
        behind_cdn("a.lan", spoil=storage_blocked),
        mirrors(A, B),
        None,
        versions=STORE,
    ),
    Case("a path", blocked, mirrors("https://a.lan/proxy"), None, versions=("28.5", "28.5-store")),
    Case("HTTP", blocked, mirrors("http://plain.lan:5000"), None),
    Case(
        "HTTP, insecure",
        blocked,
        mirrors("https://plain.lan:5000", insecure=("plain.lan:5000",)),
        None,
        versions=CLASSIC,
    ),
    Case("a certificate of an unknown authority", blocked, mirrors("https://unknown.lan"), None),
    Case("an expired certificate", blocked, mirrors("https://expired.lan"), None),
    Case(
        "an insecure registry",
        blocked,
        mirrors("https://unknown.lan", insecure=("unknown.lan",)),
        None,
        versions=CLASSIC,
    ),
    Case(
        "an authority in certs.d",
        blocked,
        {**mirrors("https://unknown.lan"), "certs.d/unknown.lan/own.crt": "STRANGERS"},
        None,
        versions=CLASSIC,
    ),
    Case(
        "404 for the manifest by digest of all",
        spoiled((faults.status(404), "manifest")),
        AB,
        None,
        reference="alpine@DIGEST",
        versions=STORE,
    ),
    Case(
        "403 without words for the layer of all",
        spoiled((faults.page(403), "layer")),
        AB,
        None,
        versions=STORE,
    ),
    Case(
        "a realm that is a page",
        with_realm(HUB, spoil=lambda n, i: n.realm.script(page(9))),
        registry=None,
        versions=STORE,
    ),
    Case("hosts.toml", blocked, certs(A), None),
    Case(
        "hosts.toml above registry-mirrors",
        spoiled((faults.status(502), "b.lan")),
        {**mirrors(A), **certs(B)},
        None,
    ),
    Case(
        "hosts.toml of another registry",
        files=certs(A, registry="registry.lan"),
        registry=None,
        reference="registry.lan/library/alpine:3",
    ),
)


def conf(*mirrors: str, more: str = "", prefix: str = "docker.io") -> dict[str, str]:
    """registries.conf with these mirrors; one with a newline has keys behind it."""
    text = f'unqualified-search-registries = ["docker.io"]\n[[registry]]\nprefix = "{prefix}"\nlocation = "{prefix}"\n{more}'
    for each in mirrors:
        location, _, keys = each.partition("\n")
        text += f'[[registry.mirror]]\nlocation = "{location}"\n{keys}\n'
    return {"registries.conf": text}


TWO = conf("a.lan", "b.lan")
FOUR = ("4.3",)
NAME = "docker.io/library/alpine:3"
PODMAN = (
    Case("two mirrors", nothing, TWO, None, reference=NAME, versions=FOUR),
    Case("two layers", nothing, TWO, None, reference=NAME, versions=FOUR, make=two_layers),
    Case(
        "an index",
        nothing,
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
        make=for_platforms("linux/amd64", "linux/arm64/v8"),
    ),
    Case(
        "an index without this platform",
        nothing,
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
        make=for_platforms("linux/s390x"),
    ),
    Case("by digest", nothing, TWO, None, reference="docker.io/library/alpine@DIGEST", versions=FOUR),
    Case(
        "404 of the first mirror",
        spoiled((faults.status(404), "a.lan")),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "404 of the first mirror for the manifest",
        spoiled((faults.status(404), "a.lan", "manifest")),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case("403 of all", spoiled((faults.denied(),)), TWO, None, reference=NAME, versions=FOUR),
    Case(
        "404 of all for the manifest",
        spoiled((faults.status(404), "manifest")),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "404 for the layer, and nobody else is asked",
        spoiled((faults.status(404), "a.lan", "layer")),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "404 for the config, and nobody else is asked",
        spoiled((faults.status(404), "a.lan", "config")),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case("tokens for everybody", with_realm("a.lan"), TWO, None, reference=NAME, versions=FOUR),
    Case(
        "a realm that says 403, and the next mirror",
        with_realm("a.lan", spoil=lambda n, i: n.realm.script(faults.status(403))),
        TWO,
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "a mirror that refuses connections",
        nothing,
        conf("dead.lan", "b.lan"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "an expired certificate", nothing, conf("expired.lan", "b.lan"), None, reference=NAME, versions=FOUR
    ),
    Case(
        "HTTP, insecure",
        blocked,
        conf("plain.lan:5000\ninsecure = true"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "HTTP that is not insecure",
        nothing,
        conf("plain.lan:5000", "b.lan"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "a certificate that is not verified",
        blocked,
        conf("unknown.lan\ninsecure = true"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "a path",
        spoiled((faults.status(404), "b.lan")),
        conf("a.lan/proxy", "b.lan"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "only for digests",
        nothing,
        conf('a.lan\npull-from-mirror = "digest-only"', "b.lan"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "of another registry",
        nothing,
        conf("a.lan", prefix="registry.lan"),
        None,
        reference="registry.lan/library/alpine:3",
        versions=FOUR,
    ),
    Case(
        "a prefix with a path",
        nothing,
        conf("a.lan/library", prefix="docker.io/library"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "another location",
        nothing,
        {"registries.conf": '[[registry]]\nprefix = "docker.io"\nlocation = "b.lan"\n'},
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case("blocked", nothing, conf("a.lan", more="blocked = true\n"), None, reference=NAME, versions=FOUR),
    Case(
        "blocked, and the mirror fails",
        spoiled((faults.status(404), "a.lan")),
        conf("a.lan", more="blocked = true\n"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case(
        "blocked without a mirror",
        nothing,
        conf(more="blocked = true\n"),
        None,
        reference=NAME,
        versions=FOUR,
    ),
    Case("storage behind the mirror", behind_cdn("a.lan"), TWO, None, reference=NAME, versions=FOUR),
)
