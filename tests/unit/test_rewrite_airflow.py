"""Airflow's hooks without Airflow: the one table, and that no configuration can make a task fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_process import Operator
from kubernetes_pods import V1Pod, pod
from rewrite_table import Row, environ, groups, rows, text
from sampan.rewrite.airflow import RewritesImages

TESTS = Path(__file__).parents[1]
MIRROR = "docker.io=https://m.lan/hub"
OTHERS = {
    "nothing": {},
    "one variable": {"SAMPAN_MIRRORS": MIRROR},
    "nonsense": {"SAMPAN_MIRRORS": "docker.io"},
    "no such file": {"SAMPAN_CONFIG": "/nonexistent/sampan.toml"},
    "switched off": {"SAMPAN_MIRRORS": MIRROR, "SAMPAN_CONFIG": "off.toml"},
}
UNTOUCHED = ["a", "a:{{ params.x }}", None, "a", "a", None, "a"]
NAMED = ["docker.io/library/a:1", "quay.io/a/b"]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the hooks did, by the name of a group of the table or of ``OTHERS``."""
    directory = tmp_path_factory.mktemp("airflow")
    (directory / "off.toml").write_text('[rewrite]\nexcept = ["*/**"]\n')
    wanted = []
    for group in groups():
        path = directory / f"{group}.toml"
        path.write_text(text(group))
        references = [row.reference for row in rows() if row.group == group]
        wanted.append({"environ": {**environ(group), "SAMPAN_CONFIG": str(path)}, "references": references})
    wanted += [{"environ": variables, "references": NAMED} for variables in OTHERS.values()]
    done = subprocess.run(
        [sys.executable, str(TESTS / "airflow_process.py")],
        input=json.dumps(wanted),
        cwd=directory,
        env={"PYTHONPATH": str(TESTS), "HOME": str(directory), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document | dict(zip([*groups(), *OTHERS], document["seen"], strict=True))


@pytest.mark.parametrize("row", rows(), ids=str)
def test_the_hook_gives_a_container_the_image_of_the_table(process: dict[str, Any], row: Row) -> None:
    references = [each.reference for each in rows() if each.group == row.group]
    assert process[row.group]["images"][references.index(row.reference)] == row.result


def test_loading_the_hooks_imports_nothing_slow_and_using_them_no_client(process: dict[str, Any]) -> None:
    assert process["slow"] == []
    assert process["never"] == []


def test_one_variable_is_enough(process: dict[str, Any]) -> None:
    seen = process["one variable"]
    assert seen["images"] == ["m.lan/hub/library/a:1", "quay.io/a/b"]
    assert "INFO c0: docker.io/library/a:1 is pulled as m.lan/hub/library/a:1" in seen["log"]


def test_containers_that_other_hooks_add_are_redirected_whenever_those_were_registered(
    process: dict[str, Any],
) -> None:
    added = ["company/sidecar", "package/sidecar"] * 2
    assert process["nothing"]["sidecars"] == added
    assert process["one variable"]["sidecars"] == [f"m.lan/hub/{image}" for image in added]


def test_the_image_of_a_docker_task_is_redirected_and_no_other(process: dict[str, Any]) -> None:
    redirected = "m.lan/hub/library/a"
    expected = [redirected, "a:{{ params.x }}", None, "a", redirected, None, "a"]
    assert process["one variable"]["tasks"] == expected


def test_the_mixin_redirects_what_its_class_and_a_subclass_set(process: dict[str, Any]) -> None:
    assert process["one variable"]["mixin"] == ["m.lan/hub/library/a:1"]
    assert process["one variable"]["set later"] == ["m.lan/hub/library/alpine:3"]


@pytest.mark.parametrize("name", ["nothing", "nonsense", "no such file", "switched off"])
def test_without_rules_everything_stays_and_nothing_fails(process: dict[str, Any], name: str) -> None:
    seen = process[name]
    assert seen["images"] == NAMED
    assert seen["tasks"] == UNTOUCHED
    assert (seen["mixin"], seen["set later"]) == (["a:1"], ["alpine:3"])


def test_a_broken_configuration_is_told_with_its_hint(process: dict[str, Any]) -> None:
    assert process["nothing"]["log"] == []
    assert process["switched off"]["log"] == []
    line = process["nonsense"]["log"][0]
    assert line.startswith("ERROR sampan leaves the images of this pod unchanged: $SAMPAN_MIRRORS: ")
    assert "hint: as in SAMPAN_MIRRORS=" in line
    assert "/nonexistent/sampan.toml" in process["no such file"]["log"][0]


def test_a_mixin_that_would_be_in_vain_is_refused() -> None:
    with pytest.raises(TypeError, match="Wrong: RewritesImages has to stand before Operator among the bases"):
        type("Wrong", (Operator, RewritesImages), {})


def test_a_mixed_in_method_keeps_its_name_and_its_documentation() -> None:
    class Mine(RewritesImages, Operator):
        def build_pod_request_obj(self, image: str, *, tag: str) -> V1Pod:
            """What it does."""
            return pod(image, tag)

    assert Mine.build_pod_request_obj.__name__ == "build_pod_request_obj"
    assert Mine.build_pod_request_obj.__doc__ == "What it does."
