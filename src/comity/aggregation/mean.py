"""The mean of contributions, streamed into one accumulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, StoredRow, column_chunks, empty, is_large, release, to_numpy
from comity.core.checks import positive
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.errors import ConfigError, RunError
from comity.core.vectors import Vectors
from comity.transforms.chain import Link, Reads

_RELEASED = 1 << 22
"""Of a large sum no more than so many entries are in memory at a time."""


@dataclass(frozen=True)
class Mean(Link):
    """The weighted mean `Σ wₖ xₖ / Σ wₖ` of the parties' vectors.

    `weights="contribution"` takes the weight that comes with each contribution (its number of examples, for FedAvg);
    `"uniform"` gives every party the same. `precision` is that of the accumulator.

    With a `denominator` the sum is divided by that and not by how many there were: the cohort that is expected. Noise
    for differential privacy needs it wherever how many take part may not be known (Poisson sampling).
    """

    weights: Literal["contribution", "uniform"] = "contribution"
    precision: Literal["float32", "float64"] = "float32"
    denominator: float | None = None

    def __post_init__(self) -> None:
        if self.weights not in ("contribution", "uniform"):
            raise ConfigError(f"weights is {self.weights!r}", where="Mean.weights", mend="'contribution' or 'uniform'")
        if self.precision not in ("float32", "float64"):
            raise ConfigError(f"precision is {self.precision!r}", where="Mean.precision", mend="'float32' or 'float64'")
        positive(self, "denominator", optional=True)
        if self.denominator is not None and self.weights != "uniform":
            raise ConfigError(
                "a fixed denominator for a weighted mean",
                where="Mean.denominator",
                mend='give weights="uniform", or leave the denominator out',
            )

    @property
    def reads(self) -> Reads:
        return "individual"

    def start(self, exchange: Exchange) -> RunningMean:
        return RunningMean(self, exchange)


@dataclass
class RunningMean:
    """Sums of weighted vectors and of metric statistics, and the summed weight.

    A factor damps what a contribution adds to the sum and not its weight in the mean, as in FedBuff: when all are
    stale, the step is shorter. Rows are added one after another in the order in which they come, so the result does
    not depend on how they were batched.
    """

    mean: Mean
    exchange: Exchange
    weight: float = 0.0
    count: int = 0
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _sums: dict[str, Array] = field(default_factory=dict)

    def add(self, contribution: Contribution, factor: float = 1.0) -> None:
        weights = np.asarray(to_numpy(contribution.weight), dtype=np.float64)[:, 0]
        if self.mean.weights == "uniform":
            weights = np.ones_like(weights)
        for name, rows in contribution.vectors.items():
            if name not in self._sums:
                self._sums[name] = self._zeros(rows)
            add_rows(self._sums[name], rows, weights * factor)
        for name, statistics in contribution.metrics.items():
            rows = np.asarray(to_numpy(statistics), dtype=np.float64)
            before = [self.metrics[name][None]] if name in self.metrics else []
            self.metrics[name] = np.add.accumulate(np.concatenate([*before, rows]))[-1]
        self.weight += float(weights.sum())
        self.count += len(weights)

    def finish(self, population: int) -> Aggregate:
        if self.count == 0 or (self._sums and self.weight <= 0):
            raise RunError("nothing to average: no contribution with a positive weight", where="aggregation")
        divisor = self.mean.denominator or self.weight
        means = {name: _scaled(total, 1 / divisor) for name, total in self._sums.items()}
        return Aggregate(Vectors(**means), divisor, dict(self.metrics), self.count, population)

    def _zeros(self, rows: Array) -> Array:
        """An accumulator for `rows` `[K, D]`, where they are; on the host in a file when it is large."""
        if not isinstance(rows, np.ndarray | StoredRow):
            return rows[0] * 0
        zeros = empty(rows.shape[1], self.mean.precision)
        if not is_large(zeros):  # a mapped file begins as zeros, and would be in memory whole if they were written
            zeros[:] = 0
        return zeros


def _scaled(total: Array, factor: float) -> Array:
    """`total * factor`, on the host in its own memory: a sum is needed once."""
    if not isinstance(total, np.ndarray):
        return total * factor
    for run in column_chunks(total.shape[0]):
        total[run] *= factor
        if is_large(total) and run.stop % _RELEASED == 0:
            release(total)
    return total


def add_rows(total: Array, rows: Array, weights: NDArray[np.float64]) -> None:
    """`total += Σₖ weights[k] · rows[k]` in place, in row order; on the host in runs of columns that stay in cache."""
    if not isinstance(total, np.ndarray):
        for k, weight in enumerate(weights.tolist()):
            total += rows[k] * weight
        return
    columns = column_chunks(total.shape[0])
    weighted = np.empty(columns[0].stop if columns else 0, dtype=np.result_type(rows.dtype, 1.0))
    for run in columns:
        part, product = total[run], weighted[: run.stop - run.start]
        for k, weight in enumerate(weights.tolist()):
            part += np.multiply(rows[k, run], weight, out=product)
        if is_large(total) and run.stop % _RELEASED == 0:
            release(total)
