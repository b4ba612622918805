"""Runtimes as far as a sink sees them: an engine behind a socket, programs that are scripts."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

from sampan.oci import Digest, Platform, Reference, parse_manifest
from sampan.oci.manifest import Index, Manifest
from sampan.pull.closure import Wanted, closure
from sampan.store.disk import DiskStore
from sampan.testing import Image

AMD64 = Platform("linux", "amd64")


def wanted_of(store: DiskStore, made: Image, *platforms: Platform, name: str = "alpine:3") -> Wanted:
    """What a pull of ``made`` would give a sink; its content is in ``store`` afterwards."""
    for manifest in made.manifests:
        store.put_manifest(parse_manifest(manifest.read()))
    for blob in made.blobs:
        store.put(Digest.parse(blob.digest), blob.read())
    steps = closure(Reference.parse(name), manifest_of(store, made.digest), platforms or (AMD64,))
    try:
        asked = next(steps)
        while True:
            asked = steps.send([manifest_of(store, str(entry.digest)) for entry in asked])
    except StopIteration as stop:
        wanted: Wanted = stop.value
        return wanted


def manifest_of(store: DiskStore, digest: str) -> Manifest | Index:
    found = store.get_manifest(Digest.parse(digest))
    assert found is not None
    return found


def program(directory: Path, name: str, script: str) -> dict[str, str]:
    """A program of that name; the environment that finds it."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


@dataclass
class Dockerd(ThreadingUnixStreamServer):
    """An engine as far as the sink asks; ``answer``: the body of a load."""

    path: Path
    version: str = "28.5.2"
    driver: str = "overlay2"
    answer: bytes = b'{"stream":"Loaded image: alpine:3\\n"}\r\n'
    images: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    loaded: bytes | None = None

    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(str(self.path), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Dockerd
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.path == "/info":
            status = [["driver-type", "io.containerd.snapshotter.v1"]] if self.server.driver == "snap" else []
            containerd = {"Address": "/run/c.sock", "Namespaces": {"Containers": "moby"}}
            told = {"ServerVersion": self.server.version, "DriverStatus": status, "Containerd": containerd}
            self.say(200, told)
            return
        if self.path == "/images/json":
            self.say(200, [{"Id": image} for image in self.server.chains])
            return
        name = self.path.removeprefix("/images/").removesuffix("/json")
        found = name if name in self.server.chains else self.server.images.get(name)
        rootfs = {"Type": "layers", "Layers": self.server.chains.get(name)}
        self.say(200 if found else 404, {"Id": found, "message": "no such image", "RootFS": rootfs})

    def do_DELETE(self) -> None:
        self.server.asked.append(f"DELETE {self.path}")
        self.say(200, [])

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        if not self.path.startswith("/images/load"):
            self.say(201, {})
            return
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        if self.rfile.readline() == b"\r\n":  # nothing follows the last chunk when the sender broke off
            self.server.loaded = body
            if b"Loaded" in self.server.answer:
                self.server.images.setdefault("docker.io/library/alpine:3", "sha256:new")
        self.say_bytes(200, self.server.answer)

    def say(self, status: int, document: object) -> None:
        self.say_bytes(status, json.dumps(document).encode())

    def say_bytes(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        with suppress(BrokenPipeError):  # who broke off does not wait for the answer
            self.end_headers()
            self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *words: Any) -> None:
        """Nothing."""
