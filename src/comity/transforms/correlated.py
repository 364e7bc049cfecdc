"""Noise that nearly cancels from round to round: DP-FTRL."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from comity.core.arrays import Array, namespace
from comity.core.checks import positive
from comity.core.contribution import Aggregate, Exchange
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.privacy.banded import BandedSquareRoot
from comity.privacy.continuous import gaussian
from comity.privacy.tree import BinaryTree
from comity.transforms.chain import Link
from comity.transforms.noise import influence


@dataclass(frozen=True, eq=False)
class Correlated:
    """How many rounds have had their noise, and the noises that later ones take back, `[D]` each: a secret."""

    step: int
    held: Vectors


@dataclass(frozen=True)
class CorrelatedNoise(Link):
    """Gaussian noise on each round's mean that later rounds take back in part (Kairouz et al. 2021, arXiv 2103.00039).

    A model is the sum of its rounds, and with `matrix` (`BandedSquareRoot` or `BinaryTree`) that sum has far less noise
    than if each round had its own, while every party stays hidden in all rounds together. That rests on how often a
    party can take part, and not on who is sampled: `Rounds(separation=…)` must keep its rounds apart as `matrix` says.

    `multiplier` is the standard deviation of what is drawn in a round, over the clipping norm; the whole run costs what
    one Gaussian mechanism of `multiplier / matrix.sensitivity` costs. Needs `Clip` before and
    `Mean(weights="uniform")`. The server keeps `matrix.held` vectors as long as a contribution, which nobody may see.
    """

    multiplier: float
    matrix: BandedSquareRoot | BinaryTree

    def __post_init__(self) -> None:
        positive(self, "multiplier")
        if not isinstance(self.matrix, BandedSquareRoot | BinaryTree):
            raise ConfigError(
                f"matrix is {self.matrix!r}",
                where="CorrelatedNoise.matrix",
                mend="give BandedSquareRoot(rounds, separation) or BinaryTree(rounds, separation)",
            )

    def init(self, exchange: Exchange) -> Correlated:
        zeros = np.zeros(sum(value.size for value in exchange.contribution.values()), dtype=np.float32)
        return Correlated(0, Vectors(**{str(place): zeros for place in range(self.matrix.held)}))

    def apply(self, aggregate: Aggregate, state: Correlated) -> tuple[Aggregate, Correlated]:
        size = sum(array.shape[0] for array in aggregate.vectors.values())
        fresh = gaussian(size, self.multiplier, np.float32)
        noise, held = self.matrix.correlated(state.step, fresh, list(state.held.values()))
        # The number of parties may differ from round to round; what cancels is the noise on sums.
        scale = influence(aggregate, "CorrelatedNoise")
        vectors, start = {}, 0
        for name, array in aggregate.vectors.items():
            vectors[name] = _added(array, noise[start : start + array.shape[0]], scale)
            start += array.shape[0]
        kept = Vectors(**{str(place): vector for place, vector in enumerate(held)})
        return replace(aggregate, vectors=Vectors(**vectors)), Correlated(state.step + 1, kept)


def _added(array: Array, noise: NDArray[np.floating], scale: float) -> Array:
    scaled = noise * noise.dtype.type(scale)
    if isinstance(array, np.ndarray):
        return array + scaled
    return array + namespace(array).asarray(scaled, device=device(array))
