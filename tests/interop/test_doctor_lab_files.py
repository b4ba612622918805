"""Worlds whose fault stands in the files of containerd: the doctor names it before what comes of it."""

from __future__ import annotations

import pytest

from interop.sentinel import Sentinel
from lab.broken import Broken, broken, said, worlds_of
from lab.case import CERTS, NEW, OLD, A, legacy
from lab.network import Network
from lab.world import World, world
from sampan.testing import faults

pytestmark = pytest.mark.interop
CONFIG = "/etc/containerd/config.toml"
HUB_ALONE = {"docker.io": [A]}


@broken("HOST_FAILS", "a.lan")
def the_machine_that_sampan_began_with(world: World) -> None:
    """Two mirror keys, one of them a folk remedy; a mirror that answers 502 to layers; Docker Hub blocked."""
    world.containerd("1.6", registry=legacy(A) + legacy(f"{A}/library", key="docker.io/library"))
    world.spoil(faults.status(502), "a.lan", on=world.layer)
    world.block()


@broken("MIRROR_NEVER_READ", "containerd")
def only_the_folk_remedy(world: World) -> None:
    world.containerd("1.7", registry=legacy(f"{A}/library", key="docker.io/library"))
    world.block()


@broken("MIRRORS_AND_CONFIG_PATH", "containerd")
def mirrors_and_config_path_together(world: World) -> None:
    world.containerd("1.7", registry=f'config_path = "{CERTS}"\n{legacy(A)}', loads=False)
    world.block()


@broken("CONFIG_PATH_LIST", "containerd")
def a_list_of_directories_for_the_transfer_service(world: World) -> None:
    world.containerd("2.1", hosts=HUB_ALONE, registry=f'config_path = "{CERTS}:/etc/docker/certs.d"')
    world.block()


