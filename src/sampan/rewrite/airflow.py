"""Airflow: the images of its pods and of its Docker tasks, redirected by this machine's configuration.

Installed beside Airflow, sampan does this for every pod by itself (:mod:`sampan.rewrite.airflow_policy`).
:func:`rewrite_pod` and :class:`RewritesImages` are for operators that set images after Airflow has called its
hooks. Whatever happens here, a task goes on: what is wrong is logged, and images stay as they are. The
configuration is read each time, and no module of Airflow's or of a Kubernetes client is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import ParamSpec, TypeVar

from sampan.errors import SampanError
from sampan.rewrite.models import Model, Place, redirect
from sampan.rewrite.rules import Rules

METHODS = ("build_pod_request_obj", "build_job_request_obj")
DOCKER_PROVIDER = "airflow.providers.docker."

_Pod = TypeVar("_Pod")
_Arguments = ParamSpec("_Arguments")
_log = logging.getLogger(__name__)


def rewrite_pod(pod: _Pod) -> _Pod:
    """``pod`` itself (a ``V1Pod`` or ``V1Job``), each image redirected that has a rule. Raises nothing.

    Originals are kept in annotations (:mod:`~sampan.rewrite.originals`); the secrets of
    ``rewrite.pull_secrets`` are added. A second time changes nothing.
    """
    with _harmless("the images of this pod"):
        rules, pull_secrets = _this_machine()
        for place, rewriting in redirect(pod, rules, pull_secrets).items():
            _log.info("%s: %s is pulled as %s", place, rewriting.before, rewriting.after)
    return pod


def rewrite_task(task: object) -> None:
    """Redirect ``image`` of a DockerOperator, of a subclass, or of one that is mapped. Raises nothing.

    A template is left as it is, and so is a task of any other kind.
    """
    arguments = getattr(task, "partial_kwargs", None)  # what a mapped task is made with, when it is
    mapped = isinstance(arguments, dict)
    kind = getattr(task, "operator_class", None) if mapped else type(task)
    if not isinstance(kind, type) or not _is_of_docker(kind):
        return
    place = Place(str(getattr(task, "task_id", "")), arguments if mapped else task, "image")
    with _harmless("the image of this task"):
        rewriting = _this_machine()[0].judge(place.image)
        if rewriting.changed:
            place.write(rewriting.after)
            _log.info("%s: %s is pulled as %s", place.name, rewriting.before, rewriting.after)


class RewritesImages:
    """Makes the pod of an operator pass :func:`rewrite_pod` after all that its class does to it.

    Stands before the operator among the bases: ``class Mine(RewritesImages, KubernetesPodOperator)``. Behind
    it would be in vain, and raises TypeError. What ``build_pod_request_obj`` of the class itself or of a
    subclass sets is covered; with KubernetesJobOperator, the template of the job is, too.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for method in METHODS:
            owner = next(base for base in cls.__mro__ if method in vars(base))
            if owner is cls:
                setattr(cls, method, _rewriting(vars(cls)[method]))
            elif not issubclass(owner, RewritesImages):
                raise TypeError(
                    f"{cls.__name__}: RewritesImages has to stand before {owner.__name__} among the bases, "
                    "or its pods are not redirected"
                )

    def build_pod_request_obj(self, *args: Model, **options: Model) -> Model:
        """The operator's own pod, redirected."""
        return rewrite_pod(super().build_pod_request_obj(*args, **options))  # type: ignore[misc]

    def build_job_request_obj(self, *args: Model, **options: Model) -> Model:
        """The operator's own job, its template redirected."""
        return rewrite_pod(super().build_job_request_obj(*args, **options))  # type: ignore[misc]


def _rewriting(build: Callable[_Arguments, _Pod]) -> Callable[_Arguments, _Pod]:
    @wraps(build)
    def built(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Pod:
        return rewrite_pod(build(*args, **options))

    return built


def _is_of_docker(kind: type) -> bool:
    """Told by the name, for importing the provider would cost every DAG file a second."""
    return any(base.__module__.startswith(DOCKER_PROVIDER) for base in kind.__mro__)


def _this_machine() -> tuple[Rules, tuple[str, ...]]:
    """The rules and the pull secrets of this machine's configuration. Raises ConfigError."""
    sampan = import_module("sampan")  # configuration lies above this package: asked for by its public names
    config = sampan.Config.load(locked=False)
    return sampan.rewriter(config), config.rewrite.pull_secrets


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    """Every error ends here, in the log: the usual place may have the image, a failed task has nothing."""
    try:
        yield
    except SampanError as error:
        hint = f"; hint: {error.hint}" if error.hint else ""
        _log.error("sampan leaves %s unchanged: %s%s", what, error, hint)
    except Exception:  # noqa: BLE001  # Airflow fails the task on whatever a hook raises
        _log.exception("sampan leaves %s unchanged", what)
