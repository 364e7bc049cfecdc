"""Staleness weights: what a contribution counts that was computed on a model `staleness` versions old.

All are 1 at staleness 0, so that a buffered run in which nobody lags is the synchronous one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from comity.core.errors import ConfigError


class Staleness(Protocol):
    """A factor in (0, 1] that does not grow with the staleness."""

    def factor(self, staleness: int) -> float: ...


@dataclass(frozen=True)
class Constant:
    """1, however stale."""

    def factor(self, staleness: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Polynomial:
    """`(1 + staleness) ** -exponent` (Xie et al. 2019, arXiv 1903.03934).

    FedBuff uses the exponent 1/2 (Nguyen et al. 2022, arXiv 2106.06639).
    """

    exponent: float = 0.5

    def __post_init__(self) -> None:
        if not self.exponent >= 0:
            raise ConfigError(
                f"exponent is {self.exponent!r}",
                where="Polynomial.exponent",
                mend="give 0 or more, for example 0.5 as FedBuff does",
            )

    def factor(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@dataclass(frozen=True)
class Hinge:
    """1 up to the staleness `grace`, then `1 / (slope · (staleness − grace) + 1)`.

    Xie et al. 2019, arXiv 1903.03934, where `slope` is a and `grace` is b.
    """

    slope: float = 10.0
    grace: int = 4

    def __post_init__(self) -> None:
        for name in ("slope", "grace"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigError(f"{name} is {value!r}", where=f"Hinge.{name}", mend="give 0 or more")

    def factor(self, staleness: int) -> float:
        return 1.0 if staleness <= self.grace else 1.0 / (self.slope * (staleness - self.grace) + 1.0)
