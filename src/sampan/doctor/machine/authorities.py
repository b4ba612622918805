"""The authorities that certificates are believed by: the system's own list, and what was meant to be in it.

A Go daemon reads the first list that is there, once, when it needs it first. A company's own authority that
was copied to the right directory counts only after the list was made anew.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.runtimes.tree import Tree
from sampan.words import sentence

# In the order of Go's crypto/x509, which takes the first that can be read.
LISTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")  # what is no whole system needs no authorities
SUBJECT = "authorities"
FILES_MAX = 500
_PEM = re.compile(r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Added:
    """Where people put authorities of their own, which of its files are taken, and what takes them."""

    directory: str
    ending: str
    command: tuple[str, ...]


ADDED = (
    Added("/usr/local/share/ca-certificates", ".crt", ("sudo", "update-ca-certificates")),
    Added("/etc/pki/ca-trust/source/anchors", "", ("sudo", "update-ca-trust")),
    Added("/etc/pki/trust/anchors", "", ("sudo", "update-ca-certificates")),
)


async def check_authorities(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Whether there is a list, and whether all that was added to it is in it."""
    for each in await aside(_found, scene.tree):
        yield each


def _found(tree: Tree) -> list[Finding | Unseen]:
    return list(_look(tree))


def _look(tree: Tree) -> Iterator[Finding | Unseen]:
    if not any(tree.exists(path) for path in OS_RELEASE):
        return
    files = [file for path in LISTS if (file := tree.file(path)).state != "absent"]
    if not files:
        yield _none()
        return
    if files[0].problem is not None:
        yield Unseen(
            SUBJECT, sentence("{path}: {reason}", path=files[0].path, reason=files[0].problem.message)
        )
        return
    known = set(_bodies(files[0].text))
    if not known:
        yield _none(files[0].path)
    for added in ADDED:
        yield from _forgotten(tree, added, known)


def _none(path: str | None = None) -> Finding:
    return Finding(
        "AUTHORITIES_ABSENT",
        SUBJECT,
        sentence("there is no list of authorities")
        if path is None
        else sentence("the list of authorities is empty"),
        why=sentence("no certificate is believed, whichever host shows it"),
        hint=sentence("install the package ca-certificates, and restart the daemons"),
        file=path,
    )


def _forgotten(tree: Tree, added: Added, known: set[str]) -> Iterator[Finding]:
    for path in _files(tree, added.directory)[:FILES_MAX]:
        bodies = _bodies(tree.file(path).text)
        if not bodies or set(bodies) <= known:
            continue
        hint = sentence("make the list anew, and restart the daemons, which read it once")
        if added.ending and not path.endswith(added.ending):
            hint = sentence(
                "rename it to *{ending}, make the list anew, and restart the daemons", ending=added.ending
            )
        yield Finding(
            "AUTHORITY_NOT_INSTALLED",
            SUBJECT,
            sentence("this authority is not in the list of those that are believed"),
            "dead",
            hint=hint,
            command=added.command,
            file=path,
        )


def _files(tree: Tree, directory: str) -> Sequence[str]:
    """Those of the directory and of one below it."""
    found = []
    for name in tree.directory(directory).names:
        path = posixpath.join(directory, name)
        below = tree.directory(path)
        found += [posixpath.join(path, each) for each in below.names] if below.exists else [path]
    return found


def _bodies(text: str) -> list[str]:
    """The certificates of a file, without what differs between copies of one."""
    return ["".join(body.split()) for body in _PEM.findall(text)]
