"""Worlds whose fault is the machine's, Docker's or podman's; and those in which all is well."""

from __future__ import annotations

import json

import pytest

from interop.sentinel import Sentinel
from lab.broken import Broken, broken, said, worlds_of
from lab.case import A, B, certs, daemon_json, legacy, registries_conf
from lab.network import Network
from lab.world import World, world

pytestmark = pytest.mark.interop
UNKNOWN = "https://unknown.lan"  # its authority is one that this machine does not know by itself
SEARCH = 'unqualified-search-registries = ["docker.io"]\n'


# -- the machine ----------------------------------------------------------------------------------


@broken("CLOCK_OFF", "clock")
def the_clock_is_a_year_slow(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.clock("-400d")


@broken("CLOCK_OFF", "clock")
def the_clock_is_two_hours_fast(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.date("a.lan", "registry-1.docker.io")
    world.clock("+2h")


@broken("DISK_FULL", "disk")
def the_disk_is_full(world: World) -> None:
    world.fill("/var/lib/containerd")
    world.containerd("2.1", hosts={"docker.io": [A]})


@broken("NAME_INVALID", "Alpine:3")
def the_name_has_capitals(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.reference = "Alpine:3"


# -- Docker ---------------------------------------------------------------------------------------


@broken("MIRRORS_NOT_IN_FORCE", "docker")
def mirrors_were_deleted_and_are_still_in_force(world: World) -> None:
    made = world.docker("28.5", daemon_json("https://dead.lan"))
    made.configure({"labels": ["taken=over"]})
    made.reload()
    made.has_label("taken=over")


@broken("DOCKER_KEY_SINGULAR", "docker")
def the_key_is_in_the_singular(world: World) -> None:
    world.docker("28.5", {"daemon.json": json.dumps({"registry-mirror": [A]})})
    world.block()


@broken("DAEMON_JSON_PARSE", "docker")
def a_comma_too_many_in_daemon_json(world: World) -> None:
    made = world.docker("28.5", daemon_json(A))
    world.file("/etc/docker/daemon.json", '{"registry-mirrors": ["https://a.lan"],}')
    made.stop()


@broken("MIRRORS_OVERRIDDEN", "docker")
def hosts_toml_stands_above_registry_mirrors(world: World) -> None:
    world.docker("28.5-store", {**daemon_json(A), **certs(B)})


@broken("HOST_REFUSES", "dead.lan")
def dockers_mirror_is_dead_and_its_error_is_never_shown(world: World) -> None:
    world.docker("20.10", daemon_json("https://dead.lan"))
    world.block()


@broken("CHAIN_ASKS_NOBODY", "docker")
def half_a_pair_keeps_docker_from_asking_anybody(world: World) -> None:
    world.docker("28.5", {**daemon_json(A), "certs.d/a.lan/mine.cert": world.strangers})


@broken("DOCKER_MIRRORS_HUB_ALONE", "docker")
def dockers_mirrors_are_for_docker_hub_alone(world: World) -> None:
    world.docker("28.5", daemon_json(A))
    world.reference = "registry.lan/library/alpine:3"
    world.block("registry.lan")


# -- podman ---------------------------------------------------------------------------------------


@broken("SHORT_NAMES_NOWHERE", "podman")
def a_short_name_that_is_looked_for_nowhere(world: World) -> None:
    world.podman("")


@broken("REGISTRIES_CONF_INVALID", "podman")
def a_scheme_in_registries_conf(world: World) -> None:
    world.podman(registries_conf("https://a.lan")["registries.conf"])


@broken("PREFIX_NEVER_MATCHES", "podman")
def a_prefix_that_no_image_has(world: World) -> None:
    world.podman(SEARCH + '[[registry]]\nprefix = "registry-1.docker.io"\nlocation = "a.lan"\n')
    world.block()


@broken("HOST_LACKS_BLOB", "a.lan")
def podmans_mirror_lacks_a_layer_and_nobody_else_is_asked(world: World) -> None:
    world.podman(registries_conf("a.lan", "b.lan")["registries.conf"])
    world.network["a.lan"].forget(world.image.layers[0].digest)


@broken("CHAIN_PASSES_OVER", "podman")
def half_a_pair_makes_podman_pass_its_mirror_over(world: World) -> None:
    world.podman(registries_conf("a.lan", "b.lan")["registries.conf"])
    world.file("/etc/containers/certs.d/a.lan/mine.cert", world.strangers)


# -- all is well ----------------------------------------------------------------------------------


@broken(None)
def containerd_1_6_without_a_configuration(world: World) -> None:
    world.containerd("1.6", config="version = 2\n")


@broken(None)
def containerd_1_7_with_mirrors_of_the_old_form(world: World) -> None:
    world.containerd("1.7", registry=legacy(A))


@broken(None)
def containerd_2_1_with_two_mirrors_and_a_blocked_origin(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A, B]})
    world.block()


@broken(None)
def docker_20_with_a_mirror(world: World) -> None:
    world.docker("20.10", daemon_json(A))


@broken(None)
def docker_28_with_a_mirror(world: World) -> None:
    world.docker("28.5", daemon_json(A))


@broken(None)
def docker_28_with_the_containerd_store_and_hosts_toml(world: World) -> None:
    world.docker("28.5-store", certs(A))


@broken(None)
def podman_with_two_mirrors(world: World) -> None:
    world.podman(registries_conf("a.lan", "b.lan")["registries.conf"])


@broken(None)
def docker_with_a_mirror_of_ones_own_authority(world: World) -> None:
    world.docker("28.5", {**daemon_json(UNKNOWN), "certs.d/unknown.lan/mine.crt": world.strangers})
    world.block()


@broken(None)
def podman_with_a_mirror_of_ones_own_authority(world: World) -> None:
    world.podman(registries_conf("unknown.lan")["registries.conf"])
    world.file("/etc/docker/certs.d/unknown.lan/mine.crt", world.strangers)
    world.block()


@broken(None)
def podman_with_a_mirror_without_tls(world: World) -> None:
    world.podman(registries_conf("plain.lan:5000\ninsecure = true")["registries.conf"])
    world.block()


@broken(None)
def containerd_with_a_mirror_of_ones_own_authority(world: World) -> None:
    world.containerd("1.7", hosts={"docker.io": f'[host."{UNKNOWN}"]\nca = "mine.crt"\n'})
    world.file("/etc/containerd/certs.d/docker.io/mine.crt", world.strangers)
    world.block()


@broken(None)
def a_machine_without_a_runtime(world: World) -> None:
    """Docker Hub answers."""


@pytest.mark.parametrize("case", worlds_of(__name__), ids=said)
@pytest.mark.row("K2")
def test_the_right_cause_is_named_first(case: Broken, network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        case.build(made)
        found = made.doctor(*case.words)
    first = found.first
    assert (None if first is None else first[0]) == case.code, str(found)
    assert case.subject in (None, first[1] if first else None), str(found)
    assert found.code == (0 if case.code is None else 5)
