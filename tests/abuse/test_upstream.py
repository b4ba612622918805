"""Hosts that do harm by what they send: rows 28 to 40 of the catalogue, to a whole mirror.

Each bad host stands before a good one: what it sends is given up within bounds, and the client has its image
from the other. What a manifest may be is in tests/unit/test_manifest.py.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from abuse.bounds import ALPINE, MIB, assert_harmless, bounded
from abuse.commands import ended
from faults.trial import Trial, trial
from sampan.oci.manifest import DESCRIPTORS_MAX, DOCKER_LIST, MANIFEST_BYTES_MAX
from sampan.testing import FakeRegistry, ManualClock, Match, ServerThread, faults, image, index
from sampan.testing.body import Body
from sampan.testing.fault import Fault
from sampan.testing.images import OCI_INDEX, OCI_MANIFEST, Content, Image, Layer
from sampan.testing.wire import Reply, Request
from sampan.upstream.host import Host
from sampan.upstream.lists import PAGES_MAX, TAGS_MAX

pytestmark = pytest.mark.standstill

MANIFEST = "/v2/library/alpine/manifests/3"
CALLS_MAX = 60_000  # of a pull from the second host, what the first one sent included
BYTES_MAX = 40 * MIB  # what two manifests of the greatest size take, read and parsed
ON_MANIFEST = Match(kind="manifest")


@asynccontextmanager
async def beside_a_good_host(
    path: Path,
    *faulty: Fault,
    on: Match = ON_MANIFEST,
    calls_max: int = CALLS_MAX,
    bytes_max: int = BYTES_MAX,
) -> AsyncIterator[tuple[Trial, FakeRegistry]]:
    """A mirror of two hosts, the first of which is ``faulty``; within the bounds, and its log is harmless."""
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        for each in (bad, good):
            each.add(ALPINE)
        for fault in faulty:
            bad.script(fault, on=on)
        async with trial(path, [bad, good]) as endured:
            with bounded(calls_max=calls_max, bytes_max=bytes_max):
                yield endured, bad
            assert_harmless(endured.written())


async def assert_manifest_refused(
    path: Path, raw: bytes, media_type: str = OCI_MANIFEST, why: str = ""
) -> None:
    """From the bad host: the image comes from the good one; where there is none, ``why`` is told."""
    fault = faults.page(200, raw, media_type)
    async with beside_a_good_host(path, fault) as (endured, bad):
        await endured.pull(ALPINE)
        await endured.assert_endured(bad, reasons=["not-a-registry"], holds=[ALPINE])
    async with FakeRegistry("alone") as alone:
        alone.script(fault)
        async with trial(path / "alone", [alone]) as endured:
            answer = await endured.ask(MANIFEST)
            assert answer.status == 503, answer
            assert why in answer.error["message"]
            assert len(answer.body) < 2000
            assert_harmless(endured.written())


@asynccontextmanager
async def endless(head: bytes, piece: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A host that answers with ``head`` and then ``piece`` again and again; how much it got rid of."""
    sent: list[int] = []

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + head + b"\r\n\r\n")
            while True:
                writer.write(piece)
                await writer.drain()
                sent.append(len(piece))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sent


ENDLESS = {
    "of a gigabyte": (b"200 OK\r\nContent-Type: %b\r\nContent-Length: 1073741824", b" " * 65536),
    "in chunks": (
        b"200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked", b"10000\r\n" + b" " * 65536 + b"\r\n",
    ),
    "until it closes": (b"200 OK\r\nContent-Type: %b\r\nConnection: close", b" " * 65536),
}  # fmt: skip


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_row_28_a_manifest_without_end(tmp_path: Path, head: bytes, piece: bytes) -> None:
    async with endless(head % OCI_MANIFEST.encode(), piece) as (url, sent), FakeRegistry("good") as good:
        good.add(ALPINE)
        async with trial(tmp_path, [Host.from_url(url), Host.from_url(good.url)]) as endured:
            with bounded(calls_max=CALLS_MAX, bytes_max=BYTES_MAX):
                await endured.pull(ALPINE)
            await endured.assert_endured(url.partition("://")[2], reasons=["protocol"], holds=[ALPINE])
    assert sum(sent) < MANIFEST_BYTES_MAX + 16 * MIB  # and what the sockets of both sides hold


