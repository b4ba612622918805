"""containerd by its files: what is in force, what is wrong on which line, and what is run to see to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sampan.oci import Reference
from sampan.runtimes.containerd import Containerd
from sampan.runtimes.containerd.facts import address_of, dump_of, plugins_of
from sampan.runtimes.containerd.files import flags_of
from sampan.runtimes.containerd.legacy import endpoint_problem, never_read, with_scheme
from sampan.runtimes.contract import Answer, Installed, Status, Version
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Gateway, Hop, Route, Wanted

OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
CONFIG = "etc/containerd/config.toml"
ALPINE = Reference.parse("alpine:3")
V16, V17, V20, V21, V22, V23 = (
    Version(*n) for n in ((1, 6, 20), (1, 7, 24), (2,), (2, 1, 9), (2, 2, 3), (2, 3))
)
ORIGIN = Hop("https://registry-1.docker.io", origin=True)
WANTED = Wanted((Route("docker.io", (Hop("http://127.0.0.1:5050", gateway=Gateway()), ORIGIN)),))


def status(root: Path, files: Mapping[str, str], version: Version | None, **answers: str) -> Status:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Containerd().status(Tree(root), Installed(version, answers))


def places(found: Status) -> set[tuple[str, str | None, int | None]]:
    """Code, the end of the file's name, line."""
    return {(f.code, f.file and f.file.rpartition("/")[2], f.line) for f in found.findings}


MIRRORS = f"""version = 2

[plugins."{OLD}".registry.mirrors]
  [plugins."{OLD}".registry.mirrors."docker.io"]
    endpoint = ["https://m.example/"]
  [plugins."{OLD}".registry.mirrors."docker.io/library"]
    endpoint = ["https://m.example/library"]
"""


@pytest.mark.parametrize(
    ("text", "version", "code", "line"),
    [
        ("version = 2\n[plugins\n", V17, "CONFIG_PARSE", 2),
        ("\nversion = 3\n", V17, "CONFIG_FORMAT", 2),
        ("version = 3\n", V16, "CONFIG_FORMAT", 1),
        ("version = 4\n", V21, "CONFIG_FORMAT", 1),
        ('version = 2\nimports = ["gone.toml"]\n', V17, "IMPORT_ABSENT", 2),
        ('version = 3\nimports = ["gone.toml"]\n', V21, "IMPORT_ABSENT", 2),
        ("version = 2\n\n[plugins.cri]\n", V17, "PLUGIN_NAME", 3),
        ('version = 2\ndisabled_plugins = ["cri"]\n', V21, "PLUGIN_NAME", 2),
        ('disabled_plugins = ["cri"]\n', V17, "CRI_DISABLED", 1),
        (f'version = 3\n\n[plugins."{OLD}".registry]\n', V21, "PLUGIN_NAME", 3),
        (f'version = 2\n[plugins."{NEW}".registry]\n', V17, "PLUGIN_NAME", 2),
        (f'[plugins."{OLD}".registry]\n', V17, "PLUGIN_NAME", 1),
        ("[plugins.cri.registry]\n", V21, "PLUGIN_NAME", 1),
        (f'version = 2\n[plugin."{OLD}".registry]\n', V17, "PLUGIN_SINGULAR", 2),
        (f'version = 3\n[plugins."{NEW}".registry]\nconfig_path = "/a:/b"\n', V21, "CONFIG_PATH_LIST", 3),
        (f'version = 3\n[plugins."{NEW}".registry]\nconfig_path = "/a"\n', V21, "CONFIG_PATH_ABSENT", 3),
        ("version = 3\n", V22, "CONFIG_PATH_LIST", None),
        (f'version = 3\n[plugins."{NEW}".registry.configs.h.tls]\n', V21, "TLS_NEVER_READ", 2),
        (
            'version = 3\n[plugins."io.containerd.transfer.v1.local"]\nconfig_path = "/a"\n',
            V21,
            "TRANSFER_CONFIG_PATH",
            3,
        ),
    ],
)
def test_each_fault_of_config_toml_is_told_with_its_line(
    tmp_path: Path, text: str, version: Version, code: str, line: int | None
) -> None:
    assert (code, "config.toml", line) in places(status(tmp_path, {CONFIG: text}, version))


