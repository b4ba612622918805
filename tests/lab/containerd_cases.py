"""What containerd asks and says of hosts that fail, of content, and of logins.

Recorded of 1.6, 1.7 and 2.1 in tests/golden/chain/containerd.txt.
"""

from __future__ import annotations

from lab.case import (
    AB,
    BLOCKED,
    A,
    B,
    Case,
    at,
    behind_storage,
    certs,
    docker_types,
    for_platforms,
    longer,
    page,
    spoiled,
    two_layers,
    with_realm,
)
from lab.network import HUB
from sampan.testing import faults

ASKED = (
    # -- nothing is configured, or one mirror, and who is asked next ---------------------------------
    Case("no configuration", registry=None),
    Case("no configuration, the origin refuses connections", BLOCKED, registry=None),
    Case("a mirror", files=certs(A)),
    Case("a mirror, the origin cannot be reached", BLOCKED, certs(A)),
    Case("two layers", files=certs(A), make=two_layers),
    Case("docker media types", files=certs(A), make=docker_types),
    Case("an index", files=certs(A), make=for_platforms("linux/amd64", "linux/arm64/v8")),
    Case("an index without this platform", files=certs(A), make=for_platforms("linux/s390x")),
    Case("by digest", files=certs(A), reference="alpine@DIGEST"),
    Case("by tag and digest", files=certs(A), reference="alpine:3@DIGEST"),
    Case("by a digest that nobody has", files=certs(A), reference=f"alpine@sha256:{'0' * 63}1"),
    Case(
        "of another registry",
        files=certs(A, registry="registry.lan"),
        reference="registry.lan/library/alpine:3",
    ),
    # -- a host that fails --------------------------------------------------------------------------
    Case("502 of the first host", spoiled(at(faults.status(502), "a.lan")), AB),
    Case(
        "502 of the mirror, the origin cannot be reached",
        spoiled(at(faults.status(502), "a.lan"), block=HUB),
        certs(A),
    ),
    Case(
        "404 of the mirror, the origin cannot be reached",
        spoiled(at(faults.status(404), "a.lan"), block=HUB),
        certs(A),
    ),
    Case(
        "403 of the mirror, the origin cannot be reached",
        spoiled(at(faults.denied(), "a.lan"), block=HUB),
        certs(A),
    ),
    Case(
        "404 of the mirror, 403 of the origin",
        spoiled(at(faults.status(404), "a.lan"), at(faults.denied(), HUB)),
        certs(A),
    ),
    Case("404 of all", spoiled(at(faults.status(404))), AB),
    Case("500 of all", spoiled(at(faults.status(500))), AB),
    Case("503 of all", spoiled(at(faults.status(503))), AB),
    Case("429 of all", spoiled(at(faults.rate_limited())), AB),
    Case("429 of the first host", spoiled(at(faults.rate_limited("60"), "a.lan")), AB),
    Case("408 of the first host", spoiled(at(faults.status(408), "a.lan")), AB),
    Case("418 of the first host", spoiled(at(faults.status(418), "a.lan")), AB),
    Case("405 to HEAD", spoiled(at(faults.status(405), "a.lan", part="head")), AB),
    Case("no digest in the answer", spoiled(at(faults.no_header("Docker-Content-Digest"), "a.lan")), AB),
    Case("no digest, and then 502", spoiled(at(faults.status(502), "a.lan", part="manifest")), AB),
    Case(
        "a digest that is none",
        spoiled(at(faults.header("Docker-Content-Digest", "sha256:beef"), "a.lan")),
        AB,
    ),
    Case("a digest that is another's", spoiled(at(faults.lying_digest(), "a.lan")), AB),
    Case(
        "no length in the answer", spoiled(at(faults.no_header("Content-Length"), "a.lan", part="head")), AB
    ),
    Case("304 to the first question", spoiled(at(faults.status(304), "a.lan")), AB),
    Case("connections are refused", files=certs("https://dead.lan", B)),
    Case("connections are refused by all", BLOCKED, certs("https://dead.lan")),
    Case("a name that does not exist", BLOCKED, certs("https://gone.lan")),
    Case("connections are reset", BLOCKED, certs("https://reset.lan")),
    Case("the answer is a hang-up", spoiled(at(faults.hang_up(), "a.lan"), block=HUB), certs(A)),
    Case("the answer is a reset", spoiled(at(faults.reset_before_answer(), "a.lan"), block=HUB), certs(A)),
    # -- content ------------------------------------------------------------------------------------
    Case(
        "502 for the layer, and the next host has it",
        spoiled(at(faults.status(502), "a.lan", part="layer")),
        AB,
    ),
    Case(
        "502 for the layer, the origin cannot be reached",
        spoiled(at(faults.status(502), "a.lan", part="layer"), block=HUB),
        certs(A),
    ),
    Case(
        "403 for the layer by its list, 404 of the origin",
        spoiled(at(faults.denied(), "a.lan", part="layer"), at(faults.status(404), HUB, part="layer")),
        certs(A),
    ),
    Case("404 for the layer of all", spoiled(at(faults.status(404), part="layer")), AB),
    Case("404 for the config of all", spoiled(at(faults.status(404), part="config")), AB),
    Case(
        "404 for the layer, then refused",
        spoiled(at(faults.status(404), "a.lan", part="layer"), block=HUB),
        certs(A),
    ),
    Case("429 for the layer", spoiled(at(faults.rate_limited(), "a.lan", part="layer")), AB),
    Case("503 for the layer of all", spoiled(at(faults.status(503), part="layer")), AB),
    Case("an error that is a page", spoiled(at(faults.page(503), part="layer")), AB),
    Case("a page with 200 for everything", spoiled(at(page(1), "a.lan")), AB),
    Case("a page with 200 for manifests", spoiled(at(page(2), "a.lan", part="manifest")), AB),
    Case("a page with 200 for the layer", spoiled(at(page(3), "a.lan", part="layer")), AB),
    Case("one bit of the layer is wrong", spoiled(at(faults.flipped_bit(), "a.lan", part="layer")), AB),
    Case(
        "the layer is short, and its length says so",
        spoiled(at(faults.short_by(10), "a.lan", part="layer")),
        AB,
    ),
    Case(
        "the layer is long, and its length says so",
        spoiled(at(longer(), "a.lan", part="layer")),
        AB,
    ),
    Case("the layer is cut", spoiled(at(faults.truncated(9000), "a.lan", part="layer")), AB),
    Case(
        "the layer is cut, and there is nobody else",
        spoiled(at(faults.truncated(9000), "a.lan", part="layer"), block=HUB),
        certs(A),
    ),
    Case(
        "the layer is cut once",
        spoiled(at(faults.truncated(9000), "a.lan", part="layer", times=1)),
        AB,
    ),
    Case("the layer is reset", spoiled(at(faults.resets(9000), "a.lan", part="layer")), AB),
    Case("the layer comes without its body", spoiled(at(faults.empty(), "a.lan", part="layer")), AB),
    Case("storage behind the mirror", behind_storage("a.lan"), certs(A)),
    Case("storage that cannot be reached", behind_storage("a.lan", block="cdn.lan"), certs(A)),
    Case(
        "storage that refuses",
        behind_storage("a.lan", says=faults.status(403)),
        certs(A),
    ),
    # -- login --------------------------------------------------------------------------------------
    Case("tokens for everybody", with_realm("a.lan"), certs(A)),
    Case(
        "a realm that cannot be reached",
        spoiled(at(faults.bearer_at("https://dead.lan/token"), "a.lan"), block=HUB),
        certs(A),
    ),
    Case(
        "a realm that cannot be reached, and the next host",
        spoiled(at(faults.bearer_at("https://dead.lan/token"), "a.lan")),
        AB,
    ),
    Case(
        "a realm that says 403",
        with_realm("a.lan", says=faults.status(403), block=HUB),
        certs(A),
    ),
    Case(
        "a realm that says 429",
        with_realm("a.lan", says=faults.rate_limited(), block=HUB),
        certs(A),
    ),
    Case(
        "a realm that is a page",
        with_realm("a.lan", says=page(4), block=HUB),
        certs(A),
    ),
    Case(
        "a realm without a token",
        with_realm("a.lan", says=faults.json_fields(token=None, access_token=None), block=HUB),
        certs(A),
    ),
    Case("a private repository", with_realm("a.lan", private=True, block=HUB), certs(A)),
    Case(
        "tokens that never do",
        spoiled(at(faults.bearer_at("https://auth.lan/token"), "a.lan"), block=HUB),
        certs(A),
    ),
    Case(
        "a password is wanted",
        spoiled(at(faults.unauthorized('Basic realm="x"'), "a.lan"), block=HUB),
        certs(A),
    ),
    Case("401 without a challenge", spoiled(at(faults.status(401), "a.lan"), block=HUB), certs(A)),
)
