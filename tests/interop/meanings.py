"""Situations of real programs, and what the text that each prints means: the code of the root cause.

The live test asks it of the programs; ``harvest.py`` writes it down for the test that has no programs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interop import peers, printing
from interop.containerd import CLOSED, VERSIONS, Containerd, hosts_toml
from interop.engines import Docker
from interop.images import Library
from interop.misbehaving import WORLDS

CRI = "io.containerd.grpc.v1.cri"
REFERENCE = "docker.io/library/alpine:3"

# What a pull through a host with each fault means, when the program's text can tell.
MEANT = {
    "502 on blobs": "SERVER_ERROR",
    "503 on manifests": "SERVER_ERROR",
    "403 on manifests": "FORBIDDEN",
    "403 on blobs": "FORBIDDEN",
    "allow-list": "NOT_ON_ALLOW_LIST",
    "allow-list on blobs": "NOT_ON_ALLOW_LIST",
    "400 on blobs": "BAD_REQUEST",
    "404 on manifests": "TAG_NOT_FOUND",
    "404 on blobs": "BLOB_MISSING",
    "429": "RATE_LIMITED",
    "basic login": "LOGIN_NEEDED",
    "private": "PULL_DENIED_SCOPE",
    "token refused": "TOKEN_REFUSED",
    "token server closed": "TOKEN_SERVER_UNREACHABLE",
    "web page": "WEB_PAGE",
    "web page on blobs": "BODY_CUT",
    "no content type": "NO_CONTENT_TYPE",
    "schema 1": "SCHEMA_1",
    "flipped bit": "DIGEST_MISMATCH",
    "flipped bit in the manifest": "DIGEST_MISMATCH",
    "short blob": "BODY_CUT",
    "empty blob": "EMPTY_BODY",
    "no body": "BODY_CUT",
    "truncated": "BODY_CUT",
    "reset in a blob": "CONNECTION_CUT",
    "hangs up": "CONNECTION_CUT",
    "reset": "CONNECTION_CUT",
    "refused": "CONNECTION_REFUSED",
    "handshake reset": "CONNECTION_CUT",
    "unknown authority": "CERTIFICATE_UNKNOWN_AUTHORITY",
    "wrong name": "CERTIFICATE_WRONG_NAME",
    "expired": "CERTIFICATE_EXPIRED",
}
# Where a program says less, or something else, than the host did; each as it was seen. A HEAD has no body, so
# the words of an allow-list are lost; 1.x goes on after a 404 and tells what came last.
_OF_1 = {
    "allow-list": "FORBIDDEN",
    "404 on manifests": "CONNECTION_REFUSED",
    "library/ is missing": "CONNECTION_REFUSED",
    "empty blob": "BODY_CUT",
}
BY_CONTAINERD: dict[str, dict[str, str]] = {
    "containerd-1.6": _OF_1,
    "containerd-1.7": _OF_1,
    "containerd-2": {"allow-list": "FORBIDDEN", "no body": "EMPTY_BODY"},
}
STILL_READ_BY_1 = "schema 1"
BY_CRANE = {
    "502 on blobs": "SERVER_ERROR",
    "400 on blobs": "REGISTRY_ERROR",
    "private": "LOGIN_NEEDED",
    "token refused": "LOGIN_REFUSED",
    "web page on blobs": "SIZE_MISMATCH",
    "flipped bit in the manifest": "NO_PLATFORM",
    "short blob": "SIZE_MISMATCH",
}
BY_DOCKER = {"private": "PULL_DENIED_DOCKER", "token refused": "LOGIN_REFUSED"}
BY_DOCKERS_CONTAINERD = {**BY_DOCKER, "allow-list": "FORBIDDEN", "403 on blobs": "REGISTRY_ERROR"}
# crane and Docker ask again, with pauses that take too long for a test.
QUICK = (
    "403 on manifests",
    "403 on blobs",
    "allow-list",
    "allow-list on blobs",
    "404 on manifests",
    "404 on blobs",
    "429",
    "basic login",
    "private",
    "token server closed",
    "web page",
    "refused",
)
QUICK_FOR_CRANE = (
    *QUICK,
    "400 on blobs",
    "token refused",
    "web page on blobs",
    "flipped bit",
    "flipped bit in the manifest",
    "short blob",
    "empty blob",
    "truncated",
)
QUICK_FOR_DOCKER = (*QUICK, "503 on manifests", "hangs up", "reset")


@dataclass(frozen=True, slots=True)
class Printed:
    """``text``, as ``by`` printed it ``when``; ``first``: what it means, or what is the root cause in it."""

    when: str
    by: str
    first: str
    text: str


# -- hosts that misbehave -------------------------------------------------------------------------


def of_containerd(runtime: Containerd, library: Library) -> Iterator[Printed]:
    """Pulls by the CRI through every world."""
    image = library.image("library/alpine:3")
    for when, code in MEANT.items():
        if when == STILL_READ_BY_1 and runtime.name != "containerd-2":
            continue
        with WORLDS[when](image) as url:
            text = printing.by_cri(runtime, url)
        yield Printed(when, runtime.name, BY_CONTAINERD[runtime.name].get(when, code), text)
        printing.forget(runtime)


def of_crane(library: Library, directory: Path) -> Iterator[Printed]:
    image = library.image("library/alpine:3")
    for when in QUICK_FOR_CRANE:
        with WORLDS[when](image) as url:
            text = printing.by_crane(f"{url.partition('://')[2]}/library/alpine:3", directory)
        yield Printed(when, "crane", (MEANT | BY_CRANE)[when], text)


def of_docker(engine: Docker, library: Library) -> Iterator[Printed]:
    image = library.image("library/alpine:3")
    for when in QUICK_FOR_DOCKER:
        with WORLDS[when](image) as url:
            text = printing.by_docker(engine, url)
        own = BY_DOCKERS_CONTAINERD if engine.name.endswith("containerd store") else BY_DOCKER
        yield Printed(when, engine.name, (MEANT | own)[when], text)


# -- a containerd and its files -------------------------------------------------------------------


def of_hosts_files(runtime: Containerd, library: Library, plain: str) -> Iterator[Printed]:
    """What a hosts.toml or a name of ctr's does. ``plain``: a registry without TLS, as ``host:port``."""
    image, name = library.image("library/alpine:3"), runtime.name

    def log_of(text: str) -> str:
        printing.hosts_of(runtime, text)
        return printing.in_log(runtime, lambda: printing.pulled(runtime))

    with WORLDS["503 on manifests"](image) as url:
        capability = hosts_toml([url]).replace('"resolve"', '"resolve", "referrers"')
        yield Printed("an unknown capability", name, "HOSTS_TOML_IGNORED", log_of(capability))
        yield Printed("a syntax error", name, "HOSTS_TOML_IGNORED", log_of(f'server = "{url}\n'))
        absent = f'{hosts_toml([url])}  ca = "absent.pem"\n'
        yield Printed("no such certificate", name, "CERTIFICATE_FILE_UNREADABLE", log_of(absent))
    push_alone = f'server = "{CLOSED}"\n[host."{CLOSED}"]\n  capabilities = ["push"]\n'
    ctr = ("images", "pull", "--hosts-dir", runtime.hosts_directory)
    tls = f'server = "https://{plain}"\n[host."https://{plain}"]\n'
    yield Printed("plain HTTP", name, "HTTP_TO_HTTPS_CLIENT", log_of(tls))
    printing.hosts_of(runtime, push_alone)
    yield Printed("a name alone", name, "CTR_NAME", printing.by_ctr(runtime, *ctr, "alpine:3"))
    printing.hosts_of(runtime, hosts_toml([f"http://{plain}"]))
    local = (
        ("--local",) if name == "containerd-2" else ()
    )  # else its daemon fetches what it can, and is content
    platform = printing.by_ctr(runtime, *ctr, *local, "--platform", "linux/s390x", REFERENCE)
    yield Printed("no such platform", name, "NO_PLATFORM", platform)
    missing = printing.by_ctr(runtime, *ctr, "docker.io/alpine:3")
    code = BY_CONTAINERD[name].get("library/ is missing", "TAG_NOT_FOUND")
    yield Printed("library/ is missing", name, code, missing)
    absent_socket = printing.said([peers.beside(name, "ctr"), "--address", "/nonexistent.sock", "version"])
    yield Printed("no such socket", name, "SOCKET_UNREACHABLE", absent_socket)


