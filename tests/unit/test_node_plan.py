"""Plans as they are shown and named, and the texts that they are made of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import RuntimeUnsupported, UsageError
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Change, Installed, Plan, Step, Version
from sampan.runtimes.examine import Chosen, choose
from sampan.runtimes.hosts_toml import Dialect, read, render
from sampan.runtimes.json_text import JsonObject, NotJsonError
from sampan.runtimes.plan import NodePlan, make_plan, unified_diff
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Gateway, Hop, Route, Wanted
from sampan.secret import Secret

ORIGIN = Hop("https://ghcr.io", origin=True)
LOCAL = Hop("http://127.0.0.1:5050", gateway=Gateway(), dial_seconds=2)


def test_a_diff_shows_what_was_absent_removed_and_without_a_last_newline() -> None:
    assert unified_diff("/f", None, b"a\n") == "--- /dev/null\n+++ /f\n@@ -0,0 +1 @@\n+a\n"
    assert unified_diff("/f", b"a\n", None) == "--- /f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    assert "+a\n\\ No newline at end of file\n" in unified_diff("/f", b"a\n", b"a")
    assert unified_diff("/f", None, b"") == "--- /dev/null\n+++ /f\n"


@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter2"',
        "  auth: { username: u, password: hunter2 }",
        '"auth": "hunter2",',
        'Authorization = "Basic hunter2"',
        "identitytoken: hunter2",
        "https://user:hunter2@mirror.example",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
    ],
)
def test_a_diff_shows_no_secret_that_it_can_recognise(line: str) -> None:
    for before, after in ((None, f"{line}\n"), (f"{line}\nx\n", f"{line}\ny\n")):
        shown = unified_diff("/f", None if before is None else before.encode(), after.encode())
        assert "hunter2" not in shown
        assert "+++ /f" in shown


def test_a_secret_file_is_not_shown_and_terminal_escapes_are_not_either() -> None:
    shown = unified_diff("/key", None, b"hunter2", secret=True)
    assert "hunter2" not in shown
    assert "7 bytes" in shown
    assert "\x1b" not in unified_diff("/f", None, b"\x1b[2J\n")


def test_a_plan_has_another_name_when_it_would_do_anything_else() -> None:
    change = Change("/a", b"1", b"2")
    step = Step("reload", "", ("systemctl", "reload", "a"))
    plans = [
        NodePlan((Plan("it", (each,), (step,)),), (each,))
        for each in (
            change,
            replace(change, after=b"3"),
            replace(change, before=None),
            replace(change, path="/b"),
            replace(change, mode=0o600),
        )
    ]
    plans.append(NodePlan((Plan("it", (change,), (replace(step, command=("x",)),)),), (change,)))
    assert len({plan.fingerprint for plan in plans}) == len(plans)
    assert plans[0].fingerprint == NodePlan(plans[0].plans, plans[0].changes).fingerprint


class Adder:
    """A runtime that adds its letter to one file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        before = tree.file("/shared").editable()
        return Plan(self.name, (Change("/shared", before, (before or b"") + self.name.encode()),))


def test_runtimes_plan_one_after_the_other_and_a_shared_file_is_changed_once(tmp_path: Path) -> None:
    adders = [(Adder("a"), Installed()), (Adder("b"), Installed())]
    plan, refused = make_plan(Tree(tmp_path), adders, Wanted(()))  # type: ignore[arg-type]  # plans alone
    assert plan.changes == (Change("/shared", None, b"ab"),)
    assert refused == {}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 28.5.2+dfsg4, build x", Version(28, 5, 2)),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1", Version(1, 6, 20)),
        ("containerd containerd.io v2.1.9 abc", Version(2, 1, 9)),
        ("28", Version(28)),
        ("none", None),
    ],
)
def test_versions_are_found_in_what_programs_say(text: str, version: Version | None) -> None:
    assert Version.find(text) == version


def test_a_runtime_is_chosen_by_name_and_version() -> None:
    assert Chosen.parse("docker@20.10") == Chosen("docker", Version(20, 10))
    for wrong in ("", "@1", "docker@", "docker@new", "docker@new1"):
        with pytest.raises(UsageError):
            Chosen.parse(wrong)
    with pytest.raises(RuntimeUnsupported, match="no such runtime"):
        choose(RUNTIMES, [Chosen("dokcer")], Tree(Path("/nonexistent")), None)


