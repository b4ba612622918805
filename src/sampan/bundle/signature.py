"""Who vouches for a bundle: an Ed25519 signature over the digest of its list of contents.

Guarantees that a bundle counts as signed only by a key that the caller trusts, for just this list, and not
beyond the time that the signer set. The key that stands in a signature is believed by nobody: it only tells
which key to look for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from sampan.bundle.keys import PrivateKey, PublicKey
from sampan.bundle.layout import SIGNATURE_BYTES
from sampan.bundle.records import Record, decode, encode
from sampan.errors import BundleError, BundleUntrusted, InvalidBundle, printable
from sampan.oci.digest import Digest

VERSION = 1
UNSIGNED = b"{}"
PURPOSE = "sampan bundle signature"  # so that this signature can mean nothing else


class SignatureDocument(Record, frozen=True, kw_only=True):
    """As it stands in the head: ``key`` and ``signature`` in base64, times in UTC (RFC 3339)."""

    format: Literal["sampan-signature"]
    version: int
    key: str
    signed_at: str
    expires_at: str = ""
    signature: str


def sign(bundle: Digest, key: PrivateKey, signed_at: datetime, expires_at: datetime | None = None) -> bytes:
    """The document for a bundle whose list has this digest; times are aware, and kept to the second."""
    since, until = _moment(signed_at), _moment(expires_at) if expires_at else ""
    document = SignatureDocument(
        format="sampan-signature",
        version=VERSION,
        key=base64.b64encode(key.public.raw).decode(),
        signed_at=since,
        expires_at=until,
        signature=base64.b64encode(key.sign(_message(bundle, since, until))).decode(),
    )
    return encode(document)


def read_signature(raw: bytes) -> SignatureDocument | None:
    """The document in a head, not checked; None when the bundle is not signed. Raises InvalidBundle."""
    if raw.strip() == UNSIGNED:
        return None
    what = "a bundle's signature"
    return decode(raw, SignatureDocument, what=what, version=VERSION, bytes_max=SIGNATURE_BYTES)


def fingerprint_of(document: SignatureDocument) -> str:
    """Of the key that a document names; nobody has checked it."""
    return PublicKey(_decoded(document.key)).fingerprint


def check_signature(raw: bytes, bundle: Digest, keys: Sequence[PublicKey], now: datetime) -> PublicKey:
    """Which of ``keys`` vouches for ``bundle``, the digest of a list, by the document ``raw``.

    Raises BundleUntrusted when none does: it is not signed, by another, for something else, or no more.
    """
    document = read_signature(raw)
    trusted = ", ".join(key.fingerprint for key in keys)
    if document is None:
        raise BundleUntrusted(
            f"the bundle is not signed, and a signature by {trusted} is required",
            hint="do not use it; ask whoever made it for one that is signed: sampan bundle create --sign KEY",
        )
    named, signature = PublicKey(_decoded(document.key)), _decoded(document.signature)
    key = next((key for key in keys if key == named), None)
    if key is None:
        raise BundleUntrusted(
            f"the bundle is signed by {named.fingerprint}, and not by {trusted}",
            hint="do not use it, or name that key with --key if you know whose it is",
        )
    if not key.is_signature(signature, _message(bundle, document.signed_at, document.expires_at)):
        raise BundleUntrusted(
            "the signature is not one of this bundle: its list of contents was changed after it was signed",
            hint="do not use it; get it anew from whoever made it",
        )
    if document.expires_at and now >= _parsed(document.expires_at):
        raise BundleUntrusted(
            f"the signature has expired: it was good until {printable(document.expires_at)}",
            hint="get a newer bundle; if it is this machine's clock that is wrong, set it",
        )
    return key


def check_signatures(
    documents: Iterable[bytes], bundle: Digest, keys: Sequence[PublicKey], now: datetime
) -> tuple[PublicKey, bytes]:
    """Which of ``keys`` vouches for ``bundle``, and by which of ``documents``: every volume has one, and some
    may be damaged. Raises BundleUntrusted, or InvalidBundle, for the first when none is good."""
    first: BundleError | None = None
    for document in dict.fromkeys(documents):
        try:
            return check_signature(document, bundle, keys, now), document
        except BundleError as error:
            first = first or error
    raise first or BundleUntrusted("the bundle is not signed")


def _message(bundle: Digest, signed_at: str, expires_at: str) -> bytes:
    lines = (PURPOSE, str(VERSION), str(bundle), signed_at, expires_at or "never")
    return "".join(f"{line}\n" for line in lines).encode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidBundle("not a bundle's signature: it is not base64") from error


def _parsed(moment: str) -> datetime:
    try:
        return datetime.fromisoformat(moment).astimezone(UTC)
    except ValueError as error:
        raise InvalidBundle("not a bundle's signature: it does not say until when it is good") from error


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
