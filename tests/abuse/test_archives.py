"""Archives that somebody made to do harm: rows 41 to 50 of the catalogue, a test for each.

Each goes through ``sampan bundle load`` in a process of its own, which has a minute for all of a row and
200 MiB of memory. Refused means: exit code 8 with one sentence and a hint, before the store is even opened.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import zstandard

from carrying import LAYOUT, Bundled, docker_tar, index_json, layout_files, layout_tar, tar_of
from disks import mounted, remount, wrong_blobs
from sampan.bundle.keys import make_keys, read_private_key
from sampan.bundle.signature import sign
from sampan.oci import Digest
from sampan.testing import image, index, random_layer
from sampan.testing.images import Content, Image
from tars import END, entry, header, padded, pax

MIB = 1024 * 1024
ROW_SECONDS_MAX = 60.0  # for all of a row; each of them takes milliseconds on a quiet machine
MEMORY_BYTES_MAX = 200 * MIB
ALPINE, NGINX = "docker.io/library/alpine:3", "docker.io/library/nginx:1.27"
REFUSED = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """How one load ended. ``store``: the files of content that it left there."""

    code: int
    error: str
    store: tuple[str, ...]
    opened: bool

    @property
    def reason(self) -> str:
        return self.error.partition("\n")[0]


def attempted(directory: Path, archives: Mapping[str, bytes | Path], *words: str) -> dict[str, Ended]:
    """Each of ``archives``, loaded by itself into a store of its own, within the bounds."""
    asked = []
    for number, archive in enumerate(archives.values()):
        path = archive if isinstance(archive, Path) else directory / f"archive-{number}.tar"
        if isinstance(archive, bytes):
            path.write_bytes(archive)
        asked.append(json.dumps({"file": str(path), "words": list(words)}))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("loads.py"))],
        input="\n".join(asked),
        capture_output=True,
        text=True,
        timeout=ROW_SECONDS_MAX,
        env={"HOME": str(directory), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        check=True,
    )
    *lines, last = map(json.loads, done.stdout.splitlines())
    assert last["peak_bytes"] < MEMORY_BYTES_MAX
    ended = [Ended(one["code"], one["error"], tuple(one["store"]), one["opened"]) for one in lines]
    return dict(zip(archives, ended, strict=True))


def assert_refused(ended: Mapping[str, Ended], *, code: int = REFUSED) -> None:
    """Before anything was written, with a reason and a hint, and nothing that a terminal would obey."""
    for name, one in ended.items():
        assert one.code == code, (name, one.error)
        assert one.error.startswith("error: "), name
        assert "\nhint: " in one.error, (name, one.error)
        assert "Traceback" not in one.error, name
        assert one.error.replace("\n", "").isprintable(), name
        assert not one.opened, name
        assert not one.store, name


def assert_refused_image(ended: Mapping[str, Ended]) -> None:
    """The image, when its turn came: it is nowhere visible. What was right of it may be kept."""
    for name, one in ended.items():
        assert one.code == REFUSED, (name, one.error)
        assert "error: " in one.error, name
        assert "Traceback" not in one.error, name
        assert not [path for path in one.store if path.startswith("tags")], name


def good() -> dict[str, bytes]:
    return layout_files({ALPINE: image("library/alpine", "3")})


def with_member(member: bytes) -> bytes:
    """A good archive, and ``member`` behind all others."""
    return tar_of(good().items())[: -len(END)] + member + END


def test_row_41_names_that_lead_elsewhere(tmp_path: Path) -> None:
    names: list[str | bytes] = [
        "../x", "a/../../x", "/etc/cron.d/x", "C:\\x", "C:/x", "\\\\host\\share", "blobs/../../x", "./../x",
        "..", "blobs/sha256/..", b"caf\xc3\xa9", b"\xff\xfe", "a\x1b[31mred", "a\rb", "a b",
        "blobs//sha256/x", "", "~/x",
        "blobs/md5/d41d8cd98f00b204e9800998ecf8427e", f"blobs/sha256/{'A' * 64}", f"blobs/sha256/{'a' * 63}",
    ]  # fmt: skip
    archives = {repr(name): with_member(entry(name, b"1")) for name in names}
    archives["nul"] = with_member(pax(path="index\0.json") + entry("x", b"1"))
    archives["not UTF-8 in pax"] = with_member(pax(path=b"\xff\xfe") + entry("x", b"1"))
    archives["very long"] = with_member(pax(path="x" * 60_000) + entry("x", b"1"))
    archives["long by GNU"] = with_member(entry("L", b"y" * 4000 + b"\0", type=b"L") + entry("x", b"1"))
    assert_refused(attempted(tmp_path, archives))


def test_row_42_what_is_no_regular_file(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, object]] = {
        "symlink": {"type": tarfile.SYMTYPE, "linkname": "/etc"},
        "hard link": {"type": tarfile.LNKTYPE, "linkname": "index.json"},
        "character device": {"type": tarfile.CHRTYPE},
        "block device": {"type": tarfile.BLKTYPE},
        "pipe": {"type": tarfile.FIFOTYPE},
        "sparse": {"type": tarfile.GNUTYPE_SPARSE},
        "contiguous": {"type": tarfile.CONTTYPE},
        "unknown": {"type": b"Z"},
        "setuid": {"mode": 0o4755},
        "setgid": {"mode": 0o2755},
    }
    archives = {kind: with_member(header("repositories", 0, **fields)) for kind, fields in kinds.items()}
    link = header("blobs", type=tarfile.SYMTYPE, linkname="/tmp")
    archives["link, then a file through it"] = link + entry(f"blobs/sha256/{'a' * 64}", b"1") + END
    two = header("repositories", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    archives["hard link to a symlink"] = (
        two + header("x", type=tarfile.LNKTYPE, linkname="repositories") + END
    )
    archives["sparse by pax"] = with_member(pax(GNU__sparse__realsize="9") + entry("repositories", b"1"))
    archives["another name"] = with_member(entry("etc/passwd", b"1"))
    archives["a link in Docker's form to nowhere of its own"] = (
        tar_of([("manifest.json", b"[]")])[: -len(END)]
        + header(f"{'1' * 64}/layer.tar", type=tarfile.SYMTYPE, linkname="../../../etc/passwd")
        + END
    )
    assert_refused(attempted(tmp_path, archives))


def test_row_43_two_members_of_one_name(tmp_path: Path) -> None:
    listed = index_json({NGINX: image("library/nginx", "1.27")})
    archives = {
        "index.json twice": with_member(entry("index.json", listed)),
        "by another way to write it": with_member(entry("./index.json", listed)),
        "in another case": with_member(entry("INDEX.JSON", listed)),
        "a blob twice": with_member(entry(next(name for name in good() if "blobs" in name), b"other")),
        "a file and a directory": with_member(entry("index.json/", type=tarfile.DIRTYPE)),
        "two pax names": with_member(pax(path="repositories") * 2 + entry("x", b"1")),
        "pax and GNU": with_member(pax(path="a") + entry("L", b"b\0", type=b"L") + entry("x", b"1")),
    }
    assert_refused(attempted(tmp_path, archives))


def test_row_44_what_is_cut_huge_or_without_an_end(tmp_path: Path) -> None:
    raw = tar_of(good().items())
    lies = {
        "negative": b"\xff" * 12,
        "not a number": b"zzzzzzzzzzz\0",
        "8 EiB": b"\x80" + (2**63 - 1).to_bytes(11, "big"),
        "beyond 64 bits": b"\x80" + (2**80).to_bytes(11, "big"),
        "more than there is": b"77777777777\0",
    }
    archives: dict[str, bytes | Path] = {
        name: with_member(header("repositories", raw_size=lie)) for name, lie in lies.items()
    }
    archives |= {
        f"cut at {at}": raw[:at] for at in (0, 1, 511, 512, 700, len(raw) // 2, len(raw) - 512, len(raw) - 1)
    }
    archives["garbage behind the end"] = raw + b"garbage"
    archives["another archive behind the end"] = raw + raw
    archives["zeros without end"] = grown(tmp_path / "zeros", raw, 1 << 40)
    archives["a gigabyte of pax"] = grown(
        tmp_path / "pax", header("x", type=b"x", raw_size=b"%011o\0" % (1 << 30)), 1 << 31
    )
    archives["a gigabyte of pax, of which 20 MiB are there"] = tmp_path / "many-pax"
    record = b"65000 comment=" + b"x" * (65000 - 15) + b"\n"
    block = header("x", len(record), type=b"g") + padded(record)
    (tmp_path / "many-pax").write_bytes(block * 320)
    archives["ten million members"] = tmp_path / "members"
    with open(tmp_path / "members", "wb") as file:
        file.writelines(header("x", type=b"g") * 10_000 for _ in range(25))
    archives["a negative size in pax"] = with_member(pax(size="-1024") + entry("repositories", b"1"))
    archives["two sizes"] = with_member(pax(size="0") + entry("repositories", b"1" * 600))
    archives["an index that is larger than one may be"] = tar_of(
        [("oci-layout", LAYOUT), ("index.json", b" " * (4 * MIB + 1))]
    )
    assert_refused(attempted(tmp_path, archives))


def grown(path: Path, raw: bytes, size: int) -> Path:
    """A file with a hole behind ``raw``: it takes no room."""
    path.write_bytes(raw)
    os.truncate(path, size)
    return path


def test_row_45_blobs_that_are_wrong_missing_or_too_many(tmp_path: Path) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 50_000), random_layer(2, 50_000)])
    files = layout_files({ALPINE: made})
    path = {part.digest: f"blobs/{part.digest.replace(':', '/')}" for part in (made.manifest, *made.blobs)}
    wrong = {
        f"wrong {kind}": tar_of({**files, path[part.digest]: b"x" + part.read()[1:]}.items())
        for kind, part in (("layer", made.layers[1]), ("config", made.blobs[0]), ("manifest", made.manifest))
    }
    missing = {
        f"missing {kind}": tar_of((name, data) for name, data in files.items() if name != path[part.digest])
        for kind, part in (("layer", made.layers[1]), ("config", made.blobs[0]), ("manifest", made.manifest))
    }
    short = {"too short": tar_of({**files, path[made.layers[1].digest]: made.layers[1].read()[:-1]}.items())}
    packed = {f"packed {name}": gzip.compress(raw) for name, raw in (wrong | missing).items()}
    ended = attempted(tmp_path, wrong | missing | short | packed)
    assert_refused_image(ended)
    for name in ("wrong layer", "packed wrong layer", "too short", "missing layer"):
        assert path[made.layers[1].digest] not in ended[name].store
    extra = entry(f"blobs/sha256/{'0' * 64}", b"nobody needs it, and it is not what its name says")
    (loaded,) = attempted(tmp_path, {"extra": tar_of(files.items())[: -len(END)] + extra + END}).values()
    assert loaded.code == 0
    assert "1 blobs that no image needs" in loaded.error
    assert not any("0" * 64 in name for name in loaded.store)


def test_row_46_an_index_that_is_none(tmp_path: Path) -> None:
    descriptor = json.loads(good()["index.json"])["manifests"][0]
    indexes: dict[str, object] = {
        "no JSON": b"{", "a list": [], "a number": 1, "nothing": b"", "deep": b"[" * 100_000,
        "binary": b"\xff" * 100,
        "no manifests": {"schemaVersion": 2}, "manifests null": {"schemaVersion": 2, "manifests": None},
        "manifests an object": {"schemaVersion": 2, "manifests": {}},
        "version 1": {"schemaVersion": 1, "manifests": []},
        "version as text": {"schemaVersion": "2", "manifests": []},
        "both": {"schemaVersion": 2, "manifests": [], "layers": [], "config": descriptor},
        "size as text": {"schemaVersion": 2, "manifests": [{**descriptor, "size": "12"}]},
        "size negative": {"schemaVersion": 2, "manifests": [{**descriptor, "size": -1}]},
        "size true": {"schemaVersion": 2, "manifests": [{**descriptor, "size": True}]},
        "size beyond": b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:'
        + b"a" * 64 + b'","size":1e400}]}',
        "digest a path": {"schemaVersion": 2, "manifests": [{**descriptor, "digest": "sha256:../../etc"}]},
        "digest a number": {"schemaVersion": 2, "manifests": [{**descriptor, "digest": 5}]},
        "too many": {"schemaVersion": 2, "manifests": [descriptor] * 2001},
        "annotations": {"schemaVersion": 2, "manifests": [{**descriptor, "annotations": {"a": 1}}]},
    }  # fmt: skip
    archives = {
        name: tar_of([("oci-layout", LAYOUT), ("index.json", as_bytes(value))])
        for name, value in indexes.items()
    }
    layouts = {"no JSON": b"x", "another version": b'{"imageLayoutVersion":"9"}', "empty": b"", "list": b"[]"}
    archives |= {
        f"oci-layout {name}": tar_of({**good(), "oci-layout": raw}.items()) for name, raw in layouts.items()
    }
    dockers: dict[str, object] = {
        "no JSON": b"[", "an object": {}, "deep": b"[" * 100_000, "no config": [{"Layers": []}],
        "config a path": [{"Config": "../../etc/passwd", "Layers": []}],
        "layers null": [{"Config": "a", "Layers": None}],
        "missing": [{"Config": "a.json", "RepoTags": [ALPINE], "Layers": ["a/layer.tar"]}],
    }  # fmt: skip
    archives |= {
        f"docker {name}": tar_of([("manifest.json", as_bytes(value))]) for name, value in dockers.items()
    }
    assert_refused(attempted(tmp_path, archives))
    foreign = {"schemaVersion": 2, "manifests": [{**descriptor, "mediaType": "text/x-something-else"}]}
    ansi = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": "\x1b[31mred\x07"}}
    harmless = attempted(tmp_path, {
        "foreign type": tar_of({**good(), "index.json": as_bytes(foreign)}.items()),
        "a name with colours": tar_of(
            {**good(), "index.json": as_bytes({"schemaVersion": 2, "manifests": [ansi]})}.items()
        ),
    })  # fmt: skip
    for one in harmless.values():
        assert one.code == 0
        assert not one.store
        assert one.error.replace("\n", "").isprintable()


def as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def test_row_47_bombs_and_archives_in_archives(tmp_path: Path) -> None:
    """Ten gigabytes of zeros in some MiB: what a header promises is not there, or no use to anybody."""
    start = tar_of([("oci-layout", LAYOUT)])[: -len(END)]
    promised = start + pax(size=str(10 << 30)) + header(f"blobs/sha256/{'a' * 64}")
    zeros = bytes(64 * MIB)
    bombs: dict[str, bytes | Path] = {
        "gzip": gzip.compress(promised) + gzip.compress(zeros) * 160,
        "zstd": zstandard.compress(promised) + zstandard.compress(zeros) * 160,
        "gzip of gzip": gzip.compress(gzip.compress(zeros) * 160),
        "gzip, zeros behind the end": gzip.compress(tar_of(good().items())) + gzip.compress(zeros) * 160,
        "zstd with a window of 1 GiB": wide(tar_of(good().items())),
        "an archive in an archive": with_member(entry("inner.tar", tar_of(good().items()))),
    }
    layer = gzip.compress(zeros) * 160
    member = f"{'1' * 64}/layer.tar"
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{'a' * 64}"]}}).encode()
    listed = [{"Config": "c.json", "RepoTags": [ALPINE], "Layers": [member]}]
    bombs["a layer of docker save"] = tar_of(
        [("c.json", config), (member, layer), ("manifest.json", json.dumps(listed).encode())]
    )
    assert_refused(attempted(tmp_path, bombs))


def wide(raw: bytes) -> bytes:
    """``raw`` in a frame that wants a reader to keep a gigabyte."""
    settings = zstandard.ZstdCompressionParameters(window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return compressor.compress(raw) + compressor.flush()


def volumes(name: str, seed: int) -> tuple[Image, list[bytes]]:
    made = image("library/some", "1", layers=[random_layer(seed, 90_000), random_layer(seed + 1, 30_000)])

    def where(content: Content) -> Sequence[tuple[int, int]]:
        if content.size == 90_000:
            return [(1, 30_000), (2, 30_000), (3, 30_000)]
        return [(2 if content.size == 30_000 else 1, content.size)]

    return made, Bundled({name: made}, where=where).volumes()


def test_row_48_volumes_that_are_missing_mixed_or_altered(tmp_path: Path) -> None:
    made, one = volumes(ALPINE, 1)
    _, other = volumes(NGINX, 7)
    paths = [tmp_path / f"one.{number}.tar" for number in (1, 2, 3)]
    for path, raw in zip(paths, one, strict=True):
        path.write_bytes(raw)
    strange = tmp_path / "other.2.tar"
    strange.write_bytes(other[1])
    part, part_name = made.layers[0].read()[30_000:60_000], made.layers[0].digest.removeprefix("sha256:")
    altered = one[1].replace(part, part[:-1] + bytes([part[-1] ^ 1]))
    reordered = attempted(tmp_path, {"reordered": paths[2]}, str(paths[0]), str(paths[1]))
    assert reordered["reordered"].code == 0
    assert [name for name in reordered["reordered"].store if name.startswith("tags")]
    for ended in (
        attempted(tmp_path, {"missing": paths[2]}, str(paths[0])),
        attempted(tmp_path, {"mixed": strange}, str(paths[0]), str(paths[2])),
    ):
        (waiting,) = ended.values()
        assert not [name for name in waiting.store if name.startswith("tags")]
        assert "volume" in waiting.error
    ended = attempted(tmp_path, {"altered": altered}, str(paths[0]), str(paths[2]))
    assert_refused_image({"altered": ended["altered"]})
    assert not [name for name in ended["altered"].store if name.startswith("blobs") and part_name in name]
    assert "part-2-of-3" in ended["altered"].error
    assert "archive-0.tar" in ended["altered"].error
    number = one[0].index(b'"number": 1')
    renumbered = one[0][:number] + one[0][number:].replace(b"1", b"2", 1)
    foreign_list = (
        other[0][: other[0].index(b"sampan-volume.json")] + one[0][one[0].index(b"sampan-volume.json") :]
    )
    tampered = {
        "renumbered": renumbered,
        "the list of another bundle": foreign_list,
        "a list that was changed": one[0].replace(b"sampan test", b"sampan tent", 1),
        "cut": one[0][:-512],
        "longer": one[0] + b"x" * 512,
    }
    assert_refused(attempted(tmp_path, tampered))


def test_row_49_signatures_that_are_missing_foreign_or_expired(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    make_keys(ours), make_keys(theirs)
    now = datetime.now(UTC)
    bundled = Bundled({ALPINE: image("library/alpine", "3")})
    another = Bundled({NGINX: image("library/nginx", "1.27", seed=9)})

    def signed(
        key: Path, what: Bundled = bundled, *, of: Digest | None = None, until: datetime | None = None
    ) -> bytes:
        private = read_private_key(key)
        return what.volumes(lambda bundle: sign(of or bundle, private, now, until))[0]

    _, raw = another.contents()
    good_one = signed(ours)
    at = (
        good_one.index(b'"signature": "')
        if b'"signature": "' in good_one
        else good_one.index(b'"signature":"')
    )
    broken = bytearray(good_one)
    broken[at + 30] = ord("A") if broken[at + 30] != ord("A") else ord("B")
    refused = attempted(
        tmp_path,
        {
            "not signed": bundled.volumes()[0],
            "by another key": signed(theirs),
            "expired": signed(ours, until=now - timedelta(seconds=1)),
            "of another bundle": signed(ours, of=Digest.of(raw)),
            "broken": bytes(broken),
            "no JSON": bundled.volumes(lambda _: b"{")[0],
            "not a bundle": layout_tar({ALPINE: image("library/alpine", "3")}),
            "not a bundle either": docker_tar({ALPINE: image("library/alpine", "3")}),
        },
        "--key",
        f"{ours}.pub",
    )
    assert_refused(refused)
    for name in ("by another key", "expired", "of another bundle"):
        assert f"archive-{list(refused).index(name)}.tar" in refused[name].error
    (unnamed,) = attempted(tmp_path, {"no key": good_one}, "--require-signature").values()
    assert unnamed.code == 2
    (taken,) = attempted(tmp_path, {"good": good_one}, "--require-signature", "--key", f"{ours}.pub").values()
    assert taken.code == 0, taken.error
    (mixed,) = attempted(
        tmp_path, {"one of two": good_one}, "--key", f"{ours}.pub", str(unsigned(tmp_path, another))
    ).values()
    assert_refused({"one of two": mixed})


def unsigned(directory: Path, what: Bundled) -> Path:
    (directory / "unsigned.tar").write_bytes(what.volumes()[0])
    return directory / "unsigned.tar"


def load(path: Path, store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "sampan",
        "bundle",
        "load",
        "--store",
        str(store),
        *words,
        str(path),
    ]
    environment = {"HOME": str(path.parent), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=ROW_SECONDS_MAX, env=environment, check=False
    )


def test_row_50_a_place_to_load_into_that_is_not_what_it_should_be(tmp_path: Path) -> None:
    made = image("library/alpine", "3", layers=[random_layer(1, 2 * MIB)])
    path = tmp_path / "images.tar"
    path.write_bytes(layout_tar({ALPINE: made}))
    with mounted(tmp_path / "small", "size=1m") as small:
        full = load(path, small / "store", "--to", "store")
        assert (full.returncode, "Traceback" in full.stderr) == (6, False), full.stderr
        assert not list(small.rglob("tags/*/*"))
        remount(small, "size=8m")
        assert load(path, small / "store", "--to", "store").returncode == 0
        remount(small, "ro")
        read_only = load(path, small / "store", "--to", "store", "--as", "other:1")
        assert read_only.returncode in (2, 6), read_only.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = tmp_path / "planted"
    (store / "blobs").mkdir(parents=True)
    (store / "blobs" / "sha256").symlink_to(elsewhere)
    planted = load(path, store, "--to", "store")
    assert planted.returncode == 6, planted.stderr
    assert not list(elsewhere.iterdir())
    (tmp_path / "full-of-others").mkdir()
    (tmp_path / "full-of-others" / "mine").write_text("mine")
    occupied = load(path, tmp_path / "store", "--to", f"oci:{tmp_path / 'full-of-others'}")
    assert occupied.returncode == 2, occupied.stderr
    assert [one.name for one in (tmp_path / "full-of-others").iterdir()] == ["mine"]
    (tmp_path / "link.tar").symlink_to(elsewhere / "target.tar")
    linked = load(path, tmp_path / "store", "--to", f"oci-archive:{tmp_path / 'link.tar'}")
    assert linked.returncode == 2, linked.stderr
    assert not list(elsewhere.iterdir())


def test_row_50_two_loads_into_one_store_at_a_time(tmp_path: Path) -> None:
    made = index("library/alpine", "3", [image("library/alpine", layers=[random_layer(1, 9 * MIB)])])
    path, store = tmp_path / "images.tar", tmp_path / "store"
    path.write_bytes(layout_tar({ALPINE: made}))
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(load(path, store, "--to", "store").returncode))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert not wrong_blobs(store)
    for part in (*made.manifests, *made.blobs):
        assert (store / "blobs" / part.digest.replace(":", "/")).exists()
