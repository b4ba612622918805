"""Secrets that want out: row 55 of the catalogue.

Each is planted where people keep it, and then looked for in everything that sampan says, writes, and tells
other programs."""

from __future__ import annotations

import base64
import http.client
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from abuse.commands import ended
from sampan.testing import (
    BasicAuth,
    FakeCdn,
    FakeProxy,
    FakeRegistry,
    Match,
    ServerThread,
    TokenServer,
    faults,
    image,
)
from serving.process import serve

USER = "robot"
SECRETS = {
    "in sampan.toml": "pw-Inline-aXy1",
    "in a variable": "pw-Variable-bXy2",
    "in a file": "pw-File-cXy3",
    "in config.json": "pw-Docker-dXy4",
    "in SAMPAN_LOGINS": "pw-Logins-eXy5",
    "of a program": "pw-Helper-fXy6",
    "of a proxy": "pw-Proxy-gXy7",
    "in a header": "pw-Header-hXy8",
    "of the environment": "pw-Environ-iXy9",
    "on the command line": "pw-Argument-jXy0",
}
PLANTED = ("sampan.toml", "broken.toml", "password", ".docker/config.json", "docker-credential-mine")
PLATFORM = ("--platform", "linux/amd64")
PROGRAMS = (
    "docker",
    "podman",
    "ctr",
    "nerdctl",
    "crictl",
    "systemctl",
    "journalctl",
    "timedatectl",
    "openssl",
    "ps",
)


def forms(secret: str, user: str = USER) -> set[str]:
    """How it may be written."""
    packed = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return {
        secret,
        quote(secret, safe=""),
        packed,
        packed.rstrip("="),
        base64.b64encode(secret.encode()).decode(),
    }


@dataclass(frozen=True)
class Site:
    """A directory full of secrets, and hosts that want them. ``tokens``: what realms gave out."""

    directory: Path
    hosts: dict[str, FakeRegistry]
    realm: TokenServer
    cdn: FakeCdn
    proxy: FakeProxy
    variables: dict[str, str]

    def run(self, *commands: Sequence[str], **variables: str) -> str:
        """All that they say."""
        done = ended(self.directory, commands, **self.variables, **variables)
        return "\n".join(f"{one.code}\n{one.out}\n{one.error}" for one in done)

    def assert_silent(self, said: str) -> None:
        """No secret in ``said``, nor in any file but those where it was put, nor told to another program."""
        secrets = {name: forms(secret) for name, secret in SECRETS.items()}
        secrets |= {"a token or a signature": {*self.realm.grants, "X-Signature"}}
        for name, written in secrets.items():
            found = [line for line in said.splitlines() if any(form in line for form in written)]
            assert not found, (name, found)
        for path in self.directory.rglob("*"):
            if path.is_file() and str(path.relative_to(self.directory)) not in PLANTED:
                text = path.read_bytes().decode("latin-1")
                assert not [form for written in secrets.values() for form in written if form in text], path


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """Hosts of five registries, each with a login that is kept in another place."""
    realm = TokenServer("realm", users={USER: SECRETS["in sampan.toml"]})
    cdn = FakeCdn("cdn", host="127.0.0.3")
    hosts = {"docker.io": FakeRegistry("inline", auth=realm, cdn=cdn)}
    for registry, place in (
        ("variable.example", "in a variable"), ("file.example", "in a file"),
        ("docker.example", "in config.json"), ("logins.example", "in SAMPAN_LOGINS"),
        ("helper.example", "of a program"),
    ):  # fmt: skip
        hosts[registry] = FakeRegistry(registry, auth=BasicAuth({USER: SECRETS[place]}))
    proxy = FakeProxy("proxy", users={USER: SECRETS["of a proxy"]})
    for host in hosts.values():
        host.add(image("library/alpine", "3"))
    with ServerThread(realm, cdn, proxy, *hosts.values()):
        variables = planted(directory, hosts, proxy)
        yield Site(directory, hosts, realm, cdn, proxy, variables)


