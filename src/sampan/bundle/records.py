"""JSON documents of our own: values that are written one way, and read strictly.

Guarantees that a field that is not described, one of a wrong type, and a digest or reference that is none
are refused with their place in the document; and a version that is not known before anything else of it.
"""

from __future__ import annotations

from abc import ABCMeta
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import msgspec

from sampan.errors import InvalidBundle, SampanError, printable
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # sizes and places, as in the image spec

if TYPE_CHECKING:
    DigestText: TypeAlias = Digest
    ReferenceText: TypeAlias = Reference
else:
    # msgspec would write these dataclasses as objects with fields. A type that it does not know, and that
    # they count as, it asks _value for.
    DigestText = ABCMeta("DigestText", (), {"__doc__": "A Digest, which is text in a document."})
    ReferenceText = ABCMeta("ReferenceText", (), {"__doc__": "A Reference, which is text in a document."})
    DigestText.register(Digest)
    ReferenceText.register(Reference)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value of such a document. A field that has its default is not written."""


R = TypeVar("R", bound=Record)


class _Head(msgspec.Struct):
    version: int


def encode(record: Record) -> bytes:
    """The bytes of a document: one field of its top a line, and one entry of a list, for grep and diff."""
    fields = [b"%s: %s" % (msgspec.json.encode(name), _lines(value)) for name, value in _said(record)]
    return b"{\n" + b",\n".join(fields) + b"\n}\n"


def decode(raw: bytes, kind: type[R], *, what: str, version: int, bytes_max: int) -> R:
    """``raw`` as a ``kind``. ``what``: as it is called, with its article. Raises InvalidBundle."""
    if len(raw) > bytes_max:
        raise InvalidBundle(f"not {what}: {len(raw)} bytes, the limit is {bytes_max}")
    try:
        found = msgspec.json.decode(raw, type=_Head).version
        if found != version:
            raise InvalidBundle(
                f"{what} of version {found}, and this sampan reads version {version}",
                hint="another sampan wrote it: use that one",
            )
        return msgspec.json.decode(raw, type=kind, dec_hook=_value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBundle(
            f"not {what}: {printable(str(error))}", hint="get it anew from whoever made it"
        ) from error


def _said(record: Record) -> list[tuple[str, object]]:
    """The fields of ``record`` that are not what they are by default."""
    defaults = _defaults(type(record))
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return [(name, _plain(value)) for name, value in values.items() if value != defaults[name]]


@cache
def _defaults(kind: type[Record]) -> dict[str, object]:
    """By field; it takes time to find out, and a list has a record for each blob."""
    return {field.name: field.default for field in msgspec.structs.fields(kind)}


def _plain(value: object) -> object:
    """``value`` as JSON has it."""
    if isinstance(value, Record):
        return dict(_said(value))
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Digest | Reference) else value


def _lines(value: object) -> bytes:
    if not isinstance(value, list) or not value:
        return msgspec.json.encode(value)
    return b"[\n" + b",\n".join(map(msgspec.json.encode, value)) + b"\n]"


def _value(kind: type, value: object) -> Any:  # noqa: ANN401 - msgspec's
    """A text as what it must be; msgspec adds where it stands."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    try:
        return Digest.parse(value) if kind is DigestText else Reference.parse(value, default_tag=None)
    except SampanError as error:
        raise ValueError(error.message) from error
