"""What a released value costs: descriptions of noise, with the divergence between what two neighbours would release.

A *contribution* is bounded (clipped) before anything else; noise is measured against that bound. `apart` is how far two
neighbours' sums can lie from each other in units of the bound, which the neighbouring relation decides: 1 where a
contribution comes or goes, 2 where it is replaced by any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from comity.core.checks import nonnegative, positive, whole
from comity.core.errors import ConfigError, MissingDependency

Orders = NDArray[np.float64]


class Mechanism(Protocol):
    """Noise on one released value."""

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        """A bound on the Rényi divergence of each order > 1 between neighbours' releases; infinity if unknown."""

    def event(self, apart: int) -> Any:
        """The same as a `dp_accounting.DpEvent` for add-or-remove, or None where that library knows no such event."""


def library() -> Any:
    """`dp_accounting`, or the error that says how to get it."""
    try:
        import dp_accounting
    except ImportError as error:
        raise MissingDependency.of("dp-accounting", "privacy", "privacy accounting") from error
    return dp_accounting


@dataclass(frozen=True)
class Gaussian:
    """Normal noise on each entry of a sum: `multiplier` is its standard deviation over the L2 clipping norm."""

    multiplier: float

    def __post_init__(self) -> None:
        positive(self, "multiplier")

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        return orders * apart**2 / (2 * self.multiplier**2)

    def event(self, apart: int) -> Any:
        return library().GaussianDpEvent(self.multiplier / apart)

    def __str__(self) -> str:
        return f"Gaussian, {self.multiplier:.6g} × the clipping norm"


@dataclass(frozen=True)
class BandedMatrix:
    """Correlated normal noise over a whole run (DP-FTRL): one release, of all the prefix sums.

    The factorisation A = B·C adds B·z: `multiplier` is the standard deviation of z over the clipping norm, and
    `sensitivity` how far C can move what one party contributes, over the clipping norm, under the least separation
    between its rounds (Choquette-Choo 2023, arXiv 2306.08153).
    """

    multiplier: float
    sensitivity: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "multiplier", "sensitivity")

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        return self._alone.renyi(orders, apart)

    def event(self, apart: int) -> Any:
        return self._alone.event(apart)

    @property
    def _alone(self) -> Gaussian:
        return Gaussian(self.multiplier / self.sensitivity)

    def __str__(self) -> str:
        return f"correlated Gaussian, {self.multiplier:.6g} × the norm, sensitivity {self.sensitivity:.6g}"


@dataclass(frozen=True)
class Laplace:
    """Laplace noise on each entry: `multiplier` is its scale over the L1 bound of a contribution."""

    multiplier: float

    def __post_init__(self) -> None:
        positive(self, "multiplier")

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        """Mironov 2017, arXiv 1702.07476, proposition 6."""
        width = apart / self.multiplier
        near = np.log(orders / (2 * orders - 1)) + (orders - 1) * width
        far = np.log((orders - 1) / (2 * orders - 1)) - orders * width
        return np.asarray(np.logaddexp(near, far) / (orders - 1))

    def event(self, apart: int) -> Any:
        return library().LaplaceDpEvent(self.multiplier / apart)

    def __str__(self) -> str:
        return f"Laplace, {self.multiplier:.6g} × the L1 bound"


@dataclass(frozen=True)
class DiscreteLaplace:
    """Discrete Laplace noise P(x) ∝ exp(−|x|/scale) on integers whose contributions have L1 norm ≤ `bound`."""

    scale: float
    bound: int

    def __post_init__(self) -> None:
        positive(self, "scale")
        whole(self, "bound", 1)

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        """What holds for every ε-private release with ε = apart·bound/scale: that of randomised response."""
        pure = apart * self.bound / self.scale
        total = np.logaddexp(orders * pure, (1 - orders) * pure) - np.logaddexp(pure, 0.0)
        return np.asarray(np.minimum(total / (orders - 1), pure))

    def event(self, apart: int) -> Any:
        return library().dp_event.DiscreteLaplaceDpEvent(1 / self.scale, apart * self.bound)

    def __str__(self) -> str:
        return f"discrete Laplace of scale {self.scale:.6g}, L1 bound {self.bound}"


