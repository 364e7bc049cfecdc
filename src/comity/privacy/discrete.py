"""Exact discrete noise: Gaussian, Laplace, Poisson and Skellam on the whole numbers, for rational parameters.

The distributions and their privacy are those of Canonne, Kamath and Steinke 2020 (arXiv 2004.00010) and Agarwal,
Kairouz and Liu 2021 (arXiv 2110.04995). Draws are exact: see `exact.py`. The attacks on the low bits of continuous
noise (Mironov 2012) have nothing to hold on to. The time that a draw takes does depend on it, slightly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import ConfigError
from comity.privacy.entropy import Bits
from comity.privacy.exact import Inversion, Weights, below_exp, exp_minus

_CHUNK = 1 << 16
_FINE = 9
"""Blocks are at most 2⁻⁹ standard deviations wide: about one draw in 600 needs arithmetic of its own."""

_COIN = 32
_LARGEST_STD = 1 << 40
_LARGEST_MEAN = 1 << 26
"""A Poisson variable of a larger mean is drawn as a sum of several: tables stay below a few megabytes."""

_DIGIT = 8


def discrete_gaussian(size: int, variance: Fraction | int) -> NDArray[np.int64]:
    """`size` draws of P(x) ∝ exp(−x²/(2·variance)) on the whole numbers.

    The parameter σ² = `variance` is a little above the true variance where σ is small. Raises `ConfigError` for one
    that is not in (0, 2⁸⁰).
    """
    square = Fraction(variance)
    _check(0 < square < _LARGEST_STD**2, "a discrete Gaussian of variance", variance, "(0, 2⁸⁰)")
    return _signed(size, lambda bits, count: _half_gaussian(bits, count, square))


def discrete_laplace(size: int, scale: Fraction | int) -> NDArray[np.int64]:
    """`size` draws of P(x) ∝ exp(−|x|/scale) on the whole numbers, for a scale in (0, 2⁴⁰)."""
    width = Fraction(scale)
    _check(0 < width < _LARGEST_STD, "a discrete Laplace distribution of scale", scale, "(0, 2⁴⁰)")
    return _signed(size, lambda bits, count: _geometric(bits, count, width))


def poisson(size: int, mean: Fraction | int) -> NDArray[np.int64]:
    """`size` draws of the Poisson distribution, for a mean in (0, 2⁴⁰)."""
    wanted = Fraction(mean)
    _check(0 < wanted < _LARGEST_STD, "a Poisson distribution of mean", mean, "(0, 2⁴⁰)")
    parts = math.ceil(wanted / _LARGEST_MEAN)
    table, bits, drawn = _poisson_table(wanted / parts), Bits(), np.zeros(size, dtype=np.int64)
    for start in range(0, size, _CHUNK):
        part = drawn[start : start + _CHUNK]
        for _ in range(parts):
            part += table.draw(bits, len(part))
    return drawn


def skellam(size: int, variance: Fraction | int) -> NDArray[np.int64]:
    """`size` differences of two Poisson variables of mean `variance`/2 each."""
    half = Fraction(variance) / 2
    return poisson(size, half) - poisson(size, half)


def _signed(size: int, magnitudes: Callable[[Bits, int], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Draws of a symmetric distribution by their magnitudes, of which 0 has twice its share; −0 is drawn anew."""
    bits, drawn = Bits(), np.empty(size, dtype=np.int64)
    have = 0
    while have < size:
        count = min(_CHUNK, size - have)
        some = magnitudes(bits, count)
        signs = np.unpackbits(bits.words((len(some) + 63) // 64).view(np.uint8), count=len(some)).astype(np.int64)
        some = ((1 - 2 * signs) * some)[(some > 0) | (signs == 0)]
        drawn[have : have + len(some)] = some
        have += len(some)
    return drawn


def _half_gaussian(bits: Bits, count: int, square: Fraction) -> NDArray[np.int64]:
    """Magnitudes with P(m) ∝ exp(−m²/(2·square)) for m ≥ 0: at most `count`, those that were accepted.

    A block of 2^wide numbers is chosen by its first and most likely one, then a number in it, which is accepted with
    the ratio of the two probabilities. Most coins fall so that the whole block would be accepted.
    """
    wide = max(0, (math.isqrt(int(square)) >> _FINE).bit_length() - 1)
    table, sure = _gaussian_table(square, wide)
    blocks = table.draw(bits, count)
    if wide == 0:
        return blocks
    words = bits.words(count)
    coins = words >> np.uint64(64 - _COIN)
    drawn = (blocks << wide) + (words & np.uint64((1 << wide) - 1)).astype(np.int64)
    accepted = coins < sure[np.minimum(blocks, len(sure) - 1)]
    for place in np.flatnonzero(~accepted):
        number, first = int(drawn[place]), int(blocks[place]) << wide
        power = Fraction(number * number - first * first) / (2 * square)
        accepted[place] = below_exp(int(coins[place]), _COIN, power, bits)
    return drawn[accepted]


@lru_cache(maxsize=8)
def _gaussian_table(square: Fraction, wide: int) -> tuple[Inversion, NDArray[np.uint64]]:
    """Blocks by their first number, and for each how many of 2³² coins accept whatever is in it; none beyond."""
    step = Fraction(1 << 2 * wide) / (2 * square)

    def weights(precision: int) -> Weights:
        ratio, values = exp_minus(step, precision), [1 << precision]
        factor, faster = ratio, ratio * ratio >> precision
        while values[-1]:
            values.append(values[-1] * factor >> precision)
            factor = factor * faster >> precision
        return Weights(0, values)

    table = Inversion(weights)
    sure = [max(0, exp_minus((2 * block + 1) * step, _COIN) - 1) for block in range(len(table))]
    return table, np.array([*sure, 0], dtype=np.uint64)


def _geometric(bits: Bits, count: int, scale: Fraction) -> NDArray[np.int64]:
    """Magnitudes with P(m) ∝ exp(−m/scale) for m ≥ 0: its digits in base 2⁸ are independent, so each is drawn alone."""
    digits = 0
    while scale > 64 << _DIGIT * digits:
        digits += 1
    drawn = _geometric_table(Fraction(1 << _DIGIT * digits) / scale, None).draw(bits, count)
    for place in reversed(range(digits)):
        digit = _geometric_table(Fraction(1 << _DIGIT * place) / scale, 1 << _DIGIT)
        drawn = (drawn << _DIGIT) + digit.draw(bits, count)
    return drawn


@lru_cache(maxsize=32)
def _geometric_table(step: Fraction, count: int | None) -> Inversion:
    """P(k) ∝ exp(−k·step), for k below `count` or for all."""

    def weights(precision: int) -> Weights:
        ratio, values = exp_minus(step, precision), [1 << precision]
        while values[-1] and (count is None or len(values) < count):
            values.append(values[-1] * ratio >> precision)
        return Weights(0, values)

    return Inversion(weights)


@lru_cache(maxsize=8)
def _poisson_table(mean: Fraction) -> Inversion:
    def weights(precision: int) -> Weights:
        top, bottom = mean.numerator, mean.denominator
        mode = int(mean)
        above, below = [1 << precision], [1 << precision]
        while above[-1]:
            above.append(above[-1] * top // (bottom * (mode + len(above))))
        while below[-1] and len(below) <= mode:
            below.append(below[-1] * (mode + 1 - len(below)) * bottom // top)
        return Weights(mode + 1 - len(below), below[:0:-1] + above)

    return Inversion(weights)


def _check(fits: bool, what: str, value: Fraction | int, wanted: str) -> None:
    if not fits:
        raise ConfigError(f"there is no {what} {value} to draw from", where="noise", mend=f"give one in {wanted}")
