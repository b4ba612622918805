"""kill -9 at ten points of one pull: no byte that is on disk is asked for again, and the image is whole.

The host stops each layer at a byte that is known beforehand and says when it is there, so the points are
the same each time. After every second one the kill waits until the pull has told that all of it is on
disk; at the others whatever was still on its way, in the kernel or in memory, is lost.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from pulling import AMD64, ENDS_SECONDS, Event, Machine, until
from rig import assert_store_is_sound
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Image, Request, ServerThread, random_layer
from sampan.testing import image as made_image
from stopping import KILLS, LAYERS_BYTES, Stop, Written, asked_for, places_at, stops_at

Kept = dict[str, int]


@dataclass
class Ground:
    """The host, its image, and the machine that pulls it into ``sink``."""

    machine: Machine
    host: FakeRegistry
    thread: ServerThread
    image: Image
    sink: str
    seen: int = field(default=0)

    @property
    def words(self) -> tuple[str, ...]:
        return ("app:1", *AMD64, "--to", self.sink)

    def new_requests(self) -> list[Request]:
        """For blobs, since this was asked last."""
        new, self.seen = self.host.requests[self.seen :], len(self.host.requests)
        return [request for request in new if request.kind == "blob"]

    def done(self) -> set[str]:
        """The blobs that are whole."""
        return {blob.digest for blob in self.image.blobs if self._path("blobs/{}/{}", blob.digest).exists()}

    def kept(self) -> Kept:
        """How many bytes there are of those that are not."""
        paths = {blob.digest: self._path("ingest/{}-{}", blob.digest) for blob in self.image.blobs}
        return {digest: path.stat().st_size for digest, path in paths.items() if path.exists()}

    def missing(self) -> set[str]:
        """The blobs of which the host has yet to give something."""
        done, kept = self.done(), self.kept()
        blobs = [blob for blob in self.image.blobs if blob.digest not in done]
        return {blob.digest for blob in blobs if kept.get(blob.digest, 0) < blob.size}

    def _path(self, form: str, digest: str) -> Path:
        return self.machine.store / form.format(*digest.split(":"))


def killed(ground: Ground, places: dict[str, int], *, on_disk: bool) -> None:
    """One pull, ended when the host has given as much as ``places`` say; ``on_disk``: and it is written."""
    gate = Stop()
    missing = ground.missing()
    ground.thread.call(lambda: ground.host.script(stops_at(places, gate)))
    with ground.machine.start(*ground.words) as process:
        for _ in missing & set(places):
            assert gate.reached.acquire(timeout=ENDS_SECONDS), "the host was not asked for all of them"
        if on_disk:
            until(process, Written({digest: places[digest] for digest in missing & set(places)}))
        process.kill()
    ground.thread.call(ground.host.behave)
    ground.thread.call(gate.set)


def check_requests(requests: list[Request], done: set[str], kept: Kept, image: Image) -> None:
    """What was asked for after a kill: all that was missing then, from its first missing byte, once."""
    for blob in image.blobs:
        at = blob.size if blob.digest in done else kept.get(blob.digest, 0)
        asked = [asked_for(request, blob.size) for request in requests if request.digest == blob.digest]
        for first, stop in sorted(asked):
            assert first == at, f"asked for byte {first} of {blob.digest} when {at} were there"
            at = stop
        assert at == blob.size


@pytest.fixture(scope="module")
def image() -> Image:
    return made_image(
        "library/app", "1", layers=[random_layer(n, size) for n, size in enumerate(LAYERS_BYTES)]
    )


def is_event(name: str, event: Event) -> bool:
    return bool(event["event"] == name)


def in_archive(path: Path) -> set[str]:
    """The digests of the blobs of an archive, each found to be right."""
    with tarfile.open(path) as archive:
        blobs = [member for member in archive if member.name.startswith("blobs/sha256/")]
        for member in blobs:
            file = archive.extractfile(member)
            assert file is not None
            assert Digest.of(file.read()).hex == Path(member.name).name
    return {f"sha256:{Path(member.name).name}" for member in blobs}


def in_directory(path: Path) -> set[str]:
    """The same of a layout, or of a store."""
    assert_store_is_sound(path)
    return {f"sha256:{file.name}" for file in (path / "blobs" / "sha256").iterdir() if file.is_file()}


@pytest.mark.parametrize(
    ("sink", "place", "found_in"),
    [
        ("store", "store", in_directory),
        ("oci-archive:app.tar", "app.tar", in_archive),
        ("oci:layout", "layout", in_directory),
    ],
    ids=["store", "oci-archive", "oci"],
)
@pytest.mark.row("X5")
def test_after_ten_kills_the_image_is_whole_and_no_byte_on_disk_was_asked_for_again(
    tmp_path: Path, image: Image, sink: str, place: str, found_in: Callable[[Path], set[str]]
) -> None:
    host = FakeRegistry("host")
    host.add(image)
    with ServerThread(host) as thread:
        ground = Ground(Machine(tmp_path, host.url), host, thread, image, sink)
        done, kept, before = set[str](), Kept(), 0
        for number in range(1, KILLS + 1):
            on_disk = number % 2 == 0
            places = places_at(image, number)
            killed(ground, places, on_disk=on_disk)
            check_requests(ground.new_requests(), done, kept, image)
            done, kept = ground.done(), ground.kept()
            have = sum(kept.values()) + sum(blob.size for blob in image.blobs if blob.digest in done)
            assert have >= before, "something that was on disk is gone"
            if on_disk:
                assert have > before, "it came no further"
                sizes = {blob.digest: blob.size for blob in image.blobs}
                have_of = {digest: sizes[digest] if digest in done else kept[digest] for digest in places}
                assert have_of == places
            before = have
            assert_store_is_sound(ground.machine.store)
            assert not (tmp_path / place).exists() or place != "app.tar"
        assert done, "no layer was whole before the last run"
        assert kept, "no layer was begun before the last run"
        last = ground.machine.pull(*ground.words)
        assert last.returncode == 0, last.stderr
        requests = ground.new_requests()
        check_requests(requests, done, kept, image)
        missing = sum(blob.size for blob in image.blobs) - before
        assert sum(request.bytes_sent for request in requests) == missing
        manifests = [request for request in host.requests if request.kind == "manifest"]
        assert sum(request.method == "GET" for request in manifests) == 1
    assert found_in(tmp_path / place) >= {c.digest for c in (*image.manifests, *image.blobs)}
    assert list((ground.machine.store / "ingest").iterdir()) == []


@pytest.mark.row("X5")
def test_a_kill_at_the_very_end_leaves_a_whole_archive_or_none_and_nothing_is_fetched_again(
    tmp_path: Path, image: Image
) -> None:
    host = FakeRegistry("host")
    host.add(image)
    with ServerThread(host) as thread:
        ground = Ground(Machine(tmp_path, host.url), host, thread, image, "oci-archive:app.tar")
        for moment in ("blob-done", "image-done"):
            with ground.machine.start(*ground.words) as process:
                for _ in image.blobs if moment == "blob-done" else (image,):
                    until(process, partial(is_event, moment))
                process.kill()
            with contextlib.suppress(FileNotFoundError):
                assert in_archive(tmp_path / "app.tar") >= {blob.digest for blob in image.blobs}
                (tmp_path / "app.tar").unlink()
        fetched = ground.new_requests()
        assert len(fetched) == len(image.blobs)
        done = ground.machine.pull(*ground.words)
        assert done.returncode == 0, done.stderr
        assert ground.new_requests() == []
    assert in_archive(tmp_path / "app.tar") >= {c.digest for c in (*image.manifests, *image.blobs)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.tar", "sampan.toml", "store"]
