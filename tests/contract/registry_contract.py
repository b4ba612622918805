"""What every registry that can be pulled from must do, whoever wrote it.

A subclass gives the fixture ``held``: a base URL and an image that is there. The same tests run against
the fake registry, against sampan's own mirror and against a real registry, so that a test that passes
with the fake means something. They ask by plain ``http.client``, which decodes and follows nothing.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from sampan.testing import Image

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)
ABSENT = "sha256:" + "0" * 64
TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class Held:
    """``image`` can be pulled at ``url`` as ``repository`` (None: its own), each request with ``query``."""

    url: str
    image: Image
    repository: str | None = None
    query: str = ""

    @property
    def base(self) -> str:
        return f"/v2/{self.repository or self.image.repository}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_SECONDS)

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        connection = self.connect()
        try:
            return ask_on(connection, method, path + self.query, **headers)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def head(self, path: str, **headers: str) -> Answer:
        return self.ask("HEAD", path, **headers)


def ask_on(connection: http.client.HTTPConnection, method: str, path: str, **headers: str) -> Answer:
    """``headers``: names with ``_`` for ``-``."""
    sent = {"Accept": MANIFEST_TYPES, "Accept-Encoding": "identity"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=sent)
    answer = connection.getresponse()
    return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, _body(answer))


def _body(answer: http.client.HTTPResponse) -> bytes:
    """Errors may be cut: distribution 2.8 sends a 416 of 14 bytes with the Content-Length of the blob."""
    try:
        return answer.read()
    except http.client.IncompleteRead as error:
        if answer.status < 400:
            raise
        return error.partial


def error_code(answer: Answer) -> str:
    code: str = json.loads(answer.body)["errors"][0]["code"]
    return code


class RegistryContract:
    def test_the_base_endpoint_says_that_this_is_a_registry(self, held: Held) -> None:
        assert held.get("/v2/").status == 200

    def test_a_manifest_is_found_by_its_tag(self, held: Held) -> None:
        answer = held.get(f"{held.base}/manifests/{held.image.tag}")
        assert (answer.status, answer.body) == (200, held.image.raw)

    def test_a_manifest_is_found_by_its_digest(self, held: Held) -> None:
        answer = held.get(f"{held.base}/manifests/{held.image.digest}")
        assert (answer.status, answer.body) == (200, held.image.raw)

    def test_a_manifest_comes_with_its_digest_its_type_and_its_length(self, held: Held) -> None:
        answer = held.get(f"{held.base}/manifests/{held.image.tag}")
        assert answer.headers["docker-content-digest"] == held.image.digest
        assert answer.headers["content-type"] == held.image.manifest.media_type
        assert int(answer.headers["content-length"]) == held.image.manifest.size

    def test_head_of_a_manifest_says_the_same_without_the_body(self, held: Held) -> None:
        path = f"{held.base}/manifests/{held.image.tag}"
        got, headed = held.get(path), held.head(path)
        assert (headed.status, headed.body) == (200, b"")
        for name in ("docker-content-digest", "content-type", "content-length"):
            assert headed.headers[name] == got.headers[name]

    def test_every_blob_is_served_whole_and_unchanged(self, held: Held) -> None:
        for blob in held.image.blobs:
            answer = held.get(f"{held.base}/blobs/{blob.digest}")
            assert (answer.status, len(answer.body)) == (200, blob.size)
            assert "sha256:" + hashlib.sha256(answer.body).hexdigest() == blob.digest

    def test_head_of_a_blob_says_its_size_and_its_digest(self, held: Held) -> None:
        blob = held.image.blobs[-1]
        answer = held.head(f"{held.base}/blobs/{blob.digest}")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(blob.size)
        assert answer.headers["docker-content-digest"] == blob.digest

    @pytest.mark.parametrize("span", ["0-0", "10-19", "100-", "-7"])
    def test_a_part_of_a_blob_is_served_as_206(self, held: Held, span: str) -> None:
        blob = held.image.blobs[-1]
        first, _, last = span.partition("-")
        start = int(first) if first else blob.size - int(last)
        stop = int(last) + 1 if first and last else blob.size
        answer = held.get(f"{held.base}/blobs/{blob.digest}", Range=f"bytes={span}")
        assert answer.status == 206
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{blob.size}"
        assert answer.body == blob.read()[start:stop]
        assert answer.headers["content-length"] == str(stop - start)

    def test_a_range_that_reaches_beyond_the_end_gives_what_there_is(self, held: Held) -> None:
        blob = held.image.blobs[-1]
        answer = held.get(f"{held.base}/blobs/{blob.digest}", Range=f"bytes=5-{blob.size * 2}")
        assert (answer.status, answer.body) == (206, blob.read()[5:])

    def test_a_range_that_begins_beyond_the_end_gets_416(self, held: Held) -> None:
        blob = held.image.blobs[-1]
        answer = held.get(f"{held.base}/blobs/{blob.digest}", Range=f"bytes={blob.size}-")
        assert answer.status == 416

    @pytest.mark.parametrize("span", ["bytes=9-5", "bytes=-", "bytes=x-y", "lines=0-5", "bytes=5"])
    def test_a_range_that_makes_no_sense_never_gives_a_wrong_part(self, held: Held, span: str) -> None:
        """RFC 9110 lets a server ignore it; some refuse it instead."""
        blob = held.image.blobs[-1]
        answer = held.get(f"{held.base}/blobs/{blob.digest}", Range=span)
        assert answer.status == 416 or (answer.status, answer.body) == (200, blob.read())

    def test_a_tag_that_is_not_there_gets_404_in_the_form_of_the_spec(self, held: Held) -> None:
        answer = held.get(f"{held.base}/manifests/no-such-tag")
        assert (answer.status, error_code(answer)) == (404, "MANIFEST_UNKNOWN")

    def test_a_blob_that_is_not_there_gets_404(self, held: Held) -> None:
        assert held.get(f"{held.base}/blobs/{ABSENT}").status == 404
        assert held.head(f"{held.base}/blobs/{ABSENT}").status == 404

    def test_a_digest_that_is_none_gets_a_client_error(self, held: Held) -> None:
        assert held.get(f"{held.base}/blobs/sha256:123").status in (400, 404)

    def test_a_repository_that_is_not_there_gets_404(self, held: Held) -> None:
        assert held.get("/v2/no/such/repository/manifests/latest").status == 404

    def test_the_list_of_tags_has_the_tag(self, held: Held) -> None:
        answer = held.get(f"{held.base}/tags/list")
        assert answer.status == 200
        assert held.image.tag in json.loads(answer.body)["tags"]

    def test_one_connection_serves_many_requests(self, held: Held) -> None:
        connection = held.connect()
        try:
            path = f"{held.base}/manifests/{held.image.tag}{held.query}"
            first = ask_on(connection, "GET", path)
            socket = connection.sock
            missing = ask_on(connection, "GET", f"{held.base}/blobs/{ABSENT}{held.query}")
            again = ask_on(connection, "HEAD", path)
            assert connection.sock is socket
        finally:
            connection.close()
        assert (first.status, missing.status, again.status) == (200, 404, 200)

    def test_bytes_come_as_they_are_though_the_client_would_take_gzip(self, held: Held) -> None:
        answer = held.get(f"{held.base}/manifests/{held.image.tag}", Accept_Encoding="gzip")
        assert "content-encoding" not in answer.headers
        assert answer.body == held.image.raw


class ReferrersContract:
    """For registries with the referrers endpoint; ``held.image`` has one of type ``application/x.sbom``."""

    def test_referrers_of_an_image_are_listed(self, held: Held) -> None:
        answer = held.get(f"{held.base}/referrers/{held.image.digest}")
        assert answer.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
        kinds = [one["artifactType"] for one in json.loads(answer.body)["manifests"]]
        assert kinds == ["application/x.sbom"]

    def test_referrers_of_what_is_not_there_are_an_empty_index(self, held: Held) -> None:
        answer = held.get(f"{held.base}/referrers/{ABSENT}")
        assert (answer.status, json.loads(answer.body)["manifests"]) == (200, [])
