"""What ``import sampan`` offers, and what it does not cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sampan


@pytest.mark.parametrize("name", sampan.__all__)
def test_a_public_name_exists(name: str) -> None:
    found = getattr(sampan, name)
    assert callable(found)
    assert found.__name__ in (name, f"sampan.{name}")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sampan.nothing  # noqa: B018  # the access is the test


def test_importing_it_imports_nothing_slow() -> None:
    code = "import sampan, sys; print({'aiohttp', 'msgspec', 'click', 'sampan.oci'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
