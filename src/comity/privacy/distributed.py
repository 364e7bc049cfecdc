"""Noise in shares: each party adds a little before a secure sum, so that those who answer add enough together.

Noise is calibrated for the fewest honest parties that a sum may hold: the shares of all others may be missing, or known
to the adversary. More of them only add more noise to what is private already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from comity.core.checks import fraction, positive, whole
from comity.privacy.accounting import Account, Accountant, Release
from comity.privacy.calibrate import Budget, least
from comity.privacy.mechanisms import DiscreteGaussianSum, Mechanism, Skellam
from comity.privacy.sampling import Full, Sampling
from comity.privacy.units import PartyLevel

_PART = 1 << 10
"""Variances of shares are rounded up to multiples of 1/1024: short rationals are quick to draw with."""


@dataclass(frozen=True)
class Rounded:
    """A vector clipped to `norm` and rounded stochastically to whole numbers; norms are in steps of the grid.

    Rounding can add up to √dimension to the norm. With a `bias` β above 0 the bound is smaller: the party rounds again
    until its vector obeys it, which it does with probability 1 − β or more each time, at the price of a bias of that
    order (conditional rounding: Kairouz, Liu, Steinke 2021, arXiv 2102.06387).
    """

    norm: float
    dimension: int
    bias: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "norm")
        whole(self, "dimension", 1)
        fraction(self, "bias")

    @property
    def norm2(self) -> float:
        """The bound on the L2 norm after rounding."""
        root = math.sqrt(self.dimension)
        always = self.norm + root
        if self.bias == 0:
            return always
        slack = math.sqrt(2 * math.log(1 / self.bias)) * (self.norm + root / 2)
        return min(always, math.sqrt(self.norm**2 + self.dimension / 4 + slack))

    @property
    def norm1(self) -> float:
        """The bound on the L1 norm after rounding: whole numbers are no larger than their squares."""
        return self.norm2 * min(math.sqrt(self.dimension), self.norm2)


@dataclass(frozen=True)
class Share:
    """What each party adds: noise of parameter `variance`, exactly; and what `honest` shares make of the sum."""

    variance: Fraction
    honest: int
    mechanism: Mechanism


def gaussian_share(
    budget: Budget, vector: Rounded, honest: int, *, times: int = 1, sampling: Sampling | None = None
) -> Share:
    """The least discrete Gaussian share for `times` sums that hold `honest` honest parties or more.

    `Share.variance` goes to `discrete_gaussian`. Raises `ConfigError` where no noise suffices.
    """

    def mechanism(variance: float) -> Mechanism:
        return DiscreteGaussianSum(math.sqrt(variance), honest, vector.norm2, vector.norm1, vector.dimension)

    def epsilon(std: float, _by: Accountant | None) -> float:
        # Below half a step a sum of several is not known to be private; above, ε falls with the width.
        return _epsilon(mechanism(std**2), budget, times, sampling) if std >= 0.5 else math.inf

    variance = _up(least(epsilon, budget.epsilon) ** 2)
    return Share(variance, honest, mechanism(float(variance)))


def skellam_share(
    budget: Budget, vector: Rounded, honest: int, *, times: int = 1, sampling: Sampling | None = None
) -> Share:
    """The least Skellam share, as `gaussian_share`; `Share.variance` goes to `skellam`."""

    def mechanism(variance: float) -> Mechanism:
        return Skellam(variance * honest, vector.norm2, vector.norm1)

    def epsilon(std: float, _by: Accountant | None) -> float:
        return _epsilon(mechanism(std**2), budget, times, sampling)

    variance = _up(least(epsilon, budget.epsilon) ** 2)
    return Share(variance, honest, mechanism(float(variance)))


def _epsilon(mechanism: Mechanism, budget: Budget, times: int, sampling: Sampling | None) -> float:
    release = Release("a sum of contributions", PartyLevel(), mechanism, sampling or Full(), times)
    return Account.of(release).epsilon(budget.delta)


def _up(variance: float) -> Fraction:
    return Fraction(math.ceil(variance * _PART), _PART)
