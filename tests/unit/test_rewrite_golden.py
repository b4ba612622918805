"""Files as they are in the world, and what becomes of them: nothing but the values of images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.rewrite.documents import rewrite_text
from sampan.rewrite.tree import decode, encode, kind_of

ROOT = Path(__file__).parents[1] / "golden" / "rewrite"
INPUT, EXPECTED = ROOT / "input", ROOT / "expected"
CONFIG = Config.load(ROOT / "sampan.toml", {})
RULES = rewriter(CONFIG)
FILES = sorted(path.relative_to(INPUT).as_posix() for path in INPUT.rglob("*") if path.is_file())

# A name at a mirror, with what stands around it where the form of a value had to change.
_NAME = (
    r"(?:(?:docker|k8s)\.m\.daocloud\.io|m\.daocloud\.io|harbor\.lan:8443|registry\.aliyuncs\.com)/[\w./:@-]+"
)
_MIRRORED = re.compile(
    rf'\{{name: "(?P<a>{_NAME})", alias: "[^"]*"\}}'
    rf"|(?P<q>[\"']?)(?P<b>{_NAME})(?P=q)(?:, |\r?\n +)alias: \"[^\"]*\""
    rf'|(?<=image: )"(?P<c>{_NAME})"'
    rf"|(?P<d>{_NAME})"
)


def rewritten(name: str, data: bytes) -> bytes:
    kind = kind_of(INPUT / name)
    return encode(rewrite_text(decode(data, kind), RULES, kind, CONFIG.rewrite.fields).text)


def test_there_are_enough_of_them_and_each_has_its_counterpart() -> None:
    assert len(FILES) >= 60
    assert [path for path in FILES if not (EXPECTED / path).is_file()] == []
    assert len(FILES) == sum(path.is_file() for path in EXPECTED.rglob("*"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_becomes_what_is_expected(name: str) -> None:
    assert rewritten(name, (INPUT / name).read_bytes()) == (EXPECTED / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_second_time_changes_nothing(name: str) -> None:
    data = (EXPECTED / name).read_bytes()
    assert rewritten(name, data) == data


@pytest.mark.parametrize("name", FILES)
def test_all_but_the_values_of_images_is_the_same_to_the_byte(name: str) -> None:
    """Shown without the code under test: what stands between the mirrored names is in the input, in the same
    order, and what stands there instead of a name is the image that becomes it."""
    before = (INPUT / name).read_bytes().decode("utf-8", "surrogateescape")
    after = (EXPECTED / name).read_bytes().decode("utf-8", "surrogateescape")
    names = list(_MIRRORED.finditer(after))
    edges = [0, *(edge for match in names for edge in match.span()), len(after)]
    between = [after[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]
    match = re.fullmatch(r"(\S+?)".join(map(re.escape, between)), before)
    assert match is not None
    for found, image in zip(names, match.groups(), strict=True):
        result = next(filter(None, (found["a"], found["b"], found["c"], found["d"])))
        assert image.startswith("*") or RULES.rewrite(plain(image)) == result


def plain(image: str) -> str:
    """An image as it is meant, out of its quotes and escapes."""
    image = image.strip("\"'")
    return str(json.loads(f'"{image}"'.replace("\\x", "\\u00")))
