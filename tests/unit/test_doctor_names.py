"""Names as they are given: what each tool makes of them, and which mean what they do not look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.doctor.contract import Finding
from sampan.doctor.names import check_names, names_of
from sampan.oci import Reference
from sampan.runtimes.tree import Tree
from scenes import found, lay, scene

DIGEST = f"sha256:{'a' * 64}"
SEARCH = {"etc/containers/registries.conf": 'unqualified-search-registries = ["quay.io", "docker.io"]\n'}


def images(text: str, tree: Path) -> dict[str, tuple[str, ...]]:
    return {tool: named.images for named in names_of(text, Tree(tree)) for tool in named.tools}


@pytest.mark.parametrize(
    ("text", "cri", "ctr"),
    [
        ("alpine", "docker.io/library/alpine:latest", ()),
        ("alpine:3", "docker.io/library/alpine:3", ()),
        ("docker.io/alpine:3", "docker.io/library/alpine:3", ("docker.io/alpine:3",)),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest", ()),
        ("docker.io/library/alpine:3", "docker.io/library/alpine:3", ("docker.io/library/alpine:3",)),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1", ("ghcr.io/a/b:1",)),
        ("localhost/a:1", "localhost/a:1", ("localhost/a:1",)),
        (f"quay.io/a/b:1@{DIGEST}", f"quay.io/a/b@{DIGEST}", (f"quay.io/a/b:1@{DIGEST}",)),
    ],
)
def test_ctr_takes_a_name_as_it_is_and_the_kubelet_completes_it(
    text: str, cri: str, ctr: tuple[str, ...], tmp_path: Path
) -> None:
    made = images(text, tmp_path)
    assert made["crictl"] == (cri,)
    assert made["ctr"] == ctr
    assert made["docker"] == made["nerdctl"] == (str(Reference.parse(text)),)


def test_who_is_refused_or_misled_is_told_the_whole_name(tmp_path: Path) -> None:
    (ctr,) = (named for named in names_of("docker.io/alpine:3", Tree(tmp_path)) if "ctr" in named.tools)
    assert ctr.why == "it takes a name as it is written: write docker.io/library/alpine:3"


def test_podman_looks_a_short_name_up_where_its_files_say(tmp_path: Path) -> None:
    assert images("alpine:3", tmp_path)["podman"] == ()
    lay(tmp_path, SEARCH)
    assert images("alpine:3", tmp_path)["podman"] == ("quay.io/alpine:3", "docker.io/library/alpine:3")
    assert images("a/b", tmp_path)["crio"] == ("quay.io/a/b:latest", "docker.io/a/b:latest")
    assert images("docker.io/alpine:3", tmp_path)["podman"] == ("docker.io/library/alpine:3",)
    lay(tmp_path, {"etc/containers/registries.conf": "unqualified-search-registries = 1\n"})
    assert images("alpine:3", tmp_path)["podman"] == ()


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("Alpine", "NAME_INVALID", "write alpine"),
        ("alpine：3", "NAME_INVALID", "write alpine:3"),
        ("https://hub.docker.com/_/alpine", "NAME_INVALID", "write alpine"),
        ("a" * 64, "NAME_INVALID", f"for content by digest write repository@sha256:{'a' * 64}"),
        ("192.168.0.1:5000", "NAME_MISREAD", "write 192.168.0.1:5000/REPOSITORY"),
        ("localhost:5000", "NAME_MISREAD", "write localhost:5000/REPOSITORY"),
        ("registry-1.docker.io/library/alpine", "NAME_NOT_OF_HUB", "write docker.io/library/alpine"),
        ("hub.docker.com/r/grafana/loki", "NAME_NOT_OF_HUB", "write docker.io/grafana/loki"),
        (f"alpine:3@{DIGEST}", "NAME_TAG_IDLE", None),
    ],
)
async def test_a_name_that_is_none_or_means_something_else_is_told(
    text: str, code: str, hint: str | None, tmp_path: Path
) -> None:
    (finding,) = await found(check_names, scene(tmp_path, text))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.hint) == (code, hint)
    assert len(finding.subject) <= 101


@pytest.mark.parametrize(
    "text", ["alpine", "alpine:3", "index.docker.io/alpine", "quay.io/a/b:1", "localhost:5000/a", "a.b/c"]
)
async def test_an_ordinary_name_is_no_matter(text: str, tmp_path: Path) -> None:
    assert await found(check_names, scene(tmp_path, text)) == []


def test_what_is_no_name_is_nothing_to_any_tool(tmp_path: Path) -> None:
    assert names_of("Alpine", Tree(tmp_path)) == ()
