"""Every path that the mirror answers, and every header of its own, is in both pages about HTTP."""

from __future__ import annotations

import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.oci.digest import Digest
from sampan.oci.distribution import MIRROR_SOURCE, Kind, parse_target
from sampan.oci.passage import LOOP_HEADER
from serving.mirror import LAYER, REGISTRIES, FakeManifestReply, FakeMirror
from serving.wire import ask, running

DIGEST = Digest.of(LAYER)


def paths(language: str) -> list[str]:
    """The first column of the table of endpoints, as written there."""
    return [code for row in page("http", language).rows for code in codes(row[0]) if code.startswith("/")]


def real(path: str) -> str:
    named = path.replace("NAME", "library/alpine").replace("TAG", "3")
    return named.replace("DIGEST", str(DIGEST))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_of_question_has_a_path_in_the_table(language: str) -> None:
    api = [path for path in paths(language) if path.startswith("/v2/")]
    kinds = [parse_target(real(path), ns=(), registries=REGISTRIES).kind for path in api]
    assert set(kinds) == set(Kind)
    assert len(kinds) == len(set(kinds)) + 1, "manifests are asked for by tag and by digest"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_path_of_the_table_is_answered(language: str) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server:
        for path in paths(language):
            wanted = real(path)
            if wanted.startswith("/v2/library/alpine/manifests/sha256:"):
                wanted = f"/v2/library/alpine/manifests/{mirror.image.digest}"
            assert (await ask(server, wanted)).status == 200, path


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_page_outside_of_the_api_is_in_the_table(language: str) -> None:
    async with running(FakeMirror()) as server:
        hint = (await ask(server, "/")).error["detail"]["hint"]
    pages = {word.strip(",;") for word in hint.split() if word.startswith("/")} - {"/v2/"}
    assert pages == {path for path in paths(language) if not path.startswith("/v2/")}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_header_of_ours_is_explained(language: str) -> None:
    explained = " ".join(codes(page("http", language).prose)).lower()
    mirror = FakeMirror()
    stale = FakeManifestReply(mirror.image, stale=True, age_seconds=7.0)
    mirror.add_manifest("docker.io", "library/alpine", "3", stale)
    async with running(mirror) as server:
        answers = [await ask(server, real(path)) for path in paths(language)]
        answers.append(await ask(server, real("/v2/NAME/tags/list?n=1")))
        answers.append(await ask(server, real("/v2/NAME/referrers/DIGEST?artifactType=x")))
        answers.append(await ask(server, real("/v2/NAME/blobs/DIGEST"), Range="bytes=0-1"))
    usual = {"content-type", "content-length", "date", "connection", "docker-distribution-api-version"}
    names = {name for answer in answers for name in answer.headers} - usual
    assert {MIRROR_SOURCE.lower(), "warning", "age", "link", "content-range"} <= names
    assert [name for name in (*sorted(names), LOOP_HEADER.lower()) if name not in explained] == []
