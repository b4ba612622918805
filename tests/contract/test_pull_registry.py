"""The sink ``registry:…``: what arrives there, in which order, and what is neither fetched nor sent."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rig import ALPINE, HUB, Rig, mirror_of
from sampan.clock import SystemClock
from sampan.config import Config
from sampan.config.build import build_destination, destination_host
from sampan.errors import SinkExists, SinkUnavailable
from sampan.oci import Platform, Reference
from sampan.pull.service import Report, pull
from sampan.pull.sink import parse_sink
from sampan.pull.sinks import SinkSetting, open_sink
from sampan.testing import BasicAuth, FakeRegistry, artifact, faults, image, index, random_layer
from sampan.upstream.host import Host
from uploads import UploadRegistry

THREE = Reference.parse("alpine:3")
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@asynccontextmanager
async def rigged(path: Path, origin: FakeRegistry, name: str = HUB) -> AsyncIterator[Rig]:
    async with mirror_of(path / "store", {name: [Host.from_url(origin.url)]}) as rig:
        yield rig


async def pulled(
    rig: Rig,
    target: UploadRegistry,
    *references: Reference,
    to: str = "team/alpine",
    platforms: tuple[Platform, ...] | None = (AMD64,),
    config: Config | None = None,
) -> list[Report]:
    config = config or Config.parse("", environ={})
    setting = SinkSetting(
        rig.store, destination=lambda registry: build_destination(config, registry, SystemClock())
    )
    sink = open_sink(parse_sink(f"registry:{target.netloc}/{to}"), setting)
    return await pull(
        rig.mirror, references or (THREE,), sink=sink, platforms=platforms, listener=lambda _: None
    )


@pytest.fixture
async def origin() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("origin") as registry:
        yield registry


@pytest.fixture
async def target() -> AsyncIterator[UploadRegistry]:
    async with UploadRegistry("target", host="127.0.0.2") as registry:
        yield registry


async def test_an_index_with_all_of_it_arrives_as_it_is(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(index(ALPINE, "3"))
    async with rigged(tmp_path, origin) as rig:
        (report,) = await pulled(rig, target, platforms=None)
    assert report.error is None
    place = target.place("team/alpine")
    assert place.tags == {"3": alpine.digest}
    assert {d: c.read() for d, c in place.manifests.items()} == {c.digest: c.read() for c in alpine.manifests}
    assert {d: c.read() for d, c in place.blobs.items()} == {c.digest: c.read() for c in alpine.blobs}
    assert place.manifests[alpine.digest].media_type == alpine.manifest.media_type
    puts = [r.path.rpartition("/")[2] for r in target.requests if "/manifests/" in r.path]
    assert puts[-1] == "3"
    assert set(puts[:-1]) == {child.digest for child in alpine.images}


async def test_one_platform_of_an_index_is_its_manifest_under_the_tag(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(index(ALPINE, "3"))
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, target, platforms=(ARM64,), to="team/alpine:edge")
    place = target.place("team/alpine")
    assert place.tags == {"edge": alpine.images[1].digest}
    assert set(place.manifests) == {alpine.images[1].digest}


async def test_layers_that_are_there_are_neither_fetched_nor_sent(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    base, top = random_layer(1, 8192), random_layer(2, 4096)
    first = image(ALPINE, "3", layers=[base])
    second = origin.add(image(ALPINE, "4", layers=[base, top], seed=2))
    target.add(first, repository="team/alpine")
    async with rigged(tmp_path, origin) as rig:
        (report,) = await pulled(rig, target, Reference.parse("alpine:4"))
    assert report.error is None
    assert origin.count(digest=second.layers[0].digest) == 0
    assert target.count(method="POST") == 3  # the check, the config and the new layer
    assert target.place("team/alpine").tags["4"] == second.digest


@pytest.mark.parametrize("mounts", [True, False])
async def test_a_layer_of_another_repository_there_is_taken_over_where_the_registry_does_it(
    tmp_path: Path, target: UploadRegistry, mounts: bool
) -> None:
    target.mounts = mounts
    alpine = target.add(image(ALPINE, "3", layers=[random_layer(1, 8192), random_layer(2, 4096)]))
    async with rigged(tmp_path, target, target.netloc) as rig:
        (report,) = await pulled(rig, target, Reference.parse(f"{target.netloc}/{ALPINE}:3"))
    assert report.error is None
    assert target.place("team/alpine").tags == {"3": alpine.digest}
    assert set(target.place("team/alpine").blobs) == {blob.digest for blob in alpine.blobs}
    for layer in alpine.layers:
        assert target.count(kind="blob", method="GET", digest=layer.digest) == (0 if mounts else 1)
    assert target.uploads == {}


async def test_nothing_is_taken_over_from_another_registry(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    target.add(alpine)
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, target)
    assert not [request for request in target.requests if "mount" in request.query]
    assert origin.count(kind="blob", digest=alpine.layers[0].digest) == 1


async def test_two_images_are_not_pushed_over_each_other(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    origin.add(image(ALPINE, "4", seed=2))
    async with rigged(tmp_path, origin) as rig:
        one, two = await pulled(rig, target, THREE, Reference.parse("alpine:4"), to="team/alpine:x")
    assert one.error is None
    assert isinstance(two.error, SinkExists)
    assert target.place("team/alpine").tags == {"x": alpine.digest}


async def test_several_references_keep_their_tags(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    made = [origin.add(image(ALPINE, tag, seed=seed)) for seed, tag in enumerate("34")]
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, target, THREE, Reference.parse("alpine:4"))
    assert target.place("team/alpine").tags == {"3": made[0].digest, "4": made[1].digest}


async def test_a_reference_by_digest_has_no_tag_there(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    alpine = origin.add(image(ALPINE, "3"))
    async with rigged(tmp_path, origin) as rig:
        await pulled(rig, target, Reference.parse(f"alpine@{alpine.digest}"))
    assert target.place("team/alpine").tags == {}
    assert set(target.place("team/alpine").manifests) == {alpine.digest}


async def test_a_registry_that_refuses_is_told_before_anything_is_fetched(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    origin.add(image(ALPINE, "3"))
    target.script(faults.status(403))
    async with rigged(tmp_path, origin) as rig:
        with pytest.raises(SinkUnavailable) as caught:
            await pulled(rig, target)
    assert caught.value.exit_code == 7
    assert f"cannot push to {target.netloc}/team/alpine" in caught.value.message
    assert "docker login" in (caught.value.hint or "")
    assert not origin.requests


async def test_the_login_of_docker_is_used(tmp_path: Path, origin: FakeRegistry) -> None:
    origin.add(image(ALPINE, "3"))
    async with UploadRegistry("target", host="127.0.0.2", auth=BasicAuth({"robot": "secret"})) as target:
        auth = base64.b64encode(b"robot:secret").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {target.netloc: {"auth": auth}}}))
        config = Config.parse("", environ={"DOCKER_CONFIG": str(tmp_path)})
        async with rigged(tmp_path, origin) as rig:
            (report,) = await pulled(rig, target, config=config)
        assert report.error is None
        assert "3" in target.place("team/alpine").tags


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("harbor.example", "https://harbor.example"),
        ("harbor.example:8443", "https://harbor.example:8443"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("plain.example:5000", "http://plain.example:5000"),
    ],
)
def test_a_registry_to_push_to_is_dialled_securely_unless_it_is_here_or_said_otherwise(
    registry: str, url: str
) -> None:
    keys = 'url = "http://plain.example:5000/hub", allow = ["a/*"], private = true'
    text = f'[registry."docker.io"]\nmirrors = [{{ {keys} }}]\n'
    host = destination_host(Config.parse(text, environ={}), registry)
    assert (host.url, host.prefix, host.private) == (url, "", True)
    assert host.repository_for("b/c") == "b/c"


async def test_what_a_host_is_configured_with_is_used_there_too(tmp_path: Path) -> None:
    text = f"""
    [registry."{HUB}"]
    mirrors = [{{ url = "https://harbor.example/hub", username = "robot", password = "x", ca = "ca.pem" }}]
    """
    (tmp_path / "ca.pem").write_text("")
    config = Config.parse(text, name=str(tmp_path / "sampan.toml"), environ={})
    host = destination_host(config, "harbor.example")
    assert (host.username, host.ca, host.prefix) == ("robot", str(tmp_path / "ca.pem"), "")
    assert destination_host(config, "other.example").username is None


async def test_what_is_attached_keeps_its_own_name_beside_the_tag_that_was_asked_for(
    tmp_path: Path, origin: FakeRegistry, target: UploadRegistry
) -> None:
    target.lists_subjects = True
    alpine = origin.add(image(ALPINE, "3"))
    tag = f"{alpine.digest.replace(':', '-')}.sig"
    tagged = origin.add(artifact(alpine, "application/vnd.example.signature", tag=tag))
    listed = origin.add(artifact(alpine, "application/vnd.example.bill", payload=b"bill"))
    references = [Reference.parse(f"alpine:{tag}"), Reference.parse(f"alpine@{listed.digest}")]
    async with rigged(tmp_path, origin) as rig:
        reports = await pulled(rig, target, THREE, *references, to="team/alpine:x")
    assert [report.error for report in reports] == [None, None, None]
    place = target.place("team/alpine")
    assert place.tags == {"x": alpine.digest, tag: tagged.digest}
    assert listed.digest in place.manifests
