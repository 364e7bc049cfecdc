"""The ring R_q = Z_q[X]/(X²⁰⁴⁸ + 1) of the lattice masks: transforms, products, errors, public polynomials.

A polynomial is N = 2048 elements, lowest coefficient first; a batch is `[R, N]`. Its *values* are those at the roots of
X^N + 1, the odd powers of ψ = 31^((q−1)/2N): place 64·u + v has the value at ψ^(2·(u + 32·v) + 1), u < 32, v < 64.
On values, the product of polynomials is a product entry by entry (the negacyclic number-theoretic transform).

N = 32 · 64, so a transform is two products of matrices (Bailey 1990, "FFTs in external or hierarchical memory"): one of
32 × 32 that is the same for all, and 32 of 64 × 64 that have the twiddle factors in them. BLAS computes them exactly
(`field`), in a fifth of the time of butterflies in NumPy. A polynomial that multiplies many others is folded into the
second ones, and its products then cost no more than a transform.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.encoding import statement
from comity.protocols.secure_sum.field import (
    GENERATOR,
    HALF,
    Elements,
    Floats,
    Q,
    canonical,
    centred,
    cut,
    reduce,
    times,
    uniform,
)
from comity.protocols.secure_sum.keystream import KEY, Keystream

N = 2048
ROWS = 16
"""Polynomials that are worked on at a time: what they need fits a core's cache."""

BLOCK = ROWS * N
"""Entries of a vector that are worked on at a time."""

ERROR_BOUND = 42
"""No error is greater in size: it is the heads among 84 coins, less 42."""

ERROR_STD = 21**0.5
"""The standard deviation of one error, about 4.58."""

