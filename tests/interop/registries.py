"""Peers that serve: docker-registry as an origin and as a pull-through proxy, nginx for comparison.

All listen on a free loopback port and are gone when their ``with`` block ends. The stock of the
origin is pushed once, into the cache, and served read-only from there, by as many registries at
once as a test wants.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop import peers
from interop.images import Image, Library
from interop.processes import Process, answers, free_port, running

PUSH_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Web:
    """A running HTTP server; ``netloc`` is ``127.0.0.1:port``."""

    netloc: str
    process: Process

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"


@contextlib.contextmanager
def docker_registry(
    directory: Path, *, storage: Path | None = None, read_only: bool = False, proxy_of: str | None = None
) -> Iterator[Web]:
    """docker-registry over ``storage`` (default: empty, below ``directory``), or a proxy of that URL."""
    home = Path(tempfile.mkdtemp(prefix="registry", dir=directory))
    netloc = f"127.0.0.1:{free_port()}"
    configuration: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "text"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage or home / "storage")},
            "cache": {"blobdescriptor": "inmemory"},
            "maintenance": {"readonly": {"enabled": read_only}},
        },
        "http": {"addr": netloc},
    }
    if proxy_of is not None:
        configuration["proxy"] = {"remoteurl": proxy_of}
    file = home / "config.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    command: list[str | Path] = [peers.program("docker-registry"), "serve", file]
    with running(
        "docker-registry", command, directory=home, ready=lambda: answers(f"http://{netloc}/v2/")
    ) as process:
        yield Web(netloc, process)


def stock(library: Library) -> Path:
    """Storage of a docker-registry that holds every image of ``library``, filled on first use."""
    home = library.directory / "registry"
    with (library.directory / ".registry-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            growing = home.with_name(".registry")
            shutil.rmtree(growing, ignore_errors=True)
            with (
                tempfile.TemporaryDirectory() as scratch,
                docker_registry(Path(scratch), storage=growing) as registry,
            ):
                for image in library.images().values():
                    push(registry.netloc, image)
            growing.rename(home)
    return home


def push(netloc: str, image: Image) -> None:
    """Push all platforms of ``image`` by the distribution spec: blobs first, what names them after."""
    connection = http.client.HTTPConnection(netloc, timeout=PUSH_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        for digest in image.blobs():
            _push_blob(connection, image, digest)
        for digest, media_type in image.documents():
            data = image.library.path(digest).read_bytes()
            target = image.tag if digest == image.digest else digest
            url = f"/v2/{image.repository}/manifests/{target}"
            _ask(connection, "PUT", url, data, {"Content-Type": media_type})


def _push_blob(connection: http.client.HTTPConnection, image: Image, digest: str) -> None:
    location = _ask(connection, "POST", f"/v2/{image.repository}/blobs/uploads/")
    parts = urllib.parse.urlsplit(location)
    query = urllib.parse.parse_qsl(parts.query)
    url = f"{parts.path}?{urllib.parse.urlencode([*query, ('digest', digest)])}"
    data = image.library.path(digest).read_bytes()
    _ask(connection, "PUT", url, data, {"Content-Type": "application/octet-stream"})


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> str:
    connection.request(method, url, body=body, headers={"Content-Length": str(len(body)), **(headers or {})})
    response = connection.getresponse()
    said = response.read()
    assert response.status in (201, 202), f"{method} {url}: {response.status} {said[:500]!r}"
    return response.headers["Location"] or ""


@contextlib.contextmanager
def nginx(directory: Path, *, root: Path | None = None, proxy_of: str | None = None) -> Iterator[Web]:
    """nginx serving the files below ``root`` by sendfile, or keeping what it proxies of that URL."""
    home = Path(tempfile.mkdtemp(prefix="nginx", dir=directory))
    netloc = f"127.0.0.1:{free_port()}"
    (home / "nginx.conf").write_text(_nginx_conf(home, netloc, root, proxy_of))
    command: list[str | Path] = [peers.program("nginx"), "-p", home, "-c", home / "nginx.conf"]
    with running(
        "nginx", command, directory=home, ready=lambda: answers(f"http://{netloc}/.ready")
    ) as process:
        yield Web(netloc, process)


def _nginx_conf(home: Path, netloc: str, root: Path | None, proxy_of: str | None) -> str:
    if proxy_of is not None:
        what = (
            f"proxy_pass {proxy_of}; proxy_http_version 1.1; proxy_set_header Connection ''; "
            "proxy_cache kept; proxy_cache_valid 200 1h; proxy_cache_lock on; "
            "proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;"
        )
    else:
        what = f"root {root};"
    temporary = "\n  ".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
user root;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  {temporary}
  proxy_cache_path {home}/kept levels=1:2 keys_zone=kept:10m max_size=8g;
  server {{
    listen {netloc};
    location = /.ready {{ return 200 ready; }}
    location / {{ {what} }}
  }}
}}
"""
