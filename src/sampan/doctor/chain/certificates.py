"""Certificates that a runtime's files name, and what its program says of those that it cannot use.

Pure. That a key belongs to its certificate is not checked here: whoever connects with them finds out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sampan.runtimes.tree import File, Tree

Pair = tuple[str, str]
_BEGINNING = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----\r?$", re.MULTILINE)
_CERTIFICATE, _KEY = "CERTIFICATE", "PRIVATE KEY"
_IN = "in {} input after skipping PEM blocks of the following types: [{}]"


class Unusable(Exception):
    """A file that is named is missing or is none: no host is asked. ``args``: the program's words."""


def usable_authority(tree: Tree, path: str) -> str:
    """``path``, as containerd takes it: it is there, and holds a certificate. Raises Unusable."""
    file = tree.file(path)
    if file.data is None:
        raise Unusable(f'unable to read CA cert "{path}": {_unread(file)}')
    if not _is_certificate(file.data):
        raise Unusable(f'unable to load CA cert "{path}"')
    return path


def usable_pair(tree: Tree, certificate: str, key: str) -> Pair:
    """Both paths, as containerd takes them. Raises Unusable."""
    held = []
    for path in (certificate, key):
        file = tree.file(path)
        if file.data is None:
            raise Unusable(f'unable to read CERT file "{path}": {_unread(file)}')
        held.append(file.data)
    if (problem := _of_pair(*held)) is not None:
        raise Unusable(f"failed to load X509 key pair: {problem}")
    return certificate, key


def authorities_of(tree: Tree, directory: str) -> tuple[str, ...]:
    """Those of a host's directory, as Docker and containers/image take them: what is none is passed over."""
    paths = [f"{directory}/{name}" for name in tree.directory(directory).names if name.endswith(".crt")]
    return tuple(path for path in paths if _is_certificate(tree.file(path).data or b""))


def pair_of(tree: Tree, directory: str, without_key: str, without_certificate: str) -> Pair | None:
    """The first pair of a host's directory, as Docker and containers/image take it; each must be one. The
    two texts are said where a half is missing. Raises Unusable."""
    names = tree.directory(directory).names
    first: Pair | None = None
    for name in names:
        stem, _, kind = name.rpartition(".")
        certificate, key = f"{stem}.cert", f"{stem}.key"
        if kind == "cert" and key not in names:
            raise Unusable(without_key.format(key=key, certificate=certificate))
        if kind == "key" and certificate not in names:
            raise Unusable(without_certificate.format(key=key, certificate=certificate))
        if kind == "cert":
            pair = f"{directory}/{certificate}", f"{directory}/{key}"
            if (problem := _of_pair(*(tree.file(path).data or b"" for path in pair))) is not None:
                raise Unusable(problem)
            first = first or pair
    return first


def _unread(file: File) -> str:
    if file.state == "directory":
        return f"read {file.path}: is a directory"
    return f"open {file.path}: no such file or directory"


def _is_certificate(data: bytes) -> bool:
    return _CERTIFICATE in _blocks(data)


def _blocks(data: bytes) -> list[str]:
    """What kinds of PEM there are."""
    return [kind.decode() for kind in _BEGINNING.findall(data)]


def _of_pair(certificate: bytes, key: bytes) -> str | None:
    """What Go says of two files that are no pair; None: they may be one."""
    return _of_certificate(_blocks(certificate)) or _of_key(_blocks(key))


def _of_certificate(kinds: Sequence[str]) -> str | None:
    if _CERTIFICATE in kinds:
        return None
    if not kinds:
        return "tls: failed to find any PEM data in certificate input"
    if len(kinds) == 1 and kinds[0].endswith(_KEY):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
            "PEM inputs may have been switched"
        )
    return f'tls: failed to find "CERTIFICATE" PEM block {_IN.format("certificate", " ".join(kinds))}'


def _of_key(kinds: Sequence[str]) -> str | None:
    if any(kind == _KEY or kind.endswith(f" {_KEY}") for kind in kinds):
        return None
    if not kinds:
        return "tls: failed to find any PEM data in key input"
    if list(kinds) == [_CERTIFICATE]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return f'tls: failed to find PEM block with type ending in "{_KEY}" {_IN.format("key", " ".join(kinds))}'