@dataclass(frozen=True)
class DiscreteGaussianSum:
    """The sum of `parties` discrete Gaussians of parameter σ = `std` each, on vectors of integers.

    `norm` and `norm1` bound the L2 and L1 norms of an integer contribution, rounding included. For one party it is the
    discrete Gaussian mechanism (Canonne, Kamath, Steinke 2020, arXiv 2004.00010). The sum of several is no discrete
    Gaussian, and is as good as one up to the divergence `tau` (Kairouz, Liu, Steinke 2021, arXiv 2102.06387).
    """

    std: float
    parties: int
    norm: float
    norm1: float
    dimension: int

    def __post_init__(self) -> None:
        positive(self, "std", "norm", "norm1")
        whole(self, "parties", 1)
        whole(self, "dimension", 1)
        if self.parties > 1 and self.std < 0.5:
            raise ConfigError(
                f"a sum of discrete Gaussians of width {self.std} is not known to be private",
                where="DiscreteGaussianSum.std",
                mend="refine the grid, so that each party's noise is half a step or wider",
            )

    @cached_property
    def tau(self) -> float:
        """How far from a discrete Gaussian one entry of the sum is, as a max-divergence: theorem 1 of the paper."""
        k = np.arange(1, self.parties)
        return float(10 * np.exp(-2 * (math.pi * self.std) ** 2 * k / (k + 1)).sum())

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        """The least of the three bounds of proposition 14 of the paper."""
        far = apart * self.norm / (self.std * math.sqrt(self.parties))
        far1 = apart * self.norm1 / (self.std * math.sqrt(self.parties))
        tau, dimension = self.tau, self.dimension
        added = orders / 2 * far**2 + tau * dimension
        crossed = orders / 2 * (far**2 + 2 * far1 * tau + tau**2 * dimension)
        triangle = orders / 2 * (far + math.sqrt(dimension) * tau) ** 2
        return np.asarray(np.minimum(added, np.minimum(crossed, triangle)))

    def event(self, apart: int) -> Any:
        return None

    def __str__(self) -> str:
        return f"discrete Gaussian of width {self.std:.6g} from each of {self.parties}, L2 bound {self.norm:.6g}"


@dataclass(frozen=True)
class Skellam:
    """Skellam noise of variance `variance` on each entry of a vector of integers (the sum of all parties' noise).

    `norm` and `norm1` bound the L2 and L1 norms of an integer contribution (Agarwal, Kairouz, Liu 2021,
    arXiv 2110.04995). Skellam noise of several parties adds up to Skellam noise.
    """

    variance: float
    norm: float
    norm1: float

    def __post_init__(self) -> None:
        positive(self, "variance", "norm", "norm1")

    def renyi(self, orders: Orders, apart: int) -> NDArray[np.float64]:
        """The bound of the paper, which holds for whole orders."""
        square, first, variance = (apart * self.norm) ** 2, apart * self.norm1, self.variance
        excess = ((2 * orders - 1) * square + 6 * first) / (4 * variance**2)
        bound = orders * square / (2 * variance) + np.minimum(excess, 3 * first / (2 * variance))
        return np.where(orders == np.floor(orders), bound, np.inf)

    def event(self, apart: int) -> Any:
        return None

    def __str__(self) -> str:
        return f"Skellam of variance {self.variance:.6g}, L2 bound {self.norm:.6g}"


@dataclass(frozen=True)
class ClippingSplit:
    """The noise of adaptive clipping, split in two that together cost one Gaussian (Andrew 2021, arXiv 1905.03871).

    `total` is the multiplier z that the accountant sees; `count` the standard deviation σ_b of the noise on the number
    of parties below the clipping norm (a sum of bits, each moved to ±½); `value` the multiplier σ_Δ of the noise on the
    sum of updates.
    """

    total: float
    value: float
    count: float

    @classmethod
    def of(cls, multiplier: float, cohort: float, count: float | None = None) -> ClippingSplit:
        """The split for z = `multiplier`: σ_b = cohort/20 (or `count`), and σ_Δ = (z⁻² − (2σ_b)⁻²)^(−½)."""
        count = cohort / 20 if count is None else count
        if not 0 < multiplier < 2 * count:
            raise ConfigError(
                f"the noise on the count ({count:.4g}) leaves nothing for the updates at multiplier {multiplier:.4g}",
                where="adaptive clipping",
                mend=f"use a cohort above {10 * multiplier:.4g}, or a count's noise above {multiplier / 2:.4g}",
            )
        return cls(multiplier, (multiplier**-2 - (2 * count) ** -2) ** -0.5, count)

    def __post_init__(self) -> None:
        nonnegative(self, "total", "value", "count")
