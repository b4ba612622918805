"""``sampan pull`` as a process: what it prints where, its exit codes, and how it is interrupted."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulling import AMD64, ENDS_SECONDS, Machine, until
from sampan.testing import FakeRegistry, Match, ServerThread, faults, image, index, random_layer

Host = tuple[FakeRegistry, ServerThread]
ALPINE = "docker.io/library/alpine:3"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = FakeRegistry("host")
    host.add(index("library/alpine", "3"))
    host.add(image("library/busybox", "1", layers=[random_layer(5, 40_000)]))
    host.add(image("library/large", "1", layers=[random_layer(6, 12 * MIB)]))
    with ServerThread(host) as thread:
        yield host, thread


@pytest.fixture
def machine(tmp_path: Path, host: Host) -> Machine:
    host[1].call(host[0].behave)
    return Machine(tmp_path, host[0].url)


def test_it_says_where_the_image_went_and_who_gave_it(machine: Machine, host: Host) -> None:
    done = machine.pull("alpine:3", *AMD64, "--to", "store")
    assert done.returncode == 0, done.stderr
    digest = index("library/alpine", "3").digest
    assert done.stdout == f"{ALPINE}@{digest}\n"
    assert f"pulling into store ({machine.directory}/store)" in done.stderr
    assert f"{host[0].netloc} gave" in done.stderr
    again = machine.pull("alpine:3", *AMD64, "--to", "store")
    assert "already in the store" in again.stderr
    assert "gave" not in again.stderr


def test_quiet_is_the_digest_alone(machine: Machine) -> None:
    done = machine.pull("alpine:3", *AMD64, "--quiet", "--to", "store")
    assert done.stdout == index("library/alpine", "3").digest + "\n"
    assert done.stderr == ""


def test_events_are_json_on_standard_output(machine: Machine) -> None:
    done = machine.pull("alpine:3", *AMD64, "--json", "--to", f"oci:{machine.directory}/lay")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events][:2] == ["started", "resolved"]
    assert events[-1] == {
        "event": "image-done",
        "reference": ALPINE,
        "digest": index("library/alpine", "3").digest,
        "sink": f"oci:{machine.directory}/lay",
    }


def test_references_come_from_a_list_and_from_standard_input_each_once(machine: Machine) -> None:
    (machine.directory / "list.txt").write_text("# mine\n\nalpine:3   # and why\n  busybox:1\n")
    given = "docker.io/library/alpine:3\n"
    done = machine.pull(*AMD64, "--to", "store", "--from-file", "list.txt", "-", given=given)
    assert done.returncode == 0, done.stderr
    assert [line.partition("@")[0] for line in done.stdout.splitlines()] == [
        ALPINE,
        "docker.io/library/busybox:1",
    ]


def test_an_archive_is_written_and_not_overwritten(machine: Machine) -> None:
    words = ("alpine:3", "busybox:1", *AMD64, "--to", "docker-archive:images.tar")
    assert machine.pull(*words).returncode == 0
    with tarfile.open(machine.directory / "images.tar") as archive:
        assert "manifest.json" in archive.getnames()
    again = machine.pull(*words)
    assert again.returncode == 2
    assert "error: images.tar exists, and is not overwritten\nhint: remove it first" in again.stderr


def test_one_reference_that_fails_leaves_no_archive_but_its_code(machine: Machine) -> None:
    done = machine.pull("alpine:3", "nothing:1", *AMD64, "--to", "oci-archive:images.tar")
    assert done.returncode == 3
    assert "cannot serve docker.io/library/nothing:1" in done.stderr
    assert "1 of 2 could not be pulled" in done.stderr
    assert "images.tar was not written" in done.stderr
    assert sorted(os.listdir(machine.directory)) == ["sampan.toml", "store"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing to pull"),
        (("Alpine",), 2, "repository name must be lowercase"),
        (("nothing:1", "--to", "store"), 3, "missing (404)"),
        (
            ("alpine:3", "--platform", "linux/mips", "--to", "store"),
            3,
            "there is: linux/amd64, linux/arm64/v8",
        ),
        (("alpine:3", "--platform", "mips"), 2, "not a platform"),
        (("alpine:3", "--platform", "all", "--platform", "linux/amd64"), 2, "stands alone"),
        (("alpine:3", "--to", "tar:x"), 2, "no such sink"),
        (("alpine:3", "--to", "oci-archive:none/x.tar"), 6, "hint: make the directory first"),
        (("alpine:3", "--to", "oci:sampan.toml"), 2, "sampan.toml is no directory"),
        (("--from-file", "none.txt"), 2, "cannot read none.txt: No such file or directory"),
        (("ghcr.io/a/b:1", "--to", "store"), 5, "hint:"),
        (("alpine:3", "--store", "sampan.toml", "--to", "store"), 6, "hint:"),
    ],
)
def test_what_cannot_be_is_told_with_its_code(
    machine: Machine, words: tuple[str, ...], code: int, said: str
) -> None:
    if "ghcr.io/a/b:1" in words:
        with open(machine.directory / "sampan.toml", "a") as file:
            file.write('[registry."ghcr.io"]\nmirrors = ["http://127.0.0.1:1"]\norigin = "never"\n')
    done = machine.pull(*words)
    assert said in done.stderr
    assert done.returncode == code, done.stderr
    assert done.stdout == ""


def test_a_wrong_line_of_a_list_is_named(machine: Machine) -> None:
    done = machine.pull("-", "--to", "store", given="alpine:3\nUPPER\n")
    assert done.returncode == 2
    assert "standard input:2" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_pull_says_what_is_kept_and_goes_on_from_there(
    machine: Machine, host: Host, number: signal.Signals, code: int
) -> None:
    layer = image("library/large", "1", layers=[random_layer(6, 12 * MIB)]).layers[0]
    match = Match(kind="blob", digest=layer.digest)
    host[1].call(lambda: host[0].script(faults.stalls(5 * MIB), on=match))
    words = ("large:1", *AMD64, "--to", "oci-archive:large.tar")
    with machine.start(*words) as process:
        until(
            process, lambda e: bool(e["event"] == "blob-progress" and e["size"] > MIB and e["arrived_bytes"])
        )
        process.send_signal(number)
        _, words_of_it = process.communicate(timeout=ENDS_SECONDS)
    assert process.returncode == code
    assert f"what has arrived is kept in {machine.store}" in words_of_it
    assert "Traceback" not in words_of_it
    assert sorted(os.listdir(machine.directory)) == ["sampan.toml", "store"]
    host[1].call(host[0].behave)
    done = machine.pull(*words)
    assert done.returncode == 0, done.stderr
    assert "an earlier pull had left" in done.stderr


def test_a_terminal_gets_bars_and_the_same_words(machine: Machine, host: Host) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        machine.command("alpine:3", *AMD64, "--to", "store"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        cwd=machine.directory,
        env={**machine.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the end of a terminal
            break
        seen += data
    os.close(ours)
    output, _ = process.communicate(timeout=ENDS_SECONDS)
    text = seen.decode()
    assert process.returncode == 0, text
    assert output == f"{ALPINE}@{index('library/alpine', '3').digest}\n"
    assert "\x1b[" in text
    assert f"{host[0].netloc} gave" in text


def test_without_a_terminal_the_library_of_bars_is_not_loaded() -> None:
    code = "import sys, sampan.cli.pull; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_runtime_is_not_given_what_it_cannot_hold(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sampan", "pull", "alpine:3", "--to", "docker", "--with", "referrers"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert "docker cannot hold what is attached to an image" in done.stderr
    assert "hint: --with referrers goes with --to store, oci, oci-archive, registry" in done.stderr
