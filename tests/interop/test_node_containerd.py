"""containerd itself: what is wrong is named, what sampan writes makes an image come, and it all goes again.

Each version runs on a machine of its own whose paths are the usual ones, and is restarted by what stands in
``[node.commands]``. The pull is the CRI's, of an image that only ``sampan serve`` can reach.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interop.containerd import CLOSED, VERSIONS
from interop.cri import CriError
from interop.hosts import as_content, host
from interop.images import Library
from interop.nodes import Node
from interop.registries import Web
from interop.sentinel import Sentinel
from interop.serving import Serving, serving
from sampan.errors import ApplyFailed
from sampan.oci import Reference
from sampan.testing import FakeRegistry, Match, ServerThread, faults
from sampan.testing.tokens import BasicAuth

pytestmark = pytest.mark.interop

ALPINE = Reference.parse("alpine:3")
OLD, NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
TWO = ("containerd-2",)
STOPPED = f"""
[server]
listen = "127.0.0.1:2"
[registry."docker.io"]
mirrors = []
origin_url = "{CLOSED}"
"""
LIST = "/etc/containerd/certs.d:/etc/containerd/more.d"


def origin_story(endpoint: str, path: str = "") -> str:
    """The file that sampan began with; ``path`` is a line for config_path."""
    return f"""version = 2

[plugins."{OLD}"]
  sandbox_image = "registry.aliyuncs.com/google_containers/pause:3.9"  # theirs

[plugins."{OLD}".registry]
{path}
[plugins."{OLD}".registry.mirrors."docker.io"]
  endpoint = ["{endpoint}"]
[plugins."{OLD}".registry.mirrors."docker.io/library"]
  endpoint = ["{endpoint}/library"]

# a note of their own
[plugins."{OLD}".containerd]
  snapshotter = "overlayfs"
"""


@dataclass(frozen=True)
class Start:
    """What containerd is started with, by path below /etc/containerd, and what is to be found in it."""

    files: Mapping[str, str]
    findings: set[str] = field(default_factory=set)
    versions: tuple[str, ...] = VERSIONS
    loads: bool = True  # the CRI


STARTS = {
    "no configuration": Start({}),
    "the origin story": Start({"config.toml": origin_story(CLOSED)}, {"MIRROR_NEVER_READ"}),
    "mirrors and config_path": Start(
        {"config.toml": origin_story(CLOSED, '  config_path = "/etc/containerd/certs.d"')},
        {"MIRROR_NEVER_READ", "MIRRORS_AND_CONFIG_PATH", "CONFIG_PATH_ABSENT"},
        loads=False,
    ),
    "drop-ins": Start(
        {
            "config.toml": 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
            "conf.d/10-ours.toml": f'version = 2\n[plugins."{OLD}"]\n  sandbox_image = "pause"\n',
            "config.d/20-lost.toml": f'version = 2\n[plugins."{OLD}".registry]\n  config_path = "/lost"\n',
        },
        {"DROP_IN_NOT_IMPORTED"},
    ),
    "no version": Start(
        {"config.toml": origin_story(CLOSED).partition("\n")[2]},
        {"PLUGIN_NAME"},
    ),
    "format 3": Start(
        {"config.toml": f'version = 3\n[plugins."{NEW}"]\n  snapshotter = "overlayfs"\n'}, versions=TWO
    ),
    "the table of format 2 in format 3": Start(
        {"config.toml": f'version = 3\n[plugins."{OLD}".registry]\n  config_path = "/etc/certs.d"\n'},
        {"PLUGIN_NAME"},
        TWO,
    ),
    "a list for the transfer service": Start(
        {
            "config.toml": f'version = 3\n[plugins."{NEW}".registry]\n  config_path = "{LIST}"\n',
            "more.d/docker.io/hosts.toml": f'server = "{CLOSED}"\n',
        },
        {"CONFIG_PATH_LIST", "CONFIG_PATH_ABSENT", "HOSTS_TOML_UNREAD"},
        TWO,
    ),
}


CASES = [
    (version, name) for version in VERSIONS for name, start in STARTS.items() if version in start.versions
]


@pytest.fixture(scope="module")
def mirror(origin: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """It alone knows where the images are."""
    with serving(tmp_path_factory.mktemp("mirror"), [origin.url]) as running:
        yield running


def past_sampan_nobody(mirror: Serving) -> str:
    """A sampan.toml with this sampan, and no way behind it."""
    return f"""
