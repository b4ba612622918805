"""The rules of the lint of runtimes, each with a tree that breaks it: the code that says it, and where.

docs/doctor.md has the same table; tests/docs holds it to this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.doctor.contract import Check
from sampan.doctor.machine import check_proxies
from sampan.doctor.runtimes import check_gone, check_runtimes, check_scope

CONFIG = "etc/containerd/config.toml"
HUB = "etc/containerd/certs.d/docker.io/hosts.toml"
CERTS = (
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
)
IMAGES = '[plugins."io.containerd.cri.v1.images".registry]\n'
MIRROR = 'mirrors."docker.io"]\n  endpoint = ["https://m"]\n'
DROP_IN = "etc/containerd/conf.d/x.toml"
PODMAN = "etc/containers/registries.conf"
UNIT = "etc/systemd/system/containerd.service"


@dataclass(frozen=True)
class Rule:
    """``files`` by path, or a golden ``case``; ``place`` is ``file:line`` of the finding."""

    name: str
    code: str
    place: str
    runtime: str = ""
    files: tuple[tuple[str, str], ...] = ()
    case: str = ""
    check: Check = check_runtimes
    image: str = "docker.io/library/alpine:3"


def hosts(text: str, runtime: str = "containerd@1.7.27") -> dict[str, Any]:
    return {"runtime": runtime, "files": ((CONFIG, CERTS), (HUB, text))}


def config(text: str, runtime: str = "containerd@1.7.27") -> dict[str, Any]:
    return {"runtime": runtime, "files": ((CONFIG, text),)}


OLD = '[plugins."io.containerd.grpc.v1.cri".registry.'
RULES = (
    Rule("MIRROR_KEY_HAS_PATH", "MIRROR_NEVER_READ", f"{CONFIG}:11", case="containerd/origin-story-1.7"),
    Rule(
        "MIRRORS_AND_CONFIG_PATH",
        "MIRRORS_AND_CONFIG_PATH",
        f"{CONFIG}:9",
        case="containerd/mirrors-and-config-path",
    ),
    Rule("CONFIG_PATH_LIST", "CONFIG_PATH_LIST", f"{CONFIG}:3", case="containerd/colon-list-2.1"),
    Rule("NO_VERSION_KEY_1X", "PLUGIN_NAME", f"{CONFIG}:1", **config(OLD + MIRROR)),
    Rule(
        "WRONG_PLUGIN_ID",
        "PLUGIN_NAME",
        f"{CONFIG}:2",
        **config("version = 2\n" + IMAGES + "config_path = '/x'\n"),
    ),
    Rule("PLUGIN_SINGULAR_TYPO", "PLUGIN_SINGULAR", f"{CONFIG}:2", **config("version = 2\n[plugin.x]\n")),
    Rule(
        "DROPIN_REPLACES_CRI_1X",
        "DROP_IN_REPLACES",
        "etc/containerd/conf.d/10-gpu.toml:2",
        case="containerd/drop-in-replaces-1.7",
    ),
    Rule(
        "IMPORTS_NOT_DECLARED",
        "DROP_IN_NOT_IMPORTED",
        DROP_IN,
        "containerd@2.1.0",
        ((CONFIG, "version = 3\n"), (DROP_IN, f"version = 3\n{IMAGES}config_path = '/x'\n")),
    ),
    Rule(
        "MIRROR_TRAILING_SLASH",
        "MIRROR_PATH",
        f"{CONFIG}:3",
        **config(f"version = 2\n{OLD}{MIRROR}".replace("//m", "//m/")),
    ),
    Rule(
        "SERVER_IS_DOCKER_IO",
        "SERVER_IS_DOCKER_IO",
        f"{HUB}:1",
        **hosts('server = "https://docker.io"\n[host."https://m"]\n'),
    ),
    Rule(
        "HOSTS_TOML_PARSE",
        "HOSTS_TOML_DROPPED",
        f"{HUB}:2",
        **hosts('server = "https://m"\n[host."https://m"\n'),
    ),
    Rule(
        "UNKNOWN_CAPABILITY_FOR_VERSION",
        "HOSTS_TOML_DROPPED",
        f"{HUB}:2",
        **hosts('[host."https://m"]\ncapabilities = ["referrers"]\n'),
    ),
    Rule(
        "KEY_UNKNOWN_FOR_VERSION",
        "HOSTS_KEY_UNKNOWN",
        f"{HUB}:2",
        **hosts('[host."https://m"]\ndial_timeout = "2s"\n'),
    ),
    Rule(
        "HOST_INLINE_OR_DOTTED",
        "HOST_WITHOUT_HEADER",
        f"{HUB}:1",
        **hosts('host."https://m".capabilities = ["pull"]\n', "containerd@2.1.0"),
    ),
    Rule(
        "SERVER_AFTER_HOST_TABLE",
        "SERVER_IN_HOST_TABLE",
        f"{HUB}:2",
        **hosts('[host."https://m"]\nserver = "https://m"\n'),
    ),
    Rule(
        "NO_REACHABLE_RESOLVER",
        "NO_RESOLVER",
        f"{HUB}:2",
        **hosts('server = "https://m"\n[host."https://m"]\ncapabilities = ["pull"]\n'),
    ),
    Rule(
        "HTTP_HOST_WITH_TLS_KEYS",
        "HTTP_HOST_WITH_TLS",
        f"{HUB}:1",
        **hosts('[host."http://m:5000"]\nskip_verify = true\n'),
    ),
    Rule(
        "HARBOR_PATH_NEEDS_OVERRIDE",
        "HOST_PATH_NOT_OVERRIDDEN",
        f"{HUB}:1",
        **hosts('[host."https://m/v2/hub"]\n'),
    ),
    Rule(
        "EMPTY_DIR_SHADOWS_DEFAULT",
        "HOSTS_DIRECTORY_EMPTY",
        "etc/containerd/certs.d/quay.io",
        "containerd@1.7.27",
        (
            (CONFIG, CERTS),
            ("etc/containerd/certs.d/_default/hosts.toml", '[host."https://m"]\n'),
            ("etc/containerd/certs.d/quay.io/README", ""),
        ),
    ),
    Rule(
        "WRONG_DOCKERIO_DIRNAME",
        "HOSTS_TOML_UNREAD",
        HUB.replace("docker.io", "registry-1.docker.io"),
        "containerd@1.7.27",
        ((CONFIG, CERTS), (HUB.replace("docker.io", "registry-1.docker.io"), '[host."https://m"]\n')),
    ),
    Rule(
        "PROXY_WITHOUT_NO_PROXY",
        "PROXY_WITHOUT_NO_PROXY",
        f"{UNIT}:2",
        "containerd@1.7.27",
        (
            (CONFIG, CERTS),
            (HUB, '[host."https://m.lan"]\n'),
            (UNIT, "[Service]\nEnvironment=HTTPS_PROXY=http://p:1\n"),
        ),
        check=check_proxies,
    ),
    Rule("CRI_DISABLED", "CRI_DISABLED", f"{CONFIG}:1", **config('disabled_plugins = ["cri"]\n')),
    Rule(
        "DOCKER_MIRROR_PATH_VERSION",
        "DOCKER_MIRROR_INVALID",
        "etc/docker/daemon.json:2",
        "docker@23.0",
        (("etc/docker/daemon.json", '{\n"registry-mirrors": ["https://m/path"]}\n'),),
    ),
    Rule(
        "DOCKER_MIRROR_NON_HUB_EXPECTATION",
        "DOCKER_MIRRORS_HUB_ALONE",
        "etc/docker/daemon.json",
        "docker@28.5",
        (("etc/docker/daemon.json", '{\n"registry-mirrors": ["https://m"]}\n'),),
        check=check_scope,
        image="ghcr.io/a/b:1",
    ),
    Rule(
        "TOML_BARE_KEY_AFTER_TABLE",
        "REGISTRY_KEY_STRAY",
        f"{PODMAN}:1",
        "podman@5.4",
        ((PODMAN, '[[registry]]\nlocation = "docker.io"\nunqualified-search-registries = ["docker.io"]\n'),),
    ),
    Rule(
        "SCHEME_IN_LOCATION",
        "REGISTRIES_CONF_INVALID",
        f"{PODMAN}:1",
        "podman@5.4",
        ((PODMAN, '[[registry]]\nlocation = "https://docker.io"\n'),),
    ),
    Rule(
        "DEAD_PUBLIC_MIRROR_LIST",
        "MIRROR_IS_GONE",
        "etc/docker/daemon.json",
        "docker@28.5",
        (("etc/docker/daemon.json", '{\n"registry-mirrors": ["https://docker.mirrors.ustc.edu.cn"]}\n'),),
        check=check_gone,
    ),
)
