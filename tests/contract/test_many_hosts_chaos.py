"""Four hosts, three of which do what they like: what the honest one has arrives. More in tests/property."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import assert_what_the_honest_one_has_arrives


@pytest.mark.parametrize("seed", range(12))
async def test_what_one_honest_host_of_four_has_arrives(tmp_path: Path, seed: int) -> None:
    await assert_what_the_honest_one_has_arrives(tmp_path, seed)
