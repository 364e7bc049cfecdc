"""Exact random draws: whole-number arithmetic and as many random bits as it takes, so no rounding ever decides.

A draw by inversion compares a uniform u in [0, 1) with cumulative probabilities. The first 64 bits of u settle it, but
for the few words in which a boundary lies (2⁻⁶⁴ each): there u gets more bits, and the boundaries too. What comes out
has exactly the distribution that was asked for, as in Knuth and Yao 1976; nothing is ever a float.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from comity.privacy.entropy import Bits

WORD = 64
_GUARD = 128
_LARGEST = (1 << WORD) - 1


@dataclass(frozen=True)
class Weights:
    """Integers near W·p(first), W·p(first + 1), …, for a W of about 2^precision, each to within 2·n² for n of them.

    What is left out at either end must weigh less than n³ in all, and be marked by a weight of 0 there.
    """

    first: int
    values: list[int]

    def bounds(self, bits: int) -> tuple[list[int], list[int]]:
        """Whole numbers below and above each cumulative probability, times 2^bits."""
        sums = list(accumulate(self.values))
        total, error = sums[-1], 16 * (len(sums) + 1) ** 3
        low = [max(0, ((part - error) << bits) // (total + error)) for part in sums]
        high = [-(-((part + error) << bits) // (total - error)) for part in sums]
        return low, high


class Inversion:
    """Draws from a distribution on whole numbers whose probabilities `weights(precision)` gives to any precision."""

    def __init__(self, weights: Callable[[int], Weights]) -> None:
        self._weights = weights
        table = weights(WORD + _GUARD)
        low, high = table.bounds(WORD)
        self._first = table.first
        used = next(place for place, bound in enumerate(high) if bound >= _LARGEST) + 1
        self._low = np.array([min(bound, _LARGEST) for bound in low[:used]], dtype=np.uint64)
        self._high = np.array([min(bound, _LARGEST) for bound in high[:used]], dtype=np.uint64)

    def __len__(self) -> int:
        """How many numbers, from the first, are drawn without a closer look."""
        return len(self._high)

    def draw(self, bits: Bits, count: int) -> NDArray[np.int64]:
        """`count` independent draws."""
        words = bits.words(count)
        places = np.searchsorted(self._high, words, side="left")
        drawn = places + self._first
        for unsettled in np.flatnonzero(words >= self._low[places]):
            drawn[unsettled] = self.settle(int(words[unsettled]), bits)
        return drawn

    def settle(self, word: int, bits: Bits) -> int:
        """The draw whose uniform number begins with the 64 bits of `word`, by as many more as it takes."""
        prefix, known = word, WORD
        while True:
            prefix, known = (prefix << WORD) | int(bits.words(1)[0]), known + WORD
            table = self._weights(known + _GUARD)
            low, high = table.bounds(known)
            place = bisect_right(high, prefix)
            if place < len(low) and prefix < low[place]:
                return table.first + place


def below_exp(word: int, width: int, power: Fraction, bits: Bits) -> bool:
    """Whether a uniform number that begins with the `width` bits of `word` is below exp(−power), for a power ≥ 0."""
    while True:
        bound = exp_minus(power, width)
        if word + 1 < bound:
            return True
        if word > bound:
            return False
        word, width = (word << WORD) | int(bits.words(1)[0]), width + WORD


def exp_minus(power: Fraction, bits: int) -> int:
    """A whole number within 1 of exp(−power)·2^bits, for a power ≥ 0."""
    # exp(−x) = exp(−x/2ʰ)^(2ʰ) by Taylor's series below 1. A squaring doubles the error, of at most 2⁸ before; hence
    # the bits on top.
    halvings = int(power).bit_length()
    inner = bits + 2 * halvings + 32
    argument = (power.numerator << inner) // (power.denominator << halvings)
    term, total, k = 1 << inner, 0, 0
    while term:
        total += -term if k % 2 else term
        k += 1
        term = (term * argument >> inner) // k
    for _ in range(halvings):
        total = total * total >> inner
    return total >> (inner - bits)