def test_a_mirror_that_is_never_asked_and_one_with_a_wrong_path_are_told_on_their_lines(
    tmp_path: Path,
) -> None:
    found = status(tmp_path, {CONFIG: MIRRORS}, V17)
    assert places(found) == {
        ("MIRROR_NEVER_READ", "config.toml", 6),
        ("MIRROR_PATH", "config.toml", 5),
    }
    assert [each.registry for each in found.in_force] == ["docker.io"]
    assert found.in_force[0].hosts == ("https://m.example/", ORIGIN.base)


@pytest.mark.parametrize("version", [V16, V17, V21])
@pytest.mark.row("F5")
def test_mirrors_beside_config_path_mean_no_cri_and_it_is_said_so(tmp_path: Path, version: Version) -> None:
    text = f'{MIRRORS}[plugins."{OLD}".registry]\n  config_path = "/etc/containerd/certs.d"\n'
    found = status(tmp_path, {CONFIG: text}, version)
    (finding,) = [each for each in found.findings if each.code == "MIRRORS_AND_CONFIG_PATH"]
    assert (finding.level, finding.line) == ("error", 3)
    assert "(line 9) exclude each other: containerd runs without its CRI" in finding.message
    assert found.mode == "the CRI does not load"
    assert found.in_force == ()


def test_a_login_may_stand_beside_config_path_and_tls_in_1_x_may_not(tmp_path: Path) -> None:
    head = f'version = 2\n[plugins."{OLD}".registry]\n  config_path = "/c"\n'
    table = f'[plugins."{OLD}".registry.configs.h'
    login, tls = f"{head}{table}.auth]\nusername = 'u'\n", f"{head}{table}.tls]\nca_file = '/ca'\n"
    assert status(tmp_path, {CONFIG: login}, V17).mode == "pulls by itself"
    assert status(tmp_path, {CONFIG: tls}, V17).mode == "the CRI does not load"
    found = status(tmp_path, {CONFIG: tls}, V21)
    assert found.mode == "pulls by itself, for registry.configs"
    assert "TLS_NEVER_READ" in {each.code for each in found.findings}


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("snapshotter = 'overlayfs'", "pulls by the transfer service"),
        ("use_local_image_pull = true", "pulls by itself, for use_local_image_pull"),
        ("discard_unpacked_layers = true", "pulls by itself, for discard_unpacked_layers"),
        ("disable_snapshot_annotations = false", "pulls by itself, for disable_snapshot_annotations"),
        ("max_concurrent_downloads = 10", "pulls by itself, for max_concurrent_downloads"),
        ("max_concurrent_downloads = 3", "pulls by the transfer service"),
    ],
)
def test_what_sends_2_1_back_to_pulling_by_itself_is_named(tmp_path: Path, line: str, mode: str) -> None:
    text = f'version = 3\n[plugins."{NEW}"]\n{line}\n'
    assert status(tmp_path, {CONFIG: text}, V21).mode == mode
    assert status(tmp_path, {CONFIG: text}, V20).mode == "pulls by itself"


@pytest.mark.row("F5")
def test_the_same_settings_in_a_file_of_format_2_count_as_well(tmp_path: Path) -> None:
    text = f'version = 2\n[plugins."{OLD}".containerd]\ndiscard_unpacked_layers = true\n'
    assert status(tmp_path, {CONFIG: text}, V21).mode == "pulls by itself, for discard_unpacked_layers"


def test_a_drop_in_replaces_the_whole_table_of_the_cri_in_1_x_and_is_merged_in_2_x(tmp_path: Path) -> None:
    registry = f'[plugins."{OLD}".registry.mirrors."docker.io"]\n  endpoint = ["https://m.example"]\n'
    files = {
        CONFIG: f'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n{registry}',
        "etc/containerd/conf.d/a.toml": f'version = 2\n[plugins."{OLD}"]\n  sandbox_image = "x"\n',
    }
    assert status(tmp_path, files, V17).in_force == ()
    assert ("PLUGIN_NAME", "config.toml", 3) in places(status(tmp_path, files, V17))
    assert status(tmp_path, files, V21).in_force[0].hosts[0] == "https://m.example"