_OUTER, _INNER = 32, 64
_PSI = pow(GENERATOR, (Q - 1) // (2 * N), Q)


def errors(stream: Keystream, count: int) -> NDArray[np.int8]:
    """The next `count` centred binomial errors of `stream`.

    They take 3 · `count` words: two each from the first 2 · `count`, and the 20 low bits of one of the rest.
    """
    words = stream.words(3 * count)
    heads = np.bitwise_count(words[: 2 * count].view(np.uint64))
    heads += np.bitwise_count(words[2 * count :] & np.uint32(2**20 - 1))
    heads -= np.uint8(ERROR_BOUND)
    return heads.view(np.int8)


def error_std(parties: int) -> float:
    """The standard deviation of an entry of a sum over `parties`, in steps of the grid: √(21 · parties)."""
    return ERROR_STD * float(parties**0.5)


def public_polynomials(context: bytes, block: int, rows: int = ROWS) -> Elements:
    """The first `rows` polynomials of a block, which masks rows 16·`block` and following: values, `[rows, N]`.

    They are the elements that the key stream gives (`field.uniform`) whose key is the first 16 bytes of the SHA-256 of
    `statement("public polynomials", context, block in 8 bytes)`. Uniform values make a uniform polynomial.
    """
    seed = hashlib.sha256(statement("public polynomials", context, block.to_bytes(8, "big"))).digest()
    return uniform(Keystream(seed[:KEY]), rows * N).reshape(rows, N)


class Multiplier:
    """Products with one polynomial, of at most `ROWS` others at a time.

    It holds matrices from which its polynomial can be computed; `erase` overwrites them. One thread uses it at a time.
    """

    def __init__(self, polynomial: Elements) -> None:
        factors = values(polynomial[None, :]).reshape(_OUTER, _INNER)
        self._inner = _stacked(times(_twiddled_inverse(), factors[:, :, None]), axis=1)
        self._halves = np.empty(2 * _OUTER * ROWS * _INNER)
        self._middle = np.empty((_OUTER, ROWS, _INNER))
        self._spare = np.empty((_OUTER, ROWS, _INNER))

    def products(self, others: Elements) -> Floats:
        """The coefficients of the products with polynomials given as values: `[R, N]` → `[R, 32, 64]`, R ≤ `ROWS`.

        They are whole numbers, at most (q − 1)/2 + 4 in size.
        """
        rows = len(others)
        apart = others.reshape(rows, _OUTER, _INNER).transpose(1, 0, 2)
        halves = self._halves[: 2 * others.size].reshape(_OUTER, rows, 2, _INNER)
        halves[:, :, 0] = apart >> np.uint32(HALF)
        halves[:, :, 1] = apart & np.uint32(2**HALF - 1)
        middle, spare = self._middle[:, :rows], self._spare[:, :rows]
        np.matmul(halves.reshape(_OUTER, rows, 2 * _INNER), self._inner, out=middle)
        reduce(middle, spare)
        parts = self._halves[: 2 * others.size].reshape(2, _OUTER, rows, _INNER)
        cut(middle, parts[0], parts[1])
        sums = _outer_inverse() @ parts.reshape(2 * _OUTER, rows * _INNER)
        reduce(sums, spare.reshape(sums.shape) if rows == ROWS else np.empty_like(sums))
        return sums.reshape(_OUTER, rows, _INNER).transpose(1, 0, 2)

    def erase(self) -> None:
        """Overwrite the polynomial, and all that was computed with it."""
        for kept in (self._inner, self._halves, self._middle, self._spare):
            kept.fill(0)


def values(polynomials: Elements) -> Elements:
    """The values of polynomials: `[R, N]` → `[R, N]`."""
    rows = len(polynomials)
    apart = centred(polynomials.reshape(rows, _OUTER, _INNER).transpose(1, 0, 2).reshape(_OUTER, rows * _INNER))
    parts, spare = np.empty((2, *apart.shape)), np.empty_like(apart)
    cut(apart, parts[0], parts[1])
    middle = _outer_forward() @ parts.reshape(2 * _OUTER, rows * _INNER)
    reduce(middle, spare)
    halves = np.empty((_OUTER, rows, 2, _INNER))
    cut(middle.reshape(_OUTER, rows, _INNER), halves[:, :, 0], halves[:, :, 1])
    found = halves.reshape(_OUTER, rows, 2 * _INNER) @ _inner_forward()
    reduce(found, spare.reshape(found.shape))
    return canonical(found).transpose(1, 0, 2).reshape(rows, N)


def coefficients(values: Elements) -> Elements:
    """The polynomials that have these values: `[R, N]` → `[R, N]`."""
    one = np.zeros(N, np.uint32)
    one[0] = 1
    by_one = Multiplier(one)
    found = [canonical(by_one.products(values[start : start + ROWS])) for start in range(0, len(values), ROWS)]
    return np.concatenate(found).reshape(len(values), N)


def _powers(exponents: NDArray[np.int64]) -> Elements:
    """ψ to each of `exponents`."""
    table = np.array([pow(_PSI, exponent, Q) for exponent in range(2 * N)], np.uint32)
    return table[exponents % (2 * N)]


def _roots() -> NDArray[np.int64]:
    """The exponents `[32, 64]` of ψ at which values are taken."""
    return 2 * (np.arange(_OUTER)[:, None] + _OUTER * np.arange(_INNER)[None, :]) + 1


@cache
def _twiddled_inverse() -> Elements:
    """`[u, v, m]`: what value (u, v) adds to coefficients m, m + 64, …, but for powers of ψ^(−64·(2u + 1))."""
    return _powers(-_roots()[:, :, None] * np.arange(_INNER))


@cache
def _inner_forward() -> Floats:
    """`[u, 2m, v]`: the counterpart for transforms from coefficients to values."""
    return _stacked(_powers(np.arange(_INNER)[:, None] * _roots()[:, None, :]), axis=1)


@cache
def _outer_inverse() -> Floats:
    """`[l, 2u]`: the powers of ψ^(64·(2u + 1)) in coefficients 64·l and following, divided by N."""
    exponents = -_INNER * np.arange(_OUTER)[:, None] * (2 * np.arange(_OUTER) + 1)
    return _stacked(times(_powers(exponents), pow(N, -1, Q)), axis=1)


@cache
def _outer_forward() -> Floats:
    """`[u, 2l]`: the counterpart for transforms from coefficients to values."""
    return _stacked(_powers(_INNER * (2 * np.arange(_OUTER)[:, None] + 1) * np.arange(_OUTER)), axis=1)


def _stacked(matrix: Elements, axis: int) -> Floats:
    """The matrix for factors that are cut in halves: 2¹⁶ times `matrix`, then `matrix`."""
    return np.concatenate([centred(times(matrix, 2**HALF)), centred(matrix)], axis=axis)
