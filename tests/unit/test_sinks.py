"""Sinks by name, and those that are files: what they write, what they refuse, what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import mounted
from sampan.errors import SinkError, SinkExists, StoreError, UsageError
from sampan.oci import Digest, Platform, Reference, parse_manifest
from sampan.pull.closure import Wanted, closure
from sampan.pull.detect import CONTAINERD_SOCKET, detect_sink, platform_of_machine
from sampan.pull.sink import FORMS, Content, Sink, SinkSpec, parse_sink
from sampan.pull.sinks import SinkSetting, open_sink
from sampan.pull.sinks.files import in_thread
from sampan.store.disk import DiskStore
from sampan.testing import Image, artifact, image, index, random_layer

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
ALPINE = "docker.io/library/alpine:3"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store")
    yield store
    store.close()


def put_into(store: DiskStore, made: Image) -> None:
    for manifest in made.manifests:
        store.put_manifest(parse_manifest(manifest.read()))
    for blob in made.blobs:
        store.put(Digest.parse(blob.digest), blob.read())


def wanted_of(
    store: DiskStore, made: Image, *platforms: Platform, name: str = ALPINE, every: bool = False
) -> Wanted:
    """What a pull of ``made`` would give a sink; its content is in ``store`` afterwards."""
    put_into(store, made)
    root = store.get_manifest(Digest.parse(made.digest))
    assert root is not None
    steps = closure(Reference.parse(name), root, None if every else (platforms or (AMD64,)))
    try:
        asked = next(steps)
        while True:
            found = [store.get_manifest(entry.digest) for entry in asked]
            asked = steps.send([manifest for manifest in found if manifest is not None])
    except StopIteration as stop:
        wanted: Wanted = stop.value
        return wanted


def sink_of(store: DiskStore, text: str) -> Sink:
    return open_sink(parse_sink(text), SinkSetting(store))


async def put_all(sink: Sink, store: DiskStore, *wanted: Wanted) -> None:
    try:
        await sink.check()
        for one in wanted:
            await sink.put(one, Content(store))
        await sink.finish()
    finally:
        await sink.close()


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one) for one in archive}
        return {name: file.read() for name, file in files.items() if file is not None}


def read(path: Path) -> dict[str, object]:
    """Name -> JSON of the three files that describe an archive."""
    found = members(path)
    return {name: json.loads(found[name]) for name in ("oci-layout", "index.json", "manifest.json")}


def assert_blobs_are_right(found: dict[str, bytes]) -> set[str]:
    """Every blob hashes to its name; all digests."""
    digests = set()
    for name, data in found.items():
        if name.startswith("blobs/"):
            _, algorithm, digits = name.split("/")
            assert Digest.of(data, algorithm).hex == digits
            digests.add(f"{algorithm}:{digits}")
    return digests


# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("store", SinkSpec("store")),
        ("oci:some/dir", SinkSpec("oci", Path("some/dir"))),
        ("oci-archive:/tmp/a:b.tar", SinkSpec("oci-archive", Path("/tmp/a:b.tar"))),
        ("docker-archive:x.tar", SinkSpec("docker-archive", Path("x.tar"))),
        ("containerd", SinkSpec("containerd", namespace="k8s.io")),
        ("containerd:moby", SinkSpec("containerd", namespace="moby")),
        ("docker", SinkSpec("docker")),
        ("podman", SinkSpec("podman")),
        (
            "registry:localhost:5000/a/b:1",
            SinkSpec("registry", target=Reference("localhost:5000", "a/b", "1")),
        ),
        ("registry:lan.example/a", SinkSpec("registry", target=Reference("lan.example", "a"))),
    ],
)
def test_a_sink_is_understood(text: str, spec: SinkSpec) -> None:
    assert parse_sink(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tar:x",
        "store:x",
        "docker:x",
        "oci",
        "oci:",
        "oci-archive:",
        "containerd:",
        "containerd:a/b",
        "containerd:" + "a" * 77,
        "registry:",
        "registry:alpine:3",
        "registry:library/alpine",
        "registry:index.docker.io/library/alpine",
        "registry:localhost:5000/a@sha256:" + "0" * 64,
        "registry:https://localhost/a",
    ],
)
def test_what_is_no_sink_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sink(text)
    assert caught.value.hint


def test_an_unknown_sink_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no such sink: 'tar:x'") as caught:
        parse_sink("tar:x")
    assert all(form in (caught.value.hint or "") for form in FORMS.values())


class Looking:
    """A machine with these sockets and programs."""

    def __init__(self, *found: str | Path, cri: bool = True) -> None:
        self._found = set(map(str, found))
        self._cri = cri

    def has_socket(self, path: Path) -> bool:
        return str(path) in self._found

    def has_program(self, name: str) -> bool:
        return name in self._found

    def has_cri(self, socket: Path) -> bool:
        return self._cri


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (Looking(CONTAINERD_SOCKET, "/run/docker.sock", "podman"), "containerd"),
        (Looking(CONTAINERD_SOCKET, "/run/docker.sock", "podman", cri=False), "docker"),
        (Looking("/var/run/docker.sock", "podman"), "docker"),
        (Looking("podman"), "podman"),
        (Looking(CONTAINERD_SOCKET, cri=False), "store"),
        (Looking(), "store"),
    ],
)
def test_the_default_is_the_runtime_of_the_machine(machine: Looking, kind: str) -> None:
    assert detect_sink(machine, FORMS).kind == kind


def test_a_runtime_that_is_not_offered_is_not_the_default() -> None:
    assert detect_sink(Looking(CONTAINERD_SOCKET, "podman"), ("store", "podman")).kind == "podman"


@pytest.mark.parametrize(
    ("machine", "platform"),
    [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("armv7l", "linux/arm/v7"),
        ("armv6l", "linux/arm/v6"),
        ("loongarch64", "linux/loong64"),
        ("riscv64", "linux/riscv64"),
        ("s390x", "linux/s390x"),
    ],
)
def test_the_machines_own_name_is_a_platform(machine: str, platform: str) -> None:
    assert str(platform_of_machine(machine)) == platform


# -- content -----------------------------------------------------------------------------------------


def test_what_is_held_outlives_its_removal(store: DiskStore, tmp_path: Path) -> None:
    digest = Digest.of(b"some bytes")
    store.put(digest, b"some bytes")
    content = Content(store)
    content.hold(digest)
    (tmp_path / "store/blobs/sha256" / digest.hex).unlink()  # as another process's sweep does
    with content.open(digest) as first, content.open(digest) as second:
        assert (first.file.read(4), second.file.read(4)) == (b"some", b"some")
    assert content.read(digest) == b"some bytes"
    content.close()
    with pytest.raises(StoreError, match="vanished"):
        content.open(digest)


def test_damaged_content_is_not_read(store: DiskStore, tmp_path: Path) -> None:
    digest = Digest.of(b"some bytes")
    store.put(digest, b"some bytes")
    (tmp_path / "store/blobs/sha256" / digest.hex).write_bytes(b"other byte")
    with pytest.raises(StoreError, match="damaged"):
        Content(store).read(digest)


# -- archives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
async def test_an_archive_is_a_layout_with_dockers_list_beside_it(
    store: DiskStore, tmp_path: Path, kind: str
) -> None:
    alpine = image("library/alpine", "3", layers=[random_layer(1, 5000), random_layer(2, 70_001)])
    await put_all(sink_of(store, f"{kind}:{tmp_path}/a.tar"), store, wanted_of(store, alpine))
    described = read(tmp_path / "a.tar")
    assert described["oci-layout"] == {"imageLayoutVersion": "1.0.0"}
    assert described["index.json"] == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **alpine.manifest.descriptor(),
                "annotations": {
                    "io.containerd.image.name": ALPINE,
                    "org.opencontainers.image.ref.name": ALPINE,
                },
            }
        ],
    }
    assert alpine.config is not None
    assert described["manifest.json"] == [
        {
            "Config": "blobs/" + alpine.config.digest.replace(":", "/"),
            "RepoTags": [ALPINE],
            "Layers": ["blobs/" + layer.digest.replace(":", "/") for layer in alpine.layers],
        }
    ]
    digests = assert_blobs_are_right(members(tmp_path / "a.tar"))
    assert digests == {alpine.digest, *(blob.digest for blob in alpine.blobs)}


async def test_an_index_of_which_a_part_was_pulled_is_left_out(store: DiskStore, tmp_path: Path) -> None:
    alpine = index("library/alpine", "3")
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted_of(store, alpine))
    found = members(tmp_path / "a.tar")
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["digest"] == alpine.images[0].digest
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert alpine.digest not in assert_blobs_are_right(found)


async def test_an_index_that_is_whole_keeps_its_bytes(store: DiskStore, tmp_path: Path) -> None:
    alpine = index("library/alpine", "3")
    wanted = wanted_of(store, alpine, every=True)
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted)
    found = members(tmp_path / "a.tar")
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["digest"] == alpine.digest
    assert found["blobs/" + alpine.digest.replace(":", "/")] == alpine.raw


async def test_several_platforms_of_more_get_an_index_that_lists_just_these(
    store: DiskStore, tmp_path: Path
) -> None:
    images = [
        image("library/alpine", seed=n, platform=f"linux/{name}")
        for n, name in enumerate(("amd64", "s390x", "arm64"))
    ]
    alpine = index("library/alpine", "3", images)
    wanted = wanted_of(store, alpine, ARM64, AMD64)
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted)
    found = members(tmp_path / "a.tar")
    (entry,) = json.loads(found["index.json"])["manifests"]
    ours = json.loads(found["blobs/" + entry["digest"].replace(":", "/")])
    assert [one["digest"] for one in ours["manifests"]] == [images[2].digest, images[0].digest]
    assert len(json.loads(found["manifest.json"])) == 1  # Docker's list: the first that was asked for
    assert alpine.digest not in assert_blobs_are_right(found)


async def test_images_of_one_archive_share_their_blobs(store: DiskStore, tmp_path: Path) -> None:
    layer = random_layer(1, 9000)
    one, two = (image("library/alpine", seed=n, layers=[layer]) for n in (1, 2))
    wanted = [wanted_of(store, one), wanted_of(store, two, name="ghcr.io/a/b:2")]
    await put_all(sink_of(store, f"docker-archive:{tmp_path}/a.tar"), store, *wanted)
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert [entry["RepoTags"] for entry in json.loads(members(tmp_path / "a.tar")["manifest.json"])] == [
        [ALPINE],
        ["ghcr.io/a/b:2"],
    ]


async def test_the_same_images_give_the_same_archive(store: DiskStore, tmp_path: Path) -> None:
    wanted = wanted_of(store, image("library/alpine", "3"))
    for name in ("a.tar", "b.tar"):
        await put_all(sink_of(store, f"oci-archive:{tmp_path}/{name}"), store, wanted)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


async def test_an_image_by_digest_is_named_by_it(store: DiskStore, tmp_path: Path) -> None:
    alpine = image("library/alpine")
    wanted = wanted_of(store, alpine, name=f"alpine@{alpine.digest}")
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted)
    found = members(tmp_path / "a.tar")
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == f"docker.io/library/alpine@{alpine.digest}"
    assert json.loads(found["manifest.json"])[0]["RepoTags"] == []


async def test_an_artifact_has_no_place_in_dockers_list(store: DiskStore, tmp_path: Path) -> None:
    note = artifact(image("library/alpine", "3"), "application/example")
    wanted = wanted_of(store, note)
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted)
    assert "manifest.json" not in members(tmp_path / "a.tar")
    with pytest.raises(UsageError, match="no image that Docker could load") as caught:
        await put_all(sink_of(store, f"docker-archive:{tmp_path}/b.tar"), store, wanted)
    assert caught.value.hint == f"write oci-archive:{tmp_path}/b.tar"
    assert not (tmp_path / "b.tar").exists()


async def test_an_existing_file_is_refused_before_anything_is_done(store: DiskStore, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("mine")
    with pytest.raises(SinkExists, match="is not overwritten") as caught:
        await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store)
    assert caught.value.exit_code == 2
    assert "remove it first" in (caught.value.hint or "")
    assert (tmp_path / "a.tar").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "store"]


async def test_a_file_that_appears_meanwhile_is_kept(store: DiskStore, tmp_path: Path) -> None:
    sink = sink_of(store, f"oci-archive:{tmp_path}/a.tar")
    await sink.check()
    (tmp_path / "a.tar").write_text("mine")
    with pytest.raises(SinkExists):
        await sink.finish()
    await sink.close()
    assert (tmp_path / "a.tar").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "store"]


async def test_what_was_not_finished_leaves_nothing(store: DiskStore, tmp_path: Path) -> None:
    sink = sink_of(store, f"oci-archive:{tmp_path}/a.tar")
    await sink.check()
    await sink.put(wanted_of(store, image("library/alpine", "3")), Content(store))
    assert not (tmp_path / "a.tar").exists()
    await sink.close()
    assert os.listdir(tmp_path) == ["store"]


async def test_what_a_killed_pull_left_is_written_over(store: DiskStore, tmp_path: Path) -> None:
    (tmp_path / ".a.tar.sampan-part").write_bytes(bytes(1_000_000))
    wanted = wanted_of(store, image("library/alpine", "3"))
    await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store, wanted)
    assert_blobs_are_right(members(tmp_path / "a.tar"))
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "store"]


async def test_two_pulls_into_one_archive_do_not_mix(store: DiskStore, tmp_path: Path) -> None:
    first = sink_of(store, f"oci-archive:{tmp_path}/a.tar")
    await first.check()
    with pytest.raises(SinkExists, match="another pull"):
        await put_all(sink_of(store, f"oci-archive:{tmp_path}/a.tar"), store)
    await first.finish()
    await first.close()
    assert (tmp_path / "a.tar").exists()


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
async def test_a_directory_that_is_not_there_is_told(store: DiskStore, tmp_path: Path, kind: str) -> None:
    with pytest.raises(SinkError, match="No such file") as caught:
        await put_all(sink_of(store, f"{kind}:{tmp_path}/none/a"), store)
    assert caught.value.exit_code == 6
    assert caught.value.hint == "make the directory first"


# -- layouts -----------------------------------------------------------------------------------------


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


async def test_a_layout_is_made_and_added_to(store: DiskStore, tmp_path: Path) -> None:
    one, two = image("library/alpine", "3"), image("a/b", "2", seed=2)
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted_of(store, one))
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted_of(store, two, name="ghcr.io/a/b:2"))
    found = tree(tmp_path / "lay")
    entries = json.loads(found["index.json"])["manifests"]
    assert [entry["digest"] for entry in entries] == [one.digest, two.digest]
    digests = assert_blobs_are_right(found)
    assert digests == {one.digest, two.digest, *(b.digest for b in (*one.blobs, *two.blobs))}
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


async def test_a_name_means_the_last_image_and_the_rest_of_an_index_stays(
    store: DiskStore, tmp_path: Path
) -> None:
    lay = tmp_path / "lay"
    await put_all(sink_of(store, f"oci:{lay}"), store, wanted_of(store, image("library/alpine", "3")))
    document = json.loads((lay / "index.json").read_bytes())
    theirs = {"mediaType": "x/y", "digest": f"sha256:{'0' * 64}", "size": 1, "annotations": {"a": "b"}}
    document["manifests"].append(theirs)
    document["annotations"] = {"kept": "yes"}
    (lay / "index.json").write_text(json.dumps(document))
    newer = image("library/alpine", "3", seed=2)
    await put_all(sink_of(store, f"oci:{lay}"), store, wanted_of(store, newer))
    document = json.loads((lay / "index.json").read_bytes())
    assert [entry["digest"] for entry in document["manifests"]] == [theirs["digest"], newer.digest]
    assert document["annotations"] == {"kept": "yes"}


async def test_a_layout_tells_which_blobs_it_has_and_mends_the_wrong_ones(
    store: DiskStore, tmp_path: Path
) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 5000), random_layer(2, 5000)])
    wanted = wanted_of(store, made)
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted)
    good, bad = wanted.layers
    (tmp_path / "lay/blobs/sha256" / bad.digest.hex).write_bytes(bytes(5000))
    assert await sink_of(store, f"oci:{tmp_path}/lay").present(wanted, Content(store)) == {good.digest}
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted)
    assert_blobs_are_right(tree(tmp_path / "lay"))


async def test_a_layout_with_a_layer_needs_it_from_no_store(store: DiskStore, tmp_path: Path) -> None:
    wanted = wanted_of(store, image("library/alpine", "3"))
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted)
    store.remove(wanted.layers[0].digest)
    await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted)


async def test_a_failed_put_leaves_the_layout_as_it_was(store: DiskStore, tmp_path: Path) -> None:
    await put_all(
        sink_of(store, f"oci:{tmp_path}/lay"), store, wanted_of(store, image("library/alpine", "3"))
    )
    before = (tmp_path / "lay/index.json").read_bytes()
    wanted = wanted_of(store, image("library/alpine", "4", seed=2), name="alpine:4")
    store.remove(wanted.layers[0].digest)
    with pytest.raises(StoreError, match="vanished"):
        await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store, wanted)
    assert (tmp_path / "lay/index.json").read_bytes() == before
    assert not [name for name in tree(tmp_path / "lay") if "sampan-part" in name]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("a file"), "is no directory"),
        (lambda path: (path.mkdir(), (path / "mine").write_text("x")), "not empty and no OCI layout"),
        (
            lambda path: (path.mkdir(), (path / "oci-layout").write_text('{"imageLayoutVersion":"9"}')),
            "a version that is not known",
        ),
    ],
)
async def test_what_is_no_layout_is_not_touched(
    store: DiskStore, tmp_path: Path, make: object, words: str
) -> None:
    assert callable(make)
    make(tmp_path / "lay")
    before = tree(tmp_path / "lay")
    with pytest.raises(SinkExists, match=words):
        await put_all(sink_of(store, f"oci:{tmp_path}/lay"), store)
    assert tree(tmp_path / "lay") == before


@pytest.mark.parametrize("text", ["{", "[]", '{"manifests": 3}'])
async def test_an_index_json_that_is_none_is_not_replaced(
    store: DiskStore, tmp_path: Path, text: str
) -> None:
    sink = sink_of(store, f"oci:{tmp_path}/lay")
    await sink.check()
    (tmp_path / "lay/index.json").write_text(text)
    with pytest.raises(SinkError, match="is no index"):
        await sink.put(wanted_of(store, image("library/alpine", "3")), Content(store))
    assert (tmp_path / "lay/index.json").read_text() == text


# -- disks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
async def test_a_full_disk_is_told_and_nothing_looks_whole(
    store: DiskStore, tmp_path: Path, kind: str
) -> None:
    wanted = wanted_of(store, image("library/alpine", "3", layers=[random_layer(1, 300_000)]))
    with mounted(tmp_path / "small", "size=200k") as small:
        with pytest.raises(SinkError, match="No space left on device") as caught:
            await put_all(sink_of(store, f"{kind}:{small}/a"), store, wanted)
        assert caught.value.exit_code == 6
        assert "make room there" in (caught.value.hint or "")
        left = tree(small)
        assert not [name for name in left if "sampan-part" in name]
        if kind == "oci":
            assert json.loads(left["a/index.json"])["manifests"] == []
        else:
            assert left == {}


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
async def test_a_read_only_disk_is_told_before_anything_is_fetched(
    store: DiskStore, tmp_path: Path, kind: str
) -> None:
    with mounted(tmp_path / "fixed", "ro") as fixed:
        sink = sink_of(store, f"{kind}:{fixed}/a")
        with pytest.raises(SinkError, match="Read-only file system") as caught:
            await sink.check()
        assert caught.value.hint == "that file system is read-only: choose another place"


async def test_an_archive_is_written_across_file_systems(store: DiskStore, tmp_path: Path) -> None:
    wanted = wanted_of(store, image("library/alpine", "3", layers=[random_layer(1, 3_000_000)]))
    with mounted(tmp_path / "other", "size=8m") as other:
        await put_all(sink_of(store, f"oci-archive:{other}/a.tar"), store, wanted)
        assert_blobs_are_right(members(other / "a.tar"))


# -- threads -----------------------------------------------------------------------------------------


async def test_a_cancelled_copy_is_waited_for_and_told_to_stop() -> None:
    began, ended = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work(stop: threading.Event) -> None:
        loop.call_soon_threadsafe(began.set)
        assert stop.wait(10)
        ended.append(True)

    task = asyncio.create_task(in_thread(work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
