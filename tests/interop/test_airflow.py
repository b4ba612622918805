"""Real Airflow, 2.10 and 3.x, with sampan installed beside it: one variable redirects every image.

Each version runs once, as ``airflow/observe.py``; the tests look at what it saw. sampan is there as it is
after ``pip install``, of this working tree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interop import airflows
from interop.peers import ROOT, PeerMissing
from interop.processes import surroundings
from interop.sentinel import Sentinel
from sampan.rewrite.originals import ORIGINAL

GROUND = Path(__file__).parent / "airflow"
RUN_TIMEOUT_SECONDS = 120  # 8 s on two cores
MIRROR = "m.daocloud.io"
MIRRORS = ";".join(f"{name}=https://{MIRROR}/{name}" for name in ("docker.io", "ghcr.io", "registry.k8s.io"))
FILE = f"""
[registry."docker.io"]
mirrors = ["https://{MIRROR}/docker.io"]
[registry."ghcr.io"]
mirrors = ["https://{MIRROR}/ghcr.io"]
[rewrite]
except = ["ghcr.io/shop/*"]
pull_secrets = ["shop", "mirror-login"]
"""
ETL = "ghcr.io/shop/etl@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
GIT_SYNC = "registry.k8s.io/git-sync/git-sync:v4.2.4"
SIDECAR = "airflow-xcom-sidecar"
COMPANY = ("fluent/fluent-bit:3.1", f"{MIRROR}/docker.io/fluent/fluent-bit:3.1")
SIDECARS = {"2": "alpine", "3": "alpine:3.24.2"}  # as each version's provider has it
COVERED = ("OriginStoryByFunction", "OriginStoryByMixin", "OriginStoryWithMixin")


@dataclass(frozen=True)
class Seen:
    """What ``observe.py`` printed, and what Airflow logged meanwhile."""

    version: str
    document: dict[str, Any]
    log: str

    def pod(self, environment: str, task: str = "KubernetesPodOperator") -> dict[str, Any]:
        found: dict[str, Any] = self.document[environment]["pods"][task]
        return found

    def images(self, environment: str, task: str = "KubernetesPodOperator") -> dict[str, str]:
        found: dict[str, str] = self.pod(environment, task)["images"]
        return found


@pytest.fixture(scope="session")
def installed(scratch: Path) -> Path:
    """sampan as ``pip install`` puts it into a directory of packages."""
    target = scratch / "site-packages"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target), str(ROOT)]
    subprocess.run([*pip, *options], check=True, timeout=RUN_TIMEOUT_SECONDS, capture_output=True)
    return target


@pytest.fixture(scope="session", params=airflows.VERSIONS)
def seen(request: pytest.FixtureRequest, installed: Path, scratch: Path, way_out: Sentinel) -> Seen:
    try:
        python = airflows.python(request.param)
    except PeerMissing as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
    home = scratch / f"airflow-{request.param}"
    shutil.copytree(GROUND, home)
    (home / "company.toml").write_text(FILE)
    environments = {
        "nothing": {},
        "one variable": {"SAMPAN_MIRRORS": MIRRORS},
        "a file": {"SAMPAN_CONFIG": str(home / "company.toml")},
        "nonsense": {"SAMPAN_MIRRORS": "docker.io=ftp://nonsense"},
    }
    done = subprocess.run(
        [str(python), "-P", str(home / "observe.py")],
        cwd=home,
        env=surroundings(
            HOME=str(home),
            AIRFLOW_HOME=str(home),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            PYTHONPATH=f"{installed}:{home / 'config'}",
            SAMPAN_ENVIRONMENTS=json.dumps(environments),
        ),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Seen(request.param, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr)


def test_it_is_the_airflow_that_was_meant(seen: Seen) -> None:
    assert seen.document["version"].startswith({"2": "2.10.", "3": "3."}[seen.version])


def test_airflow_starts_with_the_hooks_and_without_the_configuration(seen: Seen) -> None:
    imported = seen.document["imported at the start"]
    assert "sampan.rewrite.airflow_policy" in imported
    assert not [name for name in imported if name.startswith(("sampan.config", "sampan.upstream"))]


@pytest.mark.parametrize("environment", ["nothing", "nonsense"])
def test_without_a_configuration_or_with_a_broken_one_every_image_stays(seen: Seen, environment: str) -> None:
    for pod in seen.document[environment]["pods"].values():
        assert MIRROR not in json.dumps(pod)
        assert "sampan" not in json.dumps(pod["annotations"])
    assert seen.images(environment) == {
        "clone": GIT_SYNC,
        "wait": "docker.io/library/busybox",
        "base": ETL,
        SIDECAR: SIDECARS[seen.version],
        "company-logs": COMPANY[0],
    }
    assert seen.pod(environment)["secrets"] == ["shop"]


def test_what_is_done_is_in_the_log(seen: Seen) -> None:
    assert f"base: python:3.12 is pulled as {MIRROR}/docker.io/library/python:3.12" in seen.log


def test_what_is_wrong_with_the_configuration_is_in_the_log(seen: Seen) -> None:
    assert "sampan leaves the images of this pod unchanged: $SAMPAN_MIRRORS" in seen.log


def test_one_variable_redirects_the_base_the_init_containers_and_the_xcom_sidecar(seen: Seen) -> None:
    assert seen.images("one variable") == {
        "clone": f"{MIRROR}/{GIT_SYNC}",
        "wait": f"{MIRROR}/docker.io/library/busybox",
        "base": f"{MIRROR}/{ETL}",
        SIDECAR: f"{MIRROR}/docker.io/library/{SIDECARS[seen.version]}",
        "company-logs": COMPANY[1],
    }


@pytest.mark.parametrize("task", ["KubernetesPodOperator", "KubernetesJobOperator", "worker"])
def test_the_container_that_a_companys_own_hook_adds_is_redirected_too(seen: Seen, task: str) -> None:
    assert seen.images("nothing", task)["company-logs"] == COMPANY[0]
    assert seen.images("one variable", task)["company-logs"] == COMPANY[1]


def test_the_originals_are_kept_beside_the_pods_own_annotations(seen: Seen) -> None:
    annotations = seen.pod("one variable")["annotations"]
    originals = {ORIGINAL + name: image for name, image in seen.images("nothing").items()}
    assert annotations == originals | {"team": "data"}


def test_the_pod_of_a_worker_is_redirected(seen: Seen) -> None:
    assert seen.images("one variable", "worker") == {
        "git-sync": f"{MIRROR}/{GIT_SYNC}",
        "base": f"{MIRROR}/docker.io/apache/airflow:slim-latest",
        "proxy": f"{MIRROR}/ghcr.io/shop/proxy:2",
        "company-logs": COMPANY[1],
    }
    assert seen.pod("one variable", "worker")["annotations"]["task_id"] == "task"


def test_a_file_says_what_stays_and_which_secrets_a_redirected_pod_needs(seen: Seen) -> None:
    images = seen.images("a file")
    assert (images["base"], images["clone"]) == (ETL, GIT_SYNC)
    assert images["wait"] == f"{MIRROR}/docker.io/library/busybox"
    assert seen.pod("a file")["secrets"] == ["shop", "mirror-login"]


def test_an_image_that_is_set_after_the_hook_is_not_seen_by_it(seen: Seen) -> None:
    images = seen.images("one variable", "OriginStory")
    assert images[SIDECAR] == "alpine:3"
    assert images["base"] == f"{MIRROR}/{ETL}"


@pytest.mark.parametrize("task", COVERED)
def test_rewrite_pod_and_the_mixin_redirect_what_is_set_after_the_hook(seen: Seen, task: str) -> None:
    assert seen.images("nothing", task)[SIDECAR] == "alpine:3"
    pod = seen.pod("one variable", task)
    expected = seen.images("one variable") | {SIDECAR: f"{MIRROR}/docker.io/library/alpine:3"}
    assert pod["images"] == expected
    originals = {ORIGINAL + name: image for name, image in seen.images("nothing", task).items()}
    assert originals.items() <= pod["annotations"].items()


def test_what_a_job_template_brings_is_redirected_by_the_mixin_alone(seen: Seen) -> None:
    base = f"{MIRROR}/docker.io/library/python:3.12"
    without, mixed_in = (
        seen.images("one variable", task) for task in ("KubernetesJobOperator", "RedirectedJob")
    )
    assert (without["base"], without["helper"]) == (base, "busybox:1.36")
    assert (mixed_in["base"], mixed_in["helper"]) == (base, f"{MIRROR}/docker.io/library/busybox:1.36")


def test_the_pod_of_a_decorated_function_is_redirected(seen: Seen) -> None:
    assert seen.images("nothing", "decorated")["base"] == "python:3.12"
    assert seen.images("one variable", "decorated")["base"] == f"{MIRROR}/docker.io/library/python:3.12"


def test_the_image_of_a_docker_task_is_redirected_unless_it_is_a_template(seen: Seen) -> None:
    redirected = f"{MIRROR}/docker.io/library/python:3.12"
    assert seen.document["one variable"]["docker"] == {
        "docker": redirected,
        "docker-template": "python:{{ params.version }}",
        "docker-mapped": redirected,
        "docker_decorated": redirected,
    }
    assert set(seen.document["nothing"]["docker"].values()) == {"python:3.12", "python:{{ params.version }}"}
