"""The other server that blobs really come from: object storage behind signed URLs.

It guarantees to notice credentials that should have stayed with the registry: a request that carries
Authorization or a Cookie gets the 400 that object storage gives, and fails the test at the end.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sampan.testing.server import FakeServer
from sampan.testing.shelf import content_reply
from sampan.testing.wire import Reply, Request, reply

if TYPE_CHECKING:
    import ssl

    from sampan.clock import Clock
    from sampan.testing.images import Content

CREDENTIAL_HEADERS = ("authorization", "cookie", "proxy-authorization")


class FakeCdn(FakeServer):
    """Serves what registries sign for it, by GET, with Range; a signature is good until it is expired."""

    def __init__(
        self,
        name: str = "cdn",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        hostname: str | None = None,
        clock: Clock | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(name, host=host, port=port, tls=tls, hostname=hostname, clock=clock, strict=strict)
        self.leaks: list[Request] = []
        self._contents: dict[str, Content] = {}
        self._signatures: set[str] = set()
        self._serial = itertools.count(1)

    def signed_url(self, content: Content) -> str:
        """A fresh URL for ``content``, which is kept."""
        signature = f"s{next(self._serial)}"
        self._signatures.add(signature)
        self._contents[content.digest] = content
        return f"{self.url}/data/{content.digest}?X-Signature={signature}"

    def expire_signatures(self) -> None:
        """Refuse (403) every URL signed so far."""
        self._signatures.clear()

    def complaints(self) -> list[str]:
        return super().complaints() + [f"credentials came along with {one.target}" for one in self.leaks]

    def answer(self, request: Request) -> Reply:
        request.kind = "cdn"
        request.digest = request.path.removeprefix("/data/")
        if any(name in request.headers for name in CREDENTIAL_HEADERS):
            self.leaks.append(request)
            return _refusal(400, "InvalidArgument")
        if request.query.get("X-Signature") not in self._signatures:
            return _refusal(403, "AccessDenied")
        if request.digest not in self._contents or request.method not in ("GET", "HEAD"):
            return _refusal(404, "NoSuchKey")
        content = self._contents[request.digest]
        return content_reply(content, request, "binary/octet-stream").without_header("Docker-Content-Digest")


def _refusal(status: int, code: str) -> Reply:
    return reply(
        status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode(), "application/xml"
    )
