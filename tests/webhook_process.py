"""``sampan webhook serve`` as processes, and an API server that goes on without an answer."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from reviews import applied, images_of, item, patch_of, review

NAME = "127.0.0.1"
ENDS_SECONDS = 20.0
ANSWER_SECONDS = 60.0  # not those of Kubernetes: how busy this machine is, is not the question
RULES = '[registry."docker.io"]\nmirrors = ["https://m.daocloud.io/docker.io"]\n'


def write_certificate(directory: Path, authority: trustme.CA) -> None:
    leaf = authority.issue_cert(NAME)
    for name, blob in (("tls.key", leaf.private_key_pem), ("tls.crt", leaf.cert_chain_pems[0])):
        blob.write_to_path(str(directory / f"{name}.new"))
        os.replace(directory / f"{name}.new", directory / name)


class Serving:
    """One process; its log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.wait_for("serving at").partition("/mutate")[0].rpartition(":")[2])

    def wait_for(self, words: str) -> str:
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} is not in the log: {''.join(seen)}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(ENDS_SECONDS)


@contextmanager
def serve(directory: Path) -> Iterator[Serving]:
    words = ["--cert", "tls.crt", "--key", "tls.key", "--listen", f"{NAME}:0", "--own-namespace", "sampan"]
    command = [sys.executable, "-W", "error", "-m", "sampan", "webhook", "serve", *words]
    environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=directory, env=environment)
    try:
        yield Serving(process)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


class ApiServer:
    """Asks as Kubernetes does with ``failurePolicy: Ignore``: without an answer the pod stays as it is."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        self._connection = http.client.HTTPSConnection(NAME, port, timeout=ANSWER_SECONDS, context=context)
        self.ignored = 0

    def admit(self) -> str:
        """The image of a new pod as it is admitted. An answer that is none of ours is an error."""
        created = item("Pod")
        try:
            self._connection.request("POST", "/mutate?timeout=2s", json.dumps(review(created)))
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self.ignored += 1
            return images_of("Pod", created)["base"]
        assert response.status == 200, (response.status, body)
        return images_of("Pod", applied(created, patch_of(json.loads(body))))["base"]

    def close(self) -> None:
        self._connection.close()
