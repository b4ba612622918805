"""Files and reviews that do harm, and secrets that want out: rows 51 to 56 of the catalogue.

Reviews are in tests/unit/test_admission.py and tests/contract/test_webhook.py, logins and the programs that
keep them in tests/unit/test_credentials.py: marked there. Here are whole commands, within bounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rewrite_table
from abuse.bounds import MIB, assert_harmless
from abuse.commands import assert_refused, ended
from effort import GROWTH_MAX, growth
from node_cases import listing
from reviews import item, review
from sampan.rewrite.admission import decide
from sampan.testing import FakeRegistry, ServerThread, image

MIRROR = '[registry."docker.io"]\nmirrors = ["https://mirror.example"]\norigin = "never"\n'
POD = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {}\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 100)
)
UNTOUCHED = {
    "a billion laughs": LAUGHS + "apiVersion: v1\nkind: Pod\nspec: {containers: *a99}\n",
    "a document in itself": "apiVersion: v1\nkind: Pod\nspec: &s\n  containers: [*s]\n",
    "an object of Python": POD.format('!!python/object/apply:os.system ["touch made"]'),
    "an object of Ruby": POD.format("!ruby/object:Gem::Requirement {}"),
    "a number": POD.format("1.10"),
    "nothing": POD.format("null"),
    "a list": POD.format("[a]"),
    "a mapping": POD.format("{a: b}"),
    "escapes": POD.format('"a\\e[31mb"'),
    "two words": POD.format("a b"),
}
NO_YAML = {
    "tabs": "apiVersion: v1\nkind: Pod\nspec:\n\tcontainers:\n\t- image: a\n",
    "garbage behind a document": POD.format("a") + "---\n@garbage: [\n",
    "a control character": POD.format("a\x1b"),
    "lists in lists": "a: " + "[" * 100_000,
    "no UTF-8": "",
}


def configured(directory: Path, text: str = MIRROR) -> Path:
    (directory / "sampan.toml").write_text(text)
    return directory


def test_row_51_yaml_that_does_harm_stays_as_it_is(tmp_path: Path) -> None:
    configured(tmp_path)
    for number, text in enumerate(UNTOUCHED.values()):
        (tmp_path / f"{number}.yaml").write_text(text)
    commands = [["rewrite", "--files", f"{number}.yaml"] for number in range(len(UNTOUCHED))]
    for (name, text), one in zip(UNTOUCHED.items(), ended(tmp_path, commands), strict=True):
        assert (one.code, one.out, one.made) == (0, text, ()), name
        assert_harmless(one.error)


def test_row_51_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    configured(tmp_path)
    for number, text in enumerate(NO_YAML.values()):
        (tmp_path / f"{number}.yaml").write_bytes(text.encode() or b"a: \xff\xfe\n")
    with open(tmp_path / "huge.yaml", "wb") as file:
        file.truncate(100 * MIB)
    names = [*(f"{number}.yaml" for number in range(len(NO_YAML))), "huge.yaml"]
    for name, one in zip(
        names, ended(tmp_path, [["rewrite", "--files", name] for name in names]), strict=True
    ):
        assert (one.code, one.out, one.made) == (2, "", ()), one
        assert one.reason.startswith(f"error: {name}:"), one
        assert_harmless(one.error)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_row_51_all_but_the_image_stays_to_the_byte(tmp_path: Path, end: str, mark: str) -> None:
    """Anchors, line ends and a byte order mark included; of two keys the last counts."""
    text = mark + end.join(
        ("# one", "apiVersion:   v1", "kind: Pod", "x: &img  'alpine:3'   # two", "spec:",
         "  containers:", "  -  {image: *img, args: [ a,b ]}", "  - image:   nginx # three",
         '    image:   "nginx:1"\t# four', "")
    )  # fmt: skip
    (configured(tmp_path) / "pod.yaml").write_bytes(text.encode())
    (one,) = ended(tmp_path, [["rewrite", "--files", "--in-place", "pod.yaml"]])
    assert one.code == 0, one
    expected = text.replace("*img", '"mirror.example/library/alpine:3"').replace(
        '"nginx:1"', '"mirror.example/library/nginx:1"'
    )
    assert (tmp_path / "pod.yaml").read_bytes() == expected.encode()


HOSTILE_TOML: Mapping[str, str | bytes] = {
    "two tables": "[store]\npath = 'a'\n[store]\npath = 'b'\n",
    "two keys": "[store]\npath = 'a'\npath = 'b'\n",
    "two registries": '[registry."docker.io"]\n[registry."index.docker.io"]\n',
    "lists in lists": "a = " + "[" * 100_000,
    "tables in tables": "a = " + "{a = " * 50_000,
    "keys in keys": "a." * 20_000 + "a = 1",
    "a huge number": "[tags]\nagree = " + "9" * 100_000,
    "a huge number of hexadecimal digits": "[tags]\nagree = 0x" + "f" * 100_000,
    "no UTF-8": b"[server]\n# \xff\xfe\n",
    "UTF-16": "[server]\n".encode("utf-16"),
    "a NUL": b"[server]\n\0\n",
    "escapes": b"[server]\n\x1b[31m = 1\n",
    "half a table": "[server\n",
    "two MiB": "#" * (2 * MIB),
    "a date": "[tags]\nagree = 9999-99-99\n",
}


@pytest.mark.parametrize(
    "command", [["rewrite", "alpine:3"], ["pull", "--to", "oci:image", "alpine:3"], ["serve"]]
)
def test_row_52_toml_that_does_harm_is_refused_with_its_line(tmp_path: Path, command: list[str]) -> None:
    names = []
    for number, text in enumerate(HOSTILE_TOML.values()):
        names.append(f"{number}.toml")
        (tmp_path / names[-1]).write_bytes(text.encode() if isinstance(text, str) else text)
    done = ended(tmp_path, [["--config", name, *command] for name in names])
    for name, title, one in zip(names, HOSTILE_TOML, done, strict=True):
        assert_refused(one, hint=False)
        assert name in one.reason, title
        assert f"{name}:" in one.reason or title == "two MiB", one.reason


OTHERS: Mapping[str, bytes] = {
    "comments": b"# by hand\nserver = 'https://registry-1.docker.io'\n[host.'https://mine.example'] # mine\n",
    "no TOML": b"[host\n\xff\x00",
    "empty": b"",
    "another's": b'[host."https://old.example"]\n  capabilities = ["pull"]\n',
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS.keys())
def test_row_52_a_hosts_toml_of_others_comes_back_as_it_was(tmp_path: Path, text: bytes) -> None:
    tree = tmp_path / "tree"
    place = tree / "etc/containerd/certs.d/docker.io"
    place.mkdir(parents=True)
    (tree / "etc/containerd/config.toml").write_text(
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
        'config_path = "/etc/containerd/certs.d"\n'
    )
    (place / "hosts.toml").write_bytes(text)
    before = listing(tree)
    configured(tmp_path)
    words = ["--root", str(tree), "--runtime", "containerd@1.7.27"]
    applied, reverted = ended(tmp_path, [["node", "apply", *words], ["node", "revert", "--root", str(tree)]])
    for one in (applied, reverted):
        assert one.code in (0, 7), one
        assert_harmless(one.error)
    assert {name: entry for name, entry in listing(tree).items() if not name.startswith("var")} == before


def plant_large(file: Path) -> None:
    file.write_bytes(b"{}")
    os.truncate(file, 1 << 33)


DAEMONS: Mapping[str, Callable[[Path], object]] = {
    "no JSON": lambda file: file.write_bytes(b"{not json"),
    "a list": lambda file: file.write_bytes(b"[]"),
    "deep": lambda file: file.write_bytes(b"[" * 100_000),
    "two keys": lambda file: file.write_bytes(b'{"registry-mirrors": 1, "registry-mirrors": []}'),
    "mirrors of another type": lambda file: file.write_bytes(b'{"registry-mirrors": {"a": 1}}'),
    "no UTF-8": lambda file: file.write_bytes(b'{"a": "\xff"}'),
    "8 GiB": plant_large,
    "a link elsewhere": lambda file: file.symlink_to("/etc/passwd"),
    "a link to nothing": lambda file: file.symlink_to("absent"),
    "a link to itself": lambda file: file.symlink_to("daemon.json"),
    "a directory": lambda file: file.mkdir(),
    "a pipe": lambda file: os.mkfifo(file),
}


def test_row_53_a_daemon_json_that_is_none_is_left_alone(tmp_path: Path) -> None:
    configured(tmp_path)
    commands = []
    for number, plant in enumerate(DAEMONS.values()):
        directory = tmp_path / str(number) / "etc/docker"
        directory.mkdir(parents=True)
        plant(directory / "daemon.json")
        commands.append(["node", "apply", "--root", str(tmp_path / str(number)), "--runtime", "docker@28"])
    before = looks(tmp_path)
    for name, one in zip(DAEMONS, ended(tmp_path, commands), strict=True):
        assert one.code != 0, (name, one)
        assert "daemon.json" in one.error, (name, one.error)
        assert_harmless(one.error)
    assert looks(tmp_path) == before


def looks(directory: Path) -> dict[str, tuple[int, int, int]]:
    """What each entry of each tree's ``etc`` is: kind and mode, size, when it was written."""
    return {
        str(path): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in sorted(directory.glob("*/etc/**/*"))
        for found in (path.lstat(),)
    }


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_row_54_a_review_costs_no_more_than_its_length(operation: Any) -> None:
    """With its images left as they are, beyond a number of them."""

    def work(count: int) -> Callable[[], object]:
        containers = [{"name": f"c{number}", "image": f"alpine:{number}"} for number in range(count)]
        asked = review(item("Pod", {"containers": containers}), operation=operation)
        return lambda: decide(asked, rewrite_table.rules("host-mirror").judge)

    assert growth(work, 100) < GROWTH_MAX


