"""Worlds whose fault is a host's, or of the way to it: the doctor names it by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.sentinel import Sentinel
from lab.broken import Broken, broken, said, worlds_of
from lab.case import A, B, one_layer
from lab.machine import AUTHORITIES
from lab.network import HUB, Network, address_of
from lab.world import SEED, World, world
from sampan.testing import Match, faults
from sampan.testing.dns import SERVFAIL, SILENCE
from sampan.testing.images import older

pytestmark = pytest.mark.interop
BLOB = Match(kind="blob")


def one_mirror(world: World, name: str = "a.lan") -> None:
    """A mirror and no way to Docker Hub: what most people of that country have."""
    world.containerd("2.1", hosts={"docker.io": [f"https://{name}"]})
    world.block()


@broken("HOST_FAILS", "a.lan")
def the_mirror_says_502_to_everything(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.status(502), "a.lan")


@broken("HOST_REFUSES", "dead.lan")
def nothing_listens_at_the_mirror(world: World) -> None:
    one_mirror(world, "dead.lan")


@broken("HOST_NAME_DEAD", "gone.lan")
def the_mirrors_name_is_gone(world: World) -> None:
    one_mirror(world, "gone.lan")


@broken("HOST_TLS_CUT", "reset.lan")
def the_connection_is_cut_at_the_name(world: World) -> None:
    one_mirror(world, "reset.lan")


@broken("HOST_CERTIFICATE_EXPIRED", "expired.lan")
def the_certificate_has_expired(world: World) -> None:
    one_mirror(world, "expired.lan")


@broken("HOST_CERTIFICATE_FOREIGN", "foreign.lan")
def the_certificate_is_somebody_elses(world: World) -> None:
    one_mirror(world, "foreign.lan")


@broken("HOST_CERTIFICATE_UNKNOWN", "unknown.lan")
def the_authority_is_unknown(world: World) -> None:
    one_mirror(world, "unknown.lan")


@broken("HOST_BLACK_HOLED", "hole.lan")
def what_is_sent_to_the_mirror_vanishes(world: World) -> None:
    world.hole("hole.lan")
    one_mirror(world, "hole.lan")


@broken("HOST_SILENT", "a.lan")
def the_mirror_takes_the_connection_and_is_silent(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.silence(), "a.lan")


@broken("HOST_TOKEN_BLOCKED", "a.lan")
def the_realm_cannot_be_reached(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.bearer_at("https://dead.lan/token"), "a.lan")


@broken("HOST_TOKEN_FAILS", "a.lan")
def the_realm_gives_no_token(world: World) -> None:
    one_mirror(world)
    world.network["a.lan"].auth = world.network.realm
    world.network.realm.script(faults.status(503))


@broken("HOST_CDN_BLOCKED", "a.lan")
def the_storage_cannot_be_reached(world: World) -> None:
    one_mirror(world)
    world.network["a.lan"].cdn = world.network.cdn
    world.block("cdn.lan")


@broken("HOST_CDN_FAILS", "a.lan")
def the_storage_refuses(world: World) -> None:
    one_mirror(world)
    world.network["a.lan"].cdn = world.network.cdn
    world.network.cdn.script(faults.status(403))


@broken("HOST_ALLOW_LIST", "a.lan")
def the_image_is_not_on_the_mirrors_list(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.denied(), "a.lan", on=BLOB)


@broken("HOST_BLOB_DENIED", "a.lan")
def the_mirror_gives_the_manifest_and_no_content(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.status(403, "go away"), "a.lan", on=BLOB)


@broken("HOST_LACKS_BLOB", "a.lan")
def the_mirrors_copy_is_not_complete(world: World) -> None:
    one_mirror(world)
    world.network["a.lan"].forget(world.image.layers[0].digest)


@broken("HOST_NOT_A_REGISTRY", "a.lan")
def a_page_with_200(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.page(), "a.lan")


@broken("HOST_RATE_LIMITED", "a.lan")
def the_mirror_was_asked_too_often(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.rate_limited("3600"), "a.lan")


@broken("HOST_WRONG_BYTES", "a.lan")
def the_mirror_gives_wrong_bytes(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.flipped_bit(), "a.lan", on=BLOB)


@broken("HOST_STALLS", "a.lan")
def the_layer_stops_in_its_middle(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.stalls(5000), "a.lan", on=world.layer)


@broken("HOST_LOGIN_WANTED", "a.lan")
def the_mirror_wants_a_login(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.unauthorized('Basic realm="x"'), "a.lan")


@broken("IMAGE_NOWHERE", "docker.io/library/alpnie:3")
def the_name_is_misspelt(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.reference = "alpnie:3"


@broken("TAG_STALE", "a.lan")
def the_mirrors_tag_is_old(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.network["a.lan"].add(older(world.image))


@broken("TAG_DIFFERS")
def two_mirrors_disagree(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A, B]})
    world.network["b.lan"].add(one_layer(SEED + 1))
    world.block()


@broken("DNS_DEAD", "dns")
def the_nameserver_is_silent(world: World) -> None:
    one_mirror(world)
    for name in ("a.lan", HUB):
        world.network.nameserver.say(name, SILENCE)


@broken("DNS_DEAD", "dns")
def the_nameserver_fails(world: World) -> None:
    one_mirror(world)
    for name in ("a.lan", HUB):
        world.network.nameserver.say(name, SERVFAIL)


@broken("DNS_FORGED")
def the_origins_name_is_poisoned(world: World) -> None:
    world.containerd("2.1", hosts={})
    world.name(HUB, "31.13.94.36")
    world.machine.address("31.13.94.36")


@broken("PROXY_WITHOUT_NO_PROXY")
def the_mirror_is_missing_in_no_proxy(world: World) -> None:
    proxy = {"HTTPS_PROXY": "http://plain.lan:5000", "NO_PROXY": "localhost"}  # it lets nothing through
    world.unit("containerd", proxy)
    world.containerd("2.1", hosts={"docker.io": [A]}, environment=proxy)
    world.name("a.lan", "10.0.0.9")
    world.block()


@broken("PROXY_DEAD", "containerd")
def the_proxy_is_dead(world: World) -> None:
    proxy = {"HTTPS_PROXY": "http://dead.lan:3128", "NO_PROXY": ".lan"}
    world.unit("containerd", proxy)
    world.containerd("1.7", hosts={"docker.io": [A]}, environment=proxy)


@broken("DNS_PINNED")
def a_line_in_the_hosts_file_outlived_its_address(world: World) -> None:
    one_mirror(world)
    world.file("/etc/hosts", f"127.0.0.1 localhost\n{address_of('dead.lan')} a.lan\n")


@broken("AUTHORITIES_ABSENT")
def the_list_of_authorities_is_gone(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})
    world.machine.run("rm", "-rf", str(Path(AUTHORITIES).parent))


@broken("HOST_LEADS_ASTRAY", "a.lan")
def the_mirror_redirects_in_circles(world: World) -> None:
    one_mirror(world)
    world.spoil(faults.redirect_hops(99), "a.lan")


@broken("HOST_ALLOW_LIST", "a.lan")
def the_mirror_of_sampan_toml_alone_has_a_list(world: World) -> None:
    """No runtime is here: sampan is."""
    world.sampan(f'[registry."docker.io"]\nmirrors = ["{A}"]\n')
    world.spoil(faults.denied(), "a.lan")
    world.block()


@broken("HOST_ADDRESS_PRIVATE", "a.lan")
def the_mirrors_name_leads_into_ones_own_network(world: World) -> None:
    world.sampan(f'[registry."docker.io"]\nmirrors = ["{A}"]\n')
    world.name("a.lan", "192.168.7.7")
    world.block()


@broken(None)
def a_mirror_and_all_is_well(world: World) -> None:
    world.containerd("2.1", hosts={"docker.io": [A]})


@broken(None)
def a_mirror_and_the_origin_is_blocked(world: World) -> None:
    one_mirror(world)


@pytest.mark.parametrize("case", worlds_of(__name__), ids=said)
@pytest.mark.row("N3", "N4", "N21")
def test_the_right_cause_is_named_first(case: Broken, network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        case.build(made)
        found = made.doctor(*case.words)
    first = found.first
    assert (None if first is None else first[0]) == case.code, str(found)
    assert case.subject in (None, first[1] if first else None), str(found)
    assert found.code == (0 if case.code is None else 5)
