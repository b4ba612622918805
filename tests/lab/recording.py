"""Real programs and our own foretelling, each pulling by the same files in the same network."""

from __future__ import annotations

import re
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.case import Case
from lab.docker import DOCKERS
from lab.laying import lay, with_store
from lab.network import Network
from lab.subjects import Real, Subject
from sampan.doctor.chain.contract import Walk
from sampan.doctor.chain.plans import walk_of
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree
from sampan.testing.images import Image

AMD64 = Platform("linux", "amd64")
_UNSTABLE = (
    (re.compile(r"(read tcp )[\d.]+:\d+->"), r"\1…->"),
    (re.compile(r"( is blocked in \S+ or ).*"), r"\1…"),
    (re.compile(r"current time \S+ is"), "current time … is"),
)


@dataclass(frozen=True)
class Recorded:
    """What was asked, in order, and what was said; None: the image came."""

    asked: tuple[str, ...]
    said: str | None


def prepared(case: Case, network: Network) -> tuple[Image, str]:
    """The network as the case has it: its image, and the reference that is pulled."""
    found = case.make(zlib.crc32(case.name.encode()) % 1_000_000)
    network.renew(found)
    case.spoil(network, found)
    return found, case.reference.replace("DIGEST", found.digest)


def laid(case: Case, version: str, network: Network) -> dict[str, str]:
    """The case's files, below the subject's directory."""
    strangers = network.strangers.cert_pem.bytes().decode()
    return {path: text.replace("STRANGERS", strangers) for path, text in case.laid(version).items()}


def record(case: Case, version: str, real: Real, network: Network) -> Recorded:
    """The real one pulls."""
    _, reference = prepared(case, network)
    said = real.pull(case, laid(case, version, network), reference)
    return Recorded(_ordered(network.asked()), None if said is None else stable(said))


# -- ours, without a socket ------------------------------------------------------------------------


def foretell(subject: Subject, case: Case, version: str, full: str, network: Network) -> Recorded:
    """What sampan foretells of the program in the version ``full``."""
    _, reference = prepared(case, network)
    with tempfile.TemporaryDirectory() as directory:
        lay_for(subject, case, version, network, Path(directory))
        installed = Installed(Version.find(full))
        chain = subject.chain(Tree(Path(directory)), installed, Reference.parse(reference))
        said = walked(walk_of(chain, AMD64), network)
    return Recorded(_ordered(network.asked()), said)


def lay_for(subject: Subject, case: Case, version: str, network: Network, root: Path) -> None:
    """The case's files and no others, as the program has them, below ``root``."""
    place = root / subject.directory.lstrip("/")
    for path in (subject.directory, *subject.elsewhere):
        shutil.rmtree(root / path.lstrip("/"), ignore_errors=True)
    place.mkdir(parents=True)
    files = laid(case, version, network)
    if subject.name == "docker":
        files["daemon.json"] = with_store(files.get("daemon.json", "{}"), DOCKERS[version])
    lay(place, files)


def walked(walk: Walk, network: Network) -> str | None:
    """What is said at the end of ``walk`` in ``network``."""
    try:
        ask = next(walk)
        while True:
            ask = walk.send(network.answer(ask))
    except StopIteration as done:
        said: str | None = done.value.printed
        return said


# -- comparing --------------------------------------------------------------------------------------


def comparable(asked: Sequence[str]) -> tuple[str, ...]:
    """Requests without what redirects led to: whoever asks follows them."""
    return tuple(line for line in asked if "//cdn.lan" not in line)


def _ordered(asked: Sequence[str]) -> tuple[str, ...]:
    """Requests in their order, but that those for blobs, made side by side, stand together by blob."""
    rest: list[str] = []
    blobs: dict[str, list[str]] = {}
    for line in asked:
        found = re.search(r"/(?:blobs|data)/(sha256:\w+)", line)
        if found is None:
            rest += _flat(blobs)
            rest.append(line)
        else:
            blobs.setdefault(found[1], []).append(line)
    return (*rest, *_flat(blobs))


def _flat(blobs: dict[str, list[str]]) -> list[str]:
    found = [line for digest in sorted(blobs) for line in blobs[digest]]
    blobs.clear()
    return found


def stable(text: str) -> str:
    """``text`` without what differs from one pull to the next."""
    for pattern, replacement in _UNSTABLE:
        text = pattern.sub(replacement, text)
    return text
