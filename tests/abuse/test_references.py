"""Names that no image has: rows 1 to 10 of the catalogue, by the command line and over the wire.

What each part of a name may be is in tests/unit/test_reference.py and test_digest.py, and that no text costs
more than its length. Here a whole mirror and whole commands are given them: nobody is asked, nothing is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from abuse.bounds import ALPINE, assert_refused, bounded, unasked
from abuse.commands import assert_refused as assert_command_refused
from abuse.commands import ended
from faults.trial import trial
from sampan.testing import FakeRegistry, ServerThread

pytestmark = pytest.mark.standstill

SHA = "a" * 64


def paths_of(repositories: Iterable[str]) -> list[str]:
    return [f"/v2/{repository}/manifests/3" for repository in repositories]


async def assert_paths_refused(path: Path, targets: list[str], *codes: str) -> None:
    async with unasked(path, requests=len(targets)) as endured:
        for target in targets:
            assert_refused(await endured.ask(target), *codes)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    """A directory whose sampan.toml names a host that must not be asked."""
    unasked = FakeRegistry("unasked", strict=True)
    with ServerThread(unasked):
        (tmp_path / "sampan.toml").write_text(
            f'[registry."docker.io"]\nmirrors = ["{unasked.url}"]\norigin = "never"\n'
        )
        yield tmp_path
        assert unasked.connections == 0


def assert_references_refused(machine: Path, references: list[str], *, hint: bool = False) -> list[str]:
    """By ``sampan pull``; what it said."""
    done = ended(machine, [["pull", "--to", "oci:image", "--", reference] for reference in references])
    for one in done:
        assert_command_refused(one, hint=hint)
    return [one.error for one in done]


TRAVERSING = ["../../etc/passwd", "a/../b", "./x", "a//b", "/a", "a/"]


async def test_row_1_paths_in_place_of_a_repository(tmp_path: Path) -> None:
    await assert_paths_refused(tmp_path, paths_of(TRAVERSING), "NAME_INVALID")


def test_row_1_paths_in_place_of_a_reference(machine: Path) -> None:
    assert_references_refused(machine, TRAVERSING)


async def test_row_2_names_that_are_encoded(tmp_path: Path) -> None:
    names = [
        "%2e%2e/%2e%2e/etc", "%2e%2e%2f%2e%2e%2fetc", "library%2Falpine", "library%2falpine",
        "library/alpine%252f", "%252e%252e/x", "library/alpine%00", "library/%c0%af", "library/%c0%ae%c0%ae",
        "library/%e0%80%af", "library/%", "library/%zz", "library/alpine%5c", "%2525252e/x",
    ]  # fmt: skip
    await assert_paths_refused(tmp_path, paths_of(names), "NAME_INVALID")


async def test_row_2_what_is_encoded_once_is_what_it_says(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            answer = await endured.ask("/v2/library/%61lpine/manifests/%33")
            assert (answer.status, answer.body) == (200, ALPINE.raw)
        assert {request.target for request in host.requests} == {"/v2/library/alpine/manifests/3"}


STRANGE = [
    "a\\b",
    "a\rb",
    "a\nb",
    "a\tb",
    "a\x7fb",
    "a\x1b[2Jb",
    "a／b",
    "a․b",
    "a\u202eb",
    "a\u200bb",
    "аlpine",
]


async def test_row_3_characters_that_are_not_what_they_look_like(tmp_path: Path) -> None:
    """As they are, where a request line can hold them at all, and encoded."""
    raw = [name.encode().decode("latin-1") for name in STRANGE if not set(name) & set("\r\n")]
    encoded = ["".join(f"%{byte:02x}" for byte in name.encode()) for name in (*STRANGE, "a\0b")]
    async with unasked(tmp_path, requests=len(raw) + len(encoded)) as endured:
        for target in paths_of((*raw, *encoded)):
            assert_refused(await endured.ask(target), "NAME_INVALID", "UNSUPPORTED")


def test_row_3_characters_that_are_not_what_they_look_like_in_a_reference(machine: Path) -> None:
    assert_references_refused(machine, STRANGE)


WRONG_NAMES = ["Library/alpine", "a/" + "b" * 254, "a/b..c", "a/-b", "a/b-", "a/b___c", "a/" * 999 + "a"]


async def test_row_4_names_beyond_the_grammar(tmp_path: Path) -> None:
    await assert_paths_refused(tmp_path, paths_of(WRONG_NAMES[1:]), "NAME_INVALID")
    async with FakeRegistry("host", strict=True) as host, trial(tmp_path / "other", [host]) as endured:
        assert_refused(await endured.ask(f"/v2/library/{'a' * 8000}/manifests/3"), "NAME_INVALID")
        assert (await endured.ask(f"/v2/library/{'a' * 1_000_000}/manifests/3")).status == 431


def test_row_4_names_beyond_the_grammar_in_a_reference(machine: Path) -> None:
    assert_references_refused(machine, WRONG_NAMES[1:])


def test_row_4_a_megabyte_of_a_name_is_not_read(machine: Path) -> None:
    (machine / "images.txt").write_text(f"{'a' * 1_000_000}\n")
    (one,) = ended(machine, [["pull", "--to", "oci:image", "--from-file", "images.txt"]])
    assert_command_refused(one, hint=False)


async def test_row_5_tags_that_are_none(tmp_path: Path) -> None:
    tags = ["t" * 129, ".tag", "-tag", "tag@sha256", "tag@@", "", "a@b@c", "%20", "t%0a"]
    await assert_paths_refused(
        tmp_path, [f"/v2/library/alpine/manifests/{tag}" for tag in tags], "NAME_INVALID", "DIGEST_INVALID"
    )


def test_row_5_tags_that_are_none_in_a_reference(machine: Path) -> None:
    tags = [
        f":{'t' * 129}",
        ":.tag",
        ":-tag",
        ":tag@sha256",
        f"@sha256:{SHA}@sha256:{SHA}",
        ":",
        "::",
        ":a:b",
    ]
    assert_references_refused(machine, [f"alpine{tag}" for tag in tags])


async def test_row_6_digests_that_are_none(tmp_path: Path) -> None:
    digests = [
        f"sha256:{SHA}a", f"sha256:{SHA[1:]}", f"sha256:{SHA.upper()}", f"md5:{SHA[:32]}", "sha256:../../x",
        "sha256:a/b", f"sha3:{SHA}", "", "sha256:", ":", f"sha256:{SHA[:-6]}%2e%2e%2f", f"sha512:{SHA}",
    ]  # fmt: skip
    for kind in ("blobs", "manifests", "referrers"):
        targets = [f"/v2/library/alpine/{kind}/{digest}" for digest in digests]
        await assert_paths_refused(
            tmp_path / kind, targets, "DIGEST_INVALID", "NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED"
        )


def test_row_6_digests_that_are_none_in_a_reference(machine: Path) -> None:
    digests = [f"sha256:{SHA}a", f"sha256:{SHA.upper()}", "md5:1", "sha256:../../x", "sha256:a/b", ""]
    assert_references_refused(machine, [f"alpine@{digest}" for digest in digests])


ODD_HOSTS = [
    "a:99999", "a:0", "host.", "user:hunter2@host", "0x7f.1", "127.1", "2130706433:80", "0177.0.0.1",
    "[::1", "[::ffff:127.0.0.1%25lo]", "xn--pple-43d.com ", "аpple.com", "-a.io", "[fe80::1%eth0]:5000",
]  # fmt: skip


async def test_row_7_hosts_that_are_none(tmp_path: Path) -> None:
    spelt = [
        host.encode().decode("latin-1").replace(" ", "%20").replace("%25", "%2525") for host in ODD_HOSTS
    ]
    targets = [f"/v2/x/manifests/3?ns={host.replace('@', '%40')}" for host in spelt]
    async with unasked(tmp_path, requests=len(targets)) as endured:
        for target in targets:
            answer = await endured.ask(target)
            assert_refused(answer, "NAME_INVALID", "NAME_UNKNOWN", "UNSUPPORTED")
            assert b"hunter2" not in answer.body
        assert "hunter2" not in endured.written()


def test_row_7_hosts_that_are_none_in_a_reference(machine: Path) -> None:
    said = assert_references_refused(machine, [f"{host}/x:1" for host in ODD_HOSTS])
    assert not any("hunter2" in error for error in said)


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/v2/nginx/manifests/1", "/v2/library/nginx/manifests/1"),
        ("/v2/nginx/manifests/1?ns=docker.io", "/v2/library/nginx/manifests/1"),
        ("/v2/docker.io/nginx/manifests/1", "/v2/library/nginx/manifests/1"),
        ("/v2/index.docker.io/nginx/manifests/1", "/v2/library/nginx/manifests/1"),
        ("/v2/nginx/manifests/1?ns=index.docker.io", "/v2/library/nginx/manifests/1"),
        ("/v2/foo/bar/manifests/1", "/v2/foo/bar/manifests/1"),
        ("/v2/localhost/bar/manifests/1", "/v2/localhost/bar/manifests/1"),
        ("/v2/foo.io/bar/manifests/1", None),
        ("/v2/nginx/manifests/1?ns=registry-1.docker.io", None),
    ],
)
async def test_row_8_a_name_that_may_mean_two_things_means_one(
    tmp_path: Path, target: str, asked: str | None
) -> None:
    async with FakeRegistry("hub") as hub, trial(tmp_path, [hub]) as endured:
        with bounded(calls_max=200_000):
            answer = await endured.ask(target)
    assert answer.status == 404
    assert answer.error["code"] == ("NAME_UNKNOWN" if asked is None else "MANIFEST_UNKNOWN")
    assert {request.target for request in hub.requests} == (set() if asked is None else {asked})


def test_row_9_a_url_in_place_of_a_reference(machine: Path) -> None:
    meant = {
        "https://hub.docker.com/r/grafana/grafana": "hint: write grafana/grafana\n",
        "https://hub.docker.com/_/nginx?tab=tags": "hint: write nginx\n",
        "docker://quay.io/a/b:1": "hint: write quay.io/a/b:1\n",
        "https://user:hunter2@quay.io/a/b": "hint: write quay.io/a/b\n",
        "file:///etc/passwd": "hint: write ",
    }
    said = assert_references_refused(machine, list(meant), hint=True)
    for error, hint in zip(said, meant.values(), strict=True):
        assert hint in error
        assert "hunter2" not in error
    assert all(
        "white space" in error for error in assert_references_refused(machine, ["a b", " a", "a\u3000b"])
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", 'for=6.6.6.6;host=evil.example;proto="gopher"'),
        ("X-Original-URL", "/v2/evil/x/manifests/1"),
        ("X-HTTP-Method-Override", "DELETE"),
    ],
)
async def test_row_10_what_a_client_says_of_proxies_is_not_believed(
    tmp_path: Path, name: str, value: str
) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        host.add(ALPINE, tags=("1", "2"))
        async with trial(tmp_path, [host]) as endured:
            headers = {name.replace("-", "_"): value}
            assert (await endured.ask("/v2/library/alpine/manifests/3", **headers)).body == ALPINE.raw
            tags = await endured.ask("/v2/library/alpine/tags/list?n=1", **headers)
            assert tags.headers["link"] == '</v2/library/alpine/tags/list?n=1&last=1>; rel="next"'
            written = endured.written()
        assert "127.0.0.1" in written
        assert not any(word in written for word in ("6.6.6.6", "evil", "gopher"))
        for request in host.requests:
            assert name.lower() not in request.headers
            assert request.headers["host"] == host.netloc


async def test_row_10_the_host_header_leads_nowhere(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        async with trial(tmp_path, [host]) as endured:
            target = "http://evil.example:22/v2/library/alpine/manifests/3"
            answer = await endured.ask(target)
            assert answer.body == ALPINE.raw
            assert not any("evil" in value for value in answer.headers.values())
