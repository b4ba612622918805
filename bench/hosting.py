"""Giving docker-registry the image as its own, by the push of the distribution spec."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from bench.stock import MANIFEST_TYPE, REPOSITORY, Blob, Stock

TIMEOUT_SECONDS = 60.0


def host(netloc: str, stock: Stock) -> None:
    """Push the blobs of ``stock``'s image to the registry at ``netloc``, then its manifest."""
    with closing(http.client.HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)) as connection:
        for blob in stock.image.blobs:
            _push(connection, blob, stock.file(blob))
        data = (stock.root / stock.manifest_path[1:]).read_bytes()
        connection.request("PUT", stock.manifest_path, data, {"Content-Type": MANIFEST_TYPE})
        _expect(connection, 201)


def _push(connection: http.client.HTTPConnection, blob: Blob, file: Path) -> None:
    connection.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"")
    place = urlsplit(_expect(connection, 202))
    with file.open("rb") as data:
        connection.request(
            "PUT",
            f"{place.path}?{place.query}&digest={blob.digest}",
            data,
            {"Content-Length": str(blob.size_bytes), "Content-Type": "application/octet-stream"},
        )
        _expect(connection, 201)


def _expect(connection: http.client.HTTPConnection, status: int) -> str:
    response = connection.getresponse()
    said = response.read()
    if response.status != status:
        raise RuntimeError(f"docker-registry answered {response.status}: {said[:500]!r}")
    return response.headers["Location"] or ""
