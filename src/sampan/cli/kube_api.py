"""The API server, as a pod sees it: three verbs on JSON documents, with the pod's own account.

It guarantees that the account's token goes to nobody but the server whose authority the pod was given, and
into no message. Only ``sampan webhook certificate`` needs it: the webhook itself asks nobody.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import ConfigError, SampanError, printable
from sampan.secret import Secret

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 30.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # more than any object that etcd takes
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"


class KubeError(SampanError):
    """The API server said no, or nothing; ``status`` 0: it could not be reached."""

    exit_code = 7

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class KubeApi:
    """``host`` and ``port`` of the server, the authority that it is checked by, and who asks."""

    host: str
    port: int
    context: ssl.SSLContext
    token: Secret

    @classmethod
    def of_this_pod(cls, environ: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> KubeApi:
        """From what Kubernetes gives every pod. Raises :class:`ConfigError` outside of one."""
        try:
            host, port = environ["KUBERNETES_SERVICE_HOST"], int(environ["KUBERNETES_SERVICE_PORT"])
            token = (account / "token").read_text(encoding="ascii").strip()
            context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(
                f"this is no pod with an account: {error}",
                hint="sampan webhook manifests --certificate job writes a Job that is one",
            ) from error
        return cls(host, port, context, Secret(token))

    def get(self, path: str) -> dict[str, object] | None:
        """The object at ``path``; None when there is none. Raises :class:`KubeError`."""
        try:
            return self._ask("GET", path)
        except KubeError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def create(self, path: str, document: object) -> dict[str, object]:
        """Raises :class:`KubeError`; its status is 409 when there is one of that name."""
        return self._ask("POST", path, document, "application/json")

    def patch(self, path: str, document: object, *, kind: str) -> dict[str, object]:
        """``kind``: ``MERGE`` or ``JSON_PATCH``. Raises :class:`KubeError`."""
        return self._ask("PATCH", path, document, kind)

    def _ask(self, method: str, path: str, document: object = None, kind: str = "") -> dict[str, object]:
        headers = {"Authorization": f"Bearer {self.token.reveal()}", "Accept": "application/json"}
        body = None
        if document is not None:
            body, headers["Content-Type"] = json.dumps(document), kind
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=TIMEOUT_SECONDS, context=self.context
        )
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise KubeError(f"{method} {path}: the API server cannot be asked: {error}") from error
        finally:
            connection.close()
        return _read(method, path, response.status, answer)


def _read(method: str, path: str, status: int, answer: bytes) -> dict[str, object]:
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise KubeError(f"{method} {path}: the API server answered {status}, and no object", status=status)
    if status >= http.HTTPStatus.BAD_REQUEST:
        said = printable(str(document.get("message", "")), characters_max=300)
        hint = (
            "kubectl auth can-i shows what the account may do"
            if status == http.HTTPStatus.FORBIDDEN
            else None
        )
        raise KubeError(
            f"{method} {path}: the API server answered {status}: {said}", status=status, hint=hint
        )
    return document
