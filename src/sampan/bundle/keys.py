"""Keys that sign bundles and check signatures: Ed25519, in files of PEM or of OpenSSH.

Guarantees that a private key shows itself nowhere, and that a file of one which is made here can be read by
its owner alone. The library is imported when a key is used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.errors import BundleExists, StoreError, UsageError
from sampan.oci.digest import Digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE_BYTES_MAX = 64 * 1024
PRIVATE_MODE, PUBLIC_MODE = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 bytes of Ed25519."""

    raw: bytes

    @property
    def fingerprint(self) -> str:
        """What people compare: ``ed25519:`` and the beginning of the key's digest."""
        return f"ed25519:{Digest.of(self.raw).hex[:32]}"

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner made ``signature`` for ``message``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """What signs."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """What checks the signatures of this key."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``: 64 bytes, the same each time."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.fingerprint})"


def read_private_key(path: Path) -> PrivateKey:
    """The key in the file ``path``: PEM or OpenSSH's. Raises UsageError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _key_file(path)
    load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    try:
        key = load(data, None)
    except TypeError:
        raise UsageError(
            f"the key {path} is behind a password",
            hint="write one without, which only this user may read: openssl pkey -in KEY -out NEW",
        ) from None
    except Exception as error:  # the library's own, of several kinds, by the form of the key
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return PrivateKey(key)


def read_public_key(path: Path) -> PublicKey:
    """The key in the file ``path``: PEM, or a line of OpenSSH. Raises UsageError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _key_file(path)
    load = (
        serialization.load_ssh_public_key if data.startswith(b"ssh-") else serialization.load_pem_public_key
    )
    try:
        key = load(data)
    except Exception as error:
        raise _no_key(path, public=True) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, public=True)
    return PublicKey(key.public_bytes_raw())


def make_keys(path: Path) -> PublicKey:
    """A new pair: ``path``, which only its owner may read, and ``path``.pub. Raises BundleExists when one of
    them is there, StoreError when they cannot be written."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    public = path.with_name(f"{path.name}.pub")
    _write(
        public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), PUBLIC_MODE
    )
    try:
        _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE_MODE)
    except BaseException:
        public.unlink()
        raise
    return PrivateKey(key).public


def _key_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise UsageError(
            f"cannot read the key {path}: {error.strerror or error}", hint="sampan bundle key makes a pair"
        ) from error


def _no_key(path: Path, *, public: bool = False) -> UsageError:
    kind = "public" if public else "private"
    return UsageError(
        f"{path} holds no {kind} key of Ed25519",
        hint="sampan bundle key makes a pair; openssl genpkey -algorithm ed25519 makes one as well",
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
    except FileExistsError:
        raise BundleExists(
            f"{path} exists, and no key is overwritten", hint="choose another name with -o"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
