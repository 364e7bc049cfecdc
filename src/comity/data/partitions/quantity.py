"""Partitions that make parties differ in size alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.examples import PartyNames
from comity.data.partitions.base import Assignment, Splittable, check_count, shares


@dataclass(frozen=True)
class QuantityLogNormal:
    """Sizes in proportion to log-normal draws, exp(N(0, `sigma`²)), above a floor of `minimum`; labels as in IID."""

    parties: int
    sigma: float = 1.0
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        check_count(self, self.parties, self.minimum, len(dataset.train))
        if self.sigma < 0:
            raise DataError(f"sigma is {self.sigma}", where=repr(self), mend="give 0 or more")
        draws = self.sigma * seed.child("sizes").rng().standard_normal(self.parties)
        return _sized(np.exp(draws - draws.max()), len(dataset.train), self.minimum, seed)


@dataclass(frozen=True)
class QuantityPowerLaw:
    """Sizes in proportion to k to the power of −`exponent` for the k-th party, above a floor of `minimum`.

    The first party is the largest; labels are as in IID. The number of examples a party has follows a power law in
    Li et al. 2020, arXiv 1812.06127.
    """

    parties: int
    exponent: float = 1.0
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        check_count(self, self.parties, self.minimum, len(dataset.train))
        if self.exponent < 0:
            raise DataError(f"exponent is {self.exponent}", where=repr(self), mend="give 0 or more")
        weights = np.arange(1, self.parties + 1, dtype=np.float64) ** -self.exponent
        return _sized(weights, len(dataset.train), self.minimum, seed)


def _sized(weights: NDArray[np.float64], examples: int, minimum: int, seed: Seed) -> Assignment:
    sizes = shares(weights, examples, minimum)
    party = seed.child("order").rng().permutation(np.repeat(np.arange(len(sizes)), sizes))
    return Assignment(party, PartyNames(len(sizes)))