def test_a_relative_pattern_is_no_drop_in_directory_before_1_7(tmp_path: Path) -> None:
    files = {
        CONFIG: 'version = 2\nimports = ["conf.d/*.toml"]\n',
        "etc/containerd/conf.d/a.toml": f'version = 2\n[plugins."{OLD}".registry]\n  config_path = "/c"\n',
    }
    assert ("DROP_IN_NOT_IMPORTED", "a.toml", None) in places(status(tmp_path, files, V16))
    assert ("CONFIG_PATH_ABSENT", "a.toml", 3) in places(status(tmp_path, files, V17))


def test_imports_that_name_each_other_end(tmp_path: Path) -> None:
    files = {
        CONFIG: 'version = 3\nimports = ["a.toml"]\n',
        "etc/containerd/a.toml": 'version = 3\nimports = ["config.toml", "a.toml", "b.toml"]\n',
        "etc/containerd/b.toml": 'version = 3\nimports = ["a.toml"]\n',
    }
    found = status(tmp_path, files, V21)
    assert [source.path.rpartition("/")[2] for source in found.sources] == ["config.toml", "a.toml", "b.toml"]
    assert found.findings == ()


def test_in_a_list_that_is_read_the_file_of_all_registries_hides_the_directories_behind_it(
    tmp_path: Path,
) -> None:
    host = '[host."https://{}"]\n'
    files = {
        CONFIG: f'version = 2\n[plugins."{OLD}".registry]\nconfig_path = "/a:/b"\n',
        "a/_default/hosts.toml": host.format("all"),
        "a/quay.io/hosts.toml": host.format("quay"),
        "b/ghcr.io/hosts.toml": host.format("ghcr"),
    }
    found = status(tmp_path, files, V17)
    assert {each.registry: each.hosts[0] for each in found.in_force} == {
        "*": "https://all",
        "quay.io": "https://quay",
    }


def test_certificates_count_where_no_hosts_toml_is_and_are_told_where_one_hides_them(tmp_path: Path) -> None:
    files = {
        CONFIG: f'version = 2\n[plugins."{OLD}".registry]\nconfig_path = "/certs"\n',
        "certs/_default/hosts.toml": '[host."https://all"]\n',
        "certs/a.example/ca.crt": "a certificate",
        "certs/b.example/hosts.toml": 'ca = "named.crt"\n[host."https://b"]\n',
        "certs/b.example/named.crt": "a certificate",
        "certs/b.example/other.crt": "a certificate",
    }
    found = status(tmp_path, files, V17)
    assert "/certs/a.example/ca.crt" in {source.path for source in found.sources}
    assert places(found) == {("CERTIFICATE_UNREAD", "other.crt", None)}


def test_the_word_of_the_daemon_counts_where_its_files_do_not_say_why(tmp_path: Path) -> None:
    plugins = "TYPE ID PLATFORMS STATUS\nio.containerd.grpc.v1 cri linux/amd64 error\n"
    found = status(tmp_path, {CONFIG: "version = 2\n"}, V17, plugins=plugins)
    assert ("CRI_NOT_LOADED", "config.toml", None) in places(found)
    assert found.running


def test_a_configuration_that_stops_containerd_is_named_as_the_mode(tmp_path: Path) -> None:
    assert status(tmp_path, {CONFIG: "version = 3\n"}, V17).mode == "does not start"
    assert status(tmp_path, {CONFIG: "version = 3\n"}, V16).mode == "pulls by itself"


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "read"),
    [
        ("docker.io", True),
        ("*", True),
        ("localhost:5000", True),
        ("docker.io/library", False),
        ("https://docker.io", False),
        ("registry-1.docker.io", False),
        ("index.docker.io", False),
    ],
)
def test_keys_of_mirrors_are_hosts(key: str, read: bool) -> None:
    assert (never_read(key) is None) is read