NO_JSON = {
    "100,000 lists in lists": b"[" * 100_000,
    "100,000 objects in objects": b'{"a":' * 100_000,
    "a million lists": b"[" * 1_000_000 + b"]" * 1_000_000,
    "a number of 100,000 digits": b'{"schemaVersion":' + b"1" * 100_000 + b"}",
    "a number beyond all": b'{"schemaVersion":1e100000}',
    "NaN": b'{"schemaVersion":NaN}',
    "bytes that are no UTF-8": b'{"a":"\xff\xfe\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "garbage behind the end": ALPINE.raw + b"garbage",
    "a second document": ALPINE.raw + ALPINE.raw,
    "4 MiB of lists": b"[" + b"[]," * (1024 * 1024) + b"0]",
    "4 MiB of escapes": b'"' + b"\\u0000" * (600 * 1024) + b'"',
    "nothing": b"",
    "two types": ALPINE.raw.replace(b'"mediaType"', b'"mediaType": "a/b", "mediaType"', 1),
    "two digests": ALPINE.raw.replace(b'"digest"', b'"digest": "sha256:0", "digest"', 1),
    "two lists of layers": ALPINE.raw.replace(b'"layers"', b'"layers": [], "LAYERS"', 1),
    "two configs": ALPINE.raw.replace(b'"config"', b'"config": {}, "config"', 1),
    "two sizes": ALPINE.raw.replace(b'"size"', b'"size": 1, "size"', 1),
}


@pytest.mark.parametrize("raw", NO_JSON.values(), ids=NO_JSON.keys())
async def test_row_29_json_that_is_none_or_too_much(tmp_path: Path, raw: bytes) -> None:
    await assert_manifest_refused(tmp_path, raw)


def changed(**fields: object) -> bytes:
    """The manifest with other fields."""
    return json.dumps({**json.loads(ALPINE.raw), **fields}).encode()


def with_layer(**fields: object) -> bytes:
    """The manifest with other fields in its only layer."""
    return changed(layers=[{**json.loads(ALPINE.raw)["layers"][0], **fields}])


WRONG_TYPES = {
    "layers: ": changed(layers={}),
    "layers[0]: ": changed(layers=[None]),
    "layers[0].size: expected an integer, got a string": with_layer(size="12"),
    "layers[0].size: expected 0": with_layer(size=-1),
    "a number out of range": with_layer(size=1).replace(b'"size": 1', b'"size": 1e400'),
    "layers[0].size: expected an integer, got a boolean": with_layer(size=True),
    "layers[0].size: expected an integer, got a number": with_layer(size=1.5),
    "layers[0].digest: expected a string, got an integer": with_layer(digest=5),
    "layers[0].digest: sha256 has 64": with_layer(digest="sha256:../../etc/passwd"),
    "layers[0].mediaType: ": with_layer(mediaType="a/b\r\nX: y"),
    "schemaVersion: expected an integer, got a string": changed(schemaVersion="2"),
    "schemaVersion: expected 2": changed(schemaVersion=3),
    "manifests: expected a list, got null": b'{"schemaVersion":2,"manifests":null}',
    "config: expected an object": changed(config=[]),
    "annotations": changed(annotations={"\x1b[31m": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("why", "raw"), WRONG_TYPES.items(), ids=list(WRONG_TYPES))
async def test_row_30_fields_of_the_wrong_type_are_named(tmp_path: Path, why: str, raw: bytes) -> None:
    await assert_manifest_refused(tmp_path, raw, why=why)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (changed(manifests=[]), "must not stand beside manifests"),
        (changed(mediaType=OCI_INDEX), "contradicts the structure"),
        (changed(mediaType="text/html"), "not a type of manifest"),
        (
            json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []}).encode(),
            "contradicts",
        ),
        (
            json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode(),
            "neither a manifest nor an index",
        ),
    ],
)
@pytest.mark.parametrize("content_type", [OCI_MANIFEST, DOCKER_LIST])
async def test_row_31_what_can_be_read_as_two_things(
    tmp_path: Path, raw: bytes, why: str, content_type: str
) -> None:
    await assert_manifest_refused(tmp_path, raw, content_type, why=why)


@pytest.mark.parametrize("content_type", [OCI_INDEX, DOCKER_LIST, "text/plain", "application/octet-stream"])
async def test_row_31_the_type_inside_is_what_clients_are_told(tmp_path: Path, content_type: str) -> None:
    async with beside_a_good_host(tmp_path, faults.header("Content-Type", content_type)) as (endured, _):
        answer = await endured.ask(MANIFEST)
        assert (answer.status, answer.headers["content-type"]) == (200, OCI_MANIFEST)


