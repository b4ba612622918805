"""``sampan bundle`` as a process: what it prints where, its exit codes, and what each option does."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundling import BundleMachine
from pulling import AMD64, ENDS_SECONDS, until
from sampan.bundle.inventory import inventory_of, render_inventory
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Match, ServerThread, artifact, faults, image, index, random_layer

MIB = 1024 * 1024
BASE = random_layer(1, 300_000)
ALPINE = image("library/alpine", "3", layers=[BASE, random_layer(2, 100_000)])
BUSYBOX = image("library/busybox", "1", layers=[BASE])
LARGE = image("library/large", "1", layers=[random_layer(6, 5 * MIB)])
Host = tuple[FakeRegistry, ServerThread]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = FakeRegistry("host")
    for one in (ALPINE, BUSYBOX, LARGE, index("library/multi", "1")):
        host.add(one)
    host.add(artifact(ALPINE, "application/vnd.example.signature"))
    with ServerThread(host) as thread:
        yield host, thread


@pytest.fixture
def machine(tmp_path: Path, host: Host) -> BundleMachine:
    host[1].call(host[0].behave)
    return BundleMachine(tmp_path, host[0].url)


Done = subprocess.CompletedProcess[str]


def inspected(machine: BundleMachine, file: str = "images.tar") -> dict[str, Any]:
    done = machine.bundle("inspect", "--json", file)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def references(machine: BundleMachine, file: str = "images.tar") -> list[str]:
    return [one["reference"] for one in inspected(machine, file)["contents"]["images"]]


def created(machine: BundleMachine, *words: str, given: str = "") -> Done:
    done = machine.bundle("create", "-o", "images.tar", *AMD64, *words, given=given)
    assert done.returncode == 0, done.stderr
    return done


def refused(done: Done, code: int, said: str) -> None:
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


# -- create and inspect ------------------------------------------------------------------------------


def test_data_goes_to_standard_output_and_talk_to_standard_error(machine: BundleMachine) -> None:
    done = created(machine, "alpine:3", "busybox:1")
    assert done.stdout.splitlines() == [
        f"docker.io/library/{one.repository[8:]}:{one.tag}@{one.digest}" for one in (ALPINE, BUSYBOX)
    ]
    assert "packing into images.tar" in done.stderr
    assert "images.tar: 2 images, 6 blobs and manifests, 4" in done.stderr


def test_quiet_is_the_digests_alone(machine: BundleMachine) -> None:
    done = created(machine, "--quiet", "alpine:3")
    assert (done.stdout, done.stderr) == (f"{ALPINE.digest}\n", "")


def test_events_are_json_and_end_with_the_files(machine: BundleMachine) -> None:
    done = created(machine, "--json", "alpine:3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "started"
    last = events[-1]
    assert last["event"] == "bundle-done"
    assert last["files"] == ["images.tar"]
    assert last["bundle"] == inspected(machine)["bundle"]
    assert done.stderr == ""


def test_inspect_reads_the_beginning_alone(machine: BundleMachine) -> None:
    created(machine, "alpine:3")
    whole = machine.bundle("inspect", "images.tar").stdout
    path = machine.directory / "images.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    assert machine.bundle("inspect", "images.tar").stdout == whole
    assert f"docker.io/library/alpine:3  {ALPINE.digest}  39" in whole
    assert "not signed" in whole


@pytest.mark.parametrize("language", ["en", "zh"])
def test_people_are_told_in_their_language(machine: BundleMachine, language: str) -> None:
    created(machine, "alpine:3")
    told = BundleMachine(machine.directory, machine.mirror, variables={"SAMPAN_LANG": language})
    said = told.bundle("inspect", "images.tar").stdout
    assert ("not signed" in said) == (language == "en")
    assert ("没有签名" in said) == (language == "zh")


def test_a_directory_is_named_with_a_slash(machine: BundleMachine) -> None:
    done = machine.bundle("create", "-o", "layout/", *AMD64, "alpine:3")
    assert done.returncode == 0, done.stderr
    assert references(machine, "layout") == ["docker.io/library/alpine:3"]


def test_an_existing_file_is_not_overwritten(machine: BundleMachine) -> None:
    (machine.directory / "images.tar").write_text("mine")
    refused(machine.bundle("create", "-o", "images.tar", "alpine:3"), 2, "images.tar exists")
    assert (machine.directory / "images.tar").read_text() == "mine"


def test_an_image_that_nobody_has_ends_it_with_its_code(machine: BundleMachine) -> None:
    done = machine.bundle("create", "-o", "images.tar", *AMD64, "alpine:3", "absent:1")
    refused(done, 3, "docker.io/library/absent:1 could not be packed")
    assert "1 of 2 could not be packed: images.tar was not made" in done.stderr
    assert sorted(path.name for path in machine.directory.iterdir()) == ["sampan.toml", "store"]


def test_what_came_is_kept_and_the_same_command_goes_on(machine: BundleMachine, host: Host) -> None:
    registry, thread = host
    layer = LARGE.layers[0].digest
    thread.call(lambda: registry.script(faults.status(404), on=Match(kind="blob", digest=layer)))
    done = machine.bundle("create", "-o", "images.tar", *AMD64, "alpine:3", "large:1")
    assert done.returncode == 3
    assert "what has come is kept in images.tar.partial, and the same command goes on" in done.stderr
    thread.call(registry.behave)
    again = created(machine, "alpine:3", "large:1")
    assert "by images.tar.partial" in again.stderr
    assert "already in the sink" in again.stderr


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_with_a_word_about_what_is_kept(
    machine: BundleMachine, host: Host, number: int, code: int, said: str
) -> None:
    registry, thread = host
    layer = LARGE.layers[0].digest
    thread.call(lambda: registry.script(faults.stalls(after_bytes=MIB), on=Match(kind="blob", digest=layer)))
    with machine.start("create", "-o", "images.tar", *AMD64, "large:1") as process:
        until(process, lambda event: event["event"] == "blob-progress" and event["arrived_bytes"] > 0)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=ENDS_SECONDS)
    assert process.returncode == code
    assert f"{said}: what has come is kept in images.tar.partial" in stderr


# -- what is packed ----------------------------------------------------------------------------------


def test_lists_files_and_standard_input_name_images(machine: BundleMachine) -> None:
    (machine.directory / "list").write_text("alpine:3  # the small one\n")
    (machine.directory / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n"
        "  - {image: busybox:1}\n  - {image: '{{ .Values.image }}'}\n"
    )
    done = created(machine, "--from-file", "list", "--from", "pod.yaml", "-", given="large:1\n")
    assert sorted(references(machine)) == [
        f"docker.io/library/{n}" for n in ("alpine:3", "busybox:1", "large:1")
    ]
    assert "left out: pod.yaml:6: " in done.stderr


def test_the_output_of_helm_is_read_from_standard_input(machine: BundleMachine) -> None:
    text = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'alpine:3'}]}\n"
    created(machine, "--from", "-", given=text)
    assert references(machine) == ["docker.io/library/alpine:3"]


def test_what_the_mirror_served_since_a_day_is_packed(machine: BundleMachine) -> None:
    line = "{}T12:00:00Z INFO pull docker.io/library/{} by 10.0.0.1 (containerd): ok, 5 requests, 1 bytes\n"
    gone = f"large@{Digest.of(b'gone')}"
    (machine.directory / "log").write_text(
        line.format("2026-01-30", "large:1")
        + line.format("2026-01-31", "alpine:3")
        + line.format("2026-01-31", gone)
    )
    done = created(machine, "--from-log", "log", "--since", "2026-01-31T00:00:00Z")
    assert references(machine) == ["docker.io/library/alpine:3"]
    assert f"left out: docker.io/library/{gone}: pulled by digest" in done.stderr


def test_a_pattern_leaves_images_out(machine: BundleMachine) -> None:
    created(machine, "alpine:3", "busybox:1", "--except", "docker.io/library/busy*")
    assert references(machine) == ["docker.io/library/alpine:3"]


def test_platforms_and_what_is_attached(machine: BundleMachine) -> None:
    words = ("create", "-o", "images.tar", "--platform", "all", "--with", "referrers", "multi:1", "alpine:3")
    done = machine.bundle(*words)
    assert done.returncode == 0, done.stderr
    images = inspected(machine)["contents"]["images"]
    assert [one.get("platforms") for one in images] == [["linux/amd64", "linux/arm64/v8"], None, None]
    assert images[2]["attached_to"] == "docker.io/library/alpine:3"


def test_only_what_is_missing_from_inventories_is_packed(machine: BundleMachine) -> None:
    for name, blobs in (("one", ALPINE.blobs), ("other", (*ALPINE.blobs[1:], *BUSYBOX.blobs))):
        pairs = [(Digest.parse(blob.digest), blob.size) for blob in blobs]
        inventory = inventory_of(pairs, of=f"node {name}", by="a test", at="2026-01-31T12:00:00Z")
        (machine.directory / name).write_bytes(render_inventory(inventory))
    done = created(machine, "--missing-from", "one", "--missing-from", "other", "alpine:3")
    contents = inspected(machine)["contents"]
    assert {blob["digest"] for blob in contents["elsewhere"]} == {layer.digest for layer in ALPINE.layers}
    assert "left out, for the far side has it: 39" in done.stderr
    said = machine.bundle("inspect", "images.tar").stdout
    assert "made for what is not in: node one" in said
    assert "2 of its blobs are not here" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to pack"),
        (("--except", "docker.io/**", "alpine:3"), "nothing to pack"),
        (("--since", "2026-01-31", "alpine:3"), "--since goes with --from-log"),
        (("--from-log", "absent"), "cannot read absent"),
        (("--from-log", "sampan.toml", "--since", "monday"), "not a day or a time: 'monday'"),
        (("--from", "absent"), "no such file or directory: absent"),
        (("--from", "-", "-"), "standard input can be read once"),
        (("--missing-from", "absent", "alpine:3"), "cannot read absent"),
        (("--parity", "1", "alpine:3"), "--parity is about volumes that are lost"),
        (("--volume-size", "much", "alpine:3"), 'expected a size, got "much"'),
        (("--volume-size", "1MiB", "alpine:3"), "too small"),
        (("--expires", "90d", "alpine:3"), "--expires is about a signature"),
        (("--sign", "absent", "alpine:3"), "cannot read the key absent"),
        (("--via", "http://a", "--direct", "alpine:3"), "contradict each other"),
        (("--platform", "plan9", "alpine:3"), "not a platform"),
        (("UPPER:1",), "must be lowercase"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    machine: BundleMachine, words: tuple[str, ...], said: str
) -> None:
    refused(machine.bundle("create", "-o", "images.tar", *words), 2, said)
    assert not list(machine.directory.glob("images*"))


def test_volumes_are_of_files_alone(machine: BundleMachine) -> None:
    done = machine.bundle("create", "-o", "layout/", "--volume-size", "4GB", "alpine:3")
    refused(done, 2, "a directory has no volumes")


def test_an_inventory_that_is_none_is_refused_with_its_name(machine: BundleMachine) -> None:
    (machine.directory / "odd").write_text("{}")
    refused(
        machine.bundle("create", "-o", "images.tar", "--missing-from", "odd", "alpine:3"),
        8,
        "odd: not an inventory",
    )


# -- signatures, verify, repair ----------------------------------------------------------------------


@pytest.fixture
def signed(machine: BundleMachine) -> BundleMachine:
    for name in ("maker", "stranger"):
        assert machine.bundle("key", "-o", name).returncode == 0
    created(machine, "--sign", "maker", "--expires", "90d", "alpine:3")
    return machine


def test_a_key_is_told_by_its_fingerprint(machine: BundleMachine) -> None:
    done = machine.bundle("key", "-o", "maker")
    assert done.stdout.startswith("ed25519:")
    assert "maker signs, and only its owner may read it" in done.stderr
    refused(machine.bundle("key", "-o", "maker"), 2, "maker.pub exists, and no key is overwritten")


def test_a_trusted_signature_is_told(signed: BundleMachine) -> None:
    done = signed.bundle("verify", "--key", "stranger.pub", "--key", "maker.pub", "images.tar")
    assert (done.returncode, done.stdout) == (0, "images.tar: right\n")
    assert "which is trusted" in done.stderr


def test_a_foreign_a_missing_and_an_unchecked_signature_are_told_apart(signed: BundleMachine) -> None:
    refused(signed.bundle("verify", "--key", "stranger.pub", "images.tar"), 8, "the bundle is signed by")
    assert "nobody was asked about the signature" in signed.bundle("verify", "images.tar").stderr
    done = signed.bundle("create", "-o", "bare.tar", *AMD64, "alpine:3")
    assert done.returncode == 0
    refused(signed.bundle("verify", "--key", "maker.pub", "bare.tar"), 8, "the bundle is not signed")


def test_damage_is_named_and_told_in_json_as_well(signed: BundleMachine) -> None:
    path = signed.directory / "images.tar"
    data = bytearray(path.read_bytes())
    data[-50_000] ^= 1
    path.write_bytes(data)
    done = signed.bundle("verify", "images.tar")
    assert (done.returncode, done.stdout) == (8, "images.tar: damaged\n")
    assert f"images.tar: blobs/sha256/{ALPINE.layers[1].digest[7:]} is not what the list says" in done.stderr
    assert "spoilt: docker.io/library/alpine:3" in done.stderr
    told = json.loads(signed.bundle("verify", "--json", "images.tar").stdout)
    assert [damage["digest"] for damage in told["damages"]] == [ALPINE.layers[1].digest]
    assert told["spoilt"] == ["docker.io/library/alpine:3"]


def test_a_lost_volume_is_told_repaired_and_then_all_is_whole(machine: BundleMachine) -> None:
    created(machine, "--volume-size", "3MiB", "--parity", "1", "alpine:3", "large:1")
    files = sorted(path.name for path in machine.directory.glob("images.*.tar"))
    assert files == ["images.1-of-2.tar", "images.2-of-2.tar", "images.recovery-1-of-1.tar"]
    (machine.directory / files[0]).unlink()
    left = machine.bundle("verify", "--whole", *files[1:])
    assert left.returncode == 0
    assert "not here: volumes 1 of 2" in left.stderr
    assert "the recovery volumes make up for them" in left.stderr
    refused_ = machine.bundle("verify", "--whole", files[1])
    assert (refused_.returncode, refused_.stdout) == (8, f"{files[1]}: right\n")
    assert "volumes 1 of 2 are missing" in refused_.stderr
    done = machine.bundle("repair", *files[1:])
    assert (done.returncode, done.stdout) == (0, f"{files[0]}\n")
    assert machine.bundle("verify", "--whole", *files).returncode == 0
    assert "nothing needs repair" in machine.bundle("repair", *files).stderr


@pytest.mark.parametrize("command", ["inspect", "verify", "repair"])
def test_what_is_no_bundle_is_refused(machine: BundleMachine, command: str) -> None:
    (machine.directory / "odd").write_bytes(bytes(10_000))
    refused(machine.bundle(command, "odd"), 8, "is no bundle that sampan made")


def test_help_names_every_command_and_each_begins_with_an_example(machine: BundleMachine) -> None:
    shown = machine.bundle("--help").stdout
    for name in ("create", "inspect", "verify", "repair", "key"):
        assert f"  {name} " in shown
        assert machine.bundle(name, "--help").stdout.startswith(f"Example:\n  sampan bundle {name}")
