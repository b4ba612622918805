"""A fake registry that takes uploads: whole or in chunks, as strictly as docker-registry does."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from sampan.oci import Digest
from sampan.testing import FakeRegistry
from sampan.testing.body import Body
from sampan.testing.images import Content
from sampan.testing.shelf import Repository
from sampan.testing.wire import Reply, Request, error_reply, reply

UPLOADS = "/blobs/uploads/"


class UploadRegistry(FakeRegistry):
    """``takes_chunks`` False: PATCH is refused. ``least_bytes``: the OCI-Chunk-Min-Length that it asks
    for. ``elsewhere``: another registry that uploads are led to, by absolute URLs. ``forgetful``: an
    upload that was asked about is forgotten. ``mounts``: a blob of another repository is taken over.
    ``lists_subjects``: it says that it notes what a manifest refers to, as registries of OCI 1.1 do.
    Uploads by number in ``uploads``."""

    takes_chunks = True
    least_bytes: int | None = None
    elsewhere: UploadRegistry | None = None
    forgetful = False
    mounts = True
    lists_subjects = False

    def __init__(self, name: str = "uploads", **options: object) -> None:
        super().__init__(name, **options)  # type: ignore[arg-type]  # the options of every fake
        self.uploads: dict[str, bytearray] = {}
        self.begun = 0

    def answer(self, request: Request) -> Reply:
        right = super().answer(request)
        if request.kind == "challenge" or request.method == "HEAD":
            return right
        if UPLOADS in request.path:
            return self._upload(request)
        if request.method == "PUT" and "/manifests/" in request.path:
            return self._manifest(request)
        return right

    @property
    def chunks(self) -> list[int]:
        """The sizes of the chunks that arrived, in order."""
        return [len(request.body) for request in self.requests if request.method == "PATCH"]

    def place(self, name: str) -> Repository:
        return self.shelf.repositories.setdefault(name, Repository())

    def _upload(self, request: Request) -> Reply:
        name, _, number = request.path.removeprefix("/v2/").partition(UPLOADS)
        if request.method == "POST" and self.mounts and "mount" in request.query:
            digest = request.query["mount"]
            content = self.place(request.query["from"]).blobs.get(digest)
            if content is not None:
                self.place(name).blobs[digest] = content
                return reply(201, headers=(("Docker-Content-Digest", digest),))
        if request.method == "POST":
            keeper = self.elsewhere or self
            keeper.begun += 1  # not how many there are: a number comes once
            number = f"upload-{keeper.begun}"
            keeper.uploads[number] = bytearray()
            answer = keeper.stands(202, name, number, absolute=keeper is not self)
            least = self.least_bytes
            return answer if least is None else answer.with_header("OCI-Chunk-Min-Length", str(least))
        got = self.uploads.get(number)
        if got is None or (request.method == "GET" and self.forgetful):
            self.uploads.pop(number, None)
            return error_reply(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        if request.method == "DELETE":
            del self.uploads[number]
            return reply(204)
        if request.method == "GET":
            return self.stands(204, name, number)
        if request.method == "PATCH":
            return self._chunk(request, name, number, got)
        got += request.body
        digest = request.query["digest"]
        if str(Digest.of(bytes(got))) != digest:
            return error_reply(400, "DIGEST_INVALID", "not what it says")
        content = Content(Body.of(bytes(got)), "application/octet-stream", digest)
        self.place(name).blobs[digest] = content
        del self.uploads[number]
        return reply(201, headers=(("Docker-Content-Digest", digest),))

    def _chunk(self, request: Request, name: str, number: str, got: bytearray) -> Reply:
        if not self.takes_chunks:
            return error_reply(405, "UNSUPPORTED", "no chunks here")
        start = int(request.headers["content-range"].partition("-")[0])
        if start != len(got):
            return error_reply(416, "BLOB_UPLOAD_INVALID", "out of order")
        got += request.body
        return self.stands(202, name, number)

    def stands(self, status: int, name: str, number: str, *, absolute: bool = False) -> Reply:
        """Where the upload goes on, and how far it is: ``0-0`` when nothing is there."""
        base = self.url if absolute else ""
        target = f"{base}/v2/{name}{UPLOADS}{number}?{urlencode({'state': 'x'})}"
        last = max(len(self.uploads[number]) - 1, 0)
        return reply(status, headers=(("Location", target), ("Range", f"0-{last}")))

    def _manifest(self, request: Request) -> Reply:
        name, _, wanted = request.path.removeprefix("/v2/").partition("/manifests/")
        digest = str(Digest.of(request.body))
        content = Content(Body.of(request.body), request.headers["content-type"], digest)
        place = self.place(name)
        place.manifests[digest] = content
        if ":" not in wanted:
            place.tags[wanted] = digest
        answer = reply(201, headers=(("Docker-Content-Digest", digest),))
        subject = json.loads(request.body).get("subject")
        return (
            answer.with_header("OCI-Subject", subject["digest"])
            if subject and self.lists_subjects
            else answer
        )
