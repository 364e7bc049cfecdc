"""Partitions of equal sizes: identically distributed, and with features that each party measures its own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError
from comity.core.seeds import Seed
from comity.data.examples import Affine, PartyNames
from comity.data.partitions.base import Assignment, Splittable, check_count


@dataclass(frozen=True)
class IID:
    """Shuffle the examples and deal them out in equal parts (sizes differ by one at most)."""

    parties: int
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        check_count(self, self.parties, self.minimum, len(dataset.train))
        return Assignment(equal_parts(len(dataset.train), self.parties, seed), PartyNames(self.parties))


@dataclass(frozen=True)
class FeatureShift:
    """IID examples that every party measures differently: its features are `x · a + b`.

    For each party log a is drawn from N(0, `scale`²) and b from N(0, `offset`²), one number each for all its features,
    in the units that a model sees (images: 0 … 1). Training and held-out examples are shifted, the common test set is
    not. Feature-distribution skew of Kairouz et al. 2021, arXiv 1912.04977.
    """

    parties: int
    scale: float = 0.2
    offset: float = 0.1
    minimum: int = 1

    def assign(self, dataset: Splittable, seed: Seed) -> Assignment:
        train = dataset.train
        check_count(self, self.parties, self.minimum, len(train))
        if train.affine is None and train.x.dtype.kind in "bui":
            raise DataError("token ids cannot be scaled", where=repr(self), mend="shift images or measurements")
        draws = seed.child("shift").rng().standard_normal((self.parties, 2))
        shifts = tuple(Affine(float(np.exp(self.scale * a)), float(self.offset * b)) for a, b in draws)
        return Assignment(equal_parts(len(train), self.parties, seed), PartyNames(self.parties), shifts)


def equal_parts(examples: int, parties: int, seed: Seed) -> NDArray[np.int64]:
    """`[examples]` parties of equal size, in random order."""
    return seed.child("order").rng().permutation(np.arange(examples) * parties // examples)
