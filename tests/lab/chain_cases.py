"""The configurations whose pulls are recorded: what stands in the files, and who answers how.

Each is laid before containerd 1.6, 1.7 and 2.1; the golden file tests/golden/chain/containerd.toml has what
each asked and said, and what sampan foretells must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.network import HUB, Network
from sampan.testing import Body, Fault, Match, Reply, Request, faults
from sampan.testing.images import Image, image, index, random_layer

OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
CERTS = "/etc/containerd/certs.d"
VERSIONS = ("1.6", "1.7", "2.1")
LAYER_BYTES = 20_000
TWO = ("2.1",)
ONE = ("1.6", "1.7")
Spoil = Callable[[Network, Image], None]
BLOB, LAYER = Match(kind="blob"), "layer"


def nothing(network: Network, image: Image) -> None:
    """All is well."""


@dataclass(frozen=True)
class Case:
    """``config``: config.toml by version, or what the CRI's table of registries is; ``files``: more files
    below /etc/containerd."""

    name: str
    spoil: Spoil = nothing
    files: Mapping[str, str] = field(default_factory=dict)
    registry: str | None = f'config_path = "{CERTS}"'
    config: str | None = None
    reference: str = "alpine:3"
    versions: tuple[str, ...] = VERSIONS
    make: Callable[[int], Image] = lambda seed: one_layer(seed)
    cri: bool = True  # it loads

    def text(self, version: str) -> str | None:
        """config.toml for ``version``."""
        if self.config is not None:
            return self.config
        if self.registry is None:
            return None
        number, plugin = (3, NEW) if version.startswith("2") else (2, OLD)
        return f'version = {number}\n[plugins."{plugin}".registry]\n{self.registry}\n'.replace(
            "PLUGIN", plugin
        )

    def laid(self, version: str) -> dict[str, str]:
        """All files, below /etc/containerd."""
        text = self.text(version)
        return {**({} if text is None else {"config.toml": text}), **self.files}


def one_layer(seed: int) -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed, LAYER_BYTES)], seed=seed)


def two_layers(seed: int) -> Image:
    layers = [random_layer(seed, LAYER_BYTES), random_layer(seed + 5000, LAYER_BYTES)]
    return image("library/alpine", "3", layers=layers, seed=seed)


def for_platforms(*platforms: str) -> Callable[[int], Image]:
    def make(seed: int) -> Image:
        children = [
            image("library/alpine", seed=seed + n * 1000, platform=platform)
            for n, platform in enumerate(platforms)
        ]
        return index("library/alpine", "3", children)

    return make


def docker_types(seed: int) -> Image:
    return image("library/alpine", "3", layers=[random_layer(seed, LAYER_BYTES)], seed=seed, docker=True)


def certs(
    *urls: str, registry: str = "docker.io", server: str | None = None, root: str = "certs.d"
) -> dict[str, str]:
    """A hosts.toml with a table for each of ``urls``; one with a newline is a table's header and its keys."""
    lines = [] if server is None else [f'server = "{server}"']
    for url in urls:
        name, _, keys = url.partition("\n")
        lines += [f'[host."{name}"]', *([keys] if keys else [])]
    return {f"{root}/{registry}/hosts.toml": "\n".join([*lines, ""])}


def mirrors(key: str, *endpoints: str) -> str:
    named = ", ".join(f'"{each}"' for each in endpoints)
    return f'[plugins."PLUGIN".registry.mirrors."{key}"]\n  endpoint = [{named}]'


A, B = "https://a.lan", "https://b.lan"
AB = certs(A, B)


def on_layer(found: Image) -> Match:
    return Match(digest=found.layers[0].digest)


def on_config(found: Image) -> Match:
    assert found.config is not None
    return Match(digest=found.config.digest)


def blocked(network: Network, _: Image) -> None:
    network.block()


def spoiled(*steps: object) -> Spoil:
    """Steps: ``(fault, names…)``; a last word ``blob``, ``layer``, ``config``, ``head`` or ``manifest`` says
    of which requests; ``"blocked"``: the origin cannot be reached."""

    def spoil(network: Network, found: Image) -> None:
        on = {"blob": BLOB, "head": Match(kind="manifest", method="HEAD"), "manifest": Match(kind="manifest")}
        on |= {"layer": on_layer(found), "config": on_config(found) if found.config else Match()}
        for step in steps:
            if step == "blocked":
                network.block()
                continue
            fault, *names = step
            where = on[names.pop()] if names and names[-1] in on else None
            network.spoil(fault, *names, on=where)

    return spoil