_WITH_PATH = f'version = 2\n[plugins."{CRI}".registry]\n  config_path = "{{home}}/h"\n'
_MIRRORS = f'[plugins."{CRI}".registry.mirrors."docker.io"]\n  endpoint = ["{CLOSED}"]\n'
_TLS = f'[plugins."{CRI}".registry.configs."docker.io".tls]\n  insecure_skip_verify = true\n'
_STARTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("mirrors and config_path", _WITH_PATH + _MIRRORS, "MIRRORS_AND_CONFIG_PATH", VERSIONS),
    ("tls and config_path", _WITH_PATH + _TLS, "TLS_AND_CONFIG_PATH", VERSIONS[:2]),
    ("a newer format", "version = 4\n", "CONFIG_FORMAT_TOO_NEW", ("containerd-1.7", "containerd-2")),
    ("a table twice", "version = 2\n[grpc]\n  gid = 0\n", "CONFIG_SYNTAX", VERSIONS),
    ("a quote too few", f'version = 2\n[plugins."{CRI}]\n', "CONFIG_SYNTAX", VERSIONS),
    ("a short name", 'version = 2\ndisabled_plugins = ["cri"]\n', "CRI_DISABLED_BY_SHORT_NAME", VERSIONS),
    (
        "no version",
        f'# none\n[plugins."{CRI}".registry]\n  config_path = "/x"\n',
        "MIRROR_NEVER_ASKED",
        ("containerd-2",),
    ),
)
_DAEMON_JSON: tuple[tuple[str, str, str], ...] = (
    ("no scheme", '{"registry-mirrors": ["mirror.example:5000"]}', "INVALID_MIRROR_URL"),
    ("another scheme", '{"registry-mirrors": ["ftp://mirror.example"]}', "INVALID_MIRROR_URL"),
    ("a query", '{"registry-mirrors": ["https://mirror.example?x=1"]}', "INVALID_MIRROR_URL"),
    ("a comma too many", '{"registry-mirrors": ["https://mirror.example",]}', "DAEMON_JSON_INVALID"),
    ("a comment", '{ // mine\n"registry-mirrors": []}', "DAEMON_JSON_INVALID"),
    ("a text for a list", '{"registry-mirrors": "https://mirror.example"}', "DAEMON_JSON_INVALID"),
    ("an unknown key", '{"registry-mirrorz": []}', "DAEMON_JSON_UNKNOWN_KEY"),
)