# -- hosts.toml -----------------------------------------------------------------------------------


def rendered(*hops: Hop, registry: str = "ghcr.io", dialect: Dialect = Dialect(dial_timeout=True)) -> str:
    found = render(Route(registry, hops), dialect)
    assert found is not None
    return found.text


def test_a_hosts_toml_asks_in_order_and_the_origin_last() -> None:
    text = rendered(LOCAL, Hop("https://m.example", "ghcr.io", capabilities=frozenset({"pull"})), ORIGIN)
    hosts = read(text)
    assert hosts.urls == ("http://127.0.0.1:5050", "https://m.example/v2/ghcr.io")
    assert hosts.server == "https://ghcr.io"
    assert 'dial_timeout = "2s"' in text
    assert text.index("server") < text.index("[host")


def test_without_an_origin_the_last_mirror_is_the_server_within_its_limits() -> None:
    text = rendered(LOCAL, Hop("https://m.example", capabilities=frozenset({"pull"})))
    assert read(text).server == "https://m.example"
    assert read(text).urls == ("http://127.0.0.1:5050",)
    assert 'server = "https://m.example"\ncapabilities = ["pull"]\n' in text
    assert read(rendered(LOCAL)).urls == ()


def test_an_origin_that_comes_first_is_asked_first() -> None:
    assert read(rendered(ORIGIN, LOCAL)).urls == ("https://ghcr.io", "http://127.0.0.1:5050")


def test_a_file_for_all_registries_names_no_server() -> None:
    assert read(rendered(LOCAL, registry="*")).server is None
    assert render(Route("*", (Hop("https://m.example", "{registry}"),)), Dialect()) is None


def test_what_a_reader_does_not_know_is_not_written_and_nobody_to_name_is_no_file() -> None:
    old = Dialect(override_path=False)
    assert "dial_timeout" not in rendered(LOCAL, ORIGIN, dialect=old)
    assert render(Route("ghcr.io", (Hop("https://m.example", "ghcr.io"), ORIGIN)), old) is None
    assert render(Route("ghcr.io", (ORIGIN,)), Dialect()) is None


def test_certificates_lie_beside_it_and_keys_apart() -> None:
    hop = Hop("https://m.example:8443", ca="CA", client_cert="CERT", client_key=Secret("KEY"))
    found = render(Route("ghcr.io", (hop, ORIGIN)), Dialect())
    assert found is not None
    assert found.files == {"m.example_8443.ca.pem": "CA", "m.example_8443.cert.pem": "CERT"}
    assert found.secret_files == {"m.example_8443.key.pem": "KEY"}
    assert 'client = [["m.example_8443.cert.pem", "m.example_8443.key.pem"]]' in found.text
    assert "KEY" not in repr(found)


def test_a_login_is_not_written_where_everybody_could_read_it() -> None:
    hop = Hop("https://m.example", username="robot", password=Secret("hunter2"))
    found = render(Route("ghcr.io", (LOCAL, hop, ORIGIN)), Dialect())
    assert found is not None
    assert "hunter2" not in found.text
    assert "https://m.example is left out" in found.notes[0]


# -- JSON -----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), VALUES, max_size=5),
    st.text(),
    VALUES,
    st.sampled_from([None, 0, 2, "\t"]),
    st.booleans(),
)
def test_setting_a_key_changes_it_alone_and_twice_is_once(
    document: dict[str, object], key: str, value: object, indent: int | str | None, crlf: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    text = text.replace("\n", "\r\n") if crlf else text
    changed = JsonObject.parse(text.encode("utf-8", "surrogatepass")).with_key(key, value)
    assert json.loads(changed.text) == document | {key: value}
    assert list(json.loads(changed.text)) == list(document | {key: value})
    assert changed.with_key(key, value).text == changed.text
    if key in document and document[key] == value:
        assert changed.text == text


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_they_parse_or_are_refused_with_a_line(data: bytes) -> None:
    try:
        assert JsonObject.parse(data).text.encode() == data
    except NotJsonError as error:
        lines = error.line
    else:
        lines = 1
    assert 1 <= lines <= data.count(b"\n") + 1