def test_endpoints_are_completed_as_containerd_does() -> None:
    assert with_scheme("m.example:5000") == "https://m.example:5000"
    assert with_scheme("127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert with_scheme("localhost") == "http://localhost"
    assert endpoint_problem("https://m") is None
    assert endpoint_problem("https://m/v2/hub") is None
    assert endpoint_problem("https://m/") is not None
    assert endpoint_problem("m/hub") is not None


def test_flags_are_found_in_a_command_line_and_in_what_systemd_prints_of_it() -> None:
    assert flags_of(["/usr/bin/containerd", "-c", "/a.toml"]).config == "/a.toml"
    printed = "{ path=/usr/bin/containerd ; argv[]=/usr/bin/containerd --config=/b.toml -a /s ; pid=0 }"
    assert flags_of(printed.split()).config == "/b.toml"
    assert flags_of(printed.split()).address == "/s"
    assert flags_of([]).config == f"/{CONFIG}"


def test_the_socket_is_found_in_both_formats_of_a_dump() -> None:
    assert address_of(dump_of("[grpc]\naddress = '/a'\n")) == "/a"
    assert address_of(dump_of("[plugins.'io.containerd.server.v1.grpc']\naddress = '/b'\n")) == "/b"
    assert address_of(dump_of("no toml")) == "/run/containerd/containerd.sock"
    assert plugins_of("") == {}


# -- programs --------------------------------------------------------------------------------------


@dataclass
class Said:
    """A machine whose programs say what is written here, by the beginning of their command; others fail."""

    answers: dict[str, Answer | list[Answer]]
    ran: list[str] = field(default_factory=list)
    waited: int = 0

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        words = " ".join(command)
        self.ran.append(words)
        found = next((each for start, each in self.answers.items() if words.startswith(start)), Answer(1))
        return found.pop(0) if isinstance(found, list) else found

    def wait(self, seconds: float) -> None:
        self.waited += 1


def cri(state: str) -> Answer:
    return Answer(0, f"TYPE ID PLATFORMS STATUS\nio.containerd.grpc.v1 cri - {state}\n")


DUMP = Answer(
    0,
    f"version = 2\n[grpc]\naddress = '/own.sock'\n[plugins.'{OLD}'.registry]\nconfig_path = '/etc/certs.d'\n",
)
RUNNING = Installed(V17, {"plugins": "TYPE\n"})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    status(
        tmp_path, {CONFIG: f'version = 2\n[plugins."{OLD}".registry]\nconfig_path = "/etc/certs.d"\n'}, V17
    )
    return Tree(tmp_path)


def test_it_is_waited_for_until_the_cri_is_loaded_at_its_own_socket(tree: Tree) -> None:
    plugins = [Answer(1, words="no such file"), cri("error"), cri("ok")]
    machine = Said({"containerd --config": DUMP, "ctr --address /own.sock plugins ls": list(plugins)})
    assert Containerd().settle(machine, tree, RUNNING) == ()
    assert machine.waited == 2


def test_a_cri_that_does_not_load_and_another_config_path_are_told(tree: Tree) -> None:
    machine = Said({"containerd --config": DUMP, "ctr": cri("error")})
    (finding,) = Containerd(patience_seconds=1).settle(machine, tree, RUNNING)
    assert (finding.code, finding.message) == (
        "CRI_NOT_LOADED",
        "containerd at /own.sock after 1 s: its CRI plugin is error",
    )
    other = Answer(0, DUMP.output.replace("/etc/certs.d", "/other"))
    (finding,) = Containerd().settle(Said({"containerd": other}), tree, RUNNING)
    assert finding.code == "CONFIG_PATH_NOT_IN_FORCE"
    (finding,) = Containerd().settle(Said({"containerd": Answer(1, words="bad TOML")}), tree, RUNNING)
    assert finding.message == "containerd cannot read it: bad TOML"


def test_nothing_is_waited_for_where_it_does_not_run_or_cannot_have_a_cri(tmp_path: Path, tree: Tree) -> None:
    machine = Said({"containerd --config": DUMP})
    assert Containerd().settle(machine, tree, Installed(V17, {"version": "1.7.24"})) == ()
    assert machine.ran == []
    text = f'{MIRRORS}[plugins."{OLD}".registry]\nconfig_path = "/etc/certs.d"\n'
    (tmp_path / CONFIG).write_text(text)
    assert Containerd().settle(machine, tree, RUNNING) == (), "as it was before, when this is a revert"


def test_an_image_is_pulled_by_the_cri_where_crictl_is_and_removed_again() -> None:
    machine = Said({"containerd": DUMP, "crictl": [Answer(1), Answer(0), Answer(0)]})
    installed = Installed(V17, {"plugins": "TYPE\n", "crictl": "crictl version 1.30"})
    assert Containerd().verify(machine, installed, ALPINE) == ()
    start = "crictl --runtime-endpoint unix:///own.sock --image-endpoint unix:///own.sock --timeout 180s"
    assert machine.ran[1:] == [
        f"{start} inspecti --quiet docker.io/library/alpine:3",
        f"{start} pull docker.io/library/alpine:3",
        f"{start} rmi docker.io/library/alpine:3",
    ]


def test_an_image_that_was_there_stays_and_ctr_is_told_the_hosts() -> None:
    listed = Answer(0, "docker.io/library/alpine:3\ndocker.io/library/other:3\n")
    start = "ctr --address /own.sock --namespace k8s.io images"
    machine = Said({"containerd": DUMP, f"{start} ls": listed, f"{start} pull": Answer(0)})
    assert Containerd().verify(machine, RUNNING, ALPINE) == ()
    assert machine.ran[-1] == f"{start} pull --hosts-dir /etc/certs.d docker.io/library/alpine:3"


def test_a_pull_that_fails_is_told_with_the_words_of_the_program() -> None:
    machine = Said({"containerd": DUMP, "ctr": [Answer(0), Answer(1, words="502 Bad Gateway")]})
    (finding,) = Containerd().verify(machine, RUNNING, ALPINE)
    assert finding.message == "ctr cannot pull docker.io/library/alpine:3: 502 Bad Gateway"


def test_only_what_is_in_config_toml_needs_a_restart(tree: Tree) -> None:
    installed = Installed(V17, {"plugins": "TYPE\n"})
    plan = Containerd().plan(tree, installed, WANTED)
    assert [change.path for change in plan.changes] == ["/etc/certs.d/docker.io/hosts.toml"]
    assert [step.kind for step in plan.steps] == ["none"]
    assert "the pull afterwards is by ctr" in plan.notes[-1]


def test_a_containerd_that_does_not_run_is_not_restarted(tmp_path: Path) -> None:
    plan = Containerd().plan(Tree(tmp_path), Installed(V17, {"version": "1.7.24"}), WANTED)
    assert [change.path for change in plan.changes][-1] == f"/{CONFIG}"
    (step,) = plan.steps
    assert (step.kind, step.command) == ("none", ())


def test_a_running_one_is_restarted_and_its_containers_go_on(tmp_path: Path) -> None:
    (step,) = Containerd().plan(Tree(tmp_path), RUNNING, WANTED).steps
    assert step.command == ("systemctl", "restart", "containerd.service")
    assert "running containers go on" in step.effect


def test_a_login_in_a_header_that_is_copied_stays_with_root_alone(tmp_path: Path) -> None:
    header = '[host."https://m.example"]\n[host."https://m.example".header]\nAuthorization = "Basic eA=="\n'
    files = {
        CONFIG: f'version = 3\n[plugins."{NEW}".registry]\nconfig_path = "/a:/b"\n',
        "b/docker.io/hosts.toml": header,
        "b/quay.io/hosts.toml": header,
    }
    status(tmp_path, files, V21)
    changes = Containerd().plan(Tree(tmp_path), Installed(V21), WANTED).changes
    found = {change.path: change for change in changes}
    for path in ("/a/docker.io/hosts.toml", "/a/quay.io/hosts.toml"):
        assert (found[path].before, found[path].mode, found[path].secret) == (None, 0o600, True)
    assert b"127.0.0.1:5050" in (found["/a/docker.io/hosts.toml"].after or b"")
