"""Run by the Python of an Airflow: what its pods and tasks look like in one environment after another.

The DAG of this folder is parsed and each of its tasks executed, as Airflow would, against an API server on
loopback that answers every request to create something with 403 and keeps what it was sent. Prints one JSON
object. Expects a home of Airflow in ``$AIRFLOW_HOME``, and in ``$SAMPAN_ENVIRONMENTS`` what to add to the
environment, by name, for each pass.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HOME = Path(os.environ["AIRFLOW_HOME"])
created: list[dict[str, Any]] = []


class ApiServer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []})

    def do_POST(self) -> None:
        created.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(403, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403})

    def answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_kubeconfig(f"http://127.0.0.1:{server.server_address[1]}")

    import airflow

    seen: dict[str, Any] = {
        "version": airflow.__version__,
        "imported at the start": sorted(name for name in sys.modules if name.startswith("sampan.")),
    }
    for name, environment in json.loads(os.environ["SAMPAN_ENVIRONMENTS"]).items():
        os.environ.update(environment)
        seen[name] = observe()
        for variable in environment:
            del os.environ[variable]
    print("\n" + json.dumps(seen))


def write_kubeconfig(server: str) -> None:
    path = HOME / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": server}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    document = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster]}
    path.write_text(json.dumps(document | {"contexts": [context], "users": [{"name": "u", "user": {}}]}))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(path)}}
    os.environ["AIRFLOW_CONN_KUBERNETES_DEFAULT"] = json.dumps(connection)


def observe() -> dict[str, Any]:
    """The pod of each task and of a worker, and what tasks of Docker name."""
    tasks = parsed_tasks()
    for variable in ("HTTP_PROXY", "HTTPS_PROXY"):  # the client of Kubernetes 34 forgets what NO_PROXY says
        os.environ.pop(variable, None)
    pods = {name: executed(task) for name, task in tasks.items() if not name.startswith("docker")}
    return {
        "pods": pods | {"worker": worker_pod()},
        "docker": {
            name: task.partial_kwargs["image"] if name == "docker-mapped" else task.image
            for name, task in tasks.items()
            if name.startswith("docker")
        },
    }


def parsed_tasks() -> dict[str, Any]:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag
    bag = DagBag(str(HOME / "dags"))
    assert not bag.import_errors, bag.import_errors
    return {task.task_id: task for task in bag.dags["shop"].tasks}


def executed(task: Any) -> dict[str, Any]:
    """The pod, or the template of the job, that executing ``task`` asks the API server for."""
    from kubernetes.client.exceptions import ApiException

    created.clear()
    ti = SimpleNamespace(dag_id="shop", task_id=task.task_id, map_index=-1, try_number=1)
    try:
        task.execute({"ti": ti, "run_id": "manual", "dag": SimpleNamespace(parent_dag=None)})
    except ApiException as error:
        status = error.status
    else:
        status = None
    assert status == 403, f"{task.task_id}: the API server's answer was not the end of it"
    (document,) = created
    return shown(document["spec"]["template"] if document["kind"] == "Job" else document)


def worker_pod() -> dict[str, Any]:
    """A worker's pod as KubernetesExecutor makes it: template, image of the configuration, the task's own."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes import client
    from kubernetes.client import models as k8s

    sync = k8s.V1Container(name="git-sync", image="registry.k8s.io/git-sync/git-sync:v4.2.4")
    template = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(),
        spec=k8s.V1PodSpec(
            containers=[k8s.V1Container(name="base", image="in-the-template")], init_containers=[sync]
        ),
    )
    extra = k8s.V1Container(name="proxy", image="ghcr.io/shop/proxy:2")
    pod = PodGenerator.construct_pod(
        dag_id="shop",
        task_id="task",
        pod_id="shop-task",
        try_number=1,
        kube_image="apache/airflow:slim-latest",
        date=None,
        args=["true"],
        pod_override_object=k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base"), extra])),
        base_worker_pod=template,
        namespace="default",
        scheduler_job_id="1",
        run_id="manual",
        map_index=-1,
        with_mutation_hook=True,
    )
    return shown(client.ApiClient().sanitize_for_serialization(pod))


def shown(pod: dict[str, Any]) -> dict[str, Any]:
    spec = pod["spec"]
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    return {
        "images": {container["name"]: container["image"] for container in containers},
        "annotations": pod["metadata"].get("annotations", {}),
        "secrets": [secret["name"] for secret in spec.get("imagePullSecrets", ())],
    }


if __name__ == "__main__":
    main()