def listing(count: int, *, same: bool) -> bytes:
    """An index of so many manifests, all of which may be the same one."""
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": f"sha256:{0 if same else number:064x}", "size": 1}
        for number in range(count)
    ]
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, separators=(",", ":")
    ).encode()


@pytest.mark.parametrize(
    ("count", "same"), [(DESCRIPTORS_MAX + 1, False), (20_000, True), (100_000, False), (100_000, True)]
)
async def test_row_32_an_index_of_too_many(tmp_path: Path, count: int, same: bool) -> None:
    raw = listing(count, same=same)
    outcome = "not-a-registry" if len(raw) <= MANIFEST_BYTES_MAX else "protocol"
    async with beside_a_good_host(
        tmp_path, faults.page(200, raw, OCI_INDEX), calls_max=1_000_000, bytes_max=64 * MIB
    ) as (endured, bad):
        await endured.pull(ALPINE)
        await endured.assert_endured(bad, reasons=[outcome], holds=[ALPINE])


def test_row_32_indexes_in_indexes_are_followed_four_deep(tmp_path: Path) -> None:
    """One that lists itself would need a digest that it cannot have: whoever claims so is found out by it."""
    deep = image("library/deep", seed=1)
    for _ in range(10):
        deep = index("library/deep", images=[deep])
    deep = replace(deep, tag="1")
    host = FakeRegistry("host")
    host.add(deep)
    with ServerThread(host):
        write_configuration(tmp_path, host)
        (one,) = ended(tmp_path, [["pull", "--to", "oci:image", "--platform", "all", "deep:1"]])
    assert one.code in (1, 3, 4), one
    assert "nest" in one.error, one
    assert_harmless(one.error)
    assert len(host.requests) <= 2 * 6


def write_configuration(directory: Path, host: FakeRegistry) -> None:
    """With one mirror of docker.io."""
    (directory / "sampan.toml").write_text(
        f'[store]\npath = "store"\n[registry."docker.io"]\nmirrors = ["{host.url}"]\norigin = "never"\n'
    )


def described(**more: object) -> Image:
    """ALPINE whose manifest says ``more`` of its layer."""
    return replace(ALPINE, manifest=Content.of(with_layer(**more), OCI_MANIFEST))


@pytest.mark.parametrize("data", ["bm90IHRoZSBsYXllcg==", "not base64!", "", 5, {"a": 1}, "A" * (3 * MIB)])
async def test_row_33_data_in_a_descriptor_is_not_taken_for_the_blob(tmp_path: Path, data: object) -> None:
    """It is not looked at: the manifest is given as it is, the blob comes from a host and is right."""
    lying = described(data=data)
    async with FakeRegistry("host") as host:
        host.add(lying)
        async with trial(tmp_path, [host]) as endured:
            with bounded(calls_max=CALLS_MAX, bytes_max=BYTES_MAX):
                await endured.pull(lying)
        assert host.count(kind="blob") == 2


async def test_row_33_data_of_4_mebibytes_is_too_much(tmp_path: Path) -> None:
    async with beside_a_good_host(
        tmp_path, faults.page(200, with_layer(data="A" * (4 * MIB)), OCI_MANIFEST)
    ) as (endured, bad):
        await endured.pull(ALPINE)
        await endured.assert_endured(bad, reasons=["protocol"], holds=[ALPINE])


ANSI = "\x1b]0;evil\x07\x1b[2J\x1b[31mred\r\nX-Evil: 1\u202e\u200b\x9b1m"


def test_row_34_annotations_and_labels_are_never_obeyed_by_a_terminal(tmp_path: Path) -> None:
    names = ("org.opencontainers.image.ref.name", "org.opencontainers.image.title", ANSI)
    painted = image("library/painted", "1", annotations=dict.fromkeys(names, ANSI))
    listed = index("library/painted", "2", [painted], annotations=dict.fromkeys(names, ANSI))
    large = image("library/painted", "3", annotations={"a": ANSI * 8_000})
    host = FakeRegistry("host")
    for each in (painted, listed, large):
        host.add(each)
    tags = ("painted:1", "painted:2", "painted:3")
    with ServerThread(host):
        write_configuration(tmp_path, host)
        done = ended(
            tmp_path,
            [
                ["pull", "--to", "store", "--platform", "all", *tags],
                ["pull", "--to", "store", "--platform", "all", "--json", *tags],
                ["store", "list"],
                ["store", "list", "--json"],
                ["bundle", "create", "--platform", "all", "-o", "b.tar", *tags],
                ["bundle", "inspect", "b.tar"],
                ["bundle", "inspect", "--json", "b.tar"],
                ["bundle", "verify", "b.tar"],
                ["lock", "create", "-o", "sampan.lock", *tags],
            ],
        )
    for one in done:
        assert one.code == 0, one
        assert_harmless(one.out + one.error)
        assert len(one.out) < 100_000


