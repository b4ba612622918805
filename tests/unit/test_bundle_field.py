"""The arithmetic of recovery: whatever is lost comes back, as long as enough is there."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from sampan.bundle.field import coefficients, combine, inverse, recover, times

SHAPES = [(1, 1), (1, 5), (2, 4), (3, 5), (4, 3)]


def rows_of(count: int, seed: int = 1) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(64) for _ in range(count)]


@pytest.mark.parametrize(("recovery", "data"), SHAPES)
def test_any_rows_that_are_lost_come_back_from_any_as_many_recovery_rows(recovery: int, data: int) -> None:
    matrix, rows = coefficients(recovery, data), rows_of(data)
    sums = [combine(rows, line) for line in matrix]
    for count in range(min(recovery, data) + 1):
        for lost in combinations(range(data), count):
            there = {column: rows[column] for column in range(data) if column not in lost}
            for kept in combinations(range(recovery), count):
                found = recover(matrix, there, {row: sums[row] for row in kept})
                assert found == {column: rows[column] for column in lost}


def test_the_first_recovery_row_is_the_exclusive_or_of_all() -> None:
    rows = rows_of(7)
    total = 0
    for row in rows:
        total ^= int.from_bytes(row, "big")
    assert combine(rows, coefficients(3, 7)[0]) == total.to_bytes(64, "big")


def test_more_lost_than_recovery_rows_is_an_error() -> None:
    matrix, rows = coefficients(2, 4), rows_of(4)
    sums = {row: combine(rows, line) for row, line in enumerate(matrix)}
    with pytest.raises(ValueError, match="3 rows are lost, and 2 recovery rows are there"):
        recover(matrix, {0: rows[0]}, sums)


def test_the_largest_number_of_volumes_can_lose_as_many_as_it_may() -> None:
    matrix, rows = coefficients(32, 223), rows_of(223, seed=2)
    lost = random.Random(3).sample(range(223), 32)
    there = {column: row for column, row in enumerate(rows) if column not in lost}
    sums = {number: combine(rows, line) for number, line in enumerate(matrix)}
    assert recover(matrix, there, sums) == {column: rows[column] for column in lost}


def test_the_field_is_the_one_that_the_format_names() -> None:
    """x⁸+x⁴+x³+x²+1, by the long way: shift and subtract."""

    def slowly(one: int, other: int) -> int:
        product = 0
        for bit in range(8):
            product ^= (one << bit) if other >> bit & 1 else 0
        for bit in range(14, 7, -1):
            product ^= (0x11D << bit - 8) if product >> bit & 1 else 0
        return product

    assert all(times(a, b) == slowly(a, b) for a in range(256) for b in range(256))
    assert all(times(a, inverse(a)) == 1 for a in range(1, 256))


def test_the_numbers_of_the_matrix_are_the_formats() -> None:
    """Written down once, so that a bundle of today can be repaired by a sampan of any day."""
    assert coefficients(3, 4) == ((1, 1, 1, 1), (143, 166, 70, 187), (3, 245, 104, 143))
