"""Both pages of the configuration name every key with its default, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import msgspec.inspect
import pytest

from sampan.config import Config, environment
from sampan.config.schema import (
    ConditionTable,
    File,
    MirrorTable,
    NodeTable,
    ProfileTable,
    PullTable,
    RegistryTable,
    RewriteTable,
    ServerTable,
    StoreTable,
    Table,
    TagsTable,
)
from sampan.config.tables import BUILT_IN

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["configuration.md", "configuration.zh-CN.md"]
SECTIONS: dict[str, type[Table]] = {
    "`[server]`": ServerTable,
    "`[store]`": StoreTable,
    '`[registry."NAME"]`': RegistryTable,
    "A mirror": MirrorTable,
    "镜像": MirrorTable,
    "`[tags]`": TagsTable,
    "`[pull]`": PullTable,
    "`[profile.NAME]`": ProfileTable,
    "`when`": ConditionTable,
    "`[rewrite]`": RewriteTable,
}
_ROW = re.compile(r"^\| `([a-z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(page: str) -> dict[str, str]:
    """Heading -> text, of the second level."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(page: str) -> dict[type[Table], dict[str, str]]:
    """Table -> key -> the column of its default."""
    return {
        SECTIONS[heading]: {key: default for key, default, _ in _ROW.findall(text)}
        for heading, text in sections(page).items()
        if heading in SECTIONS
    }


def fields(table: type[Table]) -> dict[str, msgspec.inspect.Field]:
    shape = msgspec.inspect.type_info(table)
    assert isinstance(shape, msgspec.inspect.StructType)
    return {field.encode_name: field for field in shape.fields}


def written_default(field: msgspec.inspect.Field) -> str | None:
    """How a default is written in the page; None when it is not a plain value."""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case int():
            return f"`{value}`"
        case str():
            return f'`"{value}"`'
        case list():
            return _list(value)
        case dict():
            return "`{}`"
    return None


def _list(items: list[str]) -> str:
    quoted = ", ".join(f'"{item}"' for item in items)
    return f"`[{quoted}]`"


@pytest.mark.parametrize("page", PAGES)
def test_every_key_is_documented_and_no_other(page: str) -> None:
    assert {table: set(keys) for table, keys in documented(page).items()} == {
        table: set(fields(table)) for table in SECTIONS.values()
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_default_is_documented_as_it_is(page: str) -> None:
    for table, keys in documented(page).items():
        for key, field in fields(table).items():
            expected = written_default(field)
            if expected is not None:
                assert keys[key] == expected, f"{table.__name__}.{key}"


@pytest.mark.parametrize("page", PAGES)
def test_every_table_of_the_file_has_a_section(page: str) -> None:
    headings = " ".join(sections(page))
    for name in fields(File):
        assert f"`[{name}" in headings
    assert set(fields(NodeTable)) == {"commands"}
    assert "`[node.commands]`" in headings


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_is_documented(page: str) -> None:
    text = (DOCS / page).read_text()
    variables = (environment.CONFIG, environment.PROFILE, environment.MIRRORS, environment.LOGINS)
    known = {*variables, environment.LANGUAGE}
    assert set(re.findall(r"^\| `(SAMPAN_[A-Z]+)`", text, re.MULTILINE)) == known
    source = "".join(path.read_text() for path in (DOCS.parent / "src").rglob("*.py"))
    assert set(re.findall(r"\bSAMPAN_[A-Z]+\b", source)) <= known


@pytest.mark.parametrize("page", PAGES)
def test_the_built_in_registries_and_usual_places_are_documented(page: str) -> None:
    text = (DOCS / page).read_text()
    listed = re.search(r"(?:each from its origin: |从各自的源站提供：)(.*)[.。]$", text, re.MULTILINE)
    assert listed is not None
    assert re.findall(r"`([^`]+)`", listed[1]) == list(BUILT_IN)
    assert f"`{environment.SYSTEM_FILE}`" in text
    assert f"`{environment.SYSTEM_STORE}`" in text


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_work(page: str, tmp_path: Path) -> None:
    (tmp_path / "harbor.pem").write_text("a certificate")
    examples = _BLOCK.findall((DOCS / page).read_text())
    assert examples
    for example in examples:
        config = Config.parse(example, name=str(tmp_path / "sampan.toml"), environ={"HARBOR_PASSWORD": "x"})
        assert config.hosts_for("docker.io")
        abroad = Config.parse(
            example,
            name=str(tmp_path / "sampan.toml"),
            environ={"HARBOR_PASSWORD": "x", "REGION": "eu-west-1"},
        )
        assert abroad.profile == "abroad"


def test_both_pages_have_the_same_examples_but_for_comments() -> None:
    english, chinese = (
        [re.sub(r" *#.*", "", block) for block in _BLOCK.findall((DOCS / page).read_text())] for page in PAGES
    )
    assert english == chinese