def pages_without_end() -> Fault:
    """Each page of a list names another one."""

    def change(request: Request, right: Reply) -> Reply:
        page = int(request.query.get("page", "0")) + 1
        return right.with_header("Link", f'<{request.path}?page={page}>; rel="next"')

    return Fault("pages without end", change)


@pytest.mark.parametrize(
    "target", ["/v2/library/alpine/tags/list", f"/v2/library/alpine/referrers/{ALPINE.digest}"]
)
async def test_row_35_pages_without_end(tmp_path: Path, target: str) -> None:
    kind = "tags" if "tags" in target else "referrers"
    async with beside_a_good_host(
        tmp_path, pages_without_end(), on=Match(kind=kind), calls_max=PAGES_MAX * 5_000
    ) as (endured, bad):
        answer = await endured.ask(target)
        assert answer.status == 200
        assert len(bad.requests) <= PAGES_MAX


async def test_row_35_too_many_referrers_and_too_many_tags(tmp_path: Path) -> None:
    signatures = json.loads(listing(10_000, same=False))["manifests"]
    tags = [f"t{number}" for number in range(TAGS_MAX + 1)]
    for kind, fields in (("referrers", {"manifests": signatures}), ("tags", {"tags": tags})):
        target = f"/v2/library/alpine/{f'referrers/{ALPINE.digest}' if kind == 'referrers' else 'tags/list'}"
        async with beside_a_good_host(
            tmp_path / kind,
            faults.json_fields(**fields),
            on=Match(kind=kind),
            calls_max=10_000_000,
            bytes_max=64 * MIB,
        ) as (endured, bad):
            answer = await endured.ask(target)
            assert answer.status == 200
            assert len(answer.body) < 1000, "that of the good host"
            assert len(bad.requests) == 1


def document(**fields: object) -> bytes:
    """As JSON."""
    return json.dumps(fields).encode()


ERRORS: Mapping[str, bytes] = {
    "escapes": ANSI.encode() * 100,
    "a page": b"<!DOCTYPE html><script>alert(1)</script>" + ANSI.encode(),
    "JSON with escapes": document(errors=[{"code": ANSI, "message": ANSI * 1000, "detail": ANSI}]),
    "JSON of a mirror": document(
        errors=[{"detail": {"attempts": [{"host": ANSI, "outcome": ANSI, "status": 1}]}}]
    ),
    "deep JSON": b"[" * 60_000,
    "no UTF-8": b"\xff\xfe" * 1000,
    "2 MiB": b"x" * (2 * MIB),
}  # fmt: skip


