"""The arithmetic of recovery: sums and products of bytes in the field GF(2⁸), over whole rows at once.

Guarantees that any rows that are lost can be had from as many recovery rows (a Cauchy matrix: each of its
square parts can be inverted). Pure, and the standard library alone: a product is one ``bytes.translate``, a
sum one exclusive or of long integers. docs/bundle-format.md defines every number here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

POLYNOMIAL = 0x11D
ORDER = 255  # of the powers of 2, which is every element but 0


@cache
def _powers() -> tuple[bytes, bytes]:
    """Powers of 2 by their exponent, twice over; and exponents by their power."""
    powers, logs, value = bytearray(2 * ORDER), bytearray(256), 1
    for exponent in range(ORDER):
        powers[exponent] = powers[exponent + ORDER] = value
        logs[value] = exponent
        value = value << 1 ^ (POLYNOMIAL if value & 0x80 else 0)
    return bytes(powers), bytes(logs)


def times(one: int, other: int) -> int:
    """The product of two elements."""
    powers, logs = _powers()
    return powers[logs[one] + logs[other]] if one and other else 0


def inverse(element: int) -> int:
    """One divided by ``element``, which is not 0."""
    powers, logs = _powers()
    return powers[ORDER - logs[element]]


@cache
def _multiples(factor: int) -> bytes:
    """The product of ``factor`` with each byte."""
    return bytes(times(factor, byte) for byte in range(256))


def coefficients(recovery: int, data: int) -> tuple[tuple[int, ...], ...]:
    """By recovery row and data row: with what the data row is multiplied in the sum. ``recovery`` and
    ``data`` rows together are at most 255. The first recovery row is the plain sum."""
    cauchy = [[inverse(row ^ (recovery + column)) for column in range(data)] for row in range(recovery)]
    scale = [inverse(entry) for entry in cauchy[0]]
    return tuple(tuple(times(entry, s) for entry, s in zip(line, scale, strict=True)) for line in cauchy)


def combine(rows: Sequence[bytes], factors: Sequence[int]) -> bytes:
    """The sum of ``rows``, all as long as the first, each times its factor."""
    total = 0
    for row, factor in zip(rows, factors, strict=True):
        if factor:
            total ^= int.from_bytes(row if factor == 1 else row.translate(_multiples(factor)), "little")
    return total.to_bytes(len(rows[0]), "little")


def recover(
    matrix: Sequence[Sequence[int]], there: Mapping[int, bytes], sums: Mapping[int, bytes]
) -> dict[int, bytes]:
    """The data rows that are not ``there``, by column, from the recovery rows ``sums``, by row of ``matrix``.

    Raises ValueError when more are lost than ``sums`` can make up for.
    """
    lost = [column for column in range(len(matrix[0])) if column not in there]
    chosen = sorted(sums)[: len(lost)]
    if len(chosen) < len(lost):
        raise ValueError(f"{len(lost)} rows are lost, and {len(sums)} recovery rows are there")
    columns = sorted(there)
    rests = [
        combine(
            [sums[row], *(there[column] for column in columns)],
            [1, *(matrix[row][column] for column in columns)],
        )
        for row in chosen
    ]
    solved = _inverted([[matrix[row][column] for column in lost] for row in chosen])
    return {column: combine(rests, line) for column, line in zip(lost, solved, strict=True)}


def _inverted(matrix: Sequence[Sequence[int]]) -> list[list[int]]:
    """The inverse of a square part of :func:`coefficients`; by Gauss and Jordan."""
    count = len(matrix)
    work = [[*line, *(int(n == m) for m in range(count))] for n, line in enumerate(matrix)]
    for pivot in range(count):
        found = next(row for row in range(pivot, count) if work[row][pivot])
        work[pivot], work[found] = work[found], work[pivot]
        scale = inverse(work[pivot][pivot])
        work[pivot] = [times(scale, entry) for entry in work[pivot]]
        for row in range(count):
            factor = work[row][pivot]
            if row != pivot and factor:
                work[row] = [a ^ times(factor, b) for a, b in zip(work[row], work[pivot], strict=True)]
    return [line[count:] for line in work]