def planted(directory: Path, hosts: dict[str, FakeRegistry], proxy: FakeProxy) -> dict[str, str]:
    """Writes the secrets down, and programs that tell with which words they were called."""
    url = {name: host.url for name, host in hosts.items()}
    netloc = {name: host.netloc for name, host in hosts.items()}
    logins = {
        "docker.io": f'username = "{USER}", password = "{SECRETS["in sampan.toml"]}", '
        f'headers = {{ "X-Key" = "{SECRETS["in a header"]}" }}',
        "variable.example": f'username = "{USER}", password_env = "THE_PASSWORD"',
        "file.example": f'username = "{USER}", password_file = "password"',
        "docker.example": f'proxy = "http://{USER}:{SECRETS["of a proxy"]}@{proxy.netloc}"',
        "logins.example": "private = true",
        "helper.example": "private = true",
    }
    tables = [
        f'[registry."{name}"]\nmirrors = [{{ url = "{url[name]}", {more} }}]\norigin = "never"\n'
        for name, more in logins.items()
    ]
    (directory / "sampan.toml").write_text('[store]\npath = "store"\n' + "".join(tables))
    (directory / "broken.toml").write_text("".join(tables) + 'password = 5\npassword = "x"\n')
    (directory / "password").write_text(SECRETS["in a file"])
    (directory / ".docker").mkdir()
    packed = base64.b64encode(f"{USER}:{SECRETS['in config.json']}".encode()).decode()
    (directory / ".docker/config.json").write_text(
        json.dumps(
            {
                "auths": {netloc["docker.example"]: {"auth": packed}},
                "credHelpers": {netloc["helper.example"]: "mine"},
            }
        )
    )
    said = json.dumps({"Username": USER, "Secret": SECRETS["of a program"]})
    program(directory / "docker-credential-mine", f"echo '{said}'")
    for name in PROGRAMS:
        program(directory / name, "exit 1")
    return {
        "PATH": f"{directory}:/usr/bin:/bin",
        "THE_PASSWORD": SECRETS["in a variable"],
        "SAMPAN_LOGINS": f"{netloc['logins.example']}={USER}:{SECRETS['in SAMPAN_LOGINS']}",
        "HTTP_PROXY": f"http://{USER}:{SECRETS['of the environment']}@127.0.0.1:1",
        "HTTPS_PROXY": f"http://{USER}:{SECRETS['of the environment']}@127.0.0.1:1",
        "NO_PROXY": "127.0.0.0/8",
    }


def program(path: Path, script: str) -> None:
    """One that writes down its own words, as ``/proc/PID/cmdline`` has them, and then does ``script``."""
    told = 'tr "\\0" " " < /proc/$$/cmdline >> "$HOME/called"; echo >> "$HOME/called"'
    path.write_text(f"#!/bin/sh\n{told}\n{script}\n")
    path.chmod(0o755)


NAMES = ("variable", "file", "docker", "logins", "helper")
REFERENCES = ["alpine:3", *(f"{name}.example/library/alpine:3" for name in NAMES)]


