"""``sampan doctor --pull``: what a runtime really says, beside what its requests foretell."""

from __future__ import annotations

import pytest

from interop.sentinel import Sentinel
from lab.case import VERSIONS, A, daemon_json, legacy, registries_conf
from lab.network import Network
from lab.world import World, world
from sampan.testing import faults

pytestmark = pytest.mark.interop


def codes_of(made: World) -> set[str]:
    return made.doctor("--pull").codes


@pytest.mark.parametrize("version", VERSIONS)
def test_containerd_fails_as_foretold_with_the_words_that_were_foretold(
    version: str, network: Network, way_out: Sentinel
) -> None:
    with world(network) as made:
        made.containerd(version, registry=legacy(A))
        made.spoil(faults.status(502), "a.lan", on=made.layer)
        made.block()
        found = made.doctor("--pull")
    assert {"CHAIN_FAILS", "PULL_FAILS"} <= found.codes, str(found)
    assert "PREDICTION_DIFFERS" not in found.codes, str(found)
    (pulled,) = [each for each in found.findings if each["code"] == "PULL_FAILS"]
    assert "502 Bad Gateway" in pulled["evidence"][0]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_that_comes_as_foretold_is_no_finding_and_is_not_left_behind(
    version: str, network: Network, way_out: Sentinel
) -> None:
    with world(network) as made:
        running = made.containerd(version, hosts={"docker.io": [A]})
        found = made.doctor("--pull")
        assert found.first is None, str(found)
        assert running.cri is not None
        assert running.cri.image(made.reference) is None
        assert any("/blobs/" in request.path for request in network["a.lan"].requests)


def test_an_image_that_was_there_stays(network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        running = made.containerd("2.1", hosts={"docker.io": [A]})
        assert running.cri is not None
        running.cri.pull(made.reference)
        assert made.doctor("--pull").first is None
        assert running.cri.image(made.reference) is not None


def test_a_mirror_that_treats_a_runtime_otherwise_is_a_finding_of_its_own(
    network: Network, way_out: Sentinel
) -> None:
    with world(network) as made:
        made.containerd("1.7", hosts={"docker.io": [A]})
        made.block()
        made.spoil(faults.status(503), "a.lan", on=made.from_program("containerd"))
        found = made.doctor("--pull")
    assert {"PULL_FAILS", "PREDICTION_DIFFERS"} <= found.codes, str(found)
    assert "CHAIN_FAILS" not in found.codes


def test_docker_fails_as_foretold_and_hides_the_mirrors_error(network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        made.docker("28.5", daemon_json(A))
        made.spoil(faults.denied(), "a.lan")
        made.block()
        found = made.doctor("--pull")
    assert {"CHAIN_FAILS", "PULL_FAILS"} <= found.codes, str(found)
    assert "PREDICTION_DIFFERS" not in found.codes, str(found)


def test_podman_fails_as_foretold_at_a_layer(network: Network, way_out: Sentinel) -> None:
    with world(network) as made:
        made.podman(registries_conf("a.lan", "b.lan")["registries.conf"])
        network["a.lan"].forget(made.image.layers[0].digest)
        found = made.doctor("--pull")
    assert {"CHAIN_FAILS", "PULL_FAILS"} <= found.codes, str(found)
    assert "PREDICTION_DIFFERS" not in found.codes, str(found)