def storage_blocked(network: Network, _: Image) -> None:
    network.block("cdn.lan")


def with_realm(*names: str, private: bool = False, spoil: Spoil = nothing) -> Spoil:
    def apply(network: Network, found: Image) -> None:
        network.realm.private = frozenset({"library/alpine"} if private else ())
        for name in names:
            network[name].auth = network.realm
        spoil(network, found)

    return apply


def behind_cdn(*names: str, spoil: Spoil = nothing) -> Spoil:
    def apply(network: Network, found: Image) -> None:
        for name in names:
            network[name].cdn = network.cdn
        spoil(network, found)

    return apply


def legacy(*endpoints: str, key: str = "docker.io", more: str = "") -> str:
    named = ", ".join(f'"{each}"' for each in endpoints)
    return f'  [plugins."PLUGIN".registry.mirrors."{key}"]\n    endpoint = [{named}]\n{more}'


def longer() -> Fault:
    def change(request: Request, right: Reply) -> Reply:
        return right.with_body(right.body + Body.of(b"x" * 10))

    return Fault("longer", change)


def page(number: int) -> Fault:
    """A page of its own: what is in the store already is not asked for again."""
    return faults.page(data=f"<!DOCTYPE html><html><body>Page {number}</body></html>\n".encode())


CASES = (
    # -- nothing is configured, or one mirror, and who is asked next ---------------------------------
    Case("no configuration", registry=None),
    Case("no configuration, the origin refuses connections", blocked, registry=None),
    Case("a mirror", files=certs(A)),
    Case("a mirror, the origin cannot be reached", blocked, certs(A)),
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
    Case("502 of the first host", spoiled((faults.status(502), "a.lan")), AB),
    Case(
        "502 of the mirror, the origin cannot be reached",
        spoiled((faults.status(502), "a.lan"), "blocked"),
        certs(A),
    ),
    Case(
        "404 of the mirror, the origin cannot be reached",
        spoiled((faults.status(404), "a.lan"), "blocked"),
        certs(A),
    ),
    Case(
        "403 of the mirror, the origin cannot be reached",
        spoiled((faults.denied(), "a.lan"), "blocked"),
        certs(A),
    ),
    Case(
        "404 of the mirror, 403 of the origin",
        spoiled((faults.status(404), "a.lan"), (faults.denied(), HUB)),
        certs(A),
    ),
    Case("404 of all", spoiled((faults.status(404),)), AB),
    Case("500 of all", spoiled((faults.status(500),)), AB),
    Case("503 of all", spoiled((faults.status(503),)), AB),
    Case("429 of all", spoiled((faults.rate_limited(),)), AB),
    Case("429 of the first host", spoiled((faults.rate_limited("60"), "a.lan")), AB),
    Case("408 of the first host", spoiled((faults.status(408), "a.lan")), AB),
    Case("418 of the first host", spoiled((faults.status(418), "a.lan")), AB),
    Case("405 to HEAD", spoiled((faults.status(405), "a.lan", "head")), AB),
    Case("no digest in the answer", spoiled((faults.no_header("Docker-Content-Digest"), "a.lan")), AB),
    Case("no digest, and then 502", spoiled((faults.status(502), "a.lan", "manifest")), AB),
    Case(
        "a digest that is none", spoiled((faults.header("Docker-Content-Digest", "sha256:beef"), "a.lan")), AB
    ),
    Case("a digest that is another's", spoiled((faults.lying_digest(), "a.lan")), AB),
    Case("no length in the answer", spoiled((faults.no_header("Content-Length"), "a.lan", "head")), AB),
    Case("304 to the first question", spoiled((faults.status(304), "a.lan")), AB),
    Case("connections are refused", files=certs("https://dead.lan", B)),
    Case("connections are refused by all", blocked, certs("https://dead.lan")),
    Case("a name that does not exist", blocked, certs("https://gone.lan")),
    Case("connections are reset", blocked, certs("https://reset.lan")),
    Case("the answer is a hang-up", spoiled((faults.hang_up(), "a.lan"), "blocked"), certs(A)),
    Case("the answer is a reset", spoiled((faults.reset_before_answer(), "a.lan"), "blocked"), certs(A)),
    # -- content ------------------------------------------------------------------------------------
    Case("502 for the layer, and the next host has it", spoiled((faults.status(502), "a.lan", "layer")), AB),
    Case(
        "502 for the layer, the origin cannot be reached",
        spoiled((faults.status(502), "a.lan", "layer"), "blocked"),
        certs(A),
    ),
    Case(
        "403 for the layer by its list, 404 of the origin",
        spoiled((faults.denied(), "a.lan", "layer"), (faults.status(404), HUB, "layer")),
        certs(A),
    ),
    Case("404 for the layer of all", spoiled((faults.status(404), "layer")), AB),
    Case("404 for the config of all", spoiled((faults.status(404), "config")), AB),
    Case(
        "404 for the layer, then refused",
        spoiled((faults.status(404), "a.lan", "layer"), "blocked"),
        certs(A),
    ),
    Case("429 for the layer", spoiled((faults.rate_limited(), "a.lan", "layer")), AB),
    Case("503 for the layer of all", spoiled((faults.status(503), "layer")), AB),
    Case("an error that is a page", spoiled((faults.page(503), "layer")), AB),
    Case("a page with 200 for everything", spoiled((page(1), "a.lan")), AB),
    Case("a page with 200 for manifests", spoiled((page(2), "a.lan", "manifest")), AB),
    Case("a page with 200 for the layer", spoiled((page(3), "a.lan", "layer")), AB),
    Case("one bit of the layer is wrong", spoiled((faults.flipped_bit(), "a.lan", "layer")), AB),
    Case("the layer is short, and its length says so", spoiled((faults.short_by(10), "a.lan", "layer")), AB),
    Case(
        "the layer is long, and its length says so",
        lambda n, i: n["a.lan"].script(longer(), on=on_layer(i)),
        AB,
    ),
    Case("the layer is cut", spoiled((faults.truncated(9000), "a.lan", "layer")), AB),
    Case(
        "the layer is cut, and there is nobody else",
        spoiled((faults.truncated(9000), "a.lan", "layer"), "blocked"),
        certs(A),
    ),
    Case(
        "the layer is cut once",
        lambda n, i: n["a.lan"].script(faults.truncated(9000), on=on_layer(i), times=1),
        AB,
    ),
    Case("the layer is reset", spoiled((faults.resets(9000), "a.lan", "layer")), AB),
    Case("the layer comes without its body", spoiled((faults.empty(), "a.lan", "layer")), AB),
    Case("storage behind the mirror", behind_cdn("a.lan"), certs(A)),
    Case("storage that cannot be reached", behind_cdn("a.lan", spoil=storage_blocked), certs(A)),
    Case(
        "storage that refuses",
        behind_cdn("a.lan", spoil=lambda n, i: n.cdn.script(faults.status(403))),
        certs(A),
    ),
    # -- login --------------------------------------------------------------------------------------
    Case("tokens for everybody", with_realm("a.lan"), certs(A)),
    Case(
        "a realm that cannot be reached",
        spoiled((faults.bearer_at("https://dead.lan/token"), "a.lan"), "blocked"),
        certs(A),
    ),
    Case(
        "a realm that cannot be reached, and the next host",
        spoiled((faults.bearer_at("https://dead.lan/token"), "a.lan")),
        AB,
    ),
    Case(
        "a realm that says 403",
        with_realm("a.lan", spoil=lambda n, i: (n.realm.script(faults.status(403)), n.block())),
        certs(A),
    ),
    Case(
        "a realm that says 429",
        with_realm("a.lan", spoil=lambda n, i: (n.realm.script(faults.rate_limited()), n.block())),
        certs(A),
    ),
    Case(
        "a realm that is a page",
        with_realm("a.lan", spoil=lambda n, i: (n.realm.script(page(4)), n.block())),
        certs(A),
    ),
    Case(
        "a realm without a token",
        with_realm(
            "a.lan",
            spoil=lambda n, i: (n.realm.script(faults.json_fields(token=None, access_token=None)), n.block()),
        ),
        certs(A),
    ),
    Case("a private repository", with_realm("a.lan", private=True, spoil=blocked), certs(A)),
    Case(
        "tokens that never do",
        spoiled((faults.bearer_at("https://auth.lan/token"), "a.lan"), "blocked"),
        certs(A),
    ),
    Case(
        "a password is wanted",
        spoiled((faults.unauthorized('Basic realm="x"'), "a.lan"), "blocked"),
        certs(A),
    ),
    Case("401 without a challenge", spoiled((faults.status(401), "a.lan"), "blocked"), certs(A)),
    # -- hosts.toml ---------------------------------------------------------------------------------
    Case("a slash at the end", files=certs("https://a.lan/")),
    Case("v2 in the URL", files=certs("https://a.lan/v2")),
    Case("a path", blocked, certs("https://a.lan/proxy")),
    Case("a path below v2", blocked, certs("https://a.lan/v2/proxy")),
    Case(
        "a path below v2 that is overridden", blocked, certs("https://a.lan/v2/proxy\noverride_path = true")
    ),
    Case("an overridden path without v2", blocked, certs("https://a.lan/proxy/\noverride_path = true")),
    Case("another server", blocked, certs(A, server="https://b.lan")),
    Case("a server without a scheme", spoiled((faults.status(502), "a.lan")), certs(A, server="b.lan")),
    Case(
        "the server is a web site",
        spoiled((faults.status(502), "a.lan"), (page(5), "docker.io")),
        certs(A, server="https://docker.io"),
    ),
    Case("a syntax error", files={"certs.d/docker.io/hosts.toml": '[host."https://a.lan"\n'}),
    Case("an empty file", files={"certs.d/docker.io/hosts.toml": ""}),
    Case("an unknown capability", files=certs('https://a.lan\ncapabilities = ["pull", "resolve", "share"]')),
    Case("a mirror that may only pull", files=certs('https://a.lan\ncapabilities = ["pull"]')),
    Case(
        "a mirror that may only pull, the origin cannot be reached",
        blocked,
        certs('https://a.lan\ncapabilities = ["pull"]'),
    ),
    Case("a mirror that may only resolve", files=certs('https://a.lan\ncapabilities = ["resolve"]')),
    Case(
        "nobody may resolve",
        files={
            "certs.d/docker.io/hosts.toml": 'server = "https://b.lan"\ncapabilities = ["pull"]\n[host."https://a.lan"]\ncapabilities = ["pull"]\n'
        },
    ),
    Case(
        "dotted keys",
        files={"certs.d/docker.io/hosts.toml": 'host."https://a.lan".capabilities = ["pull", "resolve"]\n'},
    ),
    Case("the server alone", files=certs(server="https://a.lan")),
    Case(
        "keys of the server",
        blocked,
        {
            "certs.d/docker.io/hosts.toml": 'server = "https://unknown.lan"\nskip_verify = true\n[host."https://dead.lan"]\n'
        },
    ),
    Case("the directory of the origin's host", files=certs(A, registry=HUB)),
    Case(
        "an empty directory hides _default", files={"certs.d/docker.io/": "", **certs(A, registry="_default")}
    ),
    Case("_default", files=certs(A, registry="_default")),
    Case(
        "a port in the name",
        files=certs(A, registry="registry.lan:5000"),
        reference="registry.lan:5000/library/alpine:3",
    ),
    Case(
        "a port between underscores",
        files=certs(A, registry="registry.lan_5000_"),
        reference="registry.lan:5000/library/alpine:3",
    ),
    Case("HTTP", files=certs("http://plain.lan:5000")),
    Case("HTTP with keys of TLS", files=certs("http://plain.lan:5000\nskip_verify = true")),
    Case("HTTPS that is HTTP", blocked, certs("https://plain.lan")),
    Case("an expired certificate", blocked, certs("https://expired.lan")),
    Case("a certificate of another name", blocked, certs("https://foreign.lan")),
    Case("a certificate of an unknown authority", blocked, certs("https://unknown.lan")),
    Case(
        "an unknown authority that is named",
        blocked,
        {**certs('https://unknown.lan\nca = "own.pem"'), "certs.d/docker.io/own.pem": "STRANGERS"},
    ),
    Case("an authority's file that is not there", files=certs('https://unknown.lan\nca = "own.pem"')),
    Case(
        "an authority's file that is none",
        files={**certs('https://unknown.lan\nca = "own.pem"'), "certs.d/docker.io/own.pem": "none\n"},
    ),
    Case("no verification", blocked, certs("https://foreign.lan\nskip_verify = true")),
    Case(
        "certificates beside it",
        blocked,
        {"certs.d/unknown.lan/own.crt": "STRANGERS"},
        reference="unknown.lan/library/alpine:3",
    ),
    Case("a directory that is not there", files={}, registry='config_path = "/etc/containerd/none.d"'),
    # -- config.toml --------------------------------------------------------------------------------
    Case("a list of directories", files=certs(A), registry=f'config_path = "{CERTS}:/etc/docker/certs.d"'),
    Case(
        "a list of directories, pulled by the CRI itself",
        files=certs(A, root="more.d"),
        config=f'version = 3\n[plugins."{NEW}"]\nuse_local_image_pull = true\n[plugins."{NEW}".registry]\nconfig_path = "{CERTS}:/etc/containerd/more.d"\n',
        versions=TWO,
    ),
    Case(
        "pulled by the CRI itself, the mirror says 403",
        spoiled((faults.denied(), "a.lan"), "blocked"),
        certs(A),
        config=f'version = 3\n[plugins."{NEW}"]\nuse_local_image_pull = true\n[plugins."{NEW}".registry]\nconfig_path = "{CERTS}"\n',
        versions=TWO,
    ),
    Case("mirrors of the old form", spoiled((faults.status(502), "a.lan")), registry=legacy(A, B)),
    Case(
        "mirrors of the old form, all fail",
        spoiled((faults.status(502), "a.lan"), (faults.status(404), "b.lan"), "blocked"),
        registry=legacy(A, B),
    ),
    Case("a key with a path", registry=legacy("https://a.lan/library", key="docker.io/library")),
    Case(
        "the origin story",
        spoiled((faults.status(502), "a.lan", "layer"), "blocked"),
        registry=legacy(A) + legacy("https://a.lan/library", key="docker.io/library"),
    ),
    Case("a slash at the end, in the old form", blocked, registry=legacy("https://a.lan/")),
    Case("a path, in the old form", blocked, registry=legacy("https://a.lan/v2/proxy")),
    Case("a star", registry=legacy(A, key="*")),
    Case("an endpoint without a scheme", registry=legacy("a.lan")),
    Case(
        "the registry itself among its mirrors",
        registry=legacy("https://registry.lan", A, key="registry.lan"),
        reference="registry.lan/library/alpine:3",
    ),
    Case(
        "a password in config.toml",
        lambda n, i: n["a.lan"].script(
            faults.unauthorized('Basic realm="x"'),
            on=Match(when=lambda r: r.headers.get("authorization") != "Basic cm9ib3Q6aHVudGVyMg=="),
        ),
        registry=legacy(
            A,
            more='  [plugins."PLUGIN".registry.configs."a.lan".auth]\n    username = "robot"\n    password = "hunter2"\n',
        ),
    ),
    Case(
        "a password for tokens",
        with_realm("a.lan", private=True, spoil=lambda n, i: n.realm.users.update(robot="hunter2")),
        registry=legacy(
            A,
            more='  [plugins."PLUGIN".registry.configs."a.lan".auth]\n    username = "robot"\n    password = "hunter2"\n',
        ),
    ),
    Case("mirrors and config_path", registry=f'config_path = "{CERTS}"\n{legacy(A)}', cri=False),
    Case("the CRI is disabled", config=f'version = 2\ndisabled_plugins = ["{OLD}"]\n', cri=False),
    Case("no version", files=certs(A), config=f'[plugins."{OLD}".registry]\nconfig_path = "{CERTS}"\n'),
    Case(
        "format 2",
        files=certs(A),
        config=f'version = 2\n[plugins."{OLD}".registry]\nconfig_path = "{CERTS}"\n',
    ),
    Case(
        "the wrong plugin",
        files=certs(A),
        config=f'version = 2\n[plugins."{NEW}".registry]\nconfig_path = "{CERTS}"\n',
    ),
    Case(
        "plugin instead of plugins",
        files=certs(A),
        config=f'version = 2\n[plugin."{OLD}".registry]\nconfig_path = "{CERTS}"\n',
    ),
)