def test_row_55_no_command_tells_a_secret(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        said = here.run(
            ["pull", *PLATFORM, "--to", "store", *REFERENCES],
            ["pull", *PLATFORM, "--to", "oci:layout", "--json", *REFERENCES],
            ["pull", *PLATFORM, "--to", "docker", "alpine:3"],
            ["lock", "create", "-o", "sampan.lock", *REFERENCES],
            ["lock", "create", "--json", *REFERENCES],
            ["mirrors", "list"],
            ["mirrors", "list", "--json"],
            ["mirrors", "test", "--verbose", "alpine:3"],
            ["mirrors", "test", "--json", "alpine:3"],
            ["mirrors", "test", "--html", "report.html", "alpine:3"],
            ["bundle", "create", *PLATFORM, "-o", "bundle.tar", *REFERENCES],
            ["bundle", "inspect", "--json", "bundle.tar"],
            ["store", "list", "--json"],
            ["rewrite", *REFERENCES],
            ["webhook", "manifests"],
        )
        assert said.count(image("library/alpine", "3").digest) >= len(REFERENCES), "the logins are right"
        here.assert_silent(said)
        assert "docker-credential-mine" in (tmp_path / "called").read_text()


def test_row_55_no_failure_tells_a_secret(tmp_path: Path) -> None:
    """Logins that are refused, and what is wrong on the command line, with tracebacks."""
    with site(tmp_path) as here:
        for host in here.hosts.values():
            host.script(faults.status(403, "no entry"))
        here.cdn.script(faults.status(500), on=Match())
        argument = SECRETS["on the command line"]
        said = here.run(
            *(
                ["pull", *PLATFORM, "--to", "store", *extra, *REFERENCES]
                for extra in ([], ["--json"], ["--debug"])
            ),
            [
                "pull",
                "--debug",
                "--to",
                "oci:layout",
                "--via",
                f"http://{USER}:{argument}@127.0.0.1:1",
                "alpine:3",
            ],
            ["pull", "--debug", "--to", f"registry:{USER}:{argument}@127.0.0.1:1/x", "alpine:3"],
            ["pull", "--debug", "--to", "oci:layout", f"{USER}:{argument}@127.0.0.1:1/x:1"],
            ["pull", "--debug", "--to", "oci:layout", f"https://{USER}:{argument}@127.0.0.1:1/x:1"],
            ["mirrors", "list", "--catalogue", f"https://{USER}:{argument}@127.0.0.1:1/list.toml"],
            ["lock", "create", "--debug", *REFERENCES],
            ["mirrors", "test", "--json", "alpine:3"],
            ["--config", "broken.toml", "--debug", "rewrite", "alpine:3"],
            [
                "doctor",
                "--explain",
                f'Head "https://{USER}:{argument}@127.0.0.1:1/v2/?token={argument}": refused',
            ],
        )
        here.assert_silent(said)


def test_row_55_the_doctor_and_the_runtimes_files_tell_no_secret(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc/docker").mkdir(parents=True)
    proxy = f"http://{USER}:{SECRETS['of a proxy']}@127.0.0.1:1"
    place = tree / "etc/systemd/system/docker.service.d"
    place.mkdir(parents=True)
    with site(tmp_path) as here:
        said = here.run(
            *(
                ["doctor", "--root", "tree", "--runtime", runtime, *extra, "alpine:3"]
                for runtime in ("docker@28", "containerd@1.7.27")
                for extra in ([], ["--json"])
            ),
            ["node", "status", "--root", "tree", "--runtime", "docker@28", "--json"],
            ["node", "plan", "--root", "tree", "--runtime", "docker@28"],
            ["node", "plan", "--root", "tree", "--runtime", "containerd@1.7.27", "--json"],
            ["node", "plan", "--root", "tree", "--runtime", "podman@4"],
        )
        here.assert_silent(said)
        (place / "proxy.conf").write_text(f'[Service]\nEnvironment="HTTP_PROXY={proxy}"\n')
        said = here.run(["doctor", "--root", "tree", "--runtime", "docker@28", "--json", "alpine:3"])
        assert not [form for form in forms(SECRETS["of a proxy"]) if form in said], said


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_row_55_a_mirror_tells_no_secret(tmp_path: Path, log_format: str) -> None:
    """Its log and metrics, its answers to clients, a bad file at SIGHUP, and what everybody sees of
    a process: its arguments."""
    with site(tmp_path) as here, serve(tmp_path, "--log-format", log_format, **here.variables) as served:
        address = served.url().partition("://")[2].rstrip('",')
        told = [ask(address, f"/v2/library/alpine/manifests/3?ns={name}") for name in here.hosts]
        assert all("sha256" in answer for answer in told)
        for host in here.hosts.values():
            host.script(faults.unauthorized('Basic realm="x"'))
        told += [ask(address, f"/v2/library/other/manifests/1?ns={name}") for name in here.hosts]
        told += [ask(address, "/metrics"), ask(address, "/v2/x/tags/list?ns=file.example")]
        argument = SECRETS["on the command line"]
        told.append(ask(address, f"/v2/{USER}:{argument}@host/x/manifests/1"))
        told.append(ask(address, f"/v2/{USER}%3A{argument}%40host/x"))
        told.append(ask(address, f"/v2/x/manifests/1?ns={USER}:{argument}@host"))
        told.append(ask(address, f"/v2/x/manifests/1?token={argument}"))
        told.append(Path(f"/proc/{served.process.pid}/cmdline").read_text())
        (tmp_path / "sampan.toml").write_text((tmp_path / "broken.toml").read_text())
        served.process.send_signal(signal.SIGHUP)
        served.wait_for("the old one is kept")
        assert served.end(signal.SIGTERM) == 0
        assert served.process.stderr is not None
        here.assert_silent("\n".join([*told, *served.log, served.process.stderr.read()]))


def ask(address: str, path: str) -> str:
    """All that is answered: fields and body."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path, headers={"Authorization": "Basic " + "x" * 8})
        answer = connection.getresponse()
        return f"{answer.status} {answer.getheaders()} {answer.read().decode()}"
    finally:
        connection.close()
