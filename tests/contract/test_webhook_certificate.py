"""``sampan webhook certificate`` against an API server of few words, with the machine's own openssl."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from sampan.cli.kube_api import KubeApi, KubeError
from sampan.cli.webhook_certificate import DAY_SECONDS, DAYS, REGISTRATION, ensure, make, register
from sampan.errors import ConfigError
from sampan.rewrite.manifests import NAME, TLS_SECRET
from sampan.server.certificate import expiry, load_tls

SECRETS = "/api/v1/namespaces/infra/secrets"
TOKEN = "a-token-of-the-account"
HOST = f"{NAME}.infra.svc"


class FakeApi:
    """Keeps secrets and what is patched; asks every request for the account's token."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}
        self.patches: list[tuple[str, str, Any]] = []
        self.denied = False
        self.is_late = False

    def answer(self, method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        if self.denied:
            return 403, {"kind": "Status", "message": "secrets is forbidden"}
        if method == "GET":
            found = self.secrets.get(path)
            return (200, found) if found else (404, {"kind": "Status", "message": "not found"})
        if method == "POST":
            if self.is_late:
                self.secrets[f"{path}/{TLS_SECRET}"] = secret(b"of another", b"key")
                return 409, {"kind": "Status", "message": "already exists"}
            self.secrets[f"{path}/{body['metadata']['name']}"] = body
            return 201, body
        self.patches.append((path, kind, body))
        if path in self.secrets:
            self.secrets[path]["data"] |= body["data"]
        return 200, {}


def secret(certificate: bytes, key: bytes) -> dict[str, Any]:
    parts = {"tls.crt": certificate, "tls.key": key}
    return {"data": {name: base64.b64encode(part).decode() for name, part in parts.items()}}


@pytest.fixture
def fake() -> FakeApi:
    return FakeApi()


@pytest.fixture
def api(fake: FakeApi, tmp_path: Path) -> Iterator[KubeApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers.get("Content-Type", "")
            status, document = fake.answer(self.command, self.path, kind, json.loads(body) if body else None)
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Not on stderr."""

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text(TOKEN + "\n")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_port)}
    try:
        yield KubeApi.of_this_pod(environ, tmp_path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stored(fake: FakeApi) -> tuple[bytes, bytes]:
    data = fake.secrets[f"{SECRETS}/{TLS_SECRET}"]["data"]
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])


def test_a_certificate_is_made_and_told_to_the_api_server(
    api: KubeApi, fake: FakeApi, tmp_path: Path
) -> None:
    shown = ensure(api, "infra", now=time.time())
    register(api, shown)
    certificate, key = stored(fake)
    assert shown == certificate
    assert fake.secrets[f"{SECRETS}/{TLS_SECRET}"]["type"] == "kubernetes.io/tls"
    ((path, kind, change),) = fake.patches
    assert (path, kind) == (REGISTRATION, "application/json-patch+json")
    assert change == [
        {
            "op": "add",
            "path": "/webhooks/0/clientConfig/caBundle",
            "value": base64.b64encode(certificate).decode(),
        }
    ]
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    handshake(tmp_path)


def handshake(directory: Path) -> None:
    """A client that believes the certificate alone reaches the server by its Service's name."""
    server = load_tls(str(directory / "tls.crt"), str(directory / "tls.key"))
    client = ssl.create_default_context(cafile=str(directory / "tls.crt"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=HOST),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert ends == []


def test_the_certificate_can_sign_nothing_and_holds_for_years() -> None:
    pair = make(HOST)
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=pair.certificate, capture_output=True, check=True
    ).stdout.decode()
    assert "CA:FALSE" in text
    assert f"DNS:{HOST}, DNS:{HOST}.cluster.local" in text
    assert "TLS Web Server Authentication" in text
    left = expiry(pair.certificate, "it") - time.time()
    assert (DAYS - 1) * DAY_SECONDS < left <= DAYS * DAY_SECONDS


def test_a_certificate_that_holds_is_kept(api: KubeApi, fake: FakeApi) -> None:
    first = ensure(api, "infra", now=time.time())
    assert ensure(api, "infra", now=time.time()) == first
    assert fake.patches == []


def test_one_that_is_about_to_end_is_renewed_and_still_believed(api: KubeApi, fake: FakeApi) -> None:
    old = ensure(api, "infra", now=time.time())
    both = ensure(api, "infra", now=time.time() + (DAYS - 30) * DAY_SECONDS)
    new, _ = stored(fake)
    assert new != old
    assert both == new + old


@pytest.mark.parametrize("broken", [{}, {"data": None}, {"data": {"tls.crt": "%%%", "tls.key": "eA=="}}])
def test_a_secret_without_a_certificate_gets_one(api: KubeApi, fake: FakeApi, broken: Any) -> None:
    fake.secrets[f"{SECRETS}/{TLS_SECRET}"] = {"data": {}} | {"metadata": {}}
    if broken.get("data"):
        fake.secrets[f"{SECRETS}/{TLS_SECRET}"]["data"] = dict(broken["data"])
    ensure(api, "infra", now=time.time())
    assert expiry(stored(fake)[0], "it") > time.time()


def test_when_another_job_was_quicker_its_certificate_holds(api: KubeApi, fake: FakeApi) -> None:
    fake.is_late = True
    assert ensure(api, "infra", now=time.time()) == b"of another"


def test_a_denial_is_told_without_the_token(api: KubeApi, fake: FakeApi) -> None:
    fake.denied = True
    with pytest.raises(KubeError, match="403: secrets is forbidden") as caught:
        ensure(api, "infra", now=time.time())
    assert caught.value.hint is not None
    assert TOKEN not in str(caught.value) + repr(api)


def test_outside_of_a_cluster_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pod with an account") as caught:
        KubeApi.of_this_pod({}, tmp_path)
    assert "--certificate job" in str(caught.value.hint)