[server]
listen = "{mirror.netloc}"
[registry."docker.io"]
mirrors = []
origin_url = "{CLOSED}"
"""


@pytest.mark.parametrize(("machine", "name"), CASES, indirect=["machine"], scope="module")
def test_what_is_wrong_is_named_an_image_comes_after_apply_and_all_of_it_goes_again(
    machine: Node, mirror: Serving, library: Library, way_out: Sentinel, name: str
) -> None:
    start = STARTS[name]
    machine.lay(start.files)
    before, content = machine.configuration, (machine.home / "etc/containerd/config.toml")
    found = machine.status()
    assert {finding.code for finding in found.findings} == start.findings
    assert found.running
    assert (found.mode == "the CRI does not load") is not start.loads
    with pytest.raises(CriError, match=r"failed to (resolve|pull)" if start.loads else "unknown service"):
        machine.cri.pull("alpine:3")

    assert machine.apply(past_sampan_nobody(mirror), ALPINE) is not None
    assert machine.cri.pull("alpine:3") == library.image("library/alpine:3").config_digest()
    machine.cri.remove("alpine:3")
    status = machine.status()
    (hub,) = [each for each in status.in_force if each.registry == "docker.io"]
    assert hub.hosts[0] == mirror.url
    assert not {f.code for f in status.findings} & {"MIRRORS_AND_CONFIG_PATH", "CONFIG_PATH_LIST"}
    if "a note of their own" in start.files.get("config.toml", ""):
        assert "# a note of their own\n" in content.read_text()
        assert '3.9"  # theirs\n' in content.read_text()
    assert machine.apply(past_sampan_nobody(mirror), ALPINE) is None

    machine.revert()
    assert machine.configuration == before
    with pytest.raises(CriError, match=r"failed to (resolve|pull)" if start.loads else "unknown service"):
        machine.cri.pull("alpine:3")
    way_out.asked.clear()  # containerd asks Docker Hub where nothing else is in force


def test_the_origin_story_ends_well_by_the_commands_that_a_person_types(
    machine: Node, library: Library, origin: Web, way_out: Sentinel, tmp_path: Path
) -> None:
    image = library.image("library/alpine:3")
    with host("atomhub", image) as (broken, _, _), serving(tmp_path, [broken.url, origin.url]) as mirror:
        broken.script(faults.status(502), on=Match(kind="blob"))
        machine.lay({"config.toml": origin_story(broken.url)})
        before = machine.configuration
        with pytest.raises(CriError, match="502 Bad Gateway"):
            machine.cri.pull("alpine:3")
        way_out.asked.clear()
        toml = mirror.home / "node.toml"
        restart = json.dumps(str(machine.home / ".bin/restart"))
        toml.write_text(f"{past_sampan_nobody(mirror)}[node.commands]\ncontainerd = {restart}\n")
        scope = ("--config", str(toml), "--runtime", "containerd")

        said = machine.sampan("node", "status", *scope).stdout
        assert f"docker.io: {broken.url}, https://registry-1.docker.io\n" in said
        assert 'config.toml:10: mirrors."docker.io/library" is never asked' in said
        shown = machine.sampan("node", "plan", "--json", *scope)
        plan = json.loads(shown.stdout)
        assert [change["path"] for change in plan["changes"]] == [
            "/etc/containerd/certs.d/docker.io/hosts.toml",
            "/etc/containerd/config.toml",
        ]
        assert plan["steps"][0]["kind"] == "restart"
        assert machine.configuration == before

        applied = machine.sampan("node", "apply", *scope, "--plan", plan["plan"], "--pull", "alpine:3")
        assert applied.returncode == 0, applied.stderr
        assert machine.cri.image("alpine:3") is None, "what was pulled to check is not left behind"
        assert machine.cri.pull("alpine:3") == image.config_digest()
        machine.cri.remove("alpine:3")
        assert "written by sampan" in machine.sampan("node", "status", *scope).stdout
        again = machine.sampan("node", "apply", *scope)
        assert (again.returncode, again.stderr) == (0, "nothing to change\n")

        assert machine.sampan("node", "revert", "--config", str(toml)).returncode == 0
        assert machine.configuration == before
        with pytest.raises(CriError, match="502 Bad Gateway"):
            machine.cri.pull("alpine:3")
        way_out.asked.clear()


def test_what_cannot_be_pulled_afterwards_is_undone_with_the_reason(machine: Node, mirror: Serving) -> None:
    machine.lay({"config.toml": origin_story(CLOSED)})
    before = machine.configuration
    with pytest.raises(ApplyFailed, match=r"ctr cannot pull docker.io/nothing/there:1: .*503"):
        machine.apply(past_sampan_nobody(mirror), Reference.parse("nothing/there:1"))
    assert machine.configuration == before
    assert machine.status().in_force[0].hosts[0] == CLOSED


def test_a_made_config_toml_changes_nothing_but_config_path(machine: Node, mirror: Serving) -> None:
    machine.lay({})
    default = tomllib.loads(machine.machine.run(["containerd", "config", "default"]).output)
    machine.apply(past_sampan_nobody(mirror), ALPINE)
    made = tomllib.loads(machine.machine.run(["containerd", "config", "dump"]).output)
    plugin = NEW if NEW in made["plugins"] else OLD
    assert made["plugins"][plugin]["registry"].pop("config_path") == "/etc/containerd/certs.d"
    default["plugins"][plugin]["registry"].pop("config_path")
    assert made | {"imports": []} == default | {"imports": []}  # 1.x counts the file itself among them


def test_a_login_of_config_toml_is_in_force_beside_config_path(
    machine: Node, library: Library, way_out: Sentinel
) -> None:
    image = library.image("library/alpine:3")
    registry = FakeRegistry("hub", auth=BasicAuth({"robot": "hunter2"}))
    registry.add(as_content(image))
    with ServerThread(registry):
        plugin = f'plugins."{OLD}".registry'
        text = f"""version = 2
[{plugin}.mirrors."docker.io"]
  endpoint = ["{registry.url}"]
[{plugin}.configs."{registry.netloc}".auth]
  username = "robot"
  password = "hunter2"
"""
        machine.lay({"config.toml": text})
        assert machine.apply(STOPPED, None) is not None
        assert machine.status().in_force[0].hosts == ("http://127.0.0.1:2", registry.url, CLOSED)
        assert machine.cri.pull("alpine:3") == image.config_digest()
        machine.cri.remove("alpine:3")
        machine.revert()
