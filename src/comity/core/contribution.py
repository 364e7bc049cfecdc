"""Contributions and aggregates: what a party returns, and what the server makes of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, StoredRow, namespace
from comity.core.vectors import Vectors


@dataclass(frozen=True, eq=False)
class Contribution:
    """What K parties return from one round.

    `vectors` are `[K, D]` each, `weight` is a `[K, 1]` column, `metrics` are additive statistics `[K, S]`. One real
    party is K = 1.
    """

    vectors: Vectors
    weight: Array
    metrics: Mapping[str, Array] = field(default_factory=dict)

    def row(self, k: int) -> Contribution:
        """The contribution of the k-th party alone, still with a leading axis."""
        return self.rows(slice(k, k + 1))

    def rows(self, which: slice) -> Contribution:
        return Contribution(
            self.vectors.map(lambda array: array[which]),
            self.weight[which],
            {name: statistics[which] for name, statistics in self.metrics.items()},
        )


@dataclass(frozen=True, eq=False)
class Aggregate:
    """What the server learns from a round: vectors `[D]`, the summed weight, summed metric statistics `[S]`.

    `weight` is what the sum of the vectors was divided by, where they are a mean.
    `count` parties took part, out of a `population` (which algorithms with state at the parties need). `bound` is the
    joint L2 norm that no contribution exceeded, where the chain has clipped them.
    """

    vectors: Vectors
    weight: float
    metrics: Mapping[str, NDArray[np.float64]]
    count: int
    population: int
    bound: float | None = None

    @property
    def participation(self) -> float:
        """The share of the population that took part."""
        return self.count / self.population


@dataclass(frozen=True)
class Value:
    """One vector that a program sends, returns or remembers: its length, and what it means in a few words."""

    size: int
    meaning: str


@dataclass(frozen=True)
class Exchange:
    """All that a program moves: what is broadcast, what a party returns, and what a party remembers between rounds.

    `metrics` are the metrics whose statistics a party returns, with the length of each. Declared once by the program,
    it is what `Job.explain` prints, what admission lets in, and how engines lay out memory.
    """

    broadcast: Mapping[str, Value]
    contribution: Mapping[str, Value]
    memory: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, int] = field(default_factory=lambda: {"loss": 2})


def norms(vectors: Vectors) -> Any:
    """The joint L2 norm `[K, 1]` of each party's vectors, accumulated in the vectors' own precision."""
    squares = [_squares(array) for array in vectors.values()]
    return (sum(squares[1:], start=squares[0]) ** 0.5)[:, None]


def _squares(array: Array) -> Any:
    if isinstance(array, StoredRow):
        return np.asarray([sum((np.vecdot(run, run) for run in array.runs()), start=array.dtype.type(0))])
    return namespace(array).vecdot(array, array)
