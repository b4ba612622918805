"""``sampan lock`` against hosts that agree, disagree, lie and are silent; and a mirror under a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig import ALPINE, HUB, mirror_of
from sampan.cli import main
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.config.lockfile import read_lock
from sampan.errors import NotLocked
from sampan.lock.document import PlatformManifest
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Match, artifact, faults, image, index, older
from sampan.testing.thread import ServerThread

Captured = pytest.CaptureFixture[str]
REFERENCE = "docker.io/library/alpine:3"


@dataclass
class Place:
    """Three mirrors of docker.io, each of its own operator, and a directory with a configuration."""

    directory: Path
    one: FakeRegistry
    two: FakeRegistry
    three: FakeRegistry

    @property
    def all(self) -> tuple[FakeRegistry, ...]:
        return self.one, self.two, self.three

    def configure(self, *, agree: int = 1, more: str = "") -> None:
        mirrors = ", ".join(f'{{ url = "{m.url}", group = "{m.name}" }}' for m in self.all)
        registry = f'[registry."docker.io"]\nmirrors = [{mirrors}]\norigin = "never"\n'
        (self.directory / "sampan.toml").write_text(f"{registry}[tags]\nagree = {agree}\n{more}")

    def lock(self, *words: str) -> int:
        return main(["lock", *words])

    @property
    def file(self) -> Path:
        return self.directory / "sampan.lock"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    mirrors = [FakeRegistry(name, host=f"127.0.0.{n}") for n, name in enumerate(("one", "two", "three"), 1)]
    with ServerThread(*mirrors):
        found = Place(tmp_path, *mirrors)
        found.configure()
        yield found


def test_an_image_is_written_down_with_its_platforms_and_who_said_so(place: Place, capsys: Captured) -> None:
    alpine = index(ALPINE, "3")
    for mirror in place.all:
        mirror.add(alpine)
    assert place.lock("create", "alpine:3") == 0
    assert capsys.readouterr().out == f"{REFERENCE} {alpine.digest}\n"
    (locked,) = read_lock(place.file).images
    assert (str(locked.reference), str(locked.digest), locked.size) == (
        REFERENCE,
        alpine.digest,
        len(alpine.raw),
    )
    assert locked.groups == ("one", "three", "two")
    assert {name: (str(one.digest), one.size) for name, one in locked.platforms.items()} == {
        "linux/amd64": (alpine.images[0].digest, len(alpine.images[0].raw)),
        "linux/arm64/v8": (alpine.images[1].digest, len(alpine.images[1].raw)),
    }


def test_a_host_is_asked_by_head_and_only_one_for_the_manifest(place: Place) -> None:
    for mirror in place.all:
        mirror.add(index(ALPINE, "3"))
    assert place.lock("create", "alpine:3") == 0
    assert [m.count(kind="manifest", method="HEAD") for m in place.all] == [1, 1, 1]
    assert sum(m.count(kind="manifest", method="GET") for m in place.all) == 1


def test_a_second_run_changes_no_byte(place: Place, capsys: Captured) -> None:
    for mirror in place.all:
        mirror.add(index(ALPINE, "3"))
    place.lock("create", "alpine:3")
    before = place.file.read_bytes(), place.file.stat().st_mtime_ns
    place.one.script(faults.status(503))
    assert place.lock("create", "alpine:3", "alpine:3") == 0
    assert (place.file.read_bytes(), place.file.stat().st_mtime_ns) == before
    assert capsys.readouterr().err.endswith("sampan.lock: 1 image, unchanged\n")


def test_without_a_reference_all_is_renewed_and_with_one_the_rest_stays(place: Place) -> None:
    alpine, nginx = image(ALPINE, "3"), image("library/nginx", "1", seed=2)
    for mirror in place.all:
        mirror.add(alpine)
        mirror.add(nginx)
    place.lock("create", "alpine:3")
    place.lock("create", "nginx:1")
    for mirror in place.all:
        mirror.add(older(alpine))
        mirror.add(older(nginx))
    assert place.lock("create") == 0
    assert [str(i.digest) for i in read_lock(place.file).images] == [
        older(alpine).digest,
        older(nginx).digest,
    ]


def test_a_single_image_has_its_platform_from_its_config(place: Place) -> None:
    alpine = image(ALPINE, "3", platform="linux/arm64/v8")
    place.two.add(alpine)
    assert place.lock("create", "alpine:3") == 0
    (locked,) = read_lock(place.file).images
    itself = PlatformManifest(locked.digest, len(alpine.raw))
    assert dict(locked.platforms) == {"linux/arm64/v8": itself}


def test_platforms_are_chosen_and_a_missing_one_is_told_with_those_there_are(
    place: Place, capsys: Captured
) -> None:
    place.one.add(index(ALPINE, "3"))
    assert place.lock("create", "--platform", "linux/arm64", "alpine:3") == 0
    assert list(read_lock(place.file).images[0].platforms) == ["linux/arm64/v8"]
    before = place.file.read_bytes()
    assert place.lock("create", "--platform", "linux/s390x", "alpine:3") == 3
    assert "hint: there is: linux/amd64, linux/arm64/v8" in capsys.readouterr().err
    assert place.file.read_bytes() == before


def test_a_split_is_told_with_who_is_stale(place: Place, capsys: Captured) -> None:
    new = image(ALPINE, "3", annotations={"org.opencontainers.image.created": "2025-01-01T00:00:00Z"})
    old = image(ALPINE, "3")  # built in 2024, says its config
    for mirror, held in zip(place.all, (old, new, new), strict=True):
        mirror.add(held)
    assert place.lock("create", "alpine:3") == 0
    said = capsys.readouterr()
    assert said.out == f"{REFERENCE} {new.digest}\n"
    assert f"  agreed  {new.digest}  {place.two.netloc}, {place.three.netloc}\n" in said.err
    assert f"  stale   {old.digest}  {place.one.netloc}\n" in said.err


def test_what_the_lock_held_before_is_stale_however_it_was_built(place: Place, capsys: Captured) -> None:
    first = image(ALPINE, "3")
    for mirror in place.all:
        mirror.add(first)
    place.lock("create", "alpine:3")
    for mirror in place.all[1:]:
        mirror.add(older(first))  # built at the same moment: nothing else tells
    assert place.lock("create", "alpine:3", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out.partition("\n")[2])["images"]
    assert [(row["word"], row["groups"]) for row in told["said"]] == [
        ("stale", ["one"]),
        ("agreed", ["three", "two"]),
    ]
    assert told["status"] == "changed"


def test_without_enough_agreement_nothing_is_written_for_that_reference_alone(
    place: Place, capsys: Captured
) -> None:
    place.configure(agree=2)
    for mirror in place.all[:2]:
        mirror.add(image(ALPINE, "3"))
    place.one.add(image("library/nginx", "1"))
    assert place.lock("create", "nginx:1", "alpine:3") == 5
    assert [str(i.reference) for i in read_lock(place.file).images] == [REFERENCE]
    assert "docker.io/library/nginx:1: not written" in capsys.readouterr().err


def test_a_first_lock_without_agreement_leaves_no_file(place: Place) -> None:
    place.configure(agree=2)
    place.one.add(image(ALPINE, "3"))
    place.two.add(older(image(ALPINE, "3")))
    assert place.lock("create", "alpine:3") == 5
    assert not place.file.exists()


def test_a_signatures_tag_is_left_out_of_agreement(place: Place) -> None:
    place.configure(agree=3)
    alpine = image(ALPINE, "3")
    tag = f"{alpine.digest.replace(':', '-')}.sig"
    place.one.add(artifact(alpine, "application/vnd.example.signature", tag=tag))
    assert place.lock("create", f"alpine:{tag}") == 0


def test_a_host_that_names_what_nobody_has_cannot_make_it_the_lock(place: Place) -> None:
    for mirror in place.all:
        mirror.add(image(ALPINE, "3"))
        mirror.script(faults.lying_digest(), on=Match(kind="manifest"))
    assert place.lock("create", "alpine:3") == 3
    assert not place.file.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", f"alpine@{Digest.of(b'')}"], 2, "names a digest: there is nothing to lock"),
        (["create", "alpine:9"], 3, "docker.io/library/alpine:9: not written"),
        (["create", "quay.io/a/b:1"], 3, "quay.io is not configured here"),
        (["create"], 2, "cannot read the lock sampan.lock"),
        (["verify"], 2, "cannot read the lock sampan.lock"),
        (["create", "Alpine:3"], 2, "must be lowercase"),
        (["crate"], 2, "lock --help shows how it is used"),
    ],
)
def test_what_cannot_be_locked_is_told(
    place: Place, capsys: Captured, words: list[str], code: int, said: str
) -> None:
    assert place.lock(*words) == code
    assert said in capsys.readouterr().err
    assert not place.file.exists()


def test_everything_that_holds_is_verified_in_silence(place: Place, capsys: Captured) -> None:
    for mirror in place.all:
        mirror.add(image(ALPINE, "3"))
    place.lock("create", "alpine:3")
    capsys.readouterr()
    assert place.lock("verify") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "sampan.lock: 1 of 1 image holds\n")


def test_a_tag_that_moved_is_drift(place: Place, capsys: Captured) -> None:
    first = image(ALPINE, "3")
    for mirror in place.all:
        mirror.add(first)
    place.lock("create", "alpine:3")
    for mirror in place.all:
        mirror.add(older(first))
    capsys.readouterr()
    before = place.file.read_bytes()
    assert place.lock("verify", "sampan.lock") == 4
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["REFERENCE", "LOCKED", "NOW", "SAID", "BY"]
    assert row.split()[:3] == [REFERENCE, first.digest[:19], older(first).digest[:19]]
    assert place.file.read_bytes() == before


def test_a_tag_that_is_gone_is_drift(place: Place, capsys: Captured) -> None:
    for mirror in place.all:
        mirror.add(image(ALPINE, "3"))
    place.lock("create", "alpine:3")
    for mirror in place.all:
        mirror.untag(ALPINE, "3")
    assert place.lock("verify") == 4
    assert "no such tag" in capsys.readouterr().out


def test_nobody_who_answers_confirms_nothing(place: Place, capsys: Captured) -> None:
    for mirror in place.all:
        mirror.add(image(ALPINE, "3"))
    place.lock("create", "alpine:3")
    for mirror in place.all:
        mirror.script(faults.status(503))
    assert place.lock("verify") == 5
    assert f"{REFERENCE}: not confirmed" in capsys.readouterr().err


def test_one_stale_host_is_told_and_is_no_drift(place: Place, capsys: Captured) -> None:
    first = image(ALPINE, "3")
    for mirror in place.all:
        mirror.add(first)
    place.lock("create", "alpine:3")
    place.three.add(older(first))
    assert place.lock("verify") == 0
    assert "hosts disagree" in capsys.readouterr().err


def test_the_lock_of_the_configuration_is_the_one_that_is_written_and_verified(place: Place) -> None:
    place.configure(more='lock = "images.lock"\n')
    place.one.add(image(ALPINE, "3"))
    assert place.lock("create", "alpine:3") == 0
    assert (place.directory / "images.lock").exists()
    assert place.lock("verify") == 0


def test_a_pull_under_a_lock_takes_what_stands_in_it_and_refuses_the_rest(
    place: Place, capsys: Captured
) -> None:
    first = image(ALPINE, "3")
    place.one.add(first)
    place.one.add(image("library/nginx", "1"))
    place.lock("create", "alpine:3")
    place.one.add(older(first))
    capsys.readouterr()
    pull = ["pull", "--lock", "sampan.lock", "--store", "store", "--to", "store", "--platform", "all", "-q"]
    assert main([*pull, "alpine:3"]) == 0
    assert first.digest in capsys.readouterr().out
    assert main([*pull, "nginx:1"]) == 3
    assert "docker.io/library/nginx:1 is not in the lock" in capsys.readouterr().err
    assert place.one.count(kind="manifest", tag="1") == 0


# -- a mirror under a lock -------------------------------------------------------------------------


async def test_a_locked_tag_is_fetched_by_digest_and_nobody_is_asked_what_it_means(tmp_path: Path) -> None:
    locked, moved = index(ALPINE, "3"), image(ALPINE, "3", seed=9)
    async with FakeRegistry("good") as good:
        good.add(locked)
        good.add(moved)
        policy = TagPolicy(locked={(HUB, ALPINE, "3"): Digest.parse(locked.digest)}, agree=5)
        async with mirror_of(tmp_path, [good], policy=policy) as rig:
            for source in (good.netloc, "store"):
                answer = await rig.mirror.manifest(HUB, ALPINE, "3")
                assert (str(answer.manifest.digest), answer.source) == (locked.digest, source)
                assert not answer.stale
        assert [request.digest for request in good.requests] == [locked.digest]


async def test_a_tag_that_the_lock_lacks_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    async with FakeRegistry("good") as good:
        alpine = good.add(image(ALPINE, "3"))
        async with mirror_of(tmp_path, [good], policy=TagPolicy(locked={})) as rig:
            with pytest.raises(NotLocked) as caught:
                await rig.mirror.manifest(HUB, ALPINE, "3")
            assert (caught.value.http_status, caught.value.oci_code, caught.value.exit_code) == (
                403,
                "DENIED",
                3,
            )
            assert REFERENCE in caught.value.message
            assert not good.requests
            assert (await rig.mirror.manifest(HUB, ALPINE, Digest.parse(alpine.digest))).source == good.netloc


async def test_what_is_attached_to_a_digest_is_resolved_under_a_lock_as_ever(tmp_path: Path) -> None:
    async with FakeRegistry("good") as good:
        alpine = good.add(image(ALPINE, "3"))
        tag = f"{alpine.digest.replace(':', '-')}.sig"
        signature = good.add(artifact(alpine, "application/vnd.example.signature", tag=tag))
        async with mirror_of(tmp_path, [good], policy=TagPolicy(locked={})) as rig:
            answer = await rig.mirror.manifest(HUB, ALPINE, tag)
            assert str(answer.manifest.digest) == signature.digest


async def test_a_configuration_with_a_lock_makes_a_mirror_under_it(place: Place) -> None:
    place.configure(more='lock = "sampan.lock"\n')
    place.file.write_text("version = 1\n")
    config = Config.load(environ={}, store=place.directory / "store")
    lasting = Lasting.of(config)
    mirror = build(config, lasting=lasting)
    try:
        with pytest.raises(NotLocked):
            await mirror.manifest(HUB, ALPINE, "3")
    finally:
        await mirror.close()
        lasting.close()
