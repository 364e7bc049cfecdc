"""Metrics of regression: RMSE, MAE and R²."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.errors import LearnerError
from comity.learners.metrics.classification import ratio
from comity.learners.metrics.shapes import paired, row


@dataclass(frozen=True)
class RMSE:
    """The root of the mean squared error, over all outputs together."""

    name: ClassVar[str] = "rmse"
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[sum of squared errors, count]`."""
        xp, predicted, true = paired(outputs, targets)
        count = xp.asarray(float(true.shape[0]), dtype=true.dtype, device=device(true))
        return row(xp, true, xp.sum((predicted - true) ** 2), count)

    def value(self, statistics: NDArray[np.float64]) -> float:
        return sqrt(ratio(statistics[0], statistics[1]))


@dataclass(frozen=True)
class MAE:
    """The mean absolute error, over all outputs together."""

    name: ClassVar[str] = "mae"
    size: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[sum of absolute errors, count]`."""
        xp, predicted, true = paired(outputs, targets)
        count = xp.asarray(float(true.shape[0]), dtype=true.dtype, device=device(true))
        return row(xp, true, xp.sum(xp.abs(predicted - true)), count)

    def value(self, statistics: NDArray[np.float64]) -> float:
        return ratio(statistics[0], statistics[1])


@dataclass(frozen=True)
class R2:
    """The share of one target's variance that the predictions explain; at most 1, and NaN below two examples.

    Targets without variance give 1 for exact predictions and 0 otherwise, as in scikit-learn. The variance is a
    difference of sums in float64: shift targets whose mean is more than about 10⁶ times their spread.
    """

    name: ClassVar[str] = "r2"
    size: ClassVar[int] = 4
    higher_is_better: ClassVar[bool] = True

    def statistics(self, outputs: Array, targets: Array) -> Array:
        """`[sum of squared errors, sum of targets, sum of squared targets, count]`."""
        xp, predicted, true = paired(outputs, targets)
        if true.shape[0] != targets.shape[0]:
            raise LearnerError(
                f"targets of shape {tuple(targets.shape)}", where="metrics.R2", mend="R² is for one output"
            )
        count = xp.asarray(float(true.shape[0]), dtype=true.dtype, device=device(true))
        return row(xp, true, xp.sum((predicted - true) ** 2), xp.sum(true), xp.sum(true**2), count)

    def value(self, statistics: NDArray[np.float64]) -> float:
        errors, total, squares, count = (float(entry) for entry in statistics)
        if count < 2:
            return float("nan")
        spread = squares - total**2 / count
        # rounding leaves a little where all targets are equal
        if spread <= 4 * np.finfo(np.float64).eps * count * squares:
            return 1.0 if errors == 0 else 0.0
        return 1 - errors / spread