def of_containerds_starting() -> Iterator[Printed]:
    """Daemons with a config.toml that is wrong."""
    for when, config, code, names in _STARTS:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="ctd", dir="/tmp") as home:
                yield Printed(when, name, code, printing.containerd_with(name, Path(home), config))


def of_dockerds_starting() -> Iterator[Printed]:
    """Engines with a daemon.json that is wrong."""
    for name in ("docker-20", "docker-28"):
        for when, config, code in _DAEMON_JSON:
            if name == "docker-28" or code != "INVALID_MIRROR_URL":  # 20.10 looks at mirrors later
                yield _of_dockerd(name, when, config, code)
        yield _of_dockerd(name, "a flag", "{}", "INVALID_MIRROR_URL", "--registry-mirror=mirror.example:5000")
        mirrors = json.dumps({"registry-mirrors": ["https://a.example"]})
        yield _of_dockerd(
            name, "a flag and the file", mirrors, "FLAG_AND_FILE", "--registry-mirror=https://b.example"
        )


def _of_dockerd(name: str, when: str, config: str, code: str, *flags: str) -> Printed:
    with tempfile.TemporaryDirectory(prefix="dkr", dir="/tmp") as home:
        return Printed(when, name, code, printing.dockerd_with(name, Path(home), config, *flags))


# -- podman's kind, and the way to a host ---------------------------------------------------------


def of_skopeo(directory: Path, plain: str) -> Iterator[Printed]:
    """``plain``: a registry without TLS, as ``host:port``, the mirror of docker.io."""

    def inspect(when: str, code: str, registries: str, name: str, auth: str | None = None) -> Printed:
        return Printed(when, "skopeo", code, printing.by_skopeo(directory, registries, name, auth=auth))

    closed = CLOSED.removeprefix("http://")
    mirrored = (
        f'[[registry]]\nprefix = "docker.io"\ninsecure = true\nlocation = "{closed}"\n'
        f'[[registry.mirror]]\nlocation = "{plain}"\ninsecure = true\n'
    )
    yield inspect("mirrors and all", "TAG_NOT_FOUND", mirrored, "docker://docker.io/library/absent:1")
    scheme = '[[registry]]\nlocation = "https://mirror.example"\n'
    yield inspect("a scheme", "SCHEME_IN_LOCATION", scheme, f"docker://{REFERENCE}")
    helper = json.dumps({"credHelpers": {"docker.io": "absent", closed: "absent"}})
    yield inspect("no such helper", "CREDENTIAL_HELPER", mirrored, f"docker://{REFERENCE}", helper)
    yield inspect("upper case", "INVALID_NAME", mirrored, "docker://docker.io/library/Alpine:3")


def on_the_way(directory: Path) -> Iterator[Printed]:
    """Names and proxies."""
    reference = "mirror.example/library/alpine:3"
    proxy = printing.by_crane(reference, directory, more={"HTTPS_PROXY": CLOSED, "HTTP_PROXY": CLOSED})
    yield Printed("a proxy that is closed", "crane", "PROXY_FAILED", proxy)
    crane: list[str | Path] = [peers.program("crane"), "digest", reference]
    for files_alone, when, code in (
        (False, "a resolver that is closed", "DNS_FAILED"),
        (True, "a name of nobody", "NO_SUCH_HOST"),
    ):
        yield Printed(when, "crane", code, printing.without_names(crane, directory, files_alone=files_alone))
