"""What docs/node.md says of containerd and hosts.toml, asked of containerd."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from interop.containerd import CLOSED
from interop.cri import CriError
from interop.hosts import as_content, host
from interop.images import Library
from interop.nodes import Node
from interop.sentinel import Sentinel
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.hosts_check import check
from sampan.testing import FakeRegistry, ServerThread
from sampan.testing.tokens import BasicAuth

pytestmark = pytest.mark.interop

OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
TWO = ("containerd-2",)
HOSTS = {
    "a host": '{server}\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n',
    "the server alone": 'server = "{url}"\n',
    "an unknown capability": '{server}\n[host."{url}"]\n  capabilities = ["pull", "resolve", "referrers"]\n',
    "a capability in capitals": '{server}\n[host."{url}"]\n  capabilities = ["PULL", "Resolve"]\n',
    "a word for a truth": '{server}\n[host."{url}"]\n  skip_verify = "yes"\n',
    "a time that is none": '{server}\n[host."{url}"]\n  dial_timeout = "soon"\n',
    "a key of nobody": '{server}\nfoo = 1\n[host."{url}"]\n  skip_verifiy = true\n',
    "a host without a header": '{server}\nhost = {{ "{url}" = {{ capabilities = ["pull", "resolve"] }} }}\n',
    "dotted keys": '{server}\nhost."{url}".capabilities = ["pull", "resolve"]\n',
    "single quotes": "{server}\n  [host . '{url}']  # theirs\n",
    "a byte order mark": '\ufeff{server}\n[host."{url}"]\n',
    "a certificate that is not there": '{server}\n[host."{url}"]\n  ca = "absent.pem"\n',
    "a syntax error": '{server}\n[host."{url}"\n',
    "nothing": "",
}


@pytest.fixture
def file(machine: Node) -> Path:
    """The hosts.toml of docker.io, which is read at every pull."""
    version = NEW if machine.name in TWO else OLD
    number = 3 if machine.name in TWO else 2
    path = "/etc/containerd/certs.d"
    machine.lay(
        {"config.toml": f'version = {number}\n[plugins."{version}".registry]\n  config_path = "{path}"\n'}
    )
    found = machine.home / "etc/containerd/certs.d/docker.io/hosts.toml"
    found.parent.mkdir(parents=True)
    return found


def test_containerd_asks_whom_the_check_of_a_hosts_toml_says(
    machine: Node, file: Path, library: Library, way_out: Sentinel
) -> None:
    dialect = dialect_of(machine.installed.version)
    with host("mirror", library.image("library/alpine:3")) as (registry, _, _):
        for name, text in HOSTS.items():
            file.write_text(text.format(url=registry.url, server=f'server = "{CLOSED}"'))
            found = check(str(file), file.read_bytes(), "docker.io", dialect, lambda _: False)
            fails = any(finding.code == "CERTIFICATE_ABSENT" for finding in found.findings)
            said = found.hosts is not None and registry.url in found.hosts and not fails
            before = len(registry.requests)
            with contextlib.suppress(CriError):
                machine.cri.pull("alpine:3")
            assert (len(registry.requests) > before) is said, name
    machine.cri.remove("alpine:3")
    way_out.asked.clear()


def test_one_image_is_the_same_request_by_each_of_its_names_and_ctr_completes_none(
    machine: Node, file: Path, library: Library
) -> None:
    with host("mirror", library.image("library/alpine:3")) as (registry, _, _):
        file.write_text(f'server = "{CLOSED}"\n[host."{registry.url}"]\n')
        asked = set()
        for name in ("alpine:3", "docker.io/alpine:3", "docker.io/library/alpine:3"):
            before = len(registry.requests)
            machine.cri.pull(name)
            first = registry.requests[before]
            asked.add((first.method, first.target))
        assert asked == {("HEAD", "/v2/library/alpine/manifests/3?ns=docker.io")}
        machine.cri.remove("alpine:3")
        before = len(registry.requests)
        pull = ["ctr", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", "docker.io/alpine:3"]
        assert machine.machine.run(pull).code != 0
        assert registry.requests[before].path == "/v2/alpine/manifests/3"


def test_a_login_that_names_no_server_is_shown_to_a_mirror_and_one_of_docker_hub_is_not(
    machine: Node, file: Path, library: Library
) -> None:
    registry = FakeRegistry("mirror", auth=BasicAuth({"robot": "hunter2"}))
    registry.add(as_content(library.image("library/alpine:3")))
    login = {"username": "robot", "password": "hunter2"}
    with ServerThread(registry):
        file.write_text(f'server = "{CLOSED}"\n[host."{registry.url}"]\n')
        with pytest.raises(CriError):
            machine.cri.pull("alpine:3", login=login | {"server_address": "https://index.docker.io/v1/"})
        assert not any("authorization" in request.headers for request in registry.requests)
        machine.cri.pull("alpine:3", login=login)
        assert any("authorization" in request.headers for request in registry.requests)
    machine.cri.remove("alpine:3")
