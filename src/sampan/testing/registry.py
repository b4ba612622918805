"""A pull-only OCI registry on a loopback port, correct until it is told not to be.

    async with FakeRegistry("bad") as bad:
        alpine = bad.add(image("library/alpine", "3", layers=[random_layer(seed=1, size_bytes=400_000)]))
        bad.script(faults.truncated(), on=Match(kind="blob"), times=1)
        ...
        assert bad.count(kind="blob", fault_met=True) == 1

It speaks raw HTTP/1.1, so that it can misbehave down to the byte. It accepts no pushes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.testing.server import FakeServer
from sampan.testing.shelf import Shelf, classify
from sampan.testing.wire import Reply, Request, reply

if TYPE_CHECKING:
    import ssl

    from sampan.clock import Clock
    from sampan.testing.cdn import FakeCdn
    from sampan.testing.images import Image
    from sampan.testing.tokens import Guard


class FakeRegistry(FakeServer):
    """Holds images and answers for them; see :class:`sampan.testing.server.FakeServer` for the scripts.

    ``prefix``: it is a mirror that has the registry's name in its paths
    (``/v2/docker.io/library/alpine/…`` for ``docker.io``). ``auth``: a TokenServer or BasicAuth that
    every request must satisfy. ``cdn``: blobs are answered by a 307 to it.
    """

    def __init__(
        self,
        name: str = "registry",
        *,
        prefix: str = "",
        auth: Guard | None = None,
        cdn: FakeCdn | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        hostname: str | None = None,
        clock: Clock | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__(name, host=host, port=port, tls=tls, hostname=hostname, clock=clock, strict=strict)
        self.shelf = Shelf()
        self.auth = auth
        self.cdn = cdn
        self._prefix = prefix

    def add(
        self, image: Image, *, repository: str | None = None, tags: tuple[str, ...] | None = None
    ) -> Image:
        """Hold ``image`` with all that it is made of, and move its tag to it; returns ``image``.

        ``repository`` and ``tags`` replace those that the image was made with.
        """
        own = (image.tag,) if image.tag else ()
        self.shelf.add(image, repository or image.repository, own if tags is None else tags)
        return image

    def untag(self, repository: str, tag: str) -> None:
        """Forget a tag; the manifest stays."""
        self.shelf.repositories[repository].tags.pop(tag, None)

    def forget(self, digest: str) -> None:
        """Lose one manifest or blob, as a mirror that cleans up does."""
        self.shelf.forget(digest)

    def reference(self, image: Image) -> str:
        """How a client without any mirror would name ``image`` here: ``127.0.0.1:PORT/library/alpine:3``."""
        return f"{self.netloc}/{image.repository}" + (f":{image.tag}" if image.tag else f"@{image.digest}")

    def answer(self, request: Request) -> Reply:
        classify(request, self._prefix)
        if self.auth is not None and (challenge := self.auth.challenge(request)) is not None:
            request.kind = "challenge"
            return challenge
        right = self.shelf.answer(request)
        if self.cdn is not None and request.kind == "blob" and right.status in (200, 206):
            content = self.shelf.repositories[request.repository].blobs[request.digest or ""]
            return reply(307, headers=(("Location", self.cdn.signed_url(content)),))
        return right
