"""What is attached to an image, by each way, in each sink that can hold it: all of it is there, and found."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig import ALPINE, HUB, Rig, assert_store_is_sound, mirror_of
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.build import build_destination
from sampan.errors import SinkUnavailable
from sampan.oci import Digest, Platform, Reference
from sampan.pull.service import Report, pull
from sampan.pull.sink import parse_sink
from sampan.pull.sinks import SinkSetting, open_sink
from sampan.testing import FakeRegistry, Image, Match, artifact, faults, image, index
from uploads import UploadRegistry

KIND = "application/vnd.example.signature"
NO_LIST = Match(kind="referrers")
SINKS = ["store", "oci", "oci-archive", "registry"]


@dataclass(frozen=True)
class Attached:
    """``names``: the tags or digests of what is attached, in the repository; ``things``: all of it."""

    names: tuple[str, ...]
    things: tuple[Image, ...]


def stem(subject: Image) -> str:
    return subject.digest.replace(":", "-")


def by_tag(suffix: str) -> Callable[[FakeRegistry, Image], Attached]:
    """As cosign attaches it."""

    def attach(origin: FakeRegistry, alpine: Image) -> Attached:
        tag = f"{stem(alpine)}.{suffix}"
        made = origin.add(image(ALPINE, tag, seed=7))
        origin.script(faults.status(404), on=NO_LIST)
        return Attached((tag,), (made,))

    return attach


def by_list(origin: FakeRegistry, alpine: Image) -> Attached:
    """In a registry of OCI 1.1."""
    made = origin.add(artifact(alpine, KIND))
    return Attached((made.digest,), (made,))


def by_standing_in(origin: FakeRegistry, alpine: Image) -> Attached:
    """In a registry that keeps no list."""
    made = artifact(alpine, KIND)
    listed = origin.add(index(ALPINE, stem(alpine), [made]))
    origin.script(faults.status(404), on=NO_LIST)
    return Attached((stem(alpine), made.digest), (listed, made))


WAYS = [by_tag("sig"), by_tag("att"), by_tag("sbom"), by_list, by_standing_in]
NAMES = [".sig", ".att", ".sbom", "referrers", "tag"]


@asynccontextmanager
async def rigged(path: Path, *origins: FakeRegistry) -> AsyncIterator[Rig]:
    async with mirror_of(path / "store", list(origins)) as rig:
        yield rig


async def pulled(rig: Rig, place: str, *references: str) -> list[Report]:
    config = Config.parse("", environ={})
    setting = SinkSetting(rig.store, destination=lambda name: build_destination(config, name, SystemClock()))
    return await pull(
        rig.mirror,
        [Reference.parse(reference) for reference in references or ("alpine:3",)],
        sink=open_sink(parse_sink(place), setting),
        platforms=[Platform("linux", "amd64")],
        listener=lambda _: None,
        with_referrers=True,
    )


@pytest.fixture
async def origin() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("origin") as registry:
        yield registry


@pytest.fixture
async def target() -> AsyncIterator[UploadRegistry]:
    async with UploadRegistry("target", host="127.0.0.2") as registry:
        yield registry


def all_of(attached: Attached) -> set[str]:
    return {content.digest for thing in attached.things for content in (*thing.manifests, *thing.blobs)}


def in_layout(layout: Path) -> tuple[set[str], set[str]]:
    """(names and digests of index.json, the digests of its blobs)."""
    assert_store_is_sound(layout)
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries}
    held = {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir() if path.is_file()}
    return {name.removeprefix(f"{HUB}/{ALPINE}")[1:] for name in names}, held


@pytest.mark.parametrize("attach", WAYS, ids=NAMES)
@pytest.mark.parametrize("sink", SINKS)
async def test_all_that_is_attached_is_in_the_sink_by_its_name(
    tmp_path: Path,
    origin: FakeRegistry,
    target: UploadRegistry,
    sink: str,
    attach: Callable[[FakeRegistry, Image], Attached],
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    attached = attach(origin, alpine)
    places = {
        "store": "store",
        "oci": f"oci:{tmp_path}/lay",
        "oci-archive": f"oci-archive:{tmp_path}/a.tar",
        "registry": f"registry:{target.netloc}/{ALPINE}",
    }
    async with rigged(tmp_path, origin) as rig:
        (report,) = await pulled(rig, places[sink])
        assert report.error is None
    if sink == "registry":
        place = target.place(ALPINE)
        names, held = {*place.tags, *place.manifests}, {*place.manifests, *place.blobs}
    elif sink == "store":
        names, held = await named_without_hosts(tmp_path, attached), in_layout(tmp_path / "store")[1]
    else:
        if sink == "oci-archive":
            with tarfile.open(tmp_path / "a.tar") as archive:
                archive.extractall(tmp_path / "lay", filter="data")
        names, held = in_layout(tmp_path / "lay")
    assert set(attached.names) <= names
    assert all_of(attached) <= held


async def named_without_hosts(path: Path, attached: Attached) -> set[str]:
    """Those of the names that a mirror on that store answers when nobody else can be asked."""
    answered = set()
    async with FakeRegistry("dead") as dead, rigged(path, dead) as rig:
        dead.script(faults.hang_up())
        for name in attached.names:
            wanted = Digest.parse(name) if ":" in name else name
            answer = await rig.mirror.manifest(HUB, ALPINE, wanted)
            assert str(answer.manifest.digest) in {thing.digest for thing in attached.things}
            answered.add(name)
    return answered


# -- a registry that keeps no list ------------------------------------------------------------------


def listed(target: UploadRegistry, subject: Image) -> list[str]:
    """What stands under the tag that stands in for the list."""
    place = target.place(ALPINE)
    document = json.loads(place.manifests[place.tags[stem(subject)]].read())
    assert document["mediaType"] == "application/vnd.oci.image.index.v1+json"
    return [entry["digest"] for entry in document["manifests"]]


async def test_a_registry_that_keeps_no_list_gets_one_under_the_tag_that_stands_in_for_it(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    one, two = (origin.add(artifact(alpine, KIND, payload=payload)) for payload in (b"one", b"two"))
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
    assert set(listed(target, alpine)) == {one.digest, two.digest}
    place = target.place(ALPINE)
    (entry, _) = json.loads(place.manifests[place.tags[stem(alpine)]].read())["manifests"]
    assert (entry["artifactType"], entry["size"]) == (KIND, len(one.raw))


async def test_a_registry_that_keeps_a_list_gets_no_such_tag(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    target.lists_subjects = True
    alpine = origin.add(image(ALPINE, "3"))
    made = origin.add(artifact(alpine, KIND))
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
    place = target.place(ALPINE)
    assert made.digest in place.manifests
    assert set(place.tags) == {"3"}


@pytest.mark.parametrize("attach", [by_list, by_standing_in], ids=["referrers", "tag"])
async def test_what_others_have_attached_there_stays(
    tmp_path: Path,
    origin: FakeRegistry,
    target: UploadRegistry,
    attach: Callable[[FakeRegistry, Image], Attached],
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    attached = attach(origin, alpine)
    theirs = artifact(alpine, KIND, payload=b"theirs")
    target.add(index(ALPINE, stem(alpine), [theirs]))
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
        assert listed(target, alpine) == [theirs.digest, attached.things[-1].digest]
        before = target.place(ALPINE).tags[stem(alpine)]
        await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
    assert target.place(ALPINE).tags[stem(alpine)] == before


async def test_a_list_that_was_pulled_keeps_its_bytes_where_there_is_none_yet(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    attached = by_standing_in(origin, alpine)
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
    assert target.place(ALPINE).tags[stem(alpine)] == attached.things[0].digest


async def test_something_else_under_that_tag_is_not_replaced(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    origin.add(artifact(alpine, KIND))
    other = target.add(image(ALPINE, stem(alpine), seed=9))
    async with rigged(tmp_path, origin) as rig:
        (report,) = await pulled(rig, f"registry:{target.netloc}/{ALPINE}")
    assert isinstance(report.error, SinkUnavailable)
    assert "something else than a list" in report.error.message
    assert target.place(ALPINE).tags[stem(alpine)] == other.digest
