"""Digests: what is one, what is none, and what the refusal says."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from sampan.errors import InvalidDigest
from sampan.oci.digest import DIGEST_CHARACTERS_MAX, Digest, new_hasher

EMPTY_SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
A64, A128 = "a" * 64, "a" * 128


@pytest.mark.parametrize("text", [f"sha256:{A64}", f"sha512:{A128}", EMPTY_SHA256])
def test_a_digest_prints_as_it_was_read(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a digest"),
        ("sha256", "not a digest"),
        ("sha256:", "64 hexadecimal digits, got 0"),
        (f"sha256:{A64[:-1]}", "64 hexadecimal digits, got 63"),
        (f"sha256:{A64}a", "64 hexadecimal digits, got 65"),
        (f"sha512:{A64}", "128 hexadecimal digits, got 64"),
        (f"sha256:{A64.upper()}", "lower case"),
        (f"sha256:{A64[:-1]}g", "not hexadecimal"),
        (f"sha256:{A64[:-1]}\n", "not hexadecimal"),
        (f"sha256:{A64[:-1]}\N{FULLWIDTH DIGIT ONE}", "not hexadecimal"),
        (f"md5:{'a' * 32}", "unsupported digest algorithm"),
        (f"SHA256:{A64}", "unsupported digest algorithm"),
        (f" sha256:{A64}", "unsupported digest algorithm"),
        (f":{A64}", "unsupported digest algorithm"),
        (f"sha256+b64:{A64}", "unsupported digest algorithm"),
        ("sha256:../../x", "64 hexadecimal digits"),
        ("sha256:a/b", "64 hexadecimal digits"),
        (f"sha256:{A64[:-6]}../../", "not hexadecimal"),
    ],
)
def test_what_is_no_digest_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidDigest, match=reason):
        Digest.parse(text)


def test_a_refusal_echoes_no_control_characters() -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse("\x1b[31mred\r\n")
    assert caught.value.message.isprintable()


def test_a_text_of_a_megabyte_is_refused_by_its_length() -> None:
    with pytest.raises(InvalidDigest, match=f"at most {DIGEST_CHARACTERS_MAX} characters, got 1000000"):
        Digest.parse("a" * 1_000_000)


def test_a_digest_cannot_be_made_of_parts_that_do_not_parse() -> None:
    with pytest.raises(InvalidDigest):
        Digest("sha256", "../etc/passwd")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_digest_of_bytes_is_that_of_hashlib(algorithm: str) -> None:
    digest = Digest.of(b"sampan", algorithm)
    assert digest == Digest(algorithm, hashlib.new(algorithm, b"sampan").hexdigest())


def test_the_digest_of_nothing_is_the_well_known_one() -> None:
    assert str(Digest.of(b"")) == EMPTY_SHA256


def test_a_running_hash_may_be_fed_on_after_it_was_asked() -> None:
    hasher = new_hasher("sha256")
    hasher.update(b"sam")
    assert Digest.from_hasher(hasher) == Digest.of(b"sam")
    hasher.update(b"pan")
    assert Digest.from_hasher(hasher) == Digest.of(b"sampan")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "", "SHA256", "blake2b"])
def test_a_hasher_of_another_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(InvalidDigest, match="unsupported"):
        new_hasher(algorithm)


def test_digests_are_ordered_hashable_and_picklable() -> None:
    low, high = Digest("sha256", "0" * 64), Digest("sha256", "f" * 64)
    assert sorted({high, low, Digest("sha256", "0" * 64)}) == [low, high]
    assert pickle.loads(pickle.dumps(low)) == low
