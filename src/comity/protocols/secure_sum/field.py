"""Arithmetic modulo the prime q = 15·2²⁷ + 1: uniform elements, exact matrix products, interpolation.

Elements are uint32 in [0, q). A product of matrices modulo q is a product of float64 matrices: one side is cut into
halves of at most 16 bits, so that every partial sum is a whole number below 2⁵³. It is then exact, in whatever order
the hardware adds, and BLAS does the work.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.keystream import Keystream

Q = 15 * 2**27 + 1
GENERATOR = 31
"""The least generator of the multiplicative group modulo q."""

HALF = 16
"""Bits of the low half of an element; the high half has 15."""

_RUN = 64
"""Terms of one exact sum: 64 · (2¹⁵ + 2¹⁶) · q/2 < 2⁵³."""

Elements = NDArray[np.uint32]
Floats = NDArray[np.float64]


def uniform(stream: Keystream, count: int) -> Elements:
    """The next `count` uniform elements of `stream`.

    Of each 32-bit word the 31 low bits count, and what is not below q is skipped: one word in 16. So there is no bias,
    as `% q` would have.
    """
    found = [_kept(stream.words(_words_for(count)))]
    while (missing := count - sum(map(len, found))) > 0:
        found.append(_kept(stream.words(_words_for(missing))))
    return np.concatenate(found)[:count] if len(found) > 1 else found[0][:count]


def _words_for(count: int) -> int:
    """Words that hold `count` elements but for one time in thousands: 16/15 of them and six standard deviations."""
    return count + count // 15 + 2 * int(count**0.5) + 16


def _kept(words: NDArray[np.uint32]) -> Elements:
    np.bitwise_and(words, np.uint32(2**31 - 1), out=words)
    return words[words < Q]


def reduce(sums: Floats, spare: Floats) -> None:
    """Bring whole numbers |sums| < 2⁵³ modulo q to at most (q − 1)/2 + 4 in size, in place; `spare` is overwritten."""
    np.multiply(sums, 1 / Q, out=spare)
    np.rint(spare, out=spare)
    np.multiply(spare, Q, out=spare)
    np.subtract(sums, spare, out=sums)


def cut(values: Floats, high: Floats, low: Floats) -> None:
    """Write whole numbers as high · 2¹⁶ + low, with |low| ≤ 2¹⁵."""
    np.multiply(values, 2.0**-HALF, out=high)
    np.rint(high, out=high)
    np.multiply(high, -(2.0**HALF), out=low)
    np.add(low, values, out=low)


def centred(elements: Elements) -> Floats:
    """The numbers between −q/2 and q/2 that `elements` stand for."""
    signed = elements.view(np.int32)
    return np.where(signed > Q // 2, signed - np.int32(Q), signed).astype(np.float64)


def canonical(values: Floats) -> Elements:
    """The elements of whole numbers in (−q, q)."""
    elements = values.astype(np.int32).view(np.uint32)
    np.minimum(elements, elements + np.uint32(Q), out=elements)
    return elements


def times(left: NDArray[np.integer], right: NDArray[np.integer] | int) -> Elements:
    """Products of elements, entry by entry."""
    return (left.astype(np.uint64) * np.asarray(right, np.uint64) % np.uint64(Q)).astype(np.uint32)


def matrix_product(left: Elements, right: Elements) -> Elements:
    """`left` `[m, k]` times `right` `[k, n]` modulo q: `[m, n]`."""
    total = np.zeros((left.shape[0], right.shape[1]))
    spare = np.empty_like(total)
    for start in range(0, left.shape[1], _RUN):
        columns = left[:, start : start + _RUN]
        halves = np.concatenate([columns >> HALF, columns & (2**HALF - 1)], axis=1).astype(np.float64)
        rows = right[start : start + _RUN]
        part = halves @ np.concatenate([centred(times(rows, 2**HALF)), centred(rows)])
        reduce(part, spare)
        total += part
    reduce(total, spare)
    return canonical(total)


def power(base: NDArray[np.integer], exponent: int) -> Elements:
    """`base` to a power, entry by entry."""
    result, square = np.ones(base.shape, np.uint32), base.astype(np.uint32)
    while exponent:
        if exponent & 1:
            result = times(result, square)
        square, exponent = times(square, square), exponent >> 1
    return result


def inverse(elements: NDArray[np.integer]) -> Elements:
    """The inverses of elements other than zero (zero gives zero)."""
    return power(elements, Q - 2)


@lru_cache(maxsize=64)
def interpolation(points: tuple[int, ...], targets: tuple[int, ...]) -> Elements:
    """The matrix `[targets, points]` that takes a polynomial's values at `points` to its values at `targets`.

    The polynomial has a degree below the number of points (Lagrange). Points and targets are distinct elements. The
    matrix is shared and cannot be written to.
    """
    xs, ys = np.array(points, np.int64), np.array(targets, np.int64)
    between = differences(xs, xs)
    np.fill_diagonal(between, 1)
    across = differences(ys, xs)
    hits = across == 0
    across[hits] = 1
    matrix = times(row_products(across)[:, None], inverse(times(across, row_products(between))))
    known = hits.any(axis=1)
    matrix[known] = hits[known]
    matrix.flags.writeable = False
    return matrix


def differences(ys: NDArray[np.int64], xs: NDArray[np.int64]) -> Elements:
    """y − x for every pair: `[ys, xs]`."""
    return ((ys[:, None] - xs[None, :]) % Q).astype(np.uint32)


def row_products(matrix: Elements) -> Elements:
    """The product of each row."""
    product = np.ones(matrix.shape[0], np.uint32)
    for column in matrix.T:
        product = times(product, column)
    return product
