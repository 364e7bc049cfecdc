"""Continuous noise, Gaussian and Laplace, in floating point: fast, in chunks, from the operating system's randomness.

A float is not a real number: which floats the sum of a value and its noise can take may tell something of the value
(Mironov 2012, "On significance of the least significant bits for differential privacy"). The guarantee of a continuous
mechanism holds for real numbers and is met up to that gap. Where a released value is exact enough to be looked at bit
by bit (a count, a histogram, a sum of grid points), use the discrete distributions of `discrete.py`, which have none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

from comity.core.errors import ConfigError
from comity.privacy.entropy import Bits

_PAIRS = 1 << 14
"""Pairs made at a time: the chunk's arrays stay in the second-level cache."""

_UNIT = 2.0**-63
_ANGLE: dict[np.dtype[np.floating], np.dtype[np.signedinteger]] = {
    np.dtype(np.float32): np.dtype(np.int32),
    np.dtype(np.float64): np.dtype(np.int64),
}


def gaussian(
    size: int, std: float, dtype: DTypeLike = np.float32, *, out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """`size` independent draws of N(0, std²) as float32 or float64, by Box and Muller's transform.

    Tails reach 9.3 standard deviations (63 bits of radius). `out`, a contiguous vector `[size]`, is overwritten and
    returned; its dtype counts then. Raises `ConfigError` for a negative or infinite `std` and any other dtype.
    """
    noise = _vector(size, std, dtype, out)
    bits, kind = Bits(), noise.dtype
    at_once = min(_PAIRS, (size + 1) // 2)
    radius_words, angle_words = np.empty(at_once, np.uint64), np.empty(at_once, np.uint64)
    radius, angle = np.empty(at_once, kind), np.empty(at_once, kind)
    turn = kind.type(math.pi * 2.0 ** (1 - 8 * kind.itemsize))
    for start in range(0, size, 2 * _PAIRS):
        part = noise[start : start + 2 * _PAIRS]
        pairs = (len(part) + 1) // 2
        r, a = radius[:pairs], angle[:pairs]
        _minus_log_uniform(bits.fill(radius_words[:pairs]), r)
        np.sqrt(np.multiply(r, kind.type(2), out=r), out=r)
        np.multiply(r, kind.type(std), out=r)
        used = angle_words[: (pairs * kind.itemsize + 7) // 8]
        a[:] = bits.fill(used).view(_ANGLE[kind])[:pairs]
        np.multiply(a, turn, out=a)
        first, second = part[:pairs], part[pairs:]
        np.multiply(np.cos(a, out=first), r, out=first)
        np.multiply(np.sin(a[: len(second)], out=second), r[: len(second)], out=second)
    return noise


def laplace(
    size: int, scale: float, dtype: DTypeLike = np.float32, *, out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """`size` independent draws of the Laplace distribution with density exp(−|x|/scale)/(2·scale).

    Arguments as in `gaussian`.
    """
    noise = _vector(size, scale, dtype, out)
    bits, words = Bits(), np.empty(min(_PAIRS, size), np.uint64)
    for start in range(0, size, _PAIRS):
        part = noise[start : start + _PAIRS]
        drawn = bits.fill(words[: len(part)])
        negative = (drawn & np.uint64(1)).astype(bool)
        np.multiply(_minus_log_uniform(drawn, part), noise.dtype.type(scale), out=part)
        np.negative(part, out=part, where=negative)
    return noise


def _minus_log_uniform(words: NDArray[np.uint64], out: NDArray[np.floating]) -> NDArray[np.floating]:
    """−ln u for u uniform in (0, 1] by the words' upper 63 bits; `words` is overwritten."""
    # Signed integers become floats ten times as fast as unsigned ones.
    out[:] = np.right_shift(words, np.uint64(1), out=words).view(np.int64)
    one = out.dtype.type
    np.multiply(out, one(_UNIT), out=out)
    np.add(out, one(_UNIT / 2), out=out)
    np.negative(np.log(out, out=out), out=out)
    return out


def _vector(size: int, width: float, dtype: DTypeLike, out: NDArray[np.floating] | None) -> NDArray[np.floating]:
    if not (math.isfinite(width) and width >= 0):
        raise ConfigError(f"noise cannot have the width {width}", where="noise", mend="give a number of at least 0")
    vector = np.empty(size, dtype=dtype) if out is None else out
    if vector.dtype not in _ANGLE:
        raise ConfigError(f"noise cannot be drawn as {vector.dtype}", where="noise", mend="use float32 or float64")
    if vector.shape != (size,) or not vector.flags.c_contiguous:
        raise ConfigError(
            f"noise of {size} entries does not fit out, of shape {vector.shape}",
            where="noise",
            mend="give a contiguous vector of that size",
        )
    return vector