@pytest.mark.parametrize("body", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_row_36_the_words_of_an_error_are_cut_and_escaped(
    tmp_path: Path, status: int, body: bytes
) -> None:
    async with FakeRegistry("bad") as bad:
        bad.add(ALPINE)
        bad.script(faults.page(status, body, "application/json"))
        async with trial(tmp_path, [bad]) as endured:
            with bounded(calls_max=CALLS_MAX, bytes_max=16 * MIB):
                answer = await endured.ask(MANIFEST)
            assert answer.status in (404, 429, 503)
            assert len(answer.body) < 4000
            assert answer.body.isascii()
            assert not any("evil" in value for value in answer.headers.values())
            assert_harmless(answer.error["message"])
            assert_harmless(endured.written())


async def test_row_36_an_error_without_end_is_read_for_64_kibibytes(tmp_path: Path) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    async with (
        endless(b"503 Busy\r\nTransfer-Encoding: chunked", chunk) as (url, sent),
        trial(tmp_path, [Host.from_url(url)]) as endured,
    ):
        with bounded(calls_max=CALLS_MAX, bytes_max=16 * MIB):
            answer = await endured.ask(MANIFEST)
        assert answer.status == 503
        assert len(answer.body) < 2000
    assert sum(sent) < 32 * MIB  # what the sockets and the reader's buffer hold, of two tries


@pytest.mark.parametrize(
    "value",
    ["1e12", "1000000000000", "9" * 4000, "-5", "NaN", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "\xff"],
)
async def test_row_37_a_wait_without_end_is_an_hour(tmp_path: Path, value: str) -> None:
    clock = ManualClock()
    nonsense = (faults.header("Date", "never"), faults.header("Age", "-5"))
    async with FakeRegistry("bad") as bad:
        bad.add(ALPINE)
        bad.script(faults.rate_limited(value).joined(nonsense[0]).joined(nonsense[1]), times=1)
        async with trial(tmp_path, [bad], clock=clock) as endured:
            with bounded(calls_max=CALLS_MAX):
                answer = await endured.ask(MANIFEST)
            assert answer.status in (200, 429)
            if answer.status == 429:
                assert 1 <= int(answer.headers["retry-after"]) <= 3600
            clock.advance(3601)
            await endured.pull(ALPINE)


@cache
def bomb(levels: int) -> bytes:
    """64 MiB of zeros as gzip, as gzip of gzip, and so on."""
    raw = bytes(64 * MIB)
    for _ in range(levels):
        raw = gzip.compress(raw, 9)
    return raw


@pytest.mark.parametrize(
    ("levels", "encoding"),
    [(1, "gzip"), (1, "deflate"), (1, "br"), (10, "x-gzip"), (10, "gzip, gzip"), (10, "zstd")],
)
async def test_row_38_what_is_packed_is_not_unpacked(tmp_path: Path, levels: int, encoding: str) -> None:
    packed = faults.page(200, bomb(levels), OCI_MANIFEST).joined(faults.header("Content-Encoding", encoding))
    on_blob = replace(packed, on=Match(kind="blob"))
    async with beside_a_good_host(tmp_path, packed, bytes_max=24 * MIB) as (endured, bad):
        bad.script(on_blob)
        await endured.pull(ALPINE)
        await endured.assert_endured(bad, reasons=["protocol"], requests_max=6, holds=[ALPINE])


def test_row_39_a_layer_that_holds_terabytes_is_never_unpacked(tmp_path: Path) -> None:
    """Twelve gigabytes in as many MiB: pulled, stored, bundled, verified as the bytes that they are."""
    zeros = gzip.compress(bytes(64 * MIB), 9) * 200
    huge = image("library/huge", "1", layers=[Layer(Body.of(zeros), "sha256:" + "0" * 64, compressed=True)])
    host = FakeRegistry("host")
    host.add(huge)
    with ServerThread(host):
        write_configuration(tmp_path, host)
        done = ended(
            tmp_path,
            [
                ["pull", "--to", "store", "--platform", "linux/amd64", "huge:1"],
                ["pull", "--to", "oci:layout", "--platform", "linux/amd64", "huge:1"],
                ["pull", "--to", "oci-archive:a.tar", "--platform", "linux/amd64", "huge:1"],
                ["pull", "--to", "docker-archive:d.tar", "--platform", "linux/amd64", "huge:1"],
                ["bundle", "create", "--platform", "linux/amd64", "-o", "b.tar", "huge:1"],
                ["bundle", "verify", "b.tar"],
                ["bundle", "load", "--to", "store", "--store", "other", "b.tar"],
                ["store", "scrub"],
            ],
        )
    assert [(one.code, one.reason) for one in done if one.code] == []
    for layer in huge.layers:
        assert (tmp_path / "other/blobs" / layer.digest.replace(":", "/")).stat().st_size == len(zeros)


async def test_row_40_what_is_for_browsers_is_not_kept(tmp_path: Path) -> None:
    told: dict[str, Any] = {
        "Set-Cookie": "session=evil; Path=/; Domain=127.0.0.1",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
        "Alt-Svc": 'h2="evil.example:443"; ma=86400',
        "Clear-Site-Data": "*",
        "Refresh": "0; url=http://evil.example/",
        "Content-Location": "http://evil.example/",
        "Proxy-Authenticate": 'Basic realm="evil"',
        "Public-Key-Pins": "x",
    }
    async with FakeRegistry("host") as host:
        host.add(ALPINE)
        for name, value in told.items():
            host.script(faults.header(name, value))
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
            answer = await endured.ask(MANIFEST)
            assert not {name.lower() for name in told} & set(answer.headers)
        assert len(host.requests) >= 3
        for request in host.requests:
            assert "cookie" not in request.headers
            assert "evil" not in str(request.headers)
