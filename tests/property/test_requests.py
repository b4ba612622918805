"""Whatever a client sends as a request target or in a header: an answer or a refusal, never another error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import SampanError
from sampan.oci.digest import Digest
from sampan.server.answer import problem, render_head
from sampan.server.listing import page_of_tags
from sampan.server.log import PullLog
from sampan.server.v2 import V2, Request
from sampan.testing import ManualClock
from serving.mirror import LAYER, FakeMirror

# As aiohttp decodes bytes that are not UTF-8: lone surrogates too.
ANYTHING = st.text(st.characters(codec=None), max_size=200)
PIECES = st.sampled_from(
    ["/", "v2", "library", "alpine", "manifests", "blobs", "tags", "list", "referrers", "3", "%2f", "%00",
     "..", "?", "ns=", "&", "docker.io", "=", "%", "sha256:", "a" * 64, "n=", "last=", ":", "@", "\\",
     "\x00", "é", "\udcff"]
)  # fmt: skip
TARGETS = st.one_of(
    ANYTHING,
    st.lists(PIECES, max_size=12).map(lambda parts: "/v2/" + "".join(parts)),
    st.lists(PIECES, max_size=12).map(lambda parts: "/v2/" + "/".join(parts)),
)


@given(TARGETS)
def test_any_request_target_is_understood_or_refused(target: str) -> None:
    try:
        asked = V2(FakeMirror(), instance="instance-one").parse(target)
    except SampanError as error:
        answer = problem(error)
        assert 400 <= answer.status < 500
        PullLog(ManualClock()).failed("client", "GET", target, answer.status, answer.error)
    else:
        assert asked.target.registry in ("docker.io", "ghcr.io")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: ANYTHING | st.sampled_from(["bytes=0-", "bytes=-0", '"x"', "*", "bytes=5-1"])
            for name in ("Range", "If-Range", "If-None-Match", "X-Sampan-Loop", "Accept")
        },
    )
)
async def test_any_headers_get_an_answer_for_a_blob(headers: dict[str, str]) -> None:
    v2 = V2(FakeMirror(), instance="instance-one")
    target = f"/v2/library/alpine/blobs/{Digest.of(LAYER)}"
    answer = await v2.answer(Request("GET", target, headers), v2.parse(target))
    assert answer.status in (200, 206, 304, 416)
    if answer.blob is not None:
        assert 0 <= answer.start < answer.stop <= len(LAYER)
        answer.blob.close()


@given(st.lists(st.tuples(st.just("X-Name"), ANYTHING), max_size=5))
def test_a_head_is_printable_ascii_whatever_goes_into_it(fields: list[tuple[str, str]]) -> None:
    head = render_head(200, fields)
    assert head.isascii()
    lines = head.decode().split("\r\n")
    assert len(lines) == len(fields) + 2
    assert all(line.isprintable() for line in lines)


@given(st.lists(st.text(min_size=1, max_size=5), max_size=20), st.integers(1, 10))
def test_the_pages_of_a_list_are_the_list(tags: list[str], size: int) -> None:
    seen: list[str] = []
    more = True
    while more:
        page, more = page_of_tags(tags, n=str(size), last=seen[-1] if seen else None)
        assert len(page) <= size
        seen += page
    assert seen == sorted(set(tags))
