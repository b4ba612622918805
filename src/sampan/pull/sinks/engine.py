"""Docker's Engine API on a unix socket: as much of it as loading an image takes.

Guarantees that an error which the engine reports inside a 200 is an error here, and that a body which
breaks off on our side is never ended as if it were whole. Every method blocks; :meth:`Engine.cut` may be
called from another thread and ends what is under way. It uses the standard library alone: the socket is
this machine's, there is nothing to resolve, encrypt or retry.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlencode

from sampan.errors import SinkUnavailable, printable
from sampan.oci.reference import Reference
from sampan.pull.sinks.program import Feed, refused

ASK_TIMEOUT_SECONDS = 30.0
LOAD_TIMEOUT_SECONDS = 600.0  # between two signs of life: it unpacks the last layer without a word
ANSWER_BYTES_MAX = 16 * 1024 * 1024  # /info of a machine with thousands of containers is below 100 KiB
WORDS_CHARACTERS_MAX = 600
IMAGES_MAX = 1000  # looked at, a request of a millisecond each: who has more fetches a layer again
UNPACKING_FAILED = "Error unpacking image"  # the containerd store says it as if it were progress


class Engine:
    """The engine behind ``path``, the file name of its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loading: socket.socket | None = None

    def info(self) -> dict[str, Any]:
        """``/info``: version, storage driver. Raises SinkUnavailable."""
        status, answer = self._ask("GET", "/info")
        if status != 200:
            raise SinkUnavailable(f"Docker on {self._path} does not say what it is: {_message(answer)}")
        told = _json(answer)
        return told if isinstance(told, dict) else {}

    def image(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of the image ``name``, or None."""
        status, answer = self._ask("GET", f"/images/{quote(name, safe='/:@')}/json")
        told = _json(answer) if status == 200 else None
        return told if isinstance(told, dict) else None

    def images(self) -> list[dict[str, Any]]:
        """What the engine lists of its images; of each its tags and digests, among others."""
        status, answer = self._ask("GET", "/images/json")
        told = _json(answer) if status == 200 else None
        return [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []

    def chains(self) -> list[tuple[str, ...]]:
        """The diff IDs of each image that is there, from the lowest up; of ``IMAGES_MAX`` images."""
        images = [self.image(str(entry.get("Id"))) for entry in self.images()[:IMAGES_MAX]]
        return [_diff_ids(image) for image in images if image is not None]

    def tag(self, image: str, reference: Reference) -> None:
        """Give ``image``, an ID, the name and tag of ``reference``."""
        words = urlencode({"repo": reference.name, "tag": reference.tag or ""})
        self._ask("POST", f"/images/{quote(image, safe=':')}/tag?{words}")

    def untag(self, name: str) -> None:
        """Remove the name; the image goes with its last one. An image that is in use stays."""
        self._ask("DELETE", f"/images/{quote(name, safe='/:@')}?noprune=false")

    def load(self, feed: Feed, *, doing: str) -> None:
        """``docker load`` of what ``feed`` writes. Raises SinkError, SinkUnavailable, and what it raises."""
        with self._connected(LOAD_TIMEOUT_SECONDS) as connection:
            self._loading = connection.sock
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            body = _Chunked(connection)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answers why it stopped
                feed(cast("BinaryIO", body))
                body.end()
            with connection.getresponse() as response:
                answer = response.read(ANSWER_BYTES_MAX)
        failure = _message(answer) if response.status != 200 else _failure(answer)
        if failure:
            raise refused(doing, failure)

    def cut(self) -> None:
        """End the :meth:`load` that runs in another thread: the engine sees a body that breaks off."""
        if self._loading is not None:
            with contextlib.suppress(OSError):
                self._loading.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, url: str) -> tuple[int, bytes]:
        with self._connected(ASK_TIMEOUT_SECONDS) as connection:
            connection.request(method, url)
            with connection.getresponse() as response:
                return response.status, response.read(ANSWER_BYTES_MAX)

    @contextlib.contextmanager
    def _connected(self, timeout_seconds: float) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(timeout_seconds)
            connection.sock.connect(str(self._path))
            yield connection
        except (OSError, http.client.HTTPException) as error:
            raise SinkUnavailable(
                f"Docker on {self._path} broke off: {printable(str(error)) or type(error).__name__}",
                hint="journalctl -u docker shows why",
            ) from error
        finally:
            connection.close()


class _Chunked:
    """The body of a request whose length nobody knows yet; a file to those who write."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        if data:  # an empty chunk would be the end
            self._connection.send(b"%x\r\n" % len(data))
            self._connection.send(data)
            self._connection.send(b"\r\n")
        return len(data)

    def end(self) -> None:
        self._connection.send(b"0\r\n\r\n")


def _diff_ids(image: dict[str, Any]) -> tuple[str, ...]:
    rootfs = image.get("RootFS")
    layers = rootfs.get("Layers") if isinstance(rootfs, dict) else None
    return tuple(map(str, layers)) if isinstance(layers, list) else ()


def _failure(answer: bytes) -> str:
    """What went wrong, of the messages that follow each other in the body of a load; "" for nothing."""
    for line in answer.splitlines():
        message = _json(line)
        if isinstance(message, dict):
            told = str(message.get("stream") or "")
            if message.get("error") or told.startswith(UNPACKING_FAILED):
                return printable(
                    str(message.get("error") or told).strip(), characters_max=WORDS_CHARACTERS_MAX
                )
    return ""


def _message(answer: bytes) -> str:
    """The engine's words in an answer that is no success."""
    told = _json(answer)
    words = str(told.get("message")) if isinstance(told, dict) else answer.decode(errors="replace")
    return printable(words, characters_max=WORDS_CHARACTERS_MAX) or "no reason given"


def _json(text: bytes) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None
