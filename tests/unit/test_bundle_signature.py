"""Who vouches for a bundle: missing, foreign, changed and expired signatures are all refused."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan.bundle.keys import PrivateKey, make_keys, read_private_key, read_public_key
from sampan.bundle.layout import SIGNATURE_BYTES
from sampan.bundle.signature import (
    UNSIGNED,
    check_signature,
    check_signatures,
    fingerprint_of,
    read_signature,
    sign,
)
from sampan.errors import BundleExists, BundleUntrusted, InvalidBundle, StoreError, UsageError
from sampan.oci import Digest

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BUNDLE, OTHER = Digest.of(b"a list"), Digest.of(b"another list")


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    make_keys(tmp_path / "maker")
    return read_private_key(tmp_path / "maker")


@pytest.fixture
def foreign(tmp_path: Path) -> PrivateKey:
    make_keys(tmp_path / "stranger")
    return read_private_key(tmp_path / "stranger")


def test_a_signature_is_good_for_its_bundle_by_its_key(key: PrivateKey, foreign: PrivateKey) -> None:
    document = sign(BUNDLE, key, NOW)
    assert len(document) <= SIGNATURE_BYTES
    assert (
        check_signature(document.ljust(SIGNATURE_BYTES), BUNDLE, [foreign.public, key.public], NOW)
        == key.public
    )
    read = read_signature(document)
    assert read is not None
    assert fingerprint_of(read) == key.public.fingerprint


def test_the_same_bundle_is_signed_with_the_same_bytes(key: PrivateKey) -> None:
    assert sign(BUNDLE, key, NOW) == sign(BUNDLE, key, NOW)


@pytest.mark.parametrize("document", [UNSIGNED, UNSIGNED.ljust(SIGNATURE_BYTES), b"{}\n"])
def test_a_missing_signature_is_refused(key: PrivateKey, document: bytes) -> None:
    assert read_signature(document) is None
    with pytest.raises(BundleUntrusted, match="not signed") as caught:
        check_signature(document, BUNDLE, [key.public], NOW)
    assert caught.value.exit_code == 8


def test_a_foreign_signature_is_refused_with_both_fingerprints(key: PrivateKey, foreign: PrivateKey) -> None:
    with pytest.raises(BundleUntrusted) as caught:
        check_signature(sign(BUNDLE, foreign, NOW), BUNDLE, [key.public], NOW)
    assert foreign.public.fingerprint in caught.value.message
    assert key.public.fingerprint in caught.value.message


def test_a_signature_of_another_bundle_is_refused(key: PrivateKey) -> None:
    with pytest.raises(BundleUntrusted, match="not one of this bundle"):
        check_signature(sign(OTHER, key, NOW), BUNDLE, [key.public], NOW)


def test_a_foreign_signature_under_a_trusted_key_is_refused(key: PrivateKey, foreign: PrivateKey) -> None:
    """The document names the key that is looked for, but what it holds was made with another one."""
    mine, theirs = read_signature(sign(BUNDLE, key, NOW)), read_signature(sign(BUNDLE, foreign, NOW))
    assert mine is not None
    assert theirs is not None
    forged = sign(BUNDLE, key, NOW).replace(mine.signature.encode(), theirs.signature.encode())
    with pytest.raises(BundleUntrusted, match="not one of this bundle"):
        check_signature(forged, BUNDLE, [key.public], NOW)


def test_a_signature_expires_to_the_second(key: PrivateKey) -> None:
    until = NOW + timedelta(days=90)
    document = sign(BUNDLE, key, NOW, until)
    assert check_signature(document, BUNDLE, [key.public], until - timedelta(seconds=1)) == key.public
    with pytest.raises(BundleUntrusted, match="expired: it was good until 2026-05-01T12:00:00Z"):
        check_signature(document, BUNDLE, [key.public], until)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"2026-05-01", b"2036-05-01"),  # a longer life
        (b'"expires_at": "2026-05-01T12:00:00Z",\n', b""),  # one without an end
        (b"2026-01-31", b"2026-02-01"),
    ],
)
def test_the_times_are_signed_too(key: PrivateKey, before: bytes, after: bytes) -> None:
    document = sign(BUNDLE, key, NOW, NOW + timedelta(days=90))
    assert before in document
    with pytest.raises(BundleUntrusted, match="not one of this bundle"):
        check_signature(document.replace(before, after), BUNDLE, [key.public], NOW)


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"format": "sampan-signature"}', b'{"version": 2}', b"{" * 1000, b"x" * 2000]
)
def test_what_is_no_signature_is_refused(key: PrivateKey, document: bytes) -> None:
    with pytest.raises(InvalidBundle):
        check_signature(document, BUNDLE, [key.public], NOW)


def test_one_damaged_document_does_not_spoil_the_good_one(key: PrivateKey) -> None:
    good = sign(BUNDLE, key, NOW)
    assert check_signatures([b"\x00", UNSIGNED, good], BUNDLE, [key.public], NOW) == (key.public, good)
    with pytest.raises(BundleUntrusted, match="not signed"):
        check_signatures([UNSIGNED], BUNDLE, [key.public], NOW)


def test_openssl_checks_what_is_signed(tmp_path: Path, key: PrivateKey) -> None:
    """By the words of docs/bundle-format.md, and nothing of ours."""
    read = read_signature(sign(BUNDLE, key, NOW))
    assert read is not None
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_text(f"sampan bundle signature\n1\n{BUNDLE}\n2026-01-31T12:00:00Z\nnever\n")
    signature.write_bytes(base64.b64decode(read.signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "maker.pub"), "-rawin"]
    command += ["-in", str(message), "-sigfile", str(signature)]
    subprocess.run(command, check=True, capture_output=True)


# -- files of keys -----------------------------------------------------------------------------------


def test_a_private_key_can_be_read_by_its_owner_alone_and_shows_itself_nowhere(
    tmp_path: Path, key: PrivateKey
) -> None:
    assert (tmp_path / "maker").stat().st_mode & 0o777 == 0o600
    assert repr(key) == f"PrivateKey({key.public.fingerprint})"
    assert read_public_key(tmp_path / "maker.pub") == key.public


@pytest.mark.parametrize("there", ["maker", "maker.pub"])
def test_no_key_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(BundleExists, match=f"{there} exists"):
        make_keys(tmp_path / "maker")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_key_where_nothing_can_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        make_keys(tmp_path / "nowhere" / "maker")


def test_keys_of_openssl_and_of_ssh_serve_as_well(tmp_path: Path) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", "pem")
    run("openssl", "pkey", "-in", "pem", "-pubout", "-out", "pem.pub")
    assert read_private_key(tmp_path / "pem").public == read_public_key(tmp_path / "pem.pub")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ssh")
    assert read_private_key(tmp_path / "ssh").public == read_public_key(tmp_path / "ssh.pub")


def test_a_key_behind_a_password_is_refused_with_what_to_do(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", "pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    with pytest.raises(UsageError, match="behind a password") as caught:
        read_private_key(tmp_path / "pem")
    assert "openssl pkey" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text", ["", "nothing", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(UsageError, match="holds no private key"):
        read_private_key(tmp_path / "file")
    with pytest.raises(UsageError, match="holds no public key"):
        read_public_key(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot read the key"):
        read_public_key(tmp_path / "absent")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "X25519", "-out", "pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    with pytest.raises(UsageError, match="no private key of Ed25519"):
        read_private_key(tmp_path / "pem")
