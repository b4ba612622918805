"""Four hosts, three of which do what they like: what the honest one has arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import assert_what_the_honest_one_has_arrives

pytestmark = pytest.mark.standstill


@pytest.mark.parametrize("seed", range(12, 150))
async def test_what_one_honest_host_of_four_has_arrives(tmp_path: Path, seed: int) -> None:
    await assert_what_the_honest_one_has_arrives(tmp_path, seed)
