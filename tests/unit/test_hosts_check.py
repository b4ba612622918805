"""One hosts.toml: whom it asks, and what in it does nothing, with the line."""

from __future__ import annotations

import pytest

from sampan.runtimes.hosts_check import check
from sampan.runtimes.hosts_toml import Dialect

OLD = Dialect(override_path=False, is_2=False)
NEW = Dialect(dial_timeout=True)
NEWEST = Dialect(dial_timeout=True, referrers=True)
HUB = "https://registry-1.docker.io"
ONE = '[host."https://m"]\n'


def found(text: str, dialect: Dialect = NEW, registry: str = "docker.io") -> set[tuple[str, int | None]]:
    checked = check("hosts.toml", text.encode(), registry, dialect, lambda path: path == "there.pem")
    assert all(finding.file == "hosts.toml" for finding in checked.findings)
    return {(finding.code, finding.line) for finding in checked.findings}


def asked(text: str, dialect: Dialect = NEW, registry: str = "docker.io") -> tuple[str, ...] | None:
    return check("hosts.toml", text.encode(), registry, dialect, lambda _: True).hosts


def test_hosts_are_asked_in_the_order_of_their_tables_and_the_server_last() -> None:
    text = (
        'server = "https://s"\n[host."https://b"]\n[host."https://a"]\n[host."https://a".header]\nx = "y"\n'
    )
    assert asked(text) == ("https://b", "https://a", "https://s")
    assert found(text) == set()


def test_without_a_server_the_registry_itself_is_asked_last_and_nobody_by_the_file_of_all() -> None:
    assert asked(ONE) == ("https://m", HUB)
    assert asked(ONE, registry="*") == ("https://m",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        (ONE + 'capabilities = ["pull", "resolve", "referrers"]\n', 2),
        ('capabilities = "pull"\n' + ONE, 1),
        (ONE + 'skip_verify = "yes"\n', 2),
        (ONE + "\noverride_path = 1\n", 3),
        (ONE + 'dial_timeout = "soon"\n', 2),
        (ONE + "dial_timeout = 2\n", 2),
        (ONE + "[host\n", 2),
        ("\ufeff" + ONE, 1),
        ('host = "https://m"\n', None),
    ],
)
def test_what_makes_2_1_drop_the_whole_file_is_told_with_its_line(text: str, line: int | None) -> None:
    assert found(text) == {("HOSTS_TOML_DROPPED", line)}
    assert asked(text) is None


def test_what_other_versions_take_is_no_fault_there() -> None:
    assert asked(ONE + 'capabilities = ["Pull", "RESOLVE", "referrers"]\n', NEWEST) == ("https://m", HUB)
    assert asked("\ufeff" + ONE, OLD) == ("https://m", HUB)
    assert asked(ONE + 'dial_timeout = "1m30s"\n') == ("https://m", HUB)
    assert asked('server = "https://m"\n', OLD) is None, "1.x wants a table of a host"
    assert asked('server = "https://m"\n[host]\n', OLD) == ("https://m",)
    assert asked('host."https://m".skip_verify = true\n', OLD) == ("https://m", HUB)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('host."https://m".skip_verify = true\n', "HOST_WITHOUT_HEADER", 1),
        (ONE + 'server = "https://s"\n', "SERVER_IN_HOST_TABLE", 2),
        (ONE + "skip_verifiy = true\n", "HOSTS_KEY_UNKNOWN", 2),
        (ONE + 'rewrite = { "a" = "b" }\n', "HOSTS_KEY_UNKNOWN", 2),
        ("insecure = true\n" + ONE, "HOSTS_KEY_UNKNOWN", 1),
        ('server = "https://docker.io"\n' + ONE, "SERVER_IS_DOCKER_IO", 1),
        ('[host."http://m:5000"]\nskip_verify = false\n', "HTTP_HOST_WITH_TLS", 1),
        ('[host."https://m/v2/hub"]\n', "HOST_PATH_NOT_OVERRIDDEN", 1),
        (ONE + 'ca = ["there.pem", "absent.pem"]\n', "CERTIFICATE_ABSENT", 2),
        (ONE + 'client = [["there.pem", "absent.key"]]\n', "CERTIFICATE_ABSENT", 2),
        ('ca = "absent.pem"\n' + ONE, "CERTIFICATE_ABSENT", 1),
        (f'server = "{HUB}"\n', "HOSTS_TOML_NAMES_NOBODY", None),
        (ONE + 'capabilities = ["pull"]\n', "NO_RESOLVER", 1),
    ],
)
def test_what_does_nothing_or_harm_is_told_with_its_line(text: str, code: str, line: int | None) -> None:
    assert found(text) == {(code, line)}


def test_a_host_that_may_only_be_pushed_to_is_asked_for_nothing() -> None:
    text = ONE + 'capabilities = ["push"]\n[host."https://n"]\n'
    assert found(text) == {("HOST_DOES_NOTHING", 2)}


def test_where_nobody_may_say_what_a_tag_means_no_tag_can_be_pulled() -> None:
    checked = check(
        "hosts.toml",
        b'server = "https://s"\ncapabilities = ["pull"]\n[host."https://m"]\ncapabilities = ["pull"]\n',
        "docker.io",
        NEW,
        lambda _: True,
    )
    (finding,) = checked.findings
    assert (finding.code, finding.level) == ("NO_RESOLVER", "error")


def test_keys_of_later_versions_are_told_for_the_earlier_one() -> None:
    text = '[host."https://m/v2/hub"]\noverride_path = true\ndial_timeout = "2s"\n'
    assert found(text, OLD) == {
        ("HOSTS_KEY_UNKNOWN", 2),
        ("HOSTS_KEY_UNKNOWN", 3),
        ("HOST_PATH_NOT_OVERRIDDEN", 1),
    }
    assert found(text, NEW) == set()


@pytest.mark.parametrize(
    "url", ["https://[m.example", "https://m]/v2/docker.io", "http://a:99999", "https://\u2100"]
)
def test_a_host_that_is_no_url_is_told_of_as_it_is_written(url: str) -> None:
    """Found by fuzzing: such a file was the end of the whole command."""
    assert asked(f'server = "{url}"\n[host."{url}"]\n') == (url, url)
    found(f'server = "{url}"\n[host."{url}"]\nskip_verify = true\n')
