"""The wire: which path means what, of which registry, and which errors are told how."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from effort import GROWTH_MAX, SIZE_FACTOR, Claiming, calls, growth
from sampan.errors import (
    InvalidDigest,
    InvalidReference,
    InvalidRequest,
    RegistryUnknown,
    SampanError,
    Unsupported,
)
from sampan.oci.digest import Digest
from sampan.oci.distribution import (
    PATH_CHARACTERS_MAX,
    Kind,
    Registries,
    Target,
    blob_path,
    error_document,
    manifest_path,
    parse_target,
    referrers_path,
    tags_path,
)

HEX = "c" * 64
D256 = f"sha256:{HEX}"
DIGEST = Digest.parse(D256)
SOME = Registries(
    frozenset({"docker.io", "ghcr.io", "localhost:5000", "harbor"}), wildcard=False, default="docker.io"
)
ANY = Registries(frozenset({"docker.io"}), wildcard=True, default="docker.io")
OTHER_DEFAULT = Registries(frozenset({"harbor.lan"}), wildcard=False, default="harbor.lan")


def target(path: str, *ns: str, registries: Registries = SOME) -> Target:
    return parse_target(path, ns=ns, registries=registries)


@pytest.mark.parametrize(
    ("path", "kind", "repository", "wanted"),
    [
        ("/v2/", Kind.BASE, "", None),
        ("/v2", Kind.BASE, "", None),
        ("/v2/a/b/manifests/1.2", Kind.MANIFEST, "a/b", "1.2"),
        ("/v2/a/b/manifests/_X.y-z", Kind.MANIFEST, "a/b", "_X.y-z"),
        (f"/v2/a/b/manifests/{D256}", Kind.MANIFEST, "a/b", DIGEST),
        (f"/v2/a/b/manifests/sha512:{HEX}{HEX}", Kind.MANIFEST, "a/b", Digest("sha512", HEX + HEX)),
        (f"/v2/a/b/blobs/{D256}", Kind.BLOB, "a/b", DIGEST),
        ("/v2/a/b/tags/list", Kind.TAGS, "a/b", None),
        (f"/v2/a/b/referrers/{D256}", Kind.REFERRERS, "a/b", DIGEST),
        (f"/v2/a/b/blobs/sha256%3A{HEX}", Kind.BLOB, "a/b", DIGEST),
        ("/v2/a/b/manifests/1%2e2", Kind.MANIFEST, "a/b", "1.2"),
        ("/v2/a/manifests/manifests/manifests", Kind.MANIFEST, "a/manifests", "manifests"),
        (f"/v2/manifests/blobs/blobs/{D256}", Kind.BLOB, "manifests/blobs", DIGEST),
        ("/v2/a/tags/list/tags/list", Kind.TAGS, "a/tags/list", None),
        ("/v2/a/blobs/uploads/manifests/latest", Kind.MANIFEST, "a/blobs/uploads", "latest"),
        ("/v2/v2/v2/manifests/list", Kind.MANIFEST, "v2/v2", "list"),
    ],
)
def test_a_path_is_read_from_the_right(
    path: str, kind: Kind, repository: str, wanted: str | Digest | None
) -> None:
    assert target(path) == Target(kind, "docker.io", repository, wanted)


@pytest.mark.parametrize("repository", ["a", "a/b", "a/manifests/b", "tags/list"])
def test_the_paths_that_we_ask_for_are_those_that_we_read(repository: str) -> None:
    def read_back(path: str) -> Target:
        return target(path, "ghcr.io")

    assert read_back(manifest_path(repository, "3")) == Target(Kind.MANIFEST, "ghcr.io", repository, "3")
    assert read_back(manifest_path(repository, DIGEST)) == Target(
        Kind.MANIFEST, "ghcr.io", repository, DIGEST
    )
    assert read_back(blob_path(repository, DIGEST)) == Target(Kind.BLOB, "ghcr.io", repository, DIGEST)
    assert read_back(tags_path(repository)) == Target(Kind.TAGS, "ghcr.io", repository, None)
    assert read_back(referrers_path(repository, DIGEST)) == Target(
        Kind.REFERRERS, "ghcr.io", repository, DIGEST
    )


@pytest.mark.parametrize(
    ("name", "ns", "registries", "registry", "repository"),
    [
        # nothing said: the default, whose one-part names have library/ when it is Docker Hub
        ("alpine", [], SOME, "docker.io", "library/alpine"),
        ("library/alpine", [], SOME, "docker.io", "library/alpine"),
        ("alpine.io", [], ANY, "docker.io", "library/alpine.io"),
        ("app", [], OTHER_DEFAULT, "harbor.lan", "app"),
        ("my.project/app", [], OTHER_DEFAULT, "harbor.lan", "my.project/app"),
        # ns wins, and then the path is the repository alone
        ("alpine", ["docker.io"], SOME, "docker.io", "library/alpine"),
        ("owner/app", ["ghcr.io"], SOME, "ghcr.io", "owner/app"),
        ("app", ["ghcr.io"], SOME, "ghcr.io", "app"),
        ("ghcr.io/owner/app", ["docker.io"], SOME, "docker.io", "ghcr.io/owner/app"),
        ("docker.io/a/b", ["ghcr.io"], SOME, "ghcr.io", "docker.io/a/b"),
        ("alpine", ["index.docker.io"], SOME, "docker.io", "library/alpine"),
        ("alpine", ["Docker.IO"], SOME, "docker.io", "library/alpine"),
        ("a/b", ["localhost:5000"], SOME, "localhost:5000", "a/b"),
        ("a/b", ["harbor"], SOME, "harbor", "a/b"),
        ("a/b", ["quay.io"], ANY, "quay.io", "a/b"),
        ("a/b", ["QUAY.io"], ANY, "quay.io", "a/b"),
        ("a/b", ["[fd00::1]:5000"], ANY, "[fd00::1]:5000", "a/b"),
        # a first part that is a registry
        ("ghcr.io/owner/app", [], SOME, "ghcr.io", "owner/app"),
        ("docker.io/alpine", [], SOME, "docker.io", "library/alpine"),
        ("index.docker.io/alpine", [], SOME, "docker.io", "library/alpine"),
        ("localhost:5000/a", [], SOME, "localhost:5000", "a"),
        ("harbor/a", [], SOME, "harbor", "a"),
        ("quay.io/a/b", [], ANY, "quay.io", "a/b"),
        ("[fd00::1]:5000/a", [], ANY, "[fd00::1]:5000", "a"),
        ("host:5000/a", [], ANY, "host:5000", "a"),
        ("localhost/a", [], ANY, "docker.io", "localhost/a"),
        ("owner/quay.io/a", [], ANY, "docker.io", "owner/quay.io/a"),
    ],
)
def test_which_registry_is_meant(
    name: str, ns: list[str], registries: Registries, registry: str, repository: str
) -> None:
    found = parse_target(f"/v2/{name}/manifests/latest", ns=ns, registries=registries)
    assert (found.registry, found.repository) == (registry, repository)


@pytest.mark.row("11", "12")
@pytest.mark.parametrize(
    ("name", "ns", "registries"),
    [
        ("a/b", ["quay.io"], SOME),
        ("a/b", ["169.254.169.254"], SOME),
        ("a/b", ["localhost:6443"], SOME),
        ("a/b", ["localhost"], ANY),
        ("a/b", ["harbor"], ANY),
        ("a/b", ["registry-1.docker.io"], SOME),
        ("quay.io/a/b", [], SOME),
        ("169.254.169.254/x", [], SOME),
        ("localhost:6443/x", [], SOME),
        ("host:5000", [], ANY),
        ("host:5000/x", [], OTHER_DEFAULT),
        ("a/b", ["docker.io"], OTHER_DEFAULT),
        ("a/b", [], Registries(frozenset({"ghcr.io"}), wildcard=False, default="docker.io")),
    ],
)
def test_a_registry_that_is_not_configured_is_unknown(
    name: str, ns: list[str], registries: Registries
) -> None:
    with pytest.raises(RegistryUnknown, match="is not configured here") as caught:
        parse_target(f"/v2/{name}/manifests/latest", ns=ns, registries=registries)
    assert (caught.value.http_status, caught.value.oci_code) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    "ns",
    [
        "",
        "evil/..",
        "a b",
        "user@ghcr.io",
        "ghcr.io/a",
        "http://ghcr.io",
        "ghcr.io\r\n",
        "0x7f.1",
        "é.io",
        "g" * 10_240,
    ],
)
@pytest.mark.parametrize("path", ["/v2/", "/v2/a/b/tags/list"])
def test_an_ns_that_is_no_host_is_refused(ns: str, path: str) -> None:
    with pytest.raises(InvalidReference):
        target(path, ns, registries=ANY)


@pytest.mark.parametrize("path", ["/v2/", "/v2/a/b/tags/list"])
def test_more_than_one_ns_is_refused_even_if_they_agree(path: str) -> None:
    with pytest.raises(InvalidRequest, match="names 2 registries"):
        target(path, "ghcr.io", "ghcr.io")


def test_the_base_path_names_the_registry_of_its_ns() -> None:
    assert target("/v2/", "ghcr.io").registry == "ghcr.io"
    assert target("/v2/").registry == "docker.io"
    with pytest.raises(RegistryUnknown):
        target("/v2/", "quay.io")


@pytest.mark.row("1", "2", "3")
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", InvalidRequest),
        ("/", InvalidRequest),
        ("/v1/_ping", InvalidRequest),
        ("v2/", InvalidRequest),
        ("/v2x/", InvalidRequest),
        ("/V2/a/tags/list", InvalidRequest),
        ("//v2/a/tags/list", InvalidRequest),
        ("/v2//", InvalidRequest),
        ("/v2/a", InvalidRequest),
        ("/v2/a/b", InvalidRequest),
        ("/v2/_catalog", InvalidRequest),
        ("/v2/a/tags/", InvalidRequest),
        ("/v2/a/tags/other", InvalidRequest),
        ("/v2/a/tags/list/", InvalidRequest),
        (f"/v2/a/blobs/{D256}/", InvalidRequest),
        ("/v2/a/manifests/b/c", InvalidRequest),
        ("/v2/a/blobs/uploads/", Unsupported),
        ("/v2/a/blobs/uploads", Unsupported),
        ("/v2/a/blobs/uploads/6f2c", Unsupported),
        ("/v2/manifests/latest", InvalidReference),
        ("/v2//manifests/latest", InvalidReference),
        ("/v2/tags/list", InvalidReference),
        ("/v2/a//b/manifests/latest", InvalidReference),
        ("/v2/a/../b/manifests/latest", InvalidReference),
        ("/v2/../../etc/passwd/manifests/latest", InvalidReference),
        ("/v2/./x/manifests/latest", InvalidReference),
        ("/v2/A/b/manifests/latest", InvalidReference),
        ("/v2/a___b/c/manifests/latest", InvalidReference),
        ("/v2/a\\b/manifests/latest", InvalidReference),
        ("/v2/a\0/manifests/latest", InvalidReference),
        ("/v2/a／b/manifests/latest", InvalidReference),
        ("/v2/\ud800/manifests/latest", InvalidReference),
        ("/v2/%\ud800/manifests/latest", InvalidReference),
        ("/v2/a/manifests/", InvalidReference),
        ("/v2/a/manifests/.tag", InvalidReference),
        ("/v2/a/manifests/-tag", InvalidReference),
        (f"/v2/a/manifests/{'t' * 129}", InvalidReference),
        ("/v2/a/manifests/tag@sha256", InvalidReference),
        ("/v2/a/manifests/tag?ns=x", InvalidReference),
        ("/v2/a/manifests/tag\r\nX: y", InvalidDigest),
        (f"/v2/{'a' * 256}/manifests/latest", InvalidReference),
        (f"/v2/{'a/' * 999}a/manifests/latest", InvalidReference),
        ("/v2/a/manifests/sha256:" + "c" * 63, InvalidDigest),
        ("/v2/a/manifests/md5:" + "c" * 32, InvalidDigest),
        ("/v2/a/manifests/:", InvalidDigest),
        ("/v2/a/blobs/", InvalidDigest),
        ("/v2/a/blobs/latest", InvalidDigest),
        ("/v2/a/blobs/sha256:" + "C" * 64, InvalidDigest),
        ("/v2/a/blobs/sha256:" + "c" * 65, InvalidDigest),
        ("/v2/a/referrers/latest", InvalidDigest),
        # encoded: once, and never a slash
        ("/v2/%2e%2e%2fetc/manifests/latest", InvalidReference),
        ("/v2/a/%2e%2e/b/manifests/latest", InvalidReference),
        ("/v2/a%2Fb/manifests/latest", InvalidReference),
        ("/v2/a%2fb/manifests/latest", InvalidReference),
        ("/v2/a%252Fb/manifests/latest", InvalidReference),
        ("/v2/a%252eb/manifests/latest", InvalidReference),
        ("/v2/a/manifests/%", InvalidReference),
        ("/v2/a/manifests/%zz", InvalidReference),
        ("/v2/a%00/manifests/latest", InvalidReference),
        ("/v2/a/manifests/latest%0d%0a", InvalidReference),
        ("/v2/a/manifests/latest%0A", InvalidReference),
        ("/v2/a%c0%afb/manifests/latest", InvalidReference),
        ("/v2/a/manifests/caf%C3%A9", InvalidReference),
        ("/v2/a/manifests/%EF%BC%8F", InvalidReference),
        ("/v2/é%41/manifests/latest", InvalidReference),
    ],
)
def test_a_path_outside_the_grammar_is_refused(path: str, error: type[SampanError]) -> None:
    with pytest.raises(error) as caught:
        target(path)
    assert 400 <= caught.value.http_status < 500
    assert caught.value.message.isprintable()


def test_a_path_of_a_megabyte_is_refused_for_its_length_and_not_read() -> None:
    path = "/v2/library/alpine/manifests/latest"
    assert target(path).kind is Kind.MANIFEST
    with pytest.raises(InvalidReference, match=f"at most {PATH_CHARACTERS_MAX} characters, got 1000000"):
        target(Claiming(path, 1_000_000))


@pytest.mark.parametrize("filler", ["a", "a/", "%41", "/", "%", "é", "manifests/"])
def test_the_longest_paths_cost_no_more_than_their_length(filler: str) -> None:
    def work(length: int) -> Callable[[], object]:
        path = "/v2/" + filler * (length // len(filler)) + "/manifests/latest"
        return lambda: outcome(path)

    assert growth(work, PATH_CHARACTERS_MAX // SIZE_FACTOR - 4) < GROWTH_MAX


def outcome(path: str) -> object:
    try:
        return target(path)
    except SampanError as error:
        return error


def test_the_longest_names_fit_into_a_path_even_if_all_is_encoded() -> None:
    digest = Digest("sha512", "d" * 128)
    path = blob_path("r" * 255, digest)
    whole = "/".join("".join(f"%{ord(character):02X}" for character in part) for part in path.split("/"))
    assert target(whole, "ghcr.io") == Target(Kind.BLOB, "ghcr.io", "r" * 255, digest)


def test_a_target_is_read_with_a_handful_of_calls() -> None:
    assert calls(lambda: target("/v2/library/alpine/manifests/latest", "docker.io")) < 50


def test_an_error_is_told_in_the_specs_json() -> None:
    assert json.loads(error_document("NAME_UNKNOWN", "no such", {"attempts": []})) == {
        "errors": [{"code": "NAME_UNKNOWN", "message": "no such", "detail": {"attempts": []}}]
    }
    assert "detail" not in json.loads(error_document("UNKNOWN", "x"))["errors"][0]


def test_an_error_document_carries_no_control_characters_and_has_a_bound() -> None:
    body = error_document("UNKNOWN", "a\x1b[31m\r\nb\ud800" + "c" * 1_000_000)
    assert body.isascii()
    message = json.loads(body)["errors"][0]["message"]
    assert message.replace("\n", "").isprintable()
    assert message.split("\n")[0] == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}"
    assert len(body) < 10_000
