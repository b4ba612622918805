"""The Airflows that the interop tests run: one environment for each version, made from its own lock.

``python tests/interop/airflows.py install`` makes what is missing and ends at once when nothing is. An
environment holds Airflow, the two providers that start containers, and what sampan itself needs, as
``requirements/airflow-VERSION.txt`` pins them by hash; sampan is not in it, for that is another one in each
working tree. It lies in ``.cache/peers``, named after its lock, and is whole when the file
``whole`` is in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interop import peers
from interop.peers import PeerMissing

VERSIONS = ("2", "3")
VENV_TIMEOUT_SECONDS = 120
INSTALL_TIMEOUT_SECONDS = 900  # 150 packages of 400 MB unpacked: 70 s alone, 230 s on two busy cores
NEWEST_PYTHON = (3, 12)  # that both versions run on


def python(version: str) -> Path:
    """The interpreter of the environment with that Airflow. Raises PeerMissing when it has not been made."""
    home = _home(version)
    if not (home / "whole").exists():
        raise PeerMissing(f"{home} has not been made: run `python tests/interop/airflows.py install`")
    return home / "bin/python"


def install() -> list[str]:
    """Make what is missing; the problems, one line each."""
    (peers.CACHE / "peers").mkdir(parents=True, exist_ok=True)
    problems = []
    for version in VERSIONS:
        with peers._locked(_home(version).with_suffix(".lock")):
            try:
                _make(version)
            except (PeerMissing, OSError) as error:
                problems.append(str(error))
    return problems


def _home(version: str) -> Path:
    digest = hashlib.sha256(_lock(version).read_bytes()).hexdigest()
    return peers.CACHE / "peers" / f"airflow-{version}-{digest[:12]}"


def _lock(version: str) -> Path:
    return peers.ROOT / "requirements" / f"airflow-{version}.txt"


def _make(version: str) -> None:
    home = _home(version)
    if (home / "whole").exists():
        return
    print(f"peers: installing Airflow {version}", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)  # what an install that was cut has left
    peers._run([_base_python(), "-m", "venv", str(home)], VENV_TIMEOUT_SECONDS)
    pip = [str(home / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    # The lock is complete. Python 3.11's pip would resolve it anew, and take a pin without extras for none.
    options = ["--require-hashes", "--no-deps", "-r", str(_lock(version))]
    peers._run([*pip, *options], INSTALL_TIMEOUT_SECONDS)
    (home / "whole").touch()


def _base_python() -> str:
    """This Python, or an older one beside it that both versions of Airflow run on."""
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    names = (f"python3.{minor}" for minor in range(NEWEST_PYTHON[1], 10, -1))
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise PeerMissing("Airflow 2.10 needs a Python that is not newer than 3.12")
    return found


def main(words: Sequence[str]) -> int:
    """Exit status 0 when all are there; told on standard error otherwise."""
    if list(words) != ["install"]:
        print("usage: python tests/interop/airflows.py install", file=sys.stderr)
        return 2
    problems = install()
    for line in problems:
        print(f"peers: {line}", file=sys.stderr)
    return 1 if problems and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
