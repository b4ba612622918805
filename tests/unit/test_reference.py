"""References: the table of what Docker makes of a text, and what is refused beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from effort import GROWTH_MAX, SIZE_FACTOR, Claiming, growth
from sampan.errors import InvalidReference
from sampan.oci.digest import Digest
from sampan.oci.reference import (
    Reference,
    canonical_registry,
    credential_keys,
    familiar,
    is_local,
    normalise_repository,
    origin_url,
    parse_registry,
    parse_repository,
    parse_tag,
    registry_behind,
)

HEX = "86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa"
D256 = f"sha256:{HEX}"
D512 = f"sha512:{HEX}{HEX}"
ID = "1a3f5e7d9c18e3a9463f9180233f443f59aaff04cb9ce8b2e5959513ce34b473"

# What is written, and the canonical form of it.
CANONICAL = [
    ("busybox", "docker.io/library/busybox:latest"),
    ("busybox:latest", "docker.io/library/busybox:latest"),
    ("library/busybox", "docker.io/library/busybox:latest"),
    ("docker.io/busybox", "docker.io/library/busybox:latest"),
    ("docker.io/library/busybox", "docker.io/library/busybox:latest"),
    ("docker.io/library/foo/bar", "docker.io/library/foo/bar:latest"),
    ("library/foo/bar", "docker.io/library/foo/bar:latest"),
    ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu:latest"),
    ("index.docker.io/debian", "docker.io/library/debian:latest"),
    ("registry-1.docker.io/debian", "registry-1.docker.io/debian:latest"),
    ("dmcgowan/myapp", "docker.io/dmcgowan/myapp:latest"),
    ("test_com/foo", "docker.io/test_com/foo:latest"),
    ("docker/migrator", "docker.io/docker/migrator:latest"),
    ("localhost", "docker.io/library/localhost:latest"),
    ("localhost:5000", "docker.io/library/localhost:5000"),
    ("example.com", "docker.io/library/example.com:latest"),
    ("192.168.1.1:5000", "docker.io/library/192.168.1.1:5000"),
    ("192.168.0.1:80", "docker.io/library/192.168.0.1:80"),
    ("test.com:5000", "docker.io/library/test.com:5000"),
    ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
    ("localhost/fooo", "localhost/fooo:latest"),
    ("localhost/bar", "localhost/bar:latest"),
    ("LOCALDOMAIN/fooo", "LOCALDOMAIN/fooo:latest"),
    ("Foo/bar", "Foo/bar:latest"),
    ("FOO/bar", "FOO/bar:latest"),
    ("foo/bar", "docker.io/foo/bar:latest"),
    ("foo.io/bar", "foo.io/bar:latest"),
    ("test-com:8080/foo", "test-com:8080/foo:latest"),
    ("127.0.0.1:5000/debian", "127.0.0.1:5000/debian:latest"),
    ("xn--n3h.com:18080/foo", "xn--n3h.com:18080/foo:latest"),
    ("[fc00::1]:5000/docker", "[fc00::1]:5000/docker:latest"),
    ("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest"),
    (f"gcr.io/library/busybox:latest@{D256}", f"gcr.io/library/busybox:latest@{D256}"),
    (f"busybox:latest@{D256}", f"docker.io/library/busybox:latest@{D256}"),
    (f"busybox@{D256}", f"docker.io/library/busybox@{D256}"),
    (f"validname@{D512}", f"docker.io/library/validname@{D512}"),
    ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
    ("dock__er/docker", "docker.io/dock__er/docker:latest"),
    ("docker---rules/docker", "docker.io/docker---rules/docker:latest"),
    ("d/docker", "docker.io/d/docker:latest"),
    (f"docker.io/{ID}", f"docker.io/library/{ID}:latest"),
    (f"{ID}:tag", f"docker.io/library/{ID}:tag"),
    (ID[:-1], f"docker.io/library/{ID[:-1]}:latest"),
    ("dbcc1", "docker.io/library/dbcc1:latest"),
    ("2130706433/x", "docker.io/2130706433/x:latest"),
]

# What is written, and what the refusal says of it.
REFUSED = [
    ("", "empty"),
    (ID, "cannot specify 64-byte hexadecimal strings"),
    ("[fc00::1]", "not a repository"),
    ("[fc00::1]:5000", "not a repository"),
    ("fc00::1:5000/debian", "not a registry"),
    ("[fe80::1%eth0]:5000/debian", "not a registry"),
    ("[2001:db8:3:4::192.0.2.33]:5000/debian", "not a registry"),
    ("[:::]/debian", "plain spelling"),
    ("docker/Docker", "lowercase"),
    ("docker.io/docker/Docker", "lowercase"),
    ("test:5000/Uppercase/lowercase:tag", "not a registry|lowercase"),
    ("Uppercase:tag", "lowercase"),
    ("Alpine", "lowercase"),
    ("https://github.com/docker/docker", "not a URL"),
    ("docker://alpine", "not a URL"),
    ("docker///docker", "not a repository"),
    ("docker/", "not a repository"),
    ("/docker", "not a repository"),
    ("-docker/docker", "not a repository"),
    ("docker-/docker", "not a repository"),
    ("_docker/_docker", "not a repository"),
    ("dock..er/docker", "not a registry"),
    ("docker.io/dock..er", "not a repository"),
    ("dock___er/docker", "not a repository"),
    ("____/____", "not a repository"),
    ("aa/asdf$$^/aa", "not a repository"),
    (":justtag", "at least one component"),
    (f"@sha256:{'f' * 64}", "at least one component"),
    ("docker.io/", "at least one component"),
    ("repo@sha256:ffffffffffffffffffffffffffffffffff", "64 hexadecimal digits, got 34"),
    (f"repo@md5:{'f' * 32}", "unsupported digest algorithm"),
    ("tag@sha256", "not a digest"),
    (f"a@{D256}@{D256}", "at most 135 characters"),
    ("a@", "not a digest"),
    ("a:", "not a tag"),
    ("a:b:c", "not a tag"),
    ("a:.b", "not a tag"),
    ("a:-b", "not a tag"),
    ("../../etc/passwd", "not a registry"),
    ("a/../b", "not a repository"),
    ("./x", "not a registry"),
    ("a//b", "not a repository"),
    ("a\\b", "not a repository"),
    ("a\0b", "not a repository"),
    ("a\x7fb", "not a repository"),
    ("a b", "white space"),
    ("alpine\n", "white space"),
    ("a\tb", "white space"),
    ("a／b", "only ASCII"),
    ("a․b/c", "only ASCII"),
    ("a\u202eb", "only ASCII"),
    ("a\u200bb", "only ASCII"),
    ("a\ud800", "only ASCII"),
    ("a:99999/b", "no such port"),
    ("a:0/b", "no such port"),
    ("a:/b", "not a registry"),
    ("host./b", "not a registry"),
    ("-host.io/b", "not a registry"),
    (f"{'a' * 64}.io/b", "not a registry"),
    ("0x7f.1/b", "plain spelling"),
    ("127.1/b", "plain spelling"),
    ("0177.0.0.1/b", "plain spelling"),
    ("256.0.0.1/b", "plain spelling"),
    ("2130706433:5000/b", "plain spelling"),
    ("127.0.0.1./b", "not a registry"),
    ("user:pw@host/b", "no user name or password"),
    ("a" * 256, "at most 255 characters"),
    ("/".join("a" * 1000), "at most 1024 characters"),
    ("/".join("a" * 500), "at most 255 characters"),
]


@pytest.mark.row("8")
@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_a_reference_is_read_as_docker_reads_it(text: str, canonical: str) -> None:
    assert str(Reference.parse(text)) == canonical


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_the_canonical_and_the_familiar_form_parse_to_the_same_reference(text: str, canonical: str) -> None:
    reference = Reference.parse(text)
    assert Reference.parse(canonical) == reference
    assert Reference.parse(familiar(reference)) == reference


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_no_reference_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidReference, match=reason) as caught:
        Reference.parse(text)
    assert caught.value.message.isprintable()


def test_the_parts_of_a_reference_are_told_apart() -> None:
    reference = Reference.parse(f"quay.io:443/a/b:1.2@{D256}")
    assert reference == Reference("quay.io:443", "a/b", "1.2", Digest.parse(D256))
    assert reference.name == "quay.io:443/a/b"
    assert reference.object == D256


def test_the_object_is_the_tag_where_there_is_no_digest() -> None:
    assert Reference.parse("alpine:3").object == "3"


def test_a_bare_reference_can_be_kept_bare_and_still_means_latest() -> None:
    reference = Reference.parse("alpine", default_tag=None)
    assert str(reference) == "docker.io/library/alpine"
    assert familiar(reference) == "alpine"
    assert reference.object == "latest"


def test_a_reference_made_of_parts_is_canonical_too() -> None:
    assert Reference("index.docker.io", "alpine", "3") == Reference.parse("alpine:3")


@pytest.mark.parametrize(
    ("registry", "repository", "tag"),
    [("docker.io/x", "a", "b"), ("docker.io", "A", "b"), ("docker.io", "a", ""), ("docker.io", "", "b")],
)
def test_a_reference_cannot_be_made_of_parts_that_do_not_parse(
    registry: str, repository: str, tag: str
) -> None:
    with pytest.raises(InvalidReference):
        Reference(registry, repository, tag)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/grafana/grafana:11", "grafana/grafana:11"),
        ("docker.io/library/foo/bar:1", "library/foo/bar:1"),
        ("ghcr.io/owner/app:1", "ghcr.io/owner/app:1"),
        ("docker.io/foo.io/bar:1", "docker.io/foo.io/bar:1"),
        ("docker.io/localhost/bar:1", "docker.io/localhost/bar:1"),
    ],
)
def test_the_familiar_form_is_as_short_as_it_can_be(text: str, short: str) -> None:
    assert familiar(Reference.parse(text)) == short


def test_a_name_that_looks_like_an_image_id_is_not_shortened_to_one() -> None:
    assert familiar(Reference("docker.io", ID)) == f"docker.io/library/{ID}"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://hub.docker.com/r/grafana/grafana?x=1", "write grafana/grafana"),
        ("https://hub.docker.com/_/nginx", "write nginx"),
        ("docker://quay.io/a/b:1", "write quay.io/a/b:1"),
        ("https://", "write [registry/]repository[:tag][@digest]"),
        ("Alpine", "write alpine"),
        (ID, f"for content by digest write repository@sha256:{ID}"),
    ],
)
def test_a_refusal_hints_at_what_was_meant(text: str, hint: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "text",
    [
        "user:hunter2@quay.io/a",
        "user:hunter2@quay.io",
        "user:hunter2@quay.io a",
        "https://user:hunter2@quay.io/a",
        "https://user:hunter2@quay.io",
        "user:hunter2@a@b/c",
        "user:hunter2@é",
    ],
)
def test_a_refusal_shows_no_password(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_tag_of_128_characters_is_the_longest() -> None:
    assert parse_tag("a" * 128) == "a" * 128
    with pytest.raises(InvalidReference, match="at most 128 characters, got 129"):
        parse_tag("a" * 129)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a b", "a\n", "a@b", "é", "٣", "a:b"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(InvalidReference, match="not a tag"):
        parse_tag(tag)


@pytest.mark.parametrize("tag", ["latest", "1.27", "_x", "A.b-c_d", "3", "v1..2--3"])
def test_a_tag_is_returned_as_it_is(tag: str) -> None:
    assert parse_tag(tag) == tag


def test_a_repository_of_255_characters_is_the_longest() -> None:
    assert parse_repository("a" * 255) == "a" * 255
    with pytest.raises(InvalidReference, match="at most 255 characters, got 256"):
        parse_repository("a" * 256)


@pytest.mark.parametrize(
    "repository",
    ["", "/a", "a/", "a..b", "-a", "a-", "a___b", "a.-b", "a:b", "A", "a\n", "..", "a/./b", "a%2fb", "a@b"],
)
def test_what_is_no_repository_is_refused(repository: str) -> None:
    with pytest.raises(InvalidReference):
        parse_repository(repository)


@pytest.mark.parametrize(
    "registry",
    ["docker.io", "localhost", "a:1", "a:65535", "[::1]:5000", "A.b", "10.0.0.1", "1a.b2", "a.0xg"],
)
def test_a_registry_is_returned_as_it_is(registry: str) -> None:
    assert parse_registry(registry) == registry


@pytest.mark.parametrize(
    "registry",
    [
        *(
            "",
            "a/b",
            "a b",
            "a..b",
            ".a",
            "a.",
            "a:",
            "a:65536",
            "a:-1",
            "a:٣",
            "a:5:5",
            "a_b.io",
            "é.io",
            "a\n",
        ),
        *("[::1", "::1", "[]", "[::1%25eth0]", "[127.0.0.1]", "0x7f000001", "1.2.3", "01.2.3.4", "1.2.3.4.5"),
        *("u@h", "a?b", "a#b", "evil/..", "http://a", "x" * 262, ".".join(["a" * 63] * 4)),
    ],
)
def test_what_is_no_registry_is_refused(registry: str) -> None:
    with pytest.raises(InvalidReference):
        parse_registry(registry)


@pytest.mark.row("4")
@pytest.mark.parametrize("parse", [Reference.parse, parse_registry, parse_repository, parse_tag])
def test_a_text_of_a_megabyte_is_refused_for_its_length_and_not_read(parse: Callable[[str], object]) -> None:
    assert parse("alpine")
    with pytest.raises(InvalidReference, match=r"at most .* characters, got 1000000"):
        parse(Claiming("alpine", 1_000_000))


@pytest.mark.row("4")
@pytest.mark.parametrize(
    "filler", ["a", "a-", "a_", "--a", "a.b_c", "0/", "a.", "a/", "/", "[", "1.", "a:", "@", "é", "\0"]
)
@pytest.mark.parametrize(
    ("parse", "length"),
    [(Reference.parse, 1024), (parse_registry, 261), (parse_repository, 255), (parse_tag, 128)],
)
def test_the_longest_texts_that_just_fail_to_match_cost_no_more_than_their_length(
    parse: Callable[[str], object], length: int, filler: str
) -> None:
    def work(length: int) -> Callable[[], object]:
        text = (filler * length)[: length - 1] + "!"
        return lambda: outcome(parse, text)

    assert growth(work, length // SIZE_FACTOR) < GROWTH_MAX


def outcome(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except InvalidReference as error:
        return error


@pytest.mark.parametrize(
    ("registry", "canonical"),
    [
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "registry-1.docker.io"),
        ("docker.io:443", "docker.io:443"),
        ("ghcr.io", "ghcr.io"),
    ],
)
def test_only_index_docker_io_is_another_name_of_docker_hub(registry: str, canonical: str) -> None:
    assert canonical_registry(registry) == canonical


@pytest.mark.parametrize(
    ("registry", "repository", "normal"),
    [
        ("docker.io", "alpine", "library/alpine"),
        ("docker.io", "a/b", "a/b"),
        ("docker.io", "", ""),
        ("ghcr.io", "alpine", "alpine"),
        ("registry-1.docker.io", "alpine", "alpine"),
    ],
)
def test_only_docker_hub_has_a_library(registry: str, repository: str, normal: str) -> None:
    assert normalise_repository(registry, repository) == normal


def test_docker_hub_answers_at_another_host_than_its_name() -> None:
    assert origin_url("docker.io") == "https://registry-1.docker.io"
    assert origin_url("ghcr.io") == "https://ghcr.io"
    assert origin_url("[::1]:5000") == "https://[::1]:5000"


def test_the_login_for_docker_hub_lies_under_its_old_url_first() -> None:
    keys = credential_keys("docker.io")
    assert keys[0] == "https://index.docker.io/v1/"
    assert {"docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io"} < set(keys)
    assert len(keys) == len(set(keys))


def test_the_login_for_another_registry_lies_under_its_name_or_a_url_of_it() -> None:
    assert credential_keys("a.io:5000") == (
        "a.io:5000",
        "https://a.io:5000",
        "https://a.io:5000/",
        "https://a.io:5000/v1/",
        "https://a.io:5000/v2/",
    )


@pytest.mark.parametrize(
    ("host", "registry"),
    [
        ("registry-1.docker.io", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("quay.io", "quay.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_a_host_of_docker_hub_has_docker_hubs_images(host: str, registry: str) -> None:
    assert registry_behind(host) == registry


@pytest.mark.parametrize(
    ("registry", "local"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("app.localhost", True),
        ("127.0.0.1:5000", True),
        ("10.1.2.3", True),
        ("[::1]:5000", True),
        ("[fd00::1]", True),
        ("8.8.8.8", False),
        ("[2606:4700::1]:443", False),
        ("localhost.example", False),
        ("quay.io:443", False),
    ],
)
def test_this_machine_and_private_addresses_are_local(registry: str, local: bool) -> None:
    assert is_local(registry) is local
