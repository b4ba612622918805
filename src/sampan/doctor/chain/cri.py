"""As much of the Container Runtime Interface as one pull takes: three calls of its image service.

The messages are written and read here, field by field of the published runtime.v1 API; what carries them is
grpcio, which need not be installed (:func:`is_available`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

CALL_SECONDS = 10.0
_SERVICE = "/runtime.v1.ImageService/"
_LENGTH_DELIMITED = 2


def is_available() -> bool:
    """Whether calls can be made at all."""
    return importlib.util.find_spec("grpc") is not None


class Images:
    """The image service behind the socket at ``address``. Every call blocks, within a limit."""

    def __init__(self, address: str) -> None:
        self._target = f"unix:{address}"

    def pull(self, name: str, seconds: float) -> str | None:
        """Pull ``name``; what the runtime says when it cannot, without gRPC's own words."""
        return self._call("PullImage", seconds, name)[1]

    def is_there(self, name: str) -> bool:
        """Whether it has ``name``."""
        answer, said = self._call("ImageStatus", CALL_SECONDS, name)
        return said is None and any(number == 1 for number, _ in fields(answer))

    def remove(self, name: str) -> None:
        """Remove ``name``; what is not there need not be."""
        self._call("RemoveImage", CALL_SECONDS, name)

    def _call(self, method: str, seconds: float, name: str) -> tuple[bytes, str | None]:
        import grpc

        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(self._target, options=options) as channel:
            call: Any = channel.unary_unary(_SERVICE + method)  # bytes in, bytes out
            try:
                answer: bytes = call(request_of(name), timeout=seconds)
            except grpc.RpcError as error:
                return b"", str(error.details())
        return answer, None


def request_of(name: str) -> bytes:
    """``image { image: NAME }``: the same in all three requests."""
    return _field(1, _field(1, name.encode()))


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of ``message``, by number, to the first of another kind."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 != _LENGTH_DELIMITED:
            return
        length, position = _varint(message, position)
        yield key >> 3, message[position : position + length]
        position += length


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _length(len(content)) + content


def _length(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, position
