"""Noise that is correlated from round to round so that it nearly cancels in running sums: banded square roots.

What training releases are the prefix sums `A x` of the rounds' sums `x`, where `A` is the lower triangle of ones. With
`A = B C`, the matrix mechanism releases `B (C x + w)` for independent Gaussian `w`: to what is summed in each round it
adds `z = C⁻¹ w`, which needs no round before its time. The price in privacy is that of one Gaussian mechanism on `C x`,
whatever parties or server choose after having seen earlier rounds (Denisov et al. 2022, arXiv 2202.08312).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from comity.core.checks import whole
from comity.core.errors import ConfigError

Real = TypeVar("Real", bound=np.floating)


@dataclass(frozen=True)
class BandedSquareRoot:
    """`C` is the square root of the prefix sums, `bands` diagonals of it (Kalinin & Lampert 2024, arXiv 2405.13763).

    For `rounds` rounds, of which a party takes part in any that are at least `separation` apart. `bands` is by default
    `separation`: then the columns that one party can fill do not overlap. With more bands a running sum has less noise
    and a party more influence; `rmse` tells which is better.
    """

    rounds: int
    separation: int = 1
    bands: int | None = None

    def __post_init__(self) -> None:
        whole(self, "rounds", 1)
        whole(self, "separation", 1)
        whole(self, "bands", 1, optional=True)
        if self.bands is not None and self.bands > self.rounds:
            raise ConfigError(
                f"{self.bands} bands for {self.rounds} rounds",
                where="BandedSquareRoot.bands",
                mend=f"give at most {self.rounds}",
            )

    @property
    def participations(self) -> int:
        """How often one party takes part at most."""
        return -(-self.rounds // self.separation)

    @property
    def held(self) -> int:
        """How many vectors are kept between rounds."""
        return len(self.coefficients) - 1

    @cached_property
    def coefficients(self) -> NDArray[np.float64]:
        """The first column of `C`: of the power series of `(1 − x)^(−1/2)`, as many terms as there are bands."""
        bands = min(self.separation, self.rounds) if self.bands is None else self.bands
        k = np.arange(1, bands)
        return np.concatenate([[1.0], np.cumprod((2 * k - 1) / (2 * k))])

    @cached_property
    def sensitivity(self) -> float:
        """How far (L2) one party moves `C x`, whose part in each round that it takes part in is at most 1 long.

        The worst are the columns from the first on, `separation` apart: entries of `C` are not negative and fall along
        each column (Kalinin & Lampert 2024, theorem 2). Where parts are vectors the same bound holds (Choquette-Choo
        et al. 2023, arXiv 2211.06530, corollary 2.1).
        """
        filled = np.zeros(self.rounds)
        for start in range(0, self.rounds, self.separation):
            column = self.coefficients[: self.rounds - start]
            filled[start : start + len(column)] += column
        return float(np.linalg.norm(filled))

    @cached_property
    def prefix_error(self) -> float:
        """Root mean square, over all rounds, of the noise in the running sum, for `w` of standard deviation 1."""
        impulse = np.zeros(self.rounds)
        impulse[0] = 1.0
        tail = self.coefficients[1:]
        for step in range(1, self.rounds):
            reach = min(step, len(tail))
            impulse[step] = -tail[:reach] @ impulse[step - reach : step][::-1]
        return float(np.sqrt(np.cumsum(np.cumsum(impulse) ** 2).mean()))

    @property
    def rmse(self) -> float:
        """Root mean square error of running sums for each unit of the noise multiplier and of what a party can add."""
        return self.prefix_error * self.sensitivity

    def correlated(
        self, step: int, fresh: NDArray[Real], held: Sequence[NDArray[Real]]
    ) -> tuple[NDArray[Real], tuple[NDArray[Real], ...]]:
        """The noise of round `step`, counted from 0, made of `fresh` independent noise; and what is to be kept.

        `z_t = w_t − Σ_k c_k z_{t−k}`. `held` are the last `held` noises, at first zeros; which of them is overwritten
        goes round, so that all others stay the arrays that they are.
        """
        noise = fresh.copy()
        for k, coefficient in enumerate(self.coefficients[1:].tolist(), 1):
            if k <= step:
                noise -= fresh.dtype.type(coefficient) * held[(step - k) % len(held)]
        kept = list(held)
        if kept:
            kept[step % len(kept)] = noise
        return noise, tuple(kept)