@broken("HOSTS_TOML_DROPPED", "containerd")
def a_syntax_error_in_hosts_toml(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": f'[host."{A}"\n'})
    world.block()


@broken("HOSTS_TOML_DROPPED", "containerd")
def a_capability_that_this_version_does_not_know(world: World) -> None:
    world.containerd(
        "2.1", hosts={"docker.io": f'[host."{A}"]\ncapabilities = ["pull", "resolve", "referrers"]\n'}
    )
    world.block()


@broken("SERVER_IS_DOCKER_IO", "containerd")
def the_server_is_a_web_site(world: World) -> None:
    world.containerd(
        "1.7", hosts={"docker.io": f'server = "https://docker.io"\n[host."{A}"]\ncapabilities = ["pull"]\n'}
    )
    world.spoil(faults.page(), "docker.io")


@broken("MIRROR_PATH", "containerd")
def a_slash_at_the_end_of_a_mirror(world: World) -> None:
    world.containerd("1.6", registry=legacy(f"{A}/"))
    world.block()


@broken("HOSTS_TOML_UNREAD", "containerd")
def the_directory_is_called_as_the_origins_host(world: World) -> None:
    world.containerd("2.1", hosts={"registry-1.docker.io": [A]})
    world.block()


@broken("HOSTS_DIRECTORY_EMPTY", "containerd")
def an_empty_directory_hides_the_default(world: World) -> None:
    world.containerd("2.1", hosts={"_default": [A]})
    world.machine.path(f"{CERTS}/docker.io").mkdir()
    world.block()


@broken("HOST_WITHOUT_HEADER", "containerd")
def a_host_in_dotted_keys(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": f'host."{A}".capabilities = ["pull", "resolve"]\n'})
    world.block()


@broken("PLUGIN_NAME", "containerd")
def no_version_in_the_file(world: World) -> None:
    config = f'[plugins."{OLD}".registry]\nconfig_path = "{CERTS}"\n'
    world.containerd("1.6", hosts=HUB_ALONE, config=config)
    world.block()


@broken("PLUGIN_NAME", "containerd")
def the_table_of_the_old_format_in_the_new_one(world: World) -> None:
    config = f'version = 3\n[plugins."{OLD}".registry]\nconfig_path = "{CERTS}"\n'
    world.containerd("2.1", hosts=HUB_ALONE, config=config)
    world.block()


@broken("PLUGIN_SINGULAR", "containerd")
def plugin_instead_of_plugins(world: World) -> None:
    config = f'version = 2\n[plugin."{OLD}".registry]\nconfig_path = "{CERTS}"\n'
    world.containerd("1.7", hosts=HUB_ALONE, config=config)
    world.block()


@broken("DROP_IN_NOT_IMPORTED", "containerd")
def a_drop_in_that_nobody_imports(world: World) -> None:
    made = world.containerd("2.1", config="version = 3\n", hosts=HUB_ALONE, starts=False)
    text = f'version = 3\n[plugins."{NEW}".registry]\nconfig_path = "{CERTS}"\n'
    world.file("/etc/containerd/conf.d/50-mirror.toml", text)
    made.start()
    world.block()


@broken("TRANSFER_CONFIG_PATH", "containerd")
def it_was_configured_for_ctr_and_not_for_the_cri(world: World) -> None:
    """ctr reads no configuration at all, and the CRI not this one."""
    config = f'version = 3\n[plugins."io.containerd.transfer.v1.local"]\nconfig_path = "{CERTS}"\n'
    world.containerd("2.1", config=config, hosts=HUB_ALONE)
    world.block()


@broken("CERTIFICATE_ABSENT", "containerd")
def an_authority_that_is_named_and_not_there(world: World) -> None:
    text = '[host."https://unknown.lan"]\nca = "own.pem"\n'
    world.containerd("2.1", hosts={"docker.io": text})


@broken("CRI_DISABLED", "containerd")
def the_file_that_dockers_package_ships(world: World) -> None:
    world.containerd("1.7", config='disabled_plugins = ["cri"]\n', loads=False)


@broken("CONFIG_PARSE", "containerd")
def a_table_that_is_there_twice(world: World) -> None:
    made = world.containerd("1.7", hosts=HUB_ALONE)
    table = f'[plugins."{OLD}".registry]\n'
    world.file(CONFIG, f"version = 2\n{table}{table}")
    made.stop()


@broken("HOST_PATH_NOT_OVERRIDDEN", "containerd")
def a_harbor_project_without_override_path(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [f"{A}/v2/hub"]})
    world.block()


@broken("NO_RESOLVER", "containerd")
def a_mirror_that_may_only_pull(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": f'[host."{A}"]\ncapabilities = ["pull"]\n'})
    world.block()


@broken("HTTP_HOST_WITH_TLS", "containerd")
def a_plain_host_with_keys_of_tls(world: World) -> None:
    text = '[host."http://plain.lan:5000"]\nskip_verify = true\n'
    world.containerd("2.1", hosts={"docker.io": text})


@broken("NOT_RESTARTED", "containerd")
def a_config_that_is_younger_than_its_daemon(world: World) -> None:
    world.containerd("2.1", config="version = 3\n", hosts=HUB_ALONE)
    world.file(CONFIG, f'version = 3\n[plugins."{NEW}".registry]\nconfig_path = "{CERTS}"\n')
    world.is_younger(CONFIG)
    world.block()


@broken("PLUGIN_NAME", "containerd")
def a_drop_in_that_takes_the_table_away(world: World) -> None:
    table = f'[plugins."{OLD}".registry]\nconfig_path = "{CERTS}"\n'
    config = f'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n{table}'
    made = world.containerd("1.7", config=config, hosts=HUB_ALONE, starts=False)
    world.file(
        "/etc/containerd/conf.d/10-pause.toml", f'version = 2\n[plugins."{OLD}"]\nsandbox_image = "pause"\n'
    )
    made.start()
    world.block()


@pytest.mark.parametrize("case", worlds_of(__name__), ids=said)
def test_the_right_cause_is_named_first(case: Broken, network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        case.build(made)
        found = made.doctor(*case.words)
    assert found.first == (case.code, case.subject), str(found)
    assert found.code == 5
