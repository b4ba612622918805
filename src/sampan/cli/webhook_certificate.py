"""``sampan webhook certificate``: a certificate for the webhook, made in the cluster and told to it.

It guarantees that a Secret that is there is kept unless its certificate is about to end, so that it may run
any number of times, and that the key is in a directory of its own until it is in the Secret. The certificate
is its own authority and can sign nothing: whoever steals the key can be the webhook, and nobody else.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from sampan.cli.command import Command
from sampan.cli.kube_api import JSON_PATCH, MERGE, KubeApi, KubeError
from sampan.errors import ConfigError
from sampan.rewrite.manifests import NAME, TLS_SECRET
from sampan.server.certificate import expiry

DAYS = 3650  # nobody else believes it, and the registration is what withdraws it
DAYS_LEFT_MIN = 60
DAY_SECONDS = 86400.0
OPENSSL_SECONDS = 60.0
CONFLICT = 409
REGISTRATION = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two PEM texts."""

    certificate: bytes
    key: bytes


@click.command(cls=Command, example="sampan webhook certificate --namespace sampan")
@click.option("--namespace", required=True, metavar="NAME", help="Where the webhook and its Secret are.")
def certificate(namespace: str) -> None:
    """Make the webhook's certificate with openssl, keep it in its Secret, and tell the API server of it.

    For the Job that sampan webhook manifests writes; it runs in the cluster.
    """
    api = KubeApi.of_this_pod()
    shown = ensure(api, namespace, now=time.time())
    register(api, shown)
    click.echo(f"{TLS_SECRET} in {namespace} is what the API server expects of {NAME}", err=True)


def ensure(api: KubeApi, namespace: str, *, now: float) -> bytes:
    """The certificates to believe, the one in the Secret among them: it is made or renewed when it has to be.

    Raises :class:`KubeError` and :class:`ConfigError`.
    """
    path = f"/api/v1/namespaces/{namespace}/secrets"
    secret = api.get(f"{path}/{TLS_SECRET}")
    found = _stored(secret)
    if _holds(found, now):
        return found
    pair = make(f"{NAME}.{namespace}.svc")
    data = {"tls.crt": _encoded(pair.certificate), "tls.key": _encoded(pair.key)}
    if secret is not None:
        api.patch(f"{path}/{TLS_SECRET}", {"data": data}, kind=MERGE)
        return pair.certificate + found  # the old one is shown until the kubelet has brought the new one
    metadata = {"name": TLS_SECRET, "namespace": namespace}
    made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}
    try:
        api.create(path, {**made, "data": data})
    except KubeError as error:
        if error.status != CONFLICT:
            raise
        return _stored(api.get(f"{path}/{TLS_SECRET}"))  # another Job was quicker: its certificate holds
    return pair.certificate


def register(api: KubeApi, shown: bytes) -> None:
    """Tell the API server which certificate is the webhook's. Raises :class:`KubeError`."""
    change = {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": _encoded(shown)}
    api.patch(REGISTRATION, [change], kind=JSON_PATCH)


def make(host: str) -> Pair:
    """A key and a certificate for ``host``, by the machine's openssl. Raises :class:`ConfigError`."""
    with tempfile.TemporaryDirectory(prefix="sampan-") as directory:
        key, made = Path(directory, "tls.key"), Path(directory, "tls.crt")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-keyout", str(key), "-out", str(made), "-days", str(DAYS), "-subj", "/O=sampan"]
        for extension in (
            f"subjectAltName=critical,DNS:{host},DNS:{host}.cluster.local",
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth",
        ):
            words += ["-addext", extension]
        try:
            done = subprocess.run(words, capture_output=True, timeout=OPENSSL_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"openssl cannot be run: {error}",
                hint="the image needs openssl; Debian's Python images have it",
            ) from error
        if done.returncode:
            raise ConfigError(f"openssl failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return Pair(made.read_bytes(), key.read_bytes())


def _holds(certificate: bytes, now: float) -> bool:
    try:
        return expiry(certificate, TLS_SECRET) - now > DAYS_LEFT_MIN * DAY_SECONDS
    except ConfigError:
        return False


def _stored(secret: dict[str, object] | None) -> bytes:
    """The certificate in a Secret that has both parts; else nothing."""
    data = secret.get("data") if secret else None
    if not isinstance(data, dict) or not data.get("tls.key"):
        return b""
    try:
        return base64.b64decode(str(data.get("tls.crt", "")), validate=True)
    except ValueError:
        return b""


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode("ascii")
