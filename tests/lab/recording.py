"""Real containerds and our own foretelling, each pulling by the same files in the same network."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.cri import CriError
from lab.chain_cases import CASES, Case
from lab.containerd import Containerd
from lab.machine import Machine
from lab.network import Network
from sampan.doctor.chain.containerd_plan import containerd_chain
from sampan.doctor.chain.containerd_walk import walk
from sampan.doctor.chain.contract import Outcome
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree
from sampan.testing.images import Image

AMD64 = Platform("linux", "amd64")
_UNSTABLE = (
    (re.compile(r"(read tcp )[\d.]+:\d+->"), r"\1…->"),
    (re.compile(r"current time \S+ is"), "current time … is"),
)


@dataclass(frozen=True)
class Recorded:
    """What was asked, in order, and what was said; None: the image came."""

    asked: tuple[str, ...]
    said: str | None


def prepared(case: Case, network: Network) -> tuple[Image, str]:
    """The network as the case has it: its image, and the reference that is pulled."""
    found = case.make(CASES.index(case) + 1)
    network.renew(found)
    case.spoil(network, found)
    return found, case.reference.replace("DIGEST", found.digest)


def laid(case: Case, version: str, network: Network) -> dict[str, str]:
    strangers = network.strangers.cert_pem.bytes().decode()
    return {path: text.replace("STRANGERS", strangers) for path, text in case.laid(version).items()}


def record(case: Case, version: str, containerd: Containerd, network: Network, machine: Machine) -> Recorded:
    """The real one pulls."""
    _, reference = prepared(case, network)
    files = laid(case, version, network)
    config = files.get("config.toml", "")
    old = machine.path("/etc/containerd/config.toml")
    changed = containerd.process is None or not old.exists() or old.read_text() != config or "config.toml" not in files
    containerd.lay(files)
    if changed:
        containerd.start(whole=case.cri)
    assert containerd.cri is not None
    try:
        containerd.cri.pull(reference)
        said = None
    except CriError as error:
        said = error.details
    return Recorded(tuple(network.asked()), None if said is None else stable(said))


def foretell(case: Case, version: Version, network: Network) -> Recorded:
    """Ours, without a socket."""
    _, reference = prepared(case, network)
    files = laid(case, f"{version.major}.{version.minor}", network)
    with tempfile.TemporaryDirectory() as directory:
        for path, text in files.items():
            place = Path(directory, "etc/containerd", path)
            place.mkdir(parents=True) if path.endswith("/") else place.parent.mkdir(parents=True, exist_ok=True)
            if not path.endswith("/"):
                place.write_text(text)
        tree = Tree(Path(directory))
        chain = containerd_chain(tree, Installed(version), Reference.parse(reference))
        steps = walk(chain, AMD64)
        answer = None
        try:
            ask = next(steps)
            while True:
                answer = network.answer(ask)
                ask = steps.send(answer)
        except StopIteration as done:
            outcome: Outcome = done.value
    said = outcome.printed
    return Recorded(tuple(network.asked()), said)


def comparable(asked: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Requests in their order, those for blobs apart, each blob's in theirs: layers are fetched side by side.
    What a redirect led to is left out: whoever asks follows it."""
    rest: list[str] = []
    blobs: dict[str, list[str]] = {}
    for line in asked:
        if "//cdn.lan" in line:
            continue
        found = re.search(r"/blobs/(sha256:\w+)", line)
        (rest if found is None else blobs.setdefault(found[1], [])).append(line)
    return rest, blobs


def stable(text: str) -> str:
    """``text`` without what differs from one pull to the next."""
    for pattern, replacement in _UNSTABLE:
        text = pattern.sub(replacement, text)
    return text
