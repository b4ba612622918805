"""What containerd makes of its files: hosts.toml, and config.toml in all its formats.

Recorded of 1.6, 1.7 and 2.1 in tests/golden/chain/containerd.txt.
"""

from __future__ import annotations

from lab.case import (
    BLOCKED,
    CERTS,
    NEW,
    OLD,
    TWO,
    A,
    B,
    Case,
    at,
    certs,
    hosts_toml,
    legacy,
    login,
    page,
    spoiled,
    wants_password,
    with_realm,
)
from lab.network import HUB
from sampan.testing import faults


def local_pull(config_path: str) -> str:
    """config.toml of a 2.1 that pulls as those before it did."""
    table = f'[plugins."{NEW}"]\nuse_local_image_pull = true\n'
    return f'version = 3\n{table}[plugins."{NEW}".registry]\nconfig_path = "{config_path}"\n'


NOBODY = f"""server = "{B}"
capabilities = ["pull"]
[host."{A}"]
capabilities = ["pull"]
"""
FILES = (
    # -- hosts.toml ---------------------------------------------------------------------------------
    Case("a slash at the end", files=certs("https://a.lan/")),
    Case("v2 in the URL", files=certs("https://a.lan/v2")),
    Case("a path", BLOCKED, certs("https://a.lan/proxy")),
    Case("a path below v2", BLOCKED, certs("https://a.lan/v2/proxy")),
    Case(
        "a path below v2 that is overridden", BLOCKED, certs("https://a.lan/v2/proxy\noverride_path = true")
    ),
    Case("an overridden path without v2", BLOCKED, certs("https://a.lan/proxy/\noverride_path = true")),
    Case("another server", BLOCKED, certs(A, server="https://b.lan")),
    Case("a server without a scheme", spoiled(at(faults.status(502), "a.lan")), certs(A, server="b.lan")),
    Case(
        "the server is a web site",
        spoiled(at(faults.status(502), "a.lan"), at(page(5), "docker.io")),
        certs(A, server="https://docker.io"),
    ),
    Case("a syntax error", files={"certs.d/docker.io/hosts.toml": '[host."https://a.lan"\n'}),
    Case("an empty file", files={"certs.d/docker.io/hosts.toml": ""}),
    Case("an unknown capability", files=certs('https://a.lan\ncapabilities = ["pull", "resolve", "share"]')),
    Case("a mirror that may only pull", files=certs('https://a.lan\ncapabilities = ["pull"]')),
    Case(
        "a mirror that may only pull, the origin cannot be reached",
        BLOCKED,
        certs('https://a.lan\ncapabilities = ["pull"]'),
    ),
    Case("a mirror that may only resolve", files=certs('https://a.lan\ncapabilities = ["resolve"]')),
    Case(
        "nobody may resolve",
        files=hosts_toml(NOBODY),
    ),
    Case(
        "dotted keys",
        files={"certs.d/docker.io/hosts.toml": 'host."https://a.lan".capabilities = ["pull", "resolve"]\n'},
    ),
    Case("the server alone", files=certs(server="https://a.lan")),
    Case(
        "keys of the server",
        BLOCKED,
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
    Case("HTTPS that is HTTP", BLOCKED, certs("https://plain.lan")),
    Case("an expired certificate", BLOCKED, certs("https://expired.lan")),
    Case("a certificate of another name", BLOCKED, certs("https://foreign.lan")),
    Case("a certificate of an unknown authority", BLOCKED, certs("https://unknown.lan")),
    Case(
        "an unknown authority that is named",
        BLOCKED,
        {**certs('https://unknown.lan\nca = "own.pem"'), "certs.d/docker.io/own.pem": "STRANGERS"},
    ),
    Case("an authority's file that is not there", files=certs('https://unknown.lan\nca = "own.pem"')),
    Case(
        "an authority's file that is none",
        files={**certs('https://unknown.lan\nca = "own.pem"'), "certs.d/docker.io/own.pem": "none\n"},
    ),
    Case("a client's certificate that is not there", files=certs('https://a.lan\nclient = "own.pem"')),
    Case(
        "a client's key that is not there",
        files={
            **certs('https://a.lan\nclient = [["own.pem", "own.key"]]'),
            "certs.d/docker.io/own.pem": "STRANGERS",
        },
    ),
    Case(
        "a client's certificate without a key",
        files={**certs('https://a.lan\nclient = "own.pem"'), "certs.d/docker.io/own.pem": "STRANGERS"},
    ),
    Case(
        "an authority's file beside it that is none",
        files={"certs.d/a.lan/own.crt": "none\n"},
        reference="a.lan/library/alpine:3",
    ),
    Case(
        "a client's certificate in a list, without a key",
        files={
            **certs('https://a.lan\nclient = [["own.pem", ""]]'),
            "certs.d/docker.io/own.pem": "STRANGERS",
        },
    ),
    Case(
        "a client's certificate that is none",
        files={**certs('https://a.lan\nclient = "own.pem"'), "certs.d/docker.io/own.pem": "none\n"},
    ),
    Case(
        "a client's certificate beside it without a key",
        files={"certs.d/a.lan/own.cert": "STRANGERS"},
        reference="a.lan/library/alpine:3",
    ),
    Case("no verification", BLOCKED, certs("https://foreign.lan\nskip_verify = true")),
    Case(
        "certificates beside it",
        BLOCKED,
        {"certs.d/unknown.lan/own.crt": "STRANGERS"},
        reference="unknown.lan/library/alpine:3",
    ),
    Case("a directory that is not there", files={}, registry='config_path = "/etc/containerd/none.d"'),
    # -- config.toml --------------------------------------------------------------------------------
    Case("a list of directories", files=certs(A), registry=f'config_path = "{CERTS}:/etc/docker/certs.d"'),
    Case(
        "a list of directories, pulled by the CRI itself",
        files=certs(A, root="more.d"),
        config=local_pull(f"{CERTS}:/etc/containerd/more.d"),
        versions=TWO,
    ),
    Case(
        "pulled by the CRI itself, the mirror says 403",
        spoiled(at(faults.denied(), "a.lan"), block=HUB),
        certs(A),
        config=local_pull(CERTS),
        versions=TWO,
    ),
    Case("mirrors of the old form", spoiled(at(faults.status(502), "a.lan")), registry=legacy(A, B)),
    Case(
        "mirrors of the old form, all fail",
        spoiled(at(faults.status(502), "a.lan"), at(faults.status(404), "b.lan"), block=HUB),
        registry=legacy(A, B),
    ),
    Case("a key with a path", registry=legacy("https://a.lan/library", key="docker.io/library")),
    Case(
        "the origin story",
        spoiled(at(faults.status(502), "a.lan", part="layer"), block=HUB),
        registry=legacy(A) + legacy("https://a.lan/library", key="docker.io/library"),
    ),
    Case("a slash at the end, in the old form", BLOCKED, registry=legacy("https://a.lan/")),
    Case("a path, in the old form", BLOCKED, registry=legacy("https://a.lan/v2/proxy")),
    Case("a star", registry=legacy(A, key="*")),
    Case("an endpoint without a scheme", registry=legacy("a.lan")),
    Case(
        "the registry itself among its mirrors",
        registry=legacy("https://registry.lan", A, key="registry.lan"),
        reference="registry.lan/library/alpine:3",
    ),
    Case(
        "a password in config.toml",
        wants_password("a.lan", "robot", "hunter2"),
        registry=legacy(A, more=login("a.lan", "robot", "hunter2")),
    ),
    Case(
        "a password for tokens",
        with_realm("a.lan", private=True, users="robot:hunter2"),
        registry=legacy(A, more=login("a.lan", "robot", "hunter2")),
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
