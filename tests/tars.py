"""Tar archives for tests: honest ones, and headers that no honest program writes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.bundle.tape import open_tape
from sampan.bundle.tar import Member, members

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: str | bytes, size: int = 0, **fields: object) -> bytes:
    """One ustar header; ``fields`` as of TarInfo, and ``raw_size``: the twelve bytes of the size."""
    raw_size, magic = fields.pop("raw_size", None), fields.pop("magic", None)
    info = tarfile.TarInfo("x")
    info.size, info.mode = size, 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:BLOCK])
    encoded = name if isinstance(name, bytes) else name.encode()
    block[:100] = encoded.ljust(100, b"\0")
    if isinstance(raw_size, bytes):
        block[124:136] = raw_size
    if isinstance(magic, bytes):
        block[257:265] = magic
    return summed(block)


def summed(block: bytes | bytearray) -> bytes:
    """``block`` with its check sum set right."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def entry(name: str | bytes, data: bytes = b"", **fields: object) -> bytes:
    return header(name, len(data), **fields) + padded(data)


def pax(**records: str | bytes) -> bytes:
    """A pax header; keys with two underscores for a dot."""
    body = b""
    for key, value in records.items():
        raw = value if isinstance(value, bytes) else value.encode()
        rest = b" %b=%b\n" % (key.replace("__", ".").encode(), raw)
        length = len(rest)
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        body += str(length).encode() + rest
    return header("pax", len(body), type=tarfile.XHDTYPE) + padded(body)


def written(files: dict[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of ``files`` as Python writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def walk(path: Path) -> list[Member]:
    """All members of the archive at ``path``."""
    with taped(path) as found:
        return list(found)


@contextmanager
def taped(path: Path) -> Iterator[Iterator[Member]]:
    tape = open_tape(path)
    try:
        yield members(tape)
    finally:
        tape.close()
