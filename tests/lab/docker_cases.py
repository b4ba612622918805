"""What Docker asks and says: 20.10 and 28.5 with the classic store, 28.5 with containerd's.

Recorded in tests/golden/chain/docker.txt.
"""

from __future__ import annotations

from lab.case import (
    BLOCKED,
    A,
    B,
    Case,
    at,
    behind_storage,
    certs,
    daemon_json,
    for_platforms,
    nothing,
    page,
    spoiled,
    two_layers,
    with_realm,
)
from lab.network import HUB
from sampan.testing import faults

CLASSIC, STORE = ("20.10", "28.5"), ("28.5-store",)
REALM = faults.bearer_at("https://dead.lan/token")
MIRRORS = daemon_json(A, B)
MIRRORED = daemon_json("https://a.lan")

DOCKER = (
    Case("no mirrors", registry=None),
    Case("two mirrors", files=MIRRORS, registry=None),
    Case("two layers", files=MIRRORS, registry=None, make=two_layers),
    Case("an index", files=MIRRORS, registry=None, make=for_platforms("linux/amd64", "linux/arm64/v8")),
    Case("an index without this platform", files=MIRRORS, registry=None, make=for_platforms("linux/s390x")),
    Case("by digest", files=MIRRORS, registry=None, reference="alpine@DIGEST"),
    Case("of another registry", files=MIRRORS, registry=None, reference="registry.lan/library/alpine:3"),
    Case(
        "of another registry that refuses connections",
        spoiled(block="registry.lan"),
        MIRRORS,
        None,
        reference="registry.lan/library/alpine:3",
    ),
    Case("502 of the first mirror", spoiled(at(faults.status(502), "a.lan")), MIRRORS, None),
    Case(
        "502 of all mirrors, the origin cannot be reached",
        spoiled(at(faults.status(502), "a.lan", "b.lan"), block=HUB),
        MIRRORS,
        None,
    ),
    Case(
        "403 and a page, the origin cannot be reached",
        spoiled(at(faults.denied(), "a.lan"), at(page(1), "b.lan", part="manifest"), block=HUB),
        MIRRORS,
        None,
        versions=CLASSIC,
    ),
    Case("404 of all", spoiled(at(faults.status(404))), MIRRORS, None),
    Case("403 of all", spoiled(at(faults.denied())), MIRRORS, None),
    Case(
        "429 of the origin",
        spoiled(at(faults.status(404), "a.lan", "b.lan"), at(faults.rate_limited(), HUB)),
        MIRRORS,
        None,
    ),
    Case(
        "503 of the origin",
        spoiled(at(faults.status(404), "a.lan", "b.lan"), at(faults.status(503), HUB)),
        MIRRORS,
        None,
    ),
    Case("a mirror that refuses connections", files=daemon_json("https://dead.lan", B), registry=None),
    Case(
        "a mirror whose name does not exist, the origin cannot be reached",
        BLOCKED,
        daemon_json("https://gone.lan"),
        None,
    ),
    Case(
        "404 for the layer, and the next mirror has it",
        spoiled(at(faults.status(404), "a.lan", part="layer")),
        MIRRORS,
        None,
    ),
    Case(
        "404 for the config, and the next mirror has it",
        spoiled(at(faults.status(404), "a.lan", part="config")),
        MIRRORS,
        None,
    ),
    Case("404 for the layer of all", spoiled(at(faults.status(404), part="layer")), MIRRORS, None),
    Case(
        "403 for the layer, the origin cannot be reached",
        spoiled(at(faults.denied(), "a.lan", part="layer"), block=HUB),
        daemon_json(A),
        None,
    ),
    Case(
        "one bit of the layer is wrong, the origin cannot be reached",
        spoiled(at(faults.flipped_bit(), "a.lan", part="layer"), block=HUB),
        daemon_json(A),
        None,
        versions=STORE,
    ),
    Case("tokens for everybody", with_realm("a.lan"), daemon_json(A), None),
    Case("a realm that cannot be reached", spoiled(at(REALM, "a.lan"), block=HUB), daemon_json(A), None),
    Case(
        "a realm of the origin's that cannot be reached",
        spoiled(at(faults.status(404), "a.lan"), at(REALM, HUB)),
        daemon_json(A),
        None,
    ),
    Case(
        "a realm of the origin's that says 403",
        with_realm(HUB, says=faults.status(403)),
        registry=None,
    ),
    Case("a private repository", with_realm(HUB, private=True), registry=None),
    Case("storage behind the mirror", behind_storage("a.lan"), daemon_json(A), None),
    Case(
        "storage that cannot be reached",
        behind_storage("a.lan", block="cdn.lan"),
        daemon_json(A, B),
        None,
        versions=STORE,
    ),
    Case("a path", BLOCKED, daemon_json("https://a.lan/proxy"), None, versions=("28.5", "28.5-store")),
    Case("HTTP", BLOCKED, daemon_json("http://plain.lan:5000"), None),
    Case(
        "HTTP, insecure",
        BLOCKED,
        daemon_json("https://plain.lan:5000", insecure=("plain.lan:5000",)),
        None,
        versions=CLASSIC,
    ),
    Case("a certificate of an unknown authority", BLOCKED, daemon_json("https://unknown.lan"), None),
    Case("an expired certificate", BLOCKED, daemon_json("https://expired.lan"), None),
    Case(
        "an insecure registry",
        BLOCKED,
        daemon_json("https://unknown.lan", insecure=("unknown.lan",)),
        None,
        versions=CLASSIC,
    ),
    Case(
        "a client's certificate without a key",
        BLOCKED,
        {**MIRRORED, "certs.d/a.lan/own.cert": "STRANGERS"},
        None,
    ),
    Case(
        "a client's key without a certificate", BLOCKED, {**MIRRORED, "certs.d/a.lan/own.key": "none"}, None
    ),
    Case(
        "a client's pair that is none",
        BLOCKED,
        {**MIRRORED, "certs.d/a.lan/own.cert": "STRANGERS", "certs.d/a.lan/own.key": "STRANGERS"},
        None,
    ),
    Case("an authority's file that is none", BLOCKED, {**MIRRORED, "certs.d/a.lan/own.crt": "none\n"}, None),
    Case("a client's certificate of Docker Hub", nothing, {"certs.d/docker.io/own.cert": "STRANGERS"}, None),
    Case(
        "a client's certificate of Docker Hub's host",
        nothing,
        {"certs.d/registry-1.docker.io/own.cert": "STRANGERS"},
        None,
    ),
    Case(
        "a client's certificate of another registry",
        nothing,
        {"certs.d/a.lan/own.cert": "STRANGERS"},
        None,
        reference="a.lan/library/alpine:3",
    ),
    Case(
        "an authority of Docker Hub, with a mirror",
        BLOCKED,
        {**daemon_json("https://unknown.lan"), "certs.d/docker.io/own.crt": "STRANGERS"},
        None,
    ),
    Case(
        "an authority of another registry",
        nothing,
        {"certs.d/unknown.lan/own.crt": "STRANGERS"},
        None,
        reference="unknown.lan/library/alpine:3",
    ),
    Case(
        "an authority in certs.d",
        BLOCKED,
        {**daemon_json("https://unknown.lan"), "certs.d/unknown.lan/own.crt": "STRANGERS"},
        None,
    ),
    Case(
        "404 for the manifest by digest of all",
        spoiled(at(faults.status(404), part="manifest")),
        MIRRORS,
        None,
        reference="alpine@DIGEST",
        versions=STORE,
    ),
    Case(
        "403 without words for the layer of all",
        spoiled(at(faults.page(403), part="layer")),
        MIRRORS,
        None,
        versions=STORE,
    ),
    Case(
        "a realm that is a page",
        with_realm(HUB, says=page(9)),
        registry=None,
        versions=STORE,
    ),
    Case("hosts.toml", BLOCKED, certs(A), None),
    Case(
        "hosts.toml above registry-mirrors",
        spoiled(at(faults.status(502), "b.lan")),
        {**daemon_json(A), **certs(B)},
        None,
    ),
    Case(
        "hosts.toml of another registry",
        files=certs(A, registry="registry.lan"),
        registry=None,
        reference="registry.lan/library/alpine:3",
    ),
)
