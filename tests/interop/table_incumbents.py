"""Measures, and prints as a table, what today's programs do about the 26 faults by themselves.

``python tests/interop/table_incumbents.py`` (some ten minutes: several programs wait for ever). Each
gets a bad host first and a good one second, and starts with an empty store; docker-registry as a
pull-through proxy has a single upstream, the bad one. "ok" is the right image, the number how many
requests the bad host received. It is not a test: nothing here is promised by sampan.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from interop import images, registries
from interop.clients import Skopeo, copied
from interop.containerd import VERSIONS, containerd
from interop.cri import CriError
from interop.hosts import host
from interop.images import Image
from interop.processes import CommandFailed, DidNotStart
from interop.sentinel import sentinel
from interop.serving import first_host, serving
from sampan.testing import FAULT_TABLE

PATIENCE_SECONDS = 15.0
Measure = Callable[[str, tuple[str, str], Image, Path], str]


def main() -> None:
    library = images.library()
    image = library.image("library/alpine:3")
    programs: dict[str, Measure] = {name: _containerd(name) for name in VERSIONS}
    programs |= {"skopeo": _skopeo, "docker-registry (proxy)": _proxy}
    programs |= {f"{VERSIONS[-1]} behind sampan": _behind_sampan}
    right = dict.fromkeys(programs, 0)
    print("|".join(["", "fault", *programs, ""]))
    print("|---" * (len(programs) + 1) + "|")
    with (
        sentinel(),
        tempfile.TemporaryDirectory() as scratch,
        registries.docker_registry(Path(scratch), storage=registries.stock(library), read_only=True) as good,
    ):
        for row, spoil in FAULT_TABLE:
            cells = []
            for name, measure in programs.items():
                with host("bad", image) as (bad, content, thread):
                    thread.call(lambda: spoil(bad, content))  # noqa: B023  called at once
                    begun = time.monotonic()
                    with tempfile.TemporaryDirectory(dir=scratch) as directory:
                        said = measure(row, (bad.url, good.url), image, Path(directory))
                    right[name] += said == "ok"
                    seconds = time.monotonic() - begun
                    cells.append(
                        f"{said}, {len(bad.requests)}" + (f", {seconds:.0f} s" if seconds > 3 else "")
                    )
            print("|".join(["", row, *cells, ""]), flush=True)
    print("|".join(["", "right", *(f"{count} / {len(FAULT_TABLE)}" for count in right.values()), ""]))


def _containerd(name: str) -> Measure:
    return lambda _row, hosts, image, _directory: _pull(name, hosts, image)


def _behind_sampan(row: str, hosts: tuple[str, str], image: Image, directory: Path) -> str:
    with serving(directory, [first_host(row, hosts[0]), hosts[1]]) as mirror:
        return _pull(VERSIONS[-1], [mirror.url], image)


def _pull(name: str, urls: Sequence[str], image: Image) -> str:
    with containerd(name) as runtime:
        runtime.use("docker.io", urls)
        try:
            got = runtime.cri.pull(f"docker.io/{image.reference}", timeout_seconds=PATIENCE_SECONDS)
        except CriError as error:
            return "hangs" if error.code == "DEADLINE_EXCEEDED" else "fails"
        return "ok" if got == image.config_digest() else "wrong image"


def _skopeo(_row: str, hosts: tuple[str, str], image: Image, directory: Path) -> str:
    skopeo = Skopeo(directory, [url.removeprefix("http://") for url in hosts])
    begun = time.monotonic()
    try:
        skopeo.copy(f"docker.io/{image.reference}", directory / "layout", timeout_seconds=PATIENCE_SECONDS)
    except CommandFailed:
        return "hangs" if time.monotonic() - begun >= PATIENCE_SECONDS else "fails"
    return "ok" if set(image.layer_digests()) <= copied(directory / "layout") else "wrong image"


def _proxy(_row: str, hosts: tuple[str, str], image: Image, directory: Path) -> str:
    """What a client of the proxy gets: the statuses of what went wrong, or whether bytes were wrong."""
    wanted = {f"manifests/{image.tag}": image.digest}
    wanted |= {f"blobs/{digest}": digest for digest in image.layer_digests()}
    try:
        with registries.docker_registry(directory, proxy_of=hosts[0]) as proxy:
            base = f"{proxy.url}/v2/{image.repository}"
            said = [_get(f"{base}/{what}", image.library.path(d).read_bytes()) for what, d in wanted.items()]
    except DidNotStart:
        return "does not start"
    return next((words for words in said if words != "ok"), "ok")


def _get(url: str, expected: bytes) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    accept = f"{images.OCI_INDEX}, {images.DOCKER_LIST}, {images.OCI_MANIFEST}, {images.DOCKER_MANIFEST}"
    request = urllib.request.Request(url, headers={"Accept": accept})
    try:
        with opener.open(request, timeout=PATIENCE_SECONDS) as response:
            return "ok" if response.read() == expected else "200 with wrong bytes"
    except urllib.error.HTTPError as error:
        return str(error.code)
    except TimeoutError:
        return "hangs"
    except http.client.IncompleteRead:
        return "200, incomplete"
    except OSError as error:
        return type(error).__name__


if __name__ == "__main__":
    main()