EVIL_HELPERS = [
    "../evil",
    "a/b",
    "a b",
    "a;touch made",
    "$(touch made)",
    "`touch made`",
    "A",
    "",
    "x" * 65,
    "a\nb",
    "é",
]


def test_row_56_a_login_program_is_named_plainly_and_runs_without_a_shell(tmp_path: Path) -> None:
    """Whatever the file says, nothing runs but ``docker-credential-NAME``; hosts are asked as by anybody."""
    hosts = [FakeRegistry(f"host {number}") for number in range(len(EVIL_HELPERS))]
    for host in hosts:
        host.add(image("library/alpine", "3"))
    (tmp_path / ".docker").mkdir()
    trap = tmp_path / "docker-credential-x"
    trap.write_text("#!/bin/sh\ntouch made\n")
    trap.chmod(0o755)
    with ServerThread(*hosts):
        tables = [
            f'[registry."r{number}.example"]\nmirrors = ["{host.url}"]\norigin = "never"\n'
            for number, host in enumerate(hosts)
        ]
        configured(tmp_path, "".join(tables))
        helpers = {host.netloc: name for host, name in zip(hosts, EVIL_HELPERS, strict=True)}
        (tmp_path / ".docker/config.json").write_text(
            json.dumps({"credHelpers": helpers, "credsStore": "$(touch made)"})
        )
        references = [f"r{number}.example/library/alpine:3" for number in range(len(hosts))]
        words = ["pull", "--platform", "linux/amd64", "--to", "oci:image", *references]
        (one,) = ended(tmp_path, [words], PATH=str(tmp_path))
    assert one.code == 0, one
    assert "made" not in one.made
    assert_harmless(one.error)
    assert all("authorization" not in request.headers for host in hosts for request in host.requests)
