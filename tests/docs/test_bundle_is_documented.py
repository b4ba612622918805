"""Every option of the making side is on its page, and the format's page says what the code does."""

from __future__ import annotations

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.bundle import contents, field, head, inventory, rows, signature
from sampan.bundle.layout import CONTENTS_NAME, SIGNATURE_BYTES, SIGNATURE_NAME, VOLUME_BYTES, VOLUME_NAME
from sampan.bundle.records import Record
from sampan.cli import bundle_create, bundle_inspect, bundle_key, bundle_repair, bundle_verify

OTHERS = (bundle_inspect, bundle_verify, bundle_repair, bundle_key)


def options(command: click.Command) -> set[str]:
    ours = [param for param in command.params if isinstance(param, click.Option)]
    return {param.opts[-1] for param in ours} - {"--config", "--debug"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_of_create_has_a_row_and_no_other_has_one(language: str) -> None:
    firsts = [codes(row[0]) for row in page("bundle", language).rows if len(row) == 2]
    told = {
        cells[0] for cells in firsts if len(cells) == 1 and cells[0].startswith("--") and " " not in cells[0]
    }
    assert told == options(bundle_create.command)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("module", OTHERS, ids=lambda module: module.__name__.rpartition("_")[2])
def test_the_options_of_the_other_commands_are_told(language: str, module: object) -> None:
    prose = page("bundle", language).prose
    name = module.__name__.rpartition("_")[2]  # type: ignore[attr-defined]
    for option in options(module.command):  # type: ignore[attr-defined]
        word = {"--output": "-o"}.get(option, option)
        assert any(code.startswith(f"{name} {word}") for code in codes(prose)), (name, option)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "record",
    [
        contents.Contents,
        contents.Asked,
        contents.Image,
        contents.Blob,
        contents.Place,
        contents.File,
        contents.Elsewhere,
        contents.Without,
        head.Volume,
        signature.SignatureDocument,
        inventory.Inventory,
    ],
)
def test_each_field_of_each_document_is_named(language: str, record: type[Record]) -> None:
    assert set(record.__struct_fields__) <= set(codes(page("bundle-format", language).prose))


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_numbers_and_limits_are_those_of_the_code(language: str) -> None:
    text = page("bundle-format", language).text
    for name in (
        CONTENTS_NAME,
        VOLUME_NAME,
        SIGNATURE_NAME,
        rows.DATA_NAME,
        rows.SUMS_NAME,
        signature.PURPOSE,
    ):
        assert name in text
    for number in (f"{SIGNATURE_BYTES:,} bytes", f"{VOLUME_BYTES} bytes", f"0x{field.POLYNOMIAL:x}"):
        assert number in text
    assert f"{rows.ROW_BYTES // 1024} KiB" in text
    assert f"| {contents.CONTENTS_BYTES_MAX // 1024**2} MiB |" in text
    assert f"| {contents.VOLUMES_MAX} |" in text
    assert {contents.VERSION, signature.VERSION, inventory.VERSION} == {1}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_block_that_a_bad_spot_may_take_is_told_to_users(language: str) -> None:
    assert f"{rows.ROW_BYTES // 1024} KiB" in page("bundle", language).text
