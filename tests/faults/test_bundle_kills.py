"""kill -9 while a bundle is made: at ten points of what comes from a host, and before each system call of its
end. Nothing that looks whole is not, no byte that is on disk is asked for again, and the bundle is right.

The points are those of the pull's own kills. At every second one the bytes are known to be on disk.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag

import pytest

from bundling import BundleMachine, Bundles
from dying import killed_at_each_step
from pulling import AMD64, ENDS_SECONDS, until
from rig import mirror_of
from sampan.bundle.finish import publish, published, seal, take_back, write_frame
from sampan.bundle.partial import Partial
from sampan.bundle.recovery import write_recovery
from sampan.bundle.signature import UNSIGNED
from sampan.bundle.target import Target
from sampan.bundle.verify import verify
from sampan.bundle.volume_set import read_set
from sampan.errors import BundleError
from sampan.oci import Digest
from sampan.store.spans import Spans
from sampan.testing import FakeRegistry, Image, Request, ServerThread, random_layer
from sampan.testing import image as made_image
from stopping import KILLS, LAYERS_BYTES, Stop, Written, asked_for, places_at, stops_at

KIB, MIB = 1024, 1024 * 1024


@dataclass
class Ground:
    """The host, its image, and the machine that packs it."""

    machine: BundleMachine
    host: FakeRegistry
    thread: ServerThread
    image: Image
    words: tuple[str, ...]
    seen: int = field(default=0)

    @property
    def partial(self) -> Path:
        return self.machine.directory / "app.tar.partial"

    def new_requests(self) -> list[Request]:
        """For blobs, since this was asked last."""
        new, self.seen = self.host.requests[self.seen :], len(self.host.requests)
        return [request for request in new if request.kind == "blob"]

    def spans(self) -> dict[str, Spans]:
        """What the notes say of each layer."""
        notes = {
            layer.digest: self.partial / "notes" / layer.digest.replace(":", "-")
            for layer in self.image.layers
        }
        found = {digest: Spans.from_text(path.read_text()) for digest, path in notes.items() if path.exists()}
        return {digest: spans for digest, spans in found.items() if spans is not None}

    def check_bytes(self) -> int:
        """What the notes say is on disk, is there and right; how many bytes."""
        spans, total = self.spans(), 0
        if not spans:
            return 0
        target = Target(self.machine.directory / "app.tar")
        copy = Partial(target)
        try:
            plan = copy.plan()
            assert plan is not None
            for layer in self.image.layers:
                (blob,) = [one for one in plan[0].blobs if str(one.digest) == layer.digest]
                arriving, body = copy.arriving(blob), layer.read()
                for start, stop in spans.get(layer.digest, Spans()):
                    assert arriving.read(start, stop) == body[start:stop]
                    total += stop - start
                arriving.suspend()
        finally:
            copy.close()
        return total


def killed(ground: Ground, places: dict[str, int], *, on_disk: bool) -> None:
    """One run, ended when the host has given as much as ``places`` say; ``on_disk``: and it is written."""
    gate, spans = Stop(), ground.spans()
    missing = {digest for digest in places if spans.get(digest, Spans()).total < sizes(ground.image)[digest]}
    ground.thread.call(lambda: ground.host.script(stops_at(places, gate)))
    with ground.machine.start(*ground.words) as process:
        for _ in missing:
            assert gate.reached.acquire(timeout=ENDS_SECONDS), "the host was not asked for all of them"
        if on_disk:
            until(process, Written({digest: places[digest] for digest in missing}))
        process.kill()
    ground.thread.call(ground.host.behave)
    ground.thread.call(gate.set)


def sizes(image: Image) -> dict[str, int]:
    return {layer.digest: layer.size for layer in image.layers}


def check_requests(requests: list[Request], spans: dict[str, Spans], image: Image) -> None:
    """What was asked for after a kill: exactly what was missing then, each byte once."""
    for digest, size in sizes(image).items():
        asked = sorted(asked_for(request, size) for request in requests if request.digest == digest)
        assert asked == spans.get(digest, Spans()).gaps(size) or joined(asked) == spans.get(
            digest, Spans()
        ).gaps(size)


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is asked for of several hosts at once is one gap after all. Overlaps stay, and are seen."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found


def nothing_looks_whole(directory: Path) -> None:
    """Neither here nor in the partial is there anything that a reader would take for a bundle."""
    for path in directory.rglob("*"):
        if path.is_file() and path.stat().st_size > 512 and "store" not in path.parts:
            with pytest.raises(BundleError):
                read_set([path])
    assert [path.name for path in directory.glob("app*.tar")] == []


def right(files: list[Path]) -> None:
    volumes = read_set(files)
    assert volumes.missing == ()
    verify(volumes, told=lambda _: None, stop=Flag()).check()


@pytest.fixture(scope="module")
def image() -> Image:
    layers = [random_layer(n, size) for n, size in enumerate(LAYERS_BYTES)]
    return made_image("library/app", "1", layers=layers)


@pytest.mark.parametrize(
    "volumes", [(), ("--volume-size", "16MiB", "--parity", "1")], ids=["file", "volumes"]
)
@pytest.mark.row("X6")
def test_after_ten_kills_the_bundle_is_right_and_no_byte_on_disk_was_asked_for_again(
    tmp_path: Path, image: Image, volumes: tuple[str, ...]
) -> None:
    host = FakeRegistry("host")
    host.add(image)
    words = ("create", "-o", "app.tar", *AMD64, *volumes, "app:1")
    with ServerThread(host) as thread:
        ground = Ground(BundleMachine(tmp_path, host.url), host, thread, image, words)
        spans, before = dict[str, Spans](), 0
        for number in range(1, KILLS + 1):
            on_disk = number % 2 == 0
            places = places_at(image, number)
            killed(ground, places, on_disk=on_disk)
            check_requests(ground.new_requests(), spans, image)
            spans, have = ground.spans(), ground.check_bytes()
            assert have >= before, "something that was on disk is gone"
            if on_disk:
                assert {digest: found.total for digest, found in spans.items()} == places
            before = have
            nothing_looks_whole(tmp_path)
        last = ground.machine.bundle(*words)
        assert last.returncode == 0, last.stderr
        requests = ground.new_requests()
        check_requests(requests, spans, image)
        assert sum(request.bytes_sent for request in requests) == sum(sizes(image).values()) - before
        manifests = [request for request in host.requests if request.kind == "manifest"]
        assert sum(request.method == "GET" for request in manifests) == 1
    files = sorted(tmp_path.glob("app*.tar"))
    assert len(files) == (4 if volumes else 1)
    right(files)
    assert not ground.partial.exists()


@pytest.mark.parametrize("moment", ["blob-done", "giving", "image-done"])
@pytest.mark.row("X6")
def test_killed_near_the_end_the_same_command_ends_it_and_fetches_nothing(
    tmp_path: Path, image: Image, moment: str
) -> None:
    host = FakeRegistry("host")
    host.add(image)
    with ServerThread(host) as thread:
        words = ("create", "-o", "app.tar", *AMD64, "app:1")
        ground = Ground(BundleMachine(tmp_path, host.url), host, thread, image, words)
        with ground.machine.start(*words) as process:
            for _ in range(len(image.blobs) if moment == "blob-done" else 1):
                until(process, lambda event: bool(event["event"] == moment))
            process.kill()
        fetched = len(ground.new_requests())
        assert fetched == len(image.blobs)
        if (tmp_path / "app.tar").exists() and not ground.partial.exists():
            assert moment == "image-done"
        else:
            done = ground.machine.bundle(*words)
            assert done.returncode == 0, done.stderr
        assert ground.new_requests() == []
    right([tmp_path / "app.tar"])


# -- the end, system call by system call -------------------------------------------------------------

SMALL = made_image("library/small", "1", layers=[random_layer(1, 100 * KIB), random_layer(2, 3 * MIB)])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], None]:
    """Puts a partial of each kind, with every blob in it, to some path: all that is left is its end."""
    home = tmp_path_factory.mktemp("begun")

    class Enough(Exception):
        pass

    def enough(_: Digest) -> bytes:
        raise Enough

    async def make() -> None:
        async with FakeRegistry("good") as registry:
            registry.add(SMALL)
            async with mirror_of(home / "store", [registry]) as rig:
                bundles = Bundles(rig, sign=enough)
                for name, limit in (("file.tar", 0), ("layout/", 0), ("vol.tar", 2 * MIB)):
                    with pytest.raises(Enough):
                        await bundles(f"{home}/{name}", "small:1", volume_bytes=limit, parity=int(limit > 0))

    asyncio.run(make())

    def put(name: str, path: Path) -> None:
        shutil.copytree(home / f"{name}.partial", path / f"{name}.partial")

    return put


def finish(target: Target) -> None:
    """As the command ends a bundle."""
    partial_ = Partial(target)
    begun_ = partial_.plan()
    assert begun_ is not None
    if published(partial_, *begun_) is None:
        take_back(partial_, *begun_)
        contents, raw = seal(partial_, *begun_)
        write_frame(partial_, contents, raw, UNSIGNED)
        write_recovery(partial_, contents, raw, UNSIGNED, Flag())
        publish(partial_, contents)
    partial_.close()


def whole(path: Path, name: str) -> list[Path]:
    """The files that have their own names: each of them must be right by itself."""
    found = [one for one in sorted(path.iterdir()) if not one.name.endswith(".partial")]
    for one in found:
        verify(read_set([one]), told=lambda _: None, stop=Flag()).check()
    return found


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("name", ["file.tar", "layout", "vol.tar"])
@pytest.mark.row("X6")
def test_killed_before_any_system_call_of_its_end_what_has_a_name_is_whole_and_the_rest_is_gone_on_with(
    tmp_path: Path,
    begun: Callable[[str, Path], None],
    name: str,
    links: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "place"
    target = Target(place / name, is_directory=name == "layout")

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        begun(name, place)

    def work() -> None:
        if not links:
            forget_links()
        finish(target)

    steps = 0
    calls = ("open", "pwrite", "fsync", "link", "rename", "unlink", "ftruncate", "rmdir")
    for _ in killed_at_each_step(prepare, work, calls):
        steps += 1
        seen = whole(place, name)
        if target.partial.exists() and (target.partial / "plan.json").exists():
            finish(target)
        files = whole(place, name)
        assert len(files) >= len(seen)
        right(files)
    assert steps > 20


def forget_links() -> None:
    """As on FAT, which has none."""
    import errno
    import os

    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    os.link = link
