"""Each fault does on the wire what its name says, to the requests that it is meant for, and to no other."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from contract.raw_client import Seen, ask
from sampan.testing import (
    FAULT_TABLE,
    FakeRegistry,
    Fault,
    Image,
    Match,
    faults,
    image,
    older,
    random_layer,
    random_layer_file,
)
from sampan.testing.catalogue import LOGIN, MADE_OTHERWISE, REALM, REGISTRY_CASES, Apply, Case, cases

LAYER_BYTES = 120_000
ROWS = {
    *(f"N{number}" for number in range(1, 23)),
    *(f"H{number}" for number in range(1, 36)),
    *(f"A{number}" for number in range(1, 11)),
    *(f"C{number}" for number in range(1, 9)),
}
NOT_IN_AN_ANSWER = {"N1", "N20", "C8"}  # no connection; the same bytes, later; the tag is simply gone


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("bad") as registry:
        yield registry


@pytest.fixture
def held(registry: FakeRegistry) -> Image:
    return registry.add(image("a/b", "1", layers=[random_layer(seed=1, size_bytes=LAYER_BYTES)]))


def blob_path(held: Image) -> str:
    return f"/v2/a/b/blobs/{held.layers[0].digest}"


async def everything(registry: FakeRegistry, held: Image) -> dict[str, Seen]:
    """One request of each kind, all at once, each on a connection of its own."""
    asked = {
        "base": ask(registry, "/v2/"),
        "tags": ask(registry, "/v2/a/b/tags/list"),
        "head": ask(registry, "/v2/a/b/manifests/1", "HEAD"),
        "manifest": ask(registry, "/v2/a/b/manifests/1"),
        "by digest": ask(registry, f"/v2/a/b/manifests/{held.digest}"),
        "layer": ask(registry, blob_path(held)),
        "rest": ask(registry, blob_path(held), headers={"Range": "bytes=1-"}),
        "token": ask(registry, "/token"),
    }
    return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))


# -- the catalogue ----------------------------------------------------------------------------------


def test_every_row_is_played_or_says_how_it_is_made() -> None:
    played = {case.row for case in REGISTRY_CASES} | {case.row for case in REALM}
    assert played | MADE_OTHERWISE.keys() == ROWS
    assert not played & MADE_OTHERWISE.keys()


def test_no_two_cases_have_the_same_name() -> None:
    names = [str(case) for case in (*REGISTRY_CASES, *REALM)]
    assert sorted(names) == sorted(set(names))


def test_a_row_is_looked_up_by_its_number() -> None:
    assert [case.name for case in cases("N14")] == ["reset after the last byte", "reset after the headers"]


@pytest.mark.parametrize(
    "case", [case for case in REGISTRY_CASES if case.row not in NOT_IN_AN_ANSWER], ids=str
)
async def test_every_case_is_met_by_somebody(registry: FakeRegistry, held: Image, case: Case[Apply]) -> None:
    right = await everything(registry, held)
    case.apply(registry, held)
    wrong = await everything(registry, held)
    assert registry.faulted
    if case not in (*cases("N10"), *cases("N14"), *cases("N15"), *cases("H14"), *LOGIN):
        assert [seen.raw for seen in wrong.values()] != [seen.raw for seen in right.values()]


async def test_a_refused_connection_is_refused_and_can_be_taken_back(registry: FakeRegistry) -> None:
    kept = await asyncio.open_connection(registry.host, registry.port)
    await ask(registry, "/v2/")
    registry.refuse()
    registry.refuse()
    with pytest.raises(ConnectionRefusedError):
        await ask(registry, "/v2/")
    assert await kept[0].read() == b""
    kept[1].close()
    await kept[1].wait_closed()
    await registry.accept()
    await registry.accept()
    assert (await ask(registry, "/v2/")).status == 200


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_just_being_made_is_not_served_by_one_who_refuses(turns: int) -> None:
    async with FakeRegistry() as registry:
        with socket.create_connection((registry.host, registry.port), timeout=10) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
            for _ in range(turns):
                await asyncio.sleep(0)
            registry.refuse()
            served = len(registry.requests)
            with contextlib.suppress(ConnectionResetError):
                while await asyncio.to_thread(connection.recv, 1000):
                    pass
        assert len(registry.requests) == served


async def test_a_deleted_tag_is_gone_while_its_digest_stays(registry: FakeRegistry, held: Image) -> None:
    cases("C8")[0].apply(registry, held)
    seen = await everything(registry, held)
    assert (seen["manifest"].status, seen["by digest"].status) == (404, 200)


# -- the table of 26 --------------------------------------------------------------------------------


def test_the_table_has_26_rows_of_different_names() -> None:
    assert len({name for name, _ in FAULT_TABLE}) == len(FAULT_TABLE) == 26


@pytest.mark.parametrize(("name", "apply"), FAULT_TABLE[1:], ids=[name for name, _ in FAULT_TABLE[1:]])
async def test_a_row_of_the_table_spoils_what_it_names_and_nothing_else(
    registry: FakeRegistry, held: Image, name: str, apply: Apply
) -> None:
    right = await everything(registry, held)
    apply(registry, held)
    wrong = await everything(registry, held)
    spoilt = {key for key in right if right[key] != wrong[key]}
    expected = {
        "realm": {"base", "tags", "head", "manifest", "by digest", "layer", "rest", "token"},
        "manifest": {"head", "manifest", "by digest"},
        "HEAD": {"head"},
        "stale": {"head", "manifest"},
        "blob": {"layer", "rest"},
    }
    assert spoilt == expected[name.split()[0]]
    assert len(registry.faulted) == len(spoilt)


async def test_the_stale_tag_is_a_well_formed_older_image(registry: FakeRegistry, held: Image) -> None:
    dict(FAULT_TABLE)["stale tag"](registry, held)
    stale = await ask(registry, "/v2/a/b/manifests/1")
    assert stale.body == older(held).raw != held.raw
    assert stale.header("Docker-Content-Digest") == older(held).digest
    for blob in older(held).blobs:
        assert (await ask(registry, f"/v2/a/b/blobs/{blob.digest}")).body == blob.read()
    assert (await ask(registry, f"/v2/a/b/manifests/{held.digest}")).body == held.raw


# -- bodies and endings -----------------------------------------------------------------------------


HALF = LAYER_BYTES // 2


@pytest.mark.parametrize(
    ("fault", "ending", "bytes_seen"),
    [
        (faults.truncated(), "closed", HALF),
        (faults.truncated(1000), "closed", 1000),
        (faults.empty(), "closed", 0),
        (faults.resets(), "reset", HALF),
        (faults.resets(0), "reset", 0),
        (faults.resets_at_the_end(), "reset", LAYER_BYTES),
        (faults.closes_afterwards(), "closed", LAYER_BYTES),
        (faults.stalls(50_000), "silence", 50_000),
        (faults.stalls(0), "silence", 0),
        (faults.longer_by(10), "closed", LAYER_BYTES + 10),
        (faults.flipped_bit(), "silence", LAYER_BYTES),
        (faults.http_1_0(), "closed", LAYER_BYTES),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else str(value),
)
@pytest.mark.parametrize("in_file", [False, True], ids=["in memory", "in a file"])
async def test_so_many_bytes_arrive_and_then_this_happens(
    registry: FakeRegistry,
    tmp_path_factory: pytest.TempPathFactory,
    fault: Fault,
    ending: str,
    bytes_seen: int,
    in_file: bool,
) -> None:
    layer = random_layer(seed=1, size_bytes=LAYER_BYTES)
    if in_file:
        layer = random_layer_file(tmp_path_factory.mktemp("layer") / "layer", 1, LAYER_BYTES)
    held = registry.add(image("a/b", "1", layers=[layer]))
    registry.script(fault)
    seen = await ask(registry, blob_path(held), to_the_end=True)
    assert (seen.ending, len(seen.body), seen.status) == (ending, bytes_seen, 200)
    assert registry.faulted[0].bytes_sent == bytes_seen
    if fault.name != "http/1.0":
        assert seen.header("Content-Length") == str(LAYER_BYTES)


@pytest.mark.parametrize(
    ("fault", "ending"),
    [(faults.silence(), "silence"), (faults.hang_up(), "closed"), (faults.reset_before_answer(), "reset")],
    ids=["silence", "hang up", "reset"],
)
async def test_no_byte_arrives_and_then_this_happens(
    registry: FakeRegistry, fault: Fault, ending: str
) -> None:
    registry.script(fault)
    assert await ask(registry, "/v2/") == Seen(b"", ending)


async def test_one_bit_is_wrong_and_only_one(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.flipped_bit(at=7))
    got, right = (await ask(registry, blob_path(held))).body, held.layers[0].read()
    assert [at for at in range(LAYER_BYTES) if got[at] != right[at]] == [7]
    assert (got[7] ^ right[7]).bit_count() == 1


async def test_a_bit_of_an_empty_body_cannot_flip(registry: FakeRegistry) -> None:
    held = registry.add(image("a/b", "1", layers=[random_layer(1, 0)]))
    registry.script(faults.flipped_bit())
    assert (await ask(registry, blob_path(held))).body == b""


async def test_a_substitute_has_the_right_length(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.substituted())
    got = (await ask(registry, blob_path(held))).body
    assert len(got) == LAYER_BYTES
    assert got != held.layers[0].read()


async def test_a_short_body_has_a_content_length_that_agrees(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.short_by(10))
    seen = await ask(registry, blob_path(held))
    assert seen.header("Content-Length") == str(LAYER_BYTES - 10)
    assert seen.body == held.layers[0].read()[:-10]


async def test_gzip_is_what_it_says(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.gzip_encoded())
    seen = await ask(registry, "/v2/a/b/manifests/1")
    assert seen.header("Content-Encoding") == "gzip"
    assert gzip.decompress(seen.body) == held.raw


async def test_chunks_add_up(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.chunked())
    seen = await ask(registry, blob_path(held), to_the_end=True)
    assert (seen.header("Content-Length"), seen.header("Transfer-Encoding")) == (None, "chunked")
    size, _, rest = seen.body.partition(b"\r\n")
    assert int(size, 16) == LAYER_BYTES
    assert rest == held.layers[0].read() + b"\r\n0\r\n\r\n"


async def test_an_ignored_range_gets_the_whole_blob_as_200(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.range_ignored())
    seen = await ask(registry, blob_path(held), headers={"Range": "bytes=100-"})
    assert (seen.status, seen.body) == (200, held.layers[0].read())
    await ask(registry, blob_path(held))
    assert len(registry.faulted) == 1


# -- headers and statuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        (faults.status(503), lambda seen: seen.status == 503 and b'"errors"' in seen.body),
        (faults.page(403), lambda seen: seen.status == 403 and b"<html>" in seen.body),
        (
            faults.rate_limited("soon"),
            lambda seen: seen.status == 429 and seen.header("Retry-After") == "soon",
        ),
        (faults.rate_limited(), lambda seen: seen.status == 429 and seen.header("Retry-After") is None),
        (
            faults.unauthorized("Basic", "Negotiate"),
            lambda seen: len(seen.headers) == 4 and seen.status == 401,
        ),
        (
            faults.no_header("Docker-Content-Digest"),
            lambda seen: seen.header("Docker-Content-Digest") is None,
        ),
        (faults.lying_digest(), lambda seen: seen.header("Docker-Content-Digest") == "sha256:" + "0" * 64),
        (faults.lower_case_headers(), lambda seen: all(key == key.lower() for key, _ in seen.headers)),
        (
            faults.second_header("Content-Length", "1"),
            lambda seen: str(seen.headers).count("Content-Length") == 2,
        ),
        (faults.huge_header(), lambda seen: len(seen.header("X-Huge")) == 102_400),
        (faults.many_headers(), lambda seen: len(seen.headers) > 10_000),
        (faults.long_status_line(), lambda seen: len(seen.raw.split(b"\r\n")[0]) > 102_400),
        (
            faults.interim_flood(9),
            lambda seen: seen.raw.count(b"HTTP/1.1 103 Early Hints") == 9 and seen.status == 200,
        ),
        (faults.status_line(799), lambda seen: seen.raw.startswith(b"HTTP/1.1 799 Unknown\r\n")),
        (faults.status_line(204), lambda seen: seen.body == b""),
        (faults.gibberish(b"?"), lambda seen: seen.raw.startswith(b"?") and seen.ending == "closed"),
        (faults.redirect("/x", 302), lambda seen: (seen.status, seen.header("Location")) == (302, "/x")),
        (faults.redirect(None), lambda seen: (seen.status, seen.header("Location")) == (307, None)),
        (
            faults.redirect_to("http://b"),
            lambda seen: seen.header("Location") == "http://b/v2/a/b/manifests/1",
        ),
        (faults.redirect_hops(2), lambda seen: seen.header("Location") == "/v2/a/b/manifests/1?hop=1"),
        (faults.error_document_with_200(), lambda seen: seen.status == 200 and b'"errors"' in seen.body),
        (
            faults.bearer_at("http://r/t"),
            lambda seen: 'Bearer realm="http://r/t"' in seen.header("WWW-Authenticate"),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_the_answer_is_wrong_in_this_way(
    registry: FakeRegistry, held: Image, fault: Fault, holds: Callable[[Seen], bool]
) -> None:
    registry.script(fault)
    seen = await ask(registry, f"/v2/a/b/manifests/{held.tag}")
    assert holds(seen), seen.raw[:500]


async def test_redirects_come_to_an_end_after_so_many_hops(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.redirect_hops(2))
    assert (await ask(registry, "/v2/a/b/manifests/1?hop=2")).body == held.raw


async def test_fields_of_a_document_are_set_and_taken_away(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.json_fields(tags=[], name=None))
    assert json.loads((await ask(registry, "/v2/a/b/tags/list")).body) == {"tags": []}


# -- scripts ----------------------------------------------------------------------------------------


async def statuses(registry: FakeRegistry, *targets: str) -> list[int]:
    return [(await ask(registry, target)).status for target in targets]


async def test_the_first_script_that_is_not_used_up_has_the_request(registry: FakeRegistry) -> None:
    registry.script(faults.status(500), times=2)
    registry.script(faults.status(429), times=1)
    assert await statuses(registry, *["/v2/"] * 4) == [500, 500, 429, 200]


async def test_only_the_nth_request_of_a_sort_is_meant(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.status(500), on=Match(kind="manifest", nth=2))
    path = "/v2/a/b/manifests/1"
    assert await statuses(registry, path, "/v2/", path, path) == [200, 200, 500, 200]


async def test_a_script_adds_to_what_the_fault_itself_is_meant_for(
    registry: FakeRegistry, held: Image
) -> None:
    registry.script(faults.flipped_bit(), on=Match(kind="manifest"))
    await ask(registry, "/v2/a/b/manifests/1", "HEAD")
    assert registry.count(fault_met=True) == 0
    await ask(registry, "/v2/a/b/manifests/1")
    assert registry.count(kind="manifest", method="GET", fault_met=True) == 1


async def test_scripts_can_be_forgotten(registry: FakeRegistry) -> None:
    registry.script(faults.status(500))
    assert await statuses(registry, "/v2/") == [500]
    registry.behave()
    assert await statuses(registry, "/v2/") == [200]


async def test_an_answer_is_held_until_the_test_lets_it_go(registry: FakeRegistry, held: Image) -> None:
    gate, head_gate = asyncio.Event(), asyncio.Event()
    registry.script(faults.held(gate, at=1000), on=Match(kind="blob"))
    registry.script(faults.held(head_gate), on=Match(kind="base"))
    assert len((await ask(registry, blob_path(held), to_the_end=True)).body) == 1000
    assert (await ask(registry, "/v2/")).raw == b""
    gate.set()
    head_gate.set()
    assert (await ask(registry, blob_path(held))).body == held.layers[0].read()
    assert (await ask(registry, "/v2/")).status == 200


async def test_a_test_can_wait_until_a_request_has_come(registry: FakeRegistry) -> None:
    waiting = asyncio.create_task(registry.wait_for(Match(kind="base"), times=2))
    await ask(registry, "/v2/")
    assert not waiting.done()
    await ask(registry, "/v2/?second")
    assert (await waiting).target == "/v2/?second"


async def test_a_limited_body_arrives_in_small_pieces(registry: FakeRegistry, held: Image) -> None:
    cases("N20")[0].apply(registry, held)
    reader, writer = await asyncio.open_connection(registry.host, registry.port)
    writer.write(f"GET {blob_path(held)} HTTP/1.1\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    assert len(await reader.read(LAYER_BYTES)) == 50_000 / 20
    writer.transport.abort()
    await asyncio.sleep(0)


async def test_the_first_byte_can_come_late(registry: FakeRegistry) -> None:
    registry.script(faults.sleeps_first(0.001))
    assert (await ask(registry, "/v2/")).status == 200


async def test_a_client_that_goes_away_in_mid_blob_does_the_registry_no_harm(registry: FakeRegistry) -> None:
    held = registry.add(image("a/b", "1", layers=[random_layer(seed=1, size_bytes=9_000_000)]))
    reader, writer = await asyncio.open_connection(registry.host, registry.port)
    writer.write(f"GET {blob_path(held)} HTTP/1.1\r\n\r\n".encode())
    await reader.readexactly(1000)
    writer.transport.abort()
    await asyncio.sleep(0)
    assert await statuses(registry, "/v2/") == [200]


async def test_a_bomb_unpacks_to_more_than_anybody_wants(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.gzip_bomb(1_000_000))
    seen = await ask(registry, "/v2/a/b/manifests/1")
    assert seen.header("Content-Encoding") == "gzip"
    assert seen.header("Docker-Content-Digest") == held.digest
    assert gzip.decompress(seen.body) == bytes(1_000_000)


async def test_endless_pages_never_lead_back(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.endless_pages())
    path = "/v2/a/b/tags/list"
    seen = set()
    for _ in range(5):
        seen.add(path)
        link = (await ask(registry, path)).header("Link") or ""
        path = link.partition(">")[0].removeprefix("<")
    assert len(seen | {path}) == 6


async def test_a_body_that_is_cut_off_comes_as_far_as_that(registry: FakeRegistry, held: Image) -> None:
    registry.script(faults.cut_off(), on=Match(kind="blob"))
    seen = await ask(registry, blob_path(held), to_the_end=True)
    assert seen.header("Content-Length") == str(LAYER_BYTES)
    assert seen.body == held.layers[0].read()[: LAYER_BYTES // 2]
